package nn_test

import (
	"slices"
	"testing"

	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/random"
)

// inPlace is a layer that is not of this package: it passes numbers on, writes its
// gradient where its output was, and looks at a gradient of the layer behind it.
type inPlace struct {
	nn.Layer[float64]
	out    []float64
	behind *nn.Param[float64]
	seen   []float64
}

func (l *inPlace) Forward(c *nn.Cache[float64], x matrix.Matrix[float64], mode nn.Mode) matrix.Matrix[float64] {
	y := l.Layer.Forward(c, x, mode)
	l.out = y.Data
	return y
}

func (l *inPlace) Backward(c *nn.Cache[float64], g matrix.Matrix[float64]) matrix.Matrix[float64] {
	l.seen = slices.Clone(l.behind.Grad)
	gradIn := l.Layer.Backward(c, g)
	copy(l.out, gradIn.Data)
	return matrix.Matrix[float64]{Rows: gradIn.Rows, Cols: gradIn.Cols, Data: l.out[:len(gradIn.Data)]}
}

// gradients makes a training pass and returns the gradients of all parameters.
func gradients(net *nn.Network[float64], threads int) [][]float64 {
	const batch = 100
	in, classes := net.Widths()
	x, labels := examples[float64](batch, in, classes, 3)
	trace := net.NewTrace(nn.TraceOptions{Batch: batch, Backward: true, Threads: threads})
	cache := nn.NewLossCache[float64](batch, classes)
	nn.CrossEntropy[float64]{}.Forward(cache, net.Forward(trace, x, nn.Train), labels)
	net.Backward(trace, nn.CrossEntropy[float64]{}.Backward(cache))
	var all [][]float64
	for _, p := range net.Params() {
		all = append(all, p.Grad)
	}
	return all
}

// A layer of somebody else may use the memory of its own output, and finds the gradients
// behind it computed.
func TestLayersOfOthersFindGradientsComputed(t *testing.T) {
	for _, threads := range []int{1, 2} {
		relu := func() nn.Layer[float64] { return nn.NewReLU[float64](30) }
		network := func(middle func(behind *nn.Param[float64]) nn.Layer[float64]) *nn.Network[float64] {
			last := nn.NewDense[float64](30, 5)
			net, err := nn.New(20, nn.NewDense[float64](20, 30), middle(last.Params()[0]), last)
			if err != nil {
				t.Fatal(err)
			}
			nn.Initialise(net, nn.Initialisers[0], random.New(1, "others"))
			return net
		}
		want := gradients(network(func(*nn.Param[float64]) nn.Layer[float64] { return relu() }), threads)
		var other *inPlace
		got := gradients(network(func(behind *nn.Param[float64]) nn.Layer[float64] {
			other = &inPlace{Layer: relu(), behind: behind}
			return other
		}), threads)
		for i := range want {
			if !slices.Equal(got[i], want[i]) {
				t.Errorf("%d threads: gradient %d is another one before a layer that works in place", threads, i)
			}
		}
		if !slices.Equal(other.seen, want[2]) {
			t.Errorf("%d threads: the layer has seen %v of the weights behind it, want %v", threads, other.seen[:3], want[2][:3])
		}
	}
}

// After a pass that panics, a layer's own pass computes its gradients at once.
func TestBackwardAfterAPanic(t *testing.T) {
	net := build[float64](t, chain(false, nn.KindReLU, 20, 30, 5))
	nn.Initialise(net, nn.Initialisers[0], random.New(1, "panic"))
	x, _ := examples[float64](10, 20, 5, 3)
	trace := net.NewTrace(nn.TraceOptions{Batch: 10, Backward: true})
	net.Forward(trace, x, nn.Train)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a gradient of another shape does not panic")
			}
		}()
		net.Backward(trace, matrix.New[float64](10, 4))
	}()
	g := matrix.New[float64](10, 5)
	for i := range g.Data {
		g.Data[i] = 1
	}
	last := net.Layers()[2]
	last.Backward(trace.Caches[2], g)
	if bias := last.Params()[1].Grad; !slices.Equal(bias, []float64{10, 10, 10, 10, 10}) {
		t.Errorf("the gradient of the bias is %v after a panic, want 10 for each", bias)
	}
}
