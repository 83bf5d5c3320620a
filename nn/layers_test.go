package nn_test

import (
	"math"
	"strings"
	"testing"

	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/nn/nntest"
)

// both returns the two constructors of a layer that the suite wants.
func both(l64 func() nn.Layer[float64], l32 func() nn.Layer[float32]) nntest.Layer {
	return nntest.Layer{New: l64, New32: l32}
}

func dense() nntest.Layer {
	return both(
		func() nn.Layer[float64] { return nn.NewDense[float64](4, 3) },
		func() nn.Layer[float32] { return nn.NewDense[float32](4, 3) })
}

func denseWithoutBias() nntest.Layer {
	return both(
		func() nn.Layer[float64] { return nn.NewDenseWithoutBias[float64](3, 4) },
		func() nn.Layer[float32] { return nn.NewDenseWithoutBias[float32](3, 4) })
}

func reLU() nntest.Layer {
	l := both(
		func() nn.Layer[float64] { return nn.NewReLU[float64](4) },
		func() nn.Layer[float32] { return nn.NewReLU[float32](4) })
	l.Redraw = nntest.NearCorner
	return l
}

func sigmoid() nntest.Layer {
	return both(
		func() nn.Layer[float64] { return nn.NewSigmoid[float64](4) },
		func() nn.Layer[float32] { return nn.NewSigmoid[float32](4) })
}

func tanh() nntest.Layer {
	return both(
		func() nn.Layer[float64] { return nn.NewTanh[float64](4) },
		func() nn.Layer[float32] { return nn.NewTanh[float32](4) })
}

func batchNorm() nntest.Layer {
	l := both(
		func() nn.Layer[float64] { return nn.NewBatchNorm[float64](4, nn.DefaultBatchNorm()) },
		func() nn.Layer[float32] { return nn.NewBatchNorm[float32](4, nn.DefaultBatchNorm()) })
	l.MinTrain, l.Redraw = 2, nntest.NarrowColumn
	return l
}

func publishedNorm() nntest.Layer {
	l := both(
		func() nn.Layer[float64] { return nn.NewPublishedNorm[float64](4) },
		func() nn.Layer[float32] { return nn.NewPublishedNorm[float32](4) })
	l.Redraw = nntest.NarrowRow
	return l
}

func TestLayers(t *testing.T) {
	for name, l := range map[string]nntest.Layer{
		"Dense": dense(), "DenseWithoutBias": denseWithoutBias(), "ReLU": reLU(), "Sigmoid": sigmoid(),
		"Tanh": tanh(), "BatchNorm": batchNorm(),
	} {
		t.Run(name, func(t *testing.T) { nntest.TestLayer(t, l) })
	}
}

// A corner is 0 on both sides of it, and what is not a number passes: it must be
// seen in the cost.
func TestReLUAtItsCorner(t *testing.T) {
	a := nn.NewReLU[float32](4)
	c := a.NewCache(nn.CacheOptions{Batch: 1, Backward: true, GradIn: true})
	y := a.Forward(c, matrix.FromRows([]float32{-1, 0, 2, float32(math.NaN())}), nn.Eval)
	if y.At(0, 0) != 0 || y.At(0, 1) != 0 || y.At(0, 2) != 2 || y.At(0, 3) == y.At(0, 3) {
		t.Errorf("ReLU of -1, 0, 2, NaN = %v, want 0, 0, 2, NaN", y.Data)
	}
	dx := a.Backward(c, matrix.FromRows([]float32{5, 5, 5, 5}))
	if dx.At(0, 0) != 0 || dx.At(0, 1) != 0 || dx.At(0, 2) != 5 {
		t.Errorf("gradient at -1, 0, 2 = %v, want 0, 0, 5", dx.Data[:3])
	}
}

func TestLosses(t *testing.T) {
	t.Run("CrossEntropy", func(t *testing.T) {
		nntest.TestLoss(t, nntest.Loss{Loss: nn.CrossEntropy[float64]{}, Loss32: nn.CrossEntropy[float32]{}})
	})
	t.Run("PublishedCrossEntropy with its true gradient", func(t *testing.T) {
		nntest.TestLoss(t, nntest.Loss{Loss: truePublishedCrossEntropy{}})
	})
}

// truePublishedCrossEntropy has the gradient that the published study leaves out:
// that of CrossEntropy times p/(p + 1e-8).
type truePublishedCrossEntropy struct {
	nn.PublishedCrossEntropy[float64]
}

func (l truePublishedCrossEntropy) Backward(c *nn.LossCache[float64]) matrix.Matrix[float64] {
	g := l.PublishedCrossEntropy.Backward(c)
	for i, label := range c.Labels {
		p := c.Probabilities.At(i, int(label))
		for j := range g.Row(i) {
			g.Row(i)[j] *= p / (p + 1e-8)
		}
	}
	return g
}

// The published loss passes all of the suite but the gradients, where the factor
// that its true twin has is missing.
func TestPublishedCrossEntropyGradient(t *testing.T) {
	r := nntest.CheckLoss(nntest.Loss{Loss: nn.PublishedCrossEntropy[float64]{}, Loss32: nn.PublishedCrossEntropy[float32]{}})
	onlyGradientsFail(t, r)

	// In short: a label of probability 1e-8 gets half of the gradient.
	z := math.Log(1e-8)
	logits := matrix.FromRows([]float64{z, 0})
	c := nn.NewLossCache[float64](1, 2)
	loss := truePublishedCrossEntropy{}
	loss.Forward(c, logits, []uint8{0})
	truly := loss.Backward(c).Clone()
	published := loss.PublishedCrossEntropy.Backward(c)
	for j := range 2 {
		if ratio := truly.At(0, j) / published.At(0, j); math.Abs(ratio-0.5) > 1e-8 {
			t.Errorf("true gradient of logit %d is %v of the published one, want 0.5 where p = 1e-8", j, ratio)
		}
	}
}

func onlyGradientsFail(t *testing.T, r nntest.Result) {
	t.Helper()
	if len(r.Failures) != 1 || !strings.HasPrefix(r.Failures[0], "gradients: ") {
		t.Errorf("failures %q, want one, of the gradients", r.Failures)
	}
	t.Logf("as it must: %q", r.Failures)
}

// truePublishedNorm is PublishedNorm with the derivative that it leaves out:
//
//	dCost/dx[i, j] = (g[i, j] - mean_j(g) - y[i, j]·mean_j(g·y)) / √(variance[i] + 1e-8)
type truePublishedNorm[T matrix.Float] struct{ *nn.PublishedNorm[T] }

func (truePublishedNorm[T]) Spec() nn.LayerSpec { return nn.LayerSpec{Kind: "true_published_norm"} }

func (p truePublishedNorm[T]) Backward(c *nn.Cache[T], gradOut matrix.Matrix[T]) matrix.Matrix[T] {
	dx := p.PublishedNorm.Backward(c, gradOut)
	for i := range dx.Rows {
		var mean, along T
		for j, g := range gradOut.Row(i) {
			mean += g / T(dx.Cols)
			along += g * c.Out.At(i, j) / T(dx.Cols)
		}
		std := T(math.Sqrt(float64(c.Kept[1].Value.Data[i]) + 1e-8))
		for j, g := range gradOut.Row(i) {
			dx.Row(i)[j] = (g - mean - c.Out.At(i, j)*along) / std
		}
	}
	return dx
}

// The published normalisation passes all of the suite but the gradients; with its
// derivative it passes the whole.
func TestPublishedNormGradient(t *testing.T) {
	r := nntest.CheckLayer(publishedNorm())
	onlyGradientsFail(t, r)
	if r.Off*10 < r.Compared*8 {
		t.Errorf("%d of %d gradients are wrong, want nearly all", r.Off, r.Compared)
	}
	t.Run("with its derivative", func(t *testing.T) {
		l := publishedNorm()
		l.New = func() nn.Layer[float64] { return truePublishedNorm[float64]{nn.NewPublishedNorm[float64](4)} }
		l.New32 = func() nn.Layer[float32] { return truePublishedNorm[float32]{nn.NewPublishedNorm[float32](4)} }
		nntest.TestLayer(t, l)
	})
}

// A layer and a loss of one's own are tested as those of this package are.
func TestExtensions(t *testing.T) {
	t.Run("layer", func(t *testing.T) {
		nntest.TestLayer(t, nntest.Layer{
			New:    func() nn.Layer[float64] { return newPReLU[float64](4) },
			New32:  func() nn.Layer[float32] { return newPReLU[float32](4) },
			Redraw: nntest.NearCorner,
		})
	})
	t.Run("loss", func(t *testing.T) {
		nntest.TestLoss(t, nntest.Loss{Loss: smoothed[float64]{0.1}, Loss32: smoothed[float32]{0.1}})
	})
}

// Numbers that are not as many as a shape says are refused by every layer and loss, before
// anything is read or written.
func TestNumbersThatDoNotFitTheirShape(t *testing.T) {
	for _, layer := range []nn.Layer[float32]{
		nn.NewDense[float32](4, 4), nn.NewReLU[float32](4), nn.NewSigmoid[float32](4), nn.NewTanh[float32](4),
		nn.NewBatchNorm[float32](4, nn.DefaultBatchNorm()), nn.NewPublishedNorm[float32](4),
	} {
		c := layer.NewCache(nn.CacheOptions{Batch: 2, Backward: true, GradIn: true})
		for _, n := range []int{0, 3, 7, 9, 4000} {
			wrong := matrix.Matrix[float32]{Rows: 2, Cols: 4, Data: make([]float32, n)}
			if got := panicText(func() { layer.Forward(c, wrong, nn.Train) }); !strings.Contains(got, "got shape [2, 4] of ") {
				t.Errorf("%s.Forward of [2, 4] in %d numbers: panic %q", layer.Spec().Kind, n, got)
			}
			layer.Forward(c, matrix.New[float32](2, 4), nn.Train)
			if got := panicText(func() { layer.Backward(c, wrong) }); !strings.Contains(got, "got shape [2, 4] of ") {
				t.Errorf("%s.Backward of [2, 4] in %d numbers: panic %q", layer.Spec().Kind, n, got)
			}
		}
	}
	for _, loss := range []nn.Loss[float32]{nn.CrossEntropy[float32]{}, nn.PublishedCrossEntropy[float32]{}} {
		for _, n := range []int{0, 3, 7, 9, 4000} {
			wrong := matrix.Matrix[float32]{Rows: 2, Cols: 4, Data: make([]float32, n)}
			if got := panicText(func() { loss.Forward(nn.NewLossCache[float32](2, 4), wrong, []uint8{0, 1}) }); !strings.Contains(got, "logits [2, 4]") {
				t.Errorf("%s of [2, 4] in %d numbers: panic %q", loss.Name(), n, got)
			}
		}
	}
}

// An epsilon that float32 does not hold would divide by 0.
func TestLeastEpsilon(t *testing.T) {
	for epsilon, ok := range map[float64]bool{1e-31: false, 1e-50: false, 0: false, 1e-30: true, 1: true, 1.1: false} {
		o := nn.BatchNormOptions{Epsilon: epsilon, Decay: 0.9}
		a := nn.Architecture{Input: 2, Layers: []nn.LayerSpec{{Kind: nn.KindBatchNorm, Epsilon: epsilon, Decay: 0.9}}}
		if got := panicText(func() { nn.NewBatchNorm[float32](2, o) }); (got == "") != ok || (a.Check() == nil) != ok {
			t.Errorf("epsilon %v: panic %q, error %v", epsilon, got, a.Check())
		}
	}
	layer := nn.NewBatchNorm[float32](2, nn.BatchNormOptions{Epsilon: 1e-30, Decay: 0.9})
	c := layer.NewCache(nn.CacheOptions{Batch: 2})
	y := layer.Forward(c, matrix.FromRows([]float32{3, 1}, []float32{3, 2}), nn.Train)
	if !matrix.Finite(y.Data) || y.At(0, 0) != 0 {
		t.Errorf("a constant column becomes %v", y.Data)
	}
}
