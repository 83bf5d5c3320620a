package nn

import (
	"slices"
	"testing"
	"time"

	"glassnet/matrix"
	"glassnet/random"
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
	if trace.rows.threads[0].all.whole != c {
		t.Error("Gradients did not share the rows of a batch that is to be shared")
	}
}

// Rows in pieces, taken by their own thread or by another, have the bits of rows as a whole;
// who is done does what others have not begun.
func TestRowsInPieces(t *testing.T) {
	const batch = 150
	net, err := Build[float32](Architecture{Input: 784, Layers: []LayerSpec{
		{Kind: KindDense, Units: 128}, {Kind: KindReLU}, {Kind: KindDense, Units: 64}, {Kind: KindReLU}, {Kind: KindDense, Units: 10},
	}})
	if err != nil {
		t.Fatal(err)
	}
	Initialise(net, Initialisers[0], random.New(1, "test"))
	s := random.New(2, "images")
	images, labels := matrix.Pixels{Data: make([]byte, batch*784), Cols: 784, Index: make([]int32, batch)}, make([]byte, batch)
	for i := range images.Data {
		images.Data[i] = byte(s.IntN(256) * s.IntN(2))
	}
	for i := range labels {
		images.Index[i], labels[i] = int32(i), byte(s.IntN(10))
	}
	results := func(trace *Trace[float32], c *LossCache[float32]) (all [][]float32) {
		for _, layer := range trace.Caches {
			all = append(all, layer.Out.Data, layer.GradOut.Data, layer.GradIn.Data)
		}
		return append(all, c.Losses, c.Probabilities.Data, c.GradLogits.Data)
	}
	loss := CrossEntropy[float32]{}
	wholeTrace, whole := net.NewTrace(TraceOptions{Batch: batch, Backward: true}), NewLossCache[float32](batch, 10)
	net.Gradients(wholeTrace, loss, whole, images, labels)
	want := results(wholeTrace, whole)
	for _, threads := range []int{2, 3, 8} {
		trace, c := net.NewTrace(TraceOptions{Batch: batch, Backward: true, Threads: threads}), NewLossCache[float32](batch, 10)
		check := func(what string) {
			t.Helper()
			for i, values := range results(trace, c) {
				if !slices.Equal(values, want[i]) {
					t.Fatalf("%d threads, %s: result %d differs", threads, what, i)
				}
			}
		}
		r := trace.rows
		for range 20 {
			r.uneven = true
			net.Gradients(trace, loss, c, images, labels)
			check("in pieces")
			for _, values := range results(trace, c)[3:] { // all behind the first layer
				clear(values)
			}
		}

		// One thread begins, the others' rows are there, and nobody else comes.
		net.Gradients(trace, loss, c, images, labels)
		for _, values := range results(trace, c)[3:] {
			clear(values)
		}
		r.layers, r.loss, r.whole, r.labels, r.first = net.layers[1:], loss, c, labels, trace.Caches[1].In
		r.begin()
		r.uneven = true
		for i := 1; i < threads; i++ {
			other := &r.threads[i]
			other.lo, other.hi = r.pairs.Rows(i, threads)
			other.next.Store(0)
		}
		r.Part(0, threads)
		check("by one for all")
		if !r.threads[0].took {
			t.Errorf("%d threads: thread 0 has taken over all pieces, and does not say so", threads)
		}
		r.whole.Losses[0] = -1
		r.Part(1, threads)
		if lo, _ := r.pairs.Rows(1, threads); lo > 0 && r.whole.Losses[0] != -1 {
			t.Errorf("%d threads: what was done is done again", threads)
		}
	}
}

// Rows are taken in pieces after a pass in which a thread was late, and until none takes over
// another's.
func TestWhenRowsAreTakenInPieces(t *testing.T) {
	type times []time.Duration
	for _, test := range []struct {
		name                  string
		divided, uneven, took bool
		ended                 times
		want                  bool
	}{
		{"even", true, false, false, times{90, 100}, false},
		{"late", true, false, false, times{80, 100}, true},
		{"another is late", true, false, false, times{100, 99, 80}, true},
		{"late in a network that is not worth it", false, false, false, times{50, 100}, false},
		{"pieces, none taken over", true, true, false, times{50, 100}, false},
		{"pieces, one taken over", true, true, true, times{100, 100}, true},
		{"the caller alone", true, false, false, times{0, 0}, false},
		{"the caller alone, after threads that were uneven", true, true, false, times{0, 0}, true},
		{"late, beside a thread without rows", true, false, false, times{80, 0, 100}, true},
		{"one thread with rows", true, false, false, times{80, 0}, false},
	} {
		r := byRows[float32]{divided: test.divided, uneven: test.uneven, threads: make([]rowsThread[float32], len(test.ended))}
		for i, e := range test.ended {
			r.threads[i].ended = e * time.Microsecond
		}
		r.threads[len(r.threads)-1].took = test.took
		if r.end(); r.uneven != test.want {
			t.Errorf("%s: pieces %v, want %v", test.name, r.uneven, test.want)
		}
	}
	for units, want := range map[int]bool{20: false, 64: true, 512: false} {
		net, err := Build[float32](Architecture{Input: 784, Layers: []LayerSpec{{Kind: KindDense, Units: 128}, {Kind: KindDense, Units: units}, {Kind: KindDense, Units: 10}}})
		if err != nil {
			t.Fatal(err)
		}
		if got := net.NewTrace(TraceOptions{Batch: 64, Backward: true, Threads: 2}).rows.divided; got != want {
			t.Errorf("784-128-%d-10: pieces may be worth it: %v, want %v", units, got, want)
		}
	}
}
