package nn_test

import (
	"runtime"
	"slices"
	"sync"
	"testing"

	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/random"
)

func testPredictor[T matrix.Float](t *testing.T) {
	net, err := nn.Build[T](nn.Architecture{Input: 30, Layers: []nn.LayerSpec{
		{Kind: nn.KindDense, Units: 8}, {Kind: nn.KindReLU}, {Kind: nn.KindDense, Units: 4}}})
	if err != nil {
		t.Fatal(err)
	}
	s := random.New(1, "predictor")
	nn.Initialise(net, nn.Initialisers[0], s)
	const count = 23
	images := matrix.Pixels{Cols: 30, Data: make([]byte, 30*count), Index: make([]int32, count)}
	for i := range images.Data {
		images.Data[i] = byte(s.IntN(256) * (s.IntN(5) / 4))
	}
	for i := range images.Index {
		images.Index[i] = int32(count - 1 - i)
	}

	// The plain way: a forward pass of numbers, row after row.
	want := matrix.New[T](count, 4)
	trace := net.NewTrace(nn.TraceOptions{Batch: count})
	logits := net.Forward(trace, matrix.Unpack(matrix.New[T](count, 30), images), nn.Eval)
	for i := range count {
		nn.Softmax(want.Row(i), logits.Row(i))
	}

	p := nn.NewPredictor(net, 5)
	got := matrix.New[T](count, 4)
	p.PredictBatch(got, images)
	if !slices.Equal(got.Data, want.Data) {
		t.Errorf("PredictBatch gives %v, want %v", got.Data, want.Data)
	}
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			row := make([]T, 4)
			for i := range count {
				class := p.Predict(row, images.Row(i))
				if !slices.Equal(row, want.Row(i)) || class != nn.Argmax(logits.Row(i)) {
					t.Errorf("Predict of image %d gives %d %v, want %d %v", i, class, row, nn.Argmax(logits.Row(i)), want.Row(i))
				}
			}
		})
	}
	callers.Wait()
	row, image := make([]T, 4), images.Row(3)
	if n := testing.AllocsPerRun(100, func() { p.Predict(row, image) }); n > 0 {
		t.Errorf("Predict allocates %v times", n)
	}
}

// Several threads share the images of a batch, also when others predict at once.
func testPredictorOnThreads[T matrix.Float](t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	net := build[T](t, chain(false, nn.KindReLU, 784, 40, 10))
	images, _ := pixels(200)
	want := matrix.New[T](200, 10)
	one := nn.NewPredictor(net, 1)
	for i := range 200 {
		one.Predict(want.Row(i), images.Row(i))
	}
	p := nn.NewPredictor(net, 70) // 200 images are 70, 70 and 60
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			got := matrix.New[T](200, 10)
			for range 5 {
				clear(got.Data)
				p.PredictBatch(got, images)
				if !slices.Equal(got.Data, want.Data) {
					t.Error("a batch on several threads has other probabilities than its images alone")
				}
			}
		})
	}
	callers.Wait()
}

func TestPredictorOnThreads(t *testing.T) {
	t.Run("float32", testPredictorOnThreads[float32])
	t.Run("float64", testPredictorOnThreads[float64])
}

func TestPredictor(t *testing.T) {
	t.Run("float32", testPredictor[float32])
	t.Run("float64", testPredictor[float64])
}

func TestPredictorPanicsOnMisuse(t *testing.T) {
	net, err := nn.Build[float32](nn.Architecture{Input: 3, Layers: []nn.LayerSpec{{Kind: nn.KindDense, Units: 2}}})
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]func(){
		"batch 0":       func() { nn.NewPredictor(net, 0) },
		"short image":   func() { nn.NewPredictor(net, 1).Predict(make([]float32, 2), make([]byte, 2)) },
		"probabilities": func() { nn.NewPredictor(net, 1).Predict(make([]float32, 3), make([]byte, 3)) },
		"rows": func() {
			images, _ := pixels(10)
			images.Cols = 3
			nn.NewPredictor(net, 4).PredictBatch(matrix.New[float32](20, 2), images)
		},
		"no such image": func() {
			net := build[float32](t, chain(false, nn.KindReLU, 784, 40, 10))
			images, _ := pixels(64)
			images.Index[63] = 64 // another goroutine would read it
			nn.NewPredictor(net, 64).PredictBatch(matrix.New[float32](64, 10), images)
		},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			f()
		})
	}
}
