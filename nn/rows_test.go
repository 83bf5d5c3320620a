package nn_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"glassnet/internal/kernel"
	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/nn/nntest"
	"glassnet/random"
)

// Rows that threads share, or do not, give the same bits in everything that can be read
// after a pass: caches of layers and loss, gradients, cost.
func TestGradientsOnAnyThreads(t *testing.T) {
	t.Run("float32", testGradients[float32])
	t.Run("float64", testGradients[float64])
}

func testGradients[T matrix.Float](t *testing.T) {
	published := chain(false, nn.KindTanh, 784, 20, 7, 5, 10)
	published.Layers = append([]nn.LayerSpec{published.Layers[0], {Kind: nn.KindPublishedNorm}}, published.Layers[1:]...)
	for name, a := range map[string]nn.Architecture{
		"narrow":         chain(false, nn.KindReLU, 784, 20, 7, 5, 10),
		"published norm": published,
		"wide, by rows":  chain(false, nn.KindReLU, 784, 200, 10),
		"many weights":   chain(false, nn.KindReLU, 784, 520, 520, 10),
		"batch norm":     chain(true, nn.KindReLU, 784, 20, 10),
		"one layer":      chain(false, nn.KindReLU, 784, 10),
		"sigmoid":        chain(false, nn.KindSigmoid, 784, 128, 128, 10),
	} {
		if name == "many weights" && testing.Short() {
			continue
		}
		for _, loss := range []nn.Loss[T]{nn.CrossEntropy[T]{}, nn.PublishedCrossEntropy[T]{}} {
			const batch = 200
			net := build[T](t, a)
			nntest.Randomise(net.Params(), random.New(3, "test"))
			images, labels := pixels(batch)
			plain, plainLoss := net.NewTrace(nn.TraceOptions{Batch: batch, Backward: true}), nn.NewLossCache[T](batch, 10)
			twin := build[T](t, a) // whose traces are as good
			nntest.Randomise(twin.Params(), random.New(4, "twin"))
			for _, threads := range []int{1, 2, 3, 8} {
				trace, c := twin.NewTrace(nn.TraceOptions{Batch: batch, Backward: true, Threads: threads}), nn.NewLossCache[T](batch, 10)
				for _, rows := range []int{batch, 129, 64, 63, 1, batch} {
					if name == "batch norm" && rows == 1 {
						continue
					}
					some := images
					some.Index = images.Index[:rows]
					wantCost := loss.Forward(plainLoss, net.ForwardPixels(plain, some, nn.Train), labels[:rows])
					net.Backward(plain, loss.Backward(plainLoss))
					want := readable(wantCost, net, plain, plainLoss)
					for _, p := range net.Params() {
						for i := range p.Grad {
							p.Grad[i] = T(math.NaN())
						}
					}
					cost := net.Gradients(trace, loss, c, some, labels[:rows])
					got := readable(cost, net, trace, c)
					// The next pass has another cache, and sees nothing of this one.
					c = nn.NewLossCache[T](batch, 10)
					for i := range want {
						if difference := got[i].difference(want[i]); difference != "" {
							t.Fatalf("%s, %s, %d threads, %d rows: %s", name, loss.Name(), threads, rows, difference)
						}
					}
				}
				// What a thread needs for its work grows the first times that it comes to it.
				for tries := 0; testing.AllocsPerRun(3, func() { net.Gradients(trace, loss, c, images, labels) }) != 0; tries++ {
					if tries == 20 {
						t.Fatalf("%s, %s, %d threads: passes go on allocating", name, loss.Name(), threads)
					}
				}
			}
		}
	}
}

// Descend has the bits of Gradients and a step of gradient descent behind it, on any number of
// threads, and moves nothing where the cost is not finite.
func TestDescend(t *testing.T) {
	t.Run("float32", testDescend[float32])
	t.Run("float64", testDescend[float64])
}

func testDescend[T matrix.Float](t *testing.T) {
	const batch, rate = 200, 0.25
	for name, a := range map[string]nn.Architecture{
		"narrow":    chain(false, nn.KindReLU, 784, 20, 7, 5, 10),
		"wide":      chain(false, nn.KindSigmoid, 784, 200, 70, 10),
		"one layer": chain(false, nn.KindReLU, 784, 10),
	} {
		for _, threads := range []int{1, 2, 3, 8} {
			nets := [2]*nn.Network[T]{build[T](t, a), build[T](t, a)}
			var traces [2]*nn.Trace[T]
			var losses [2]*nn.LossCache[T]
			for i, net := range nets {
				nntest.Randomise(net.Params(), random.New(3, "test"))
				traces[i] = net.NewTrace(nn.TraceOptions{Batch: batch, Backward: true, Threads: threads})
				losses[i] = nn.NewLossCache[T](batch, 10)
			}
			images, labels := pixels(batch)
			loss := nn.CrossEntropy[T]{}
			for step, rows := range []int{batch, 129, 64, 63, 1, batch} {
				some := images
				some.Index = images.Index[:rows]
				wantCost := nets[0].Gradients(traces[0], loss, losses[0], some, labels[:rows])
				for _, p := range nets[0].Params() {
					kernel.Of[T]().Update(p.Value, p.Grad, -rate)
				}
				cost, finite := nets[1].Descend(traces[1], loss, losses[1], some, labels[:rows], rate)
				want, got := readable(wantCost, nets[0], traces[0], losses[0]), readable(cost, nets[1], traces[1], losses[1])
				for i := range want {
					if difference := got[i].difference(want[i]); difference != "" {
						t.Fatalf("%s, %d threads, step %d: %s", name, threads, step, difference)
					}
				}
				for i, p := range nets[0].Params() {
					if !finite || !slices.EqualFunc(nets[1].Params()[i].Value, p.Value, sameBits) {
						t.Fatalf("%s, %d threads, step %d: finite %v, %s differs", name, threads, step, finite, p.Name)
					}
				}
			}

			last := nets[1].Params()[len(nets[1].Params())-1]
			last.Value[0] = T(math.Inf(1))
			var before [][]T
			for _, p := range nets[1].Params() {
				before = append(before, slices.Clone(p.Value))
			}
			if cost, _ := nets[1].Descend(traces[1], loss, losses[1], images, labels, rate); !math.IsNaN(cost) && !math.IsInf(cost, 0) {
				t.Fatalf("%s: an infinite bias costs %v", name, cost)
			}
			for i, p := range nets[1].Params() {
				if !slices.Equal(p.Value, before[i]) {
					t.Errorf("%s, %d threads: %s moves though the cost is not finite", name, threads, p.Name)
				}
			}
		}
	}
}

func sameBits[T matrix.Float](a, b T) bool {
	return math.Float64bits(float64(a)) == math.Float64bits(float64(b))
}

// Where parameters are not Dense layers', or there is no backward pass, Descend refuses.
func TestDescendWantsDenseParameters(t *testing.T) {
	images, labels := pixels(64)
	for name, test := range map[string]struct {
		batchNorm, backward, want bool
	}{"batch normalisation": {true, true, false}, "no backward pass": {false, false, false}, "dense": {false, true, true}} {
		net := build[float32](t, chain(test.batchNorm, nn.KindReLU, 784, 20, 10))
		trace, c := net.NewTrace(nn.TraceOptions{Batch: 64, Backward: test.backward}), nn.NewLossCache[float32](64, 10)
		text := panicText(func() { net.Descend(trace, nn.CrossEntropy[float32]{}, c, images, labels, 0.1) })
		if trace.CanDescend() != test.want || test.want != (text == "") {
			t.Errorf("%s: CanDescend says %v, panic %q", name, trace.CanDescend(), text)
		}
	}
}

// A label that is none panics where it can be recovered, not on another thread.
func TestGradientsOfAWrongLabel(t *testing.T) {
	net := build[float32](t, chain(false, nn.KindReLU, 784, 20, 10))
	images, labels := pixels(64)
	labels[63] = 10
	for _, threads := range []int{1, 2} {
		trace, c := net.NewTrace(nn.TraceOptions{Batch: 64, Backward: true, Threads: threads}), nn.NewLossCache[float32](64, 10)
		if text := panicText(func() { net.Gradients(trace, nn.CrossEntropy[float32]{}, c, images, labels) }); text == "" {
			t.Errorf("%d threads: no panic", threads)
		}
	}
}

// A batch with an image that is none is the caller's fault, and told where it can recover.
func TestGradientsOfNoImage(t *testing.T) {
	net := build[float32](t, chain(false, nn.KindReLU, 784, 20, 10))
	images, labels := pixels(64)
	images.Index[63] = 64
	for _, threads := range []int{1, 2} {
		trace, c := net.NewTrace(nn.TraceOptions{Batch: 64, Backward: true, Threads: threads}), nn.NewLossCache[float32](64, 10)
		if text := panicText(func() { net.Gradients(trace, nn.CrossEntropy[float32]{}, c, images, labels) }); text == "" {
			t.Errorf("%d threads: no panic", threads)
		}
	}
}

// A backward pass belongs to the pass before it, whatever other images a training pass
// before that one has listed.
func TestBackwardAfterAnEvalPass(t *testing.T) {
	net := build[float64](t, chain(false, nn.KindReLU, 784, 20, 10))
	images, labels := pixels(70)
	before := images
	before.Index = images.Index[:33]
	trace, c := net.NewTrace(nn.TraceOptions{Batch: 70, Backward: true}), nn.NewLossCache[float64](70, 10)
	loss := nn.CrossEntropy[float64]{}
	gradients := func(mode nn.Mode) (all []float64) {
		loss.Forward(c, net.ForwardPixels(trace, images, mode), labels)
		net.Backward(trace, loss.Backward(c))
		for _, p := range net.Params() {
			all = append(all, p.Grad...)
		}
		return all
	}
	want := gradients(nn.Train)
	net.ForwardPixels(trace, before, nn.Train)
	if !slices.Equal(gradients(nn.Eval), want) {
		t.Error("gradients after an Eval pass differ from those after a Train pass of the same images")
	}
}

// pixels returns images of noise, a fifth of it not 0, and their labels.
func pixels(batch int) (matrix.Pixels, []uint8) {
	s := random.New(5, "pixels")
	p := matrix.Pixels{Data: make([]byte, batch*784), Cols: 784}
	for i := range p.Data {
		if s.IntN(5) == 0 {
			p.Data[i] = byte(s.IntN(256))
		}
	}
	labels := make([]uint8, batch)
	for i := range labels {
		p.Index = append(p.Index, int32(batch-1-i))
		labels[i] = uint8(s.IntN(10))
	}
	return p, labels
}

// read is something that can be read after a training pass.
type read struct {
	what, shape string
	values      []float64
}

// difference says where r is not want, to the last bit.
func (r read) difference(want read) string {
	if r.what != want.what || r.shape != want.shape || len(r.values) != len(want.values) {
		return fmt.Sprintf("%s %s of %d numbers, want %s %s of %d", r.what, r.shape, len(r.values), want.what, want.shape, len(want.values))
	}
	for i, v := range r.values {
		if math.Float64bits(v) != math.Float64bits(want.values[i]) {
			return fmt.Sprintf("%s: number %d is %v, want %v", r.what, i, v, want.values[i])
		}
	}
	return ""
}

// readable returns all that can be read after a training pass.
func readable[T matrix.Float](cost float64, net *nn.Network[T], trace *nn.Trace[T], c *nn.LossCache[T]) []read {
	all := []read{{"cost", "", []float64{cost}}, {"labels and predictions", fmt.Sprint(c.Labels, c.Predicted), nil}}
	add := func(what, shape string, values []T) {
		all = append(all, read{what, shape, matrix.Convert[float64](values)})
	}
	addMatrix := func(what string, m matrix.Matrix[T]) { add(what, m.String(), m.Data) }
	for i, l := range trace.Caches {
		addMatrix(fmt.Sprintf("In of layer %d", i+1), l.In)
		addMatrix(fmt.Sprintf("Out of layer %d", i+1), l.Out)
		addMatrix(fmt.Sprintf("GradOut of layer %d", i+1), l.GradOut)
		addMatrix(fmt.Sprintf("GradIn of layer %d", i+1), l.GradIn)
		for _, k := range l.Kept {
			addMatrix(fmt.Sprintf("%s of layer %d", k.Name, i+1), k.Value)
		}
	}
	addMatrix("Logits", c.Logits)
	addMatrix("Probabilities", c.Probabilities)
	addMatrix("GradLogits", c.GradLogits)
	add("Losses", "", c.Losses)
	for _, p := range net.Params() {
		add(p.Name, "", p.Grad)
	}
	return all
}
