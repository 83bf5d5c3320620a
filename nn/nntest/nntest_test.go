package nntest_test

import (
	"fmt"
	"math"
	"testing"

	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/nn/nntest"
	"glassnet/optim"
)

func ExampleCheckLayer() {
	for _, layer := range []func() nn.Layer[float64]{
		func() nn.Layer[float64] { return nn.NewTanh[float64](4) },
		func() nn.Layer[float64] { return nn.NewPublishedNorm[float64](4) }, // leaves out its derivative
	} {
		r := nntest.CheckLayer(nntest.Layer{New: layer, Redraw: nntest.NarrowRow})
		fmt.Printf("%s: %d of %d gradients wrong, checks failed: %d\n", layer().Spec().Kind, r.Off, r.Compared, len(r.Failures))
	}
	// Output:
	// tanh: 0 of 2880 gradients wrong, checks failed: 0
	// published_per_example_norm: 2880 of 2880 gradients wrong, checks failed: 1
}

// recorder is a testing.TB that counts instead of failing.
type recorder struct {
	testing.TB
	errors, logs int
}

func (r *recorder) Helper()             {}
func (r *recorder) Error(...any)        { r.errors++ }
func (r *recorder) Logf(string, ...any) { r.logs++ }

// uneven is a rule that forgets every element but the first.
type uneven struct{ optim.SGD[float64] }

func (u uneven) Update(value, grad []float64, slots [][]float64, rate float64, step int) bool {
	return u.SGD.Update(value[:1], grad[:1], slots, rate, step)
}

func TestFailuresAreReported(t *testing.T) {
	tests := map[string]struct{ right, wrong func(tb testing.TB) }{
		"layer": {
			func(tb testing.TB) {
				nntest.TestLayer(tb, nntest.Layer{New: func() nn.Layer[float64] { return nn.NewTanh[float64](4) },
					New32: func() nn.Layer[float32] { return nn.NewTanh[float32](4) }})
			},
			func(tb testing.TB) {
				nntest.TestLayer(tb, nntest.Layer{New: func() nn.Layer[float64] { return nn.NewPublishedNorm[float64](4) }, Redraw: nntest.NarrowRow})
			},
		},
		"loss": {
			func(tb testing.TB) { nntest.TestLoss(tb, nntest.Loss{Loss: nn.CrossEntropy[float64]{}}) },
			func(tb testing.TB) { nntest.TestLoss(tb, nntest.Loss{Loss: nn.PublishedCrossEntropy[float64]{}}) },
		},
		"penalty": {
			func(tb testing.TB) { nntest.TestPenalty(tb, optim.L2[float64]{Lambda: 0.1}) },
			func(tb testing.TB) { nntest.TestPenalty(tb, optim.PublishedL2[float64]{Lambda: 0.1}) },
		},
		"rule": {
			func(tb testing.TB) { nntest.TestRule(tb, optim.SGD[float64]{}, []float64{.9, .81}) },
			func(tb testing.TB) { nntest.TestRule(tb, uneven{optim.SGD[float64]{}}, []float64{.9, .81}) },
		},
	}
	for name, test := range tests {
		right, wrong := &recorder{TB: t}, &recorder{TB: t}
		test.right(right)
		test.wrong(wrong)
		if right.errors != 0 || wrong.errors == 0 {
			t.Errorf("%s: %d errors for a right one, %d for a wrong one; want none and some", name, right.errors, wrong.errors)
		}
		if name != "rule" && right.logs == 0 {
			t.Errorf("%s: the figures of a right one are not logged", name)
		}
	}
}

// A gradient that is not a number is wrong, and the worst of all.
func TestNaNIsWrong(t *testing.T) {
	for at := range 3 {
		w := &nn.Param[float64]{Name: "w", Value: []float64{1, 2, 3}, Grad: []float64{2, 4, 6}}
		w.Grad[at] = math.NaN()
		r := nntest.Gradients([]*nn.Param[float64]{w}, func() float64 { return w.Value[0]*w.Value[0] + w.Value[1]*w.Value[1] + w.Value[2]*w.Value[2] })
		if r.Off != 1 || r.Compared != 3 || r.Worst.Of != fmt.Sprintf("w[%d]", at) {
			t.Errorf("gradient %d NaN: %d of %d wrong, worst %v", at, r.Off, r.Compared, r.Worst)
		}
	}
}

// A Redraw that no draw satisfies does not hang.
func TestRedrawGivesUp(t *testing.T) {
	defer func() {
		if text := fmt.Sprint(recover()); text != "nntest: Redraw refuses every draw" {
			t.Errorf("panic %q", text)
		}
	}()
	nntest.CheckLayer(nntest.Layer{New: func() nn.Layer[float64] { return nn.NewTanh[float64](4) }, Redraw: func(*nn.Cache[float64]) bool { return true }})
}

func TestRelativeNorm(t *testing.T) {
	if got := nntest.RelativeNorm([]float64{3, 4.5}, []float64{3, 4}); got != 0.1 {
		t.Errorf("RelativeNorm([3 4.5], [3 4]) = %v, want 0.1", got)
	}
}

func TestNarrow(t *testing.T) {
	c := &nn.Cache[float64]{In: matrix.FromRows([]float64{1, 5}, []float64{1.1, 9})}
	if !nntest.NarrowColumn(c) || nntest.NarrowRow(c) {
		t.Errorf("NarrowColumn, NarrowRow of %v = %v, %v; want true, false", c.In.Data, nntest.NarrowColumn(c), nntest.NarrowRow(c))
	}
	one := &nn.Cache[float64]{In: matrix.FromRows([]float64{1, 5})}
	if nntest.NarrowColumn(one) {
		t.Error("NarrowColumn of one example = true: it has no variance to be narrow")
	}
	if near := (&nn.Cache[float64]{In: matrix.FromRows([]float64{1, -1e-4})}); !nntest.NearCorner(near) || nntest.NearCorner(c) {
		t.Error("NearCorner is wrong")
	}
}
