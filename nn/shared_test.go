package nn

import (
	"testing"

	"glassnet/matrix"
)

// ownLoss is a loss that the package does not know.
type ownLoss struct{ CrossEntropy[float32] }

// Which batches are shared by rows: those that gain by it, and those whose examples go
// their own way.
func TestWhichBatchesAreSharedByRows(t *testing.T) {
	dense := func(units ...int) (a Architecture) {
		a.Input = 784
		for _, n := range units {
			a.Layers = append(a.Layers, LayerSpec{Kind: KindDense, Units: n})
		}
		return a
	}
	normed := Architecture{Input: 784, Layers: []LayerSpec{
		{Kind: KindDense, Units: 20, NoBias: true}, {Kind: KindBatchNorm, Epsilon: 1e-5, Decay: 0.9}, {Kind: KindDense, Units: 10},
	}}
	for _, test := range []struct {
		name    string
		a       Architecture
		threads int
		alone   bool
		loss    Loss[float32]
		rows    int
		want    bool
	}{
		{"narrow", dense(20, 10), 2, false, CrossEntropy[float32]{}, 64, true},
		{"published loss", dense(20, 10), 2, false, PublishedCrossEntropy[float32]{}, 64, true},
		{"as many weights as may be", dense(fewWeights/512, 512), 2, false, CrossEntropy[float32]{}, 64, true},
		{"more", dense(fewWeights/512+1, 512), 2, false, CrossEntropy[float32]{}, 64, false},
		{"one thread", dense(20, 10), 1, false, CrossEntropy[float32]{}, 64, false},
		{"all threads but one rest", dense(20, 10), 2, true, CrossEntropy[float32]{}, 64, false},
		{"few examples", dense(20, 10), 2, false, CrossEntropy[float32]{}, 63, false},
		{"one layer", dense(10), 2, false, CrossEntropy[float32]{}, 64, false},
		{"batch normalisation", normed, 2, false, CrossEntropy[float32]{}, 64, false},
		{"a loss of one's own", dense(20, 10), 2, false, ownLoss{}, 64, false},
	} {
		net, err := Build[float32](test.a)
		if err != nil {
			t.Fatal(err)
		}
		trace := net.NewTrace(TraceOptions{Batch: 64, Backward: true, Threads: test.threads})
		trace.SetAlone(test.alone)
		if got := trace.sharesRows(test.loss, test.rows); got != test.want {
			t.Errorf("%s: shared %v, want %v", test.name, got, test.want)
		}
	}
	net, err := Build[float32](dense(20, 10))
	if err != nil {
		t.Fatal(err)
	}
	trace := net.NewTrace(TraceOptions{Batch: 64, Backward: true, Threads: 2})
	c := NewLossCache[float32](64, 10)
	images := matrix.Pixels{Data: make([]byte, 64*784), Cols: 784, Index: make([]int32, 64)}
	net.Gradients(trace, CrossEntropy[float32]{}, c, images, make([]byte, 64))
	if trace.rows.shares[0].whole != c {
		t.Error("Gradients did not share the rows of a batch that is to be shared")
	}
}
