package nn_test

import (
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
