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
		gradIn  bool // whether the gradient of the images is wanted
	}{
		{"narrow", dense(20, 10), 2, false, CrossEntropy[float32]{}, 64, true, false},
		{"published loss", dense(20, 10), 2, false, PublishedCrossEntropy[float32]{}, 64, true, false},
		{"as many weights as may be", dense(fewWeights/512, 512), 2, false, CrossEntropy[float32]{}, 64, true, false},
		{"more", dense(fewWeights/512+1, 512), 2, false, CrossEntropy[float32]{}, 64, false, false},
		{"one thread", dense(20, 10), 1, false, CrossEntropy[float32]{}, 64, false, false},
		{"all threads but one rest", dense(20, 10), 2, true, CrossEntropy[float32]{}, 64, false, false},
		{"few examples", dense(20, 10), 2, false, CrossEntropy[float32]{}, 63, false, false},
		{"one layer", dense(10), 2, false, CrossEntropy[float32]{}, 64, false, false},
		{"batch normalisation", normed, 2, false, CrossEntropy[float32]{}, 64, false, false},
		{"a loss of one's own", dense(20, 10), 2, false, ownLoss{}, 64, false, false},
		{"the gradient of the images", dense(20, 10), 2, false, CrossEntropy[float32]{}, 64, false, true},
	} {
		net, err := Build[float32](test.a)
		if err != nil {
			t.Fatal(err)
		}
		trace := net.NewTrace(TraceOptions{Batch: 64, Backward: true, GradIn: test.gradIn, Threads: test.threads})
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
	if trace.rows.threads[0].share.whole != c {
		t.Error("Gradients did not share the rows of a batch that is to be shared")
	}
}

// Results do not depend on which partner has a row, and each row is one thread's.
func TestRowsThatMove(t *testing.T) {
	for _, width := range []int{20, 128} { // the first layer's sums of both sides together, and one after the other
		net, err := Build[float32](Architecture{Input: 784, Layers: []LayerSpec{
			{Kind: KindDense, Units: width}, {Kind: KindReLU}, {Kind: KindDense, Units: 64}, {Kind: KindReLU}, {Kind: KindDense, Units: 10},
		}})
		if err != nil {
			t.Fatal(err)
		}
		Initialise(net, Initialisers[0], random.New(1, "test"))
		for _, batch := range []int{70, 96, 128, 150, 300} {
			images, labels := examples(batch)
			loss := CrossEntropy[float32]{}
			results := func(trace *Trace[float32], c *LossCache[float32]) (all [][]float32) {
				for _, p := range net.Params() {
					all = append(all, slices.Clone(p.Grad))
				}
				for _, layer := range trace.Caches {
					all = append(all, layer.Out.Data, layer.GradOut.Data, layer.GradIn.Data)
				}
				return append(all, c.Losses, c.Probabilities.Data, c.GradLogits.Data)
			}
			whole, c := net.NewTrace(TraceOptions{Batch: batch, Backward: true}), NewLossCache[float32](batch, 10)
			net.Gradients(whole, loss, c, images, labels)
			want := results(whole, c)
			for _, threads := range []int{2, 3, 8} {
				trace, c := net.NewTrace(TraceOptions{Batch: batch, Backward: true, Threads: threads}), NewLossCache[float32](batch, 10)
				least, most := batch, 0
				for pass := range 14 {
					net.Gradients(trace, loss, c, images, labels)
					for i, values := range results(trace, c) {
						if !slices.Equal(values, want[i]) {
							t.Fatalf("%d columns, batch %d, %d threads, pass %d: result %d differs", width, batch, threads, pass, i)
						}
					}
					r, next := trace.rows, 0
					for i := range threads {
						lo, hi := r.pairs.Rows(i, threads)
						if lo != next {
							t.Fatalf("batch %d, %d threads, pass %d: rows of thread %d begin with %d, want %d", batch, threads, pass, i, lo, next)
						}
						next = hi
					}
					if next != batch {
						t.Fatalf("batch %d, %d threads, pass %d: rows end with %d", batch, threads, pass, next)
					}
					_, hi := r.pairs.Rows(0, threads)
					least, most = min(least, hi), max(most, hi)
					for i := 0; i < threads; i += 2 { // on top of what the pass says
						r.pairs.Move(i, 8-16*(pass/7))
					}
				}
				_, before := trace.rows.pairs.Rows(0, threads)
				trace.SetAlone(true)
				net.Gradients(trace, loss, c, images, labels)
				trace.SetAlone(false)
				net.Gradients(trace, loss, c, images, labels)
				for i, values := range results(trace, c) {
					if !slices.Equal(values, want[i]) {
						t.Fatalf("%d columns, batch %d, %d threads, after a pass of one: result %d differs", width, batch, threads, i)
					}
				}
				if _, hi := trace.rows.pairs.Rows(0, threads); max(hi-before, before-hi) > 8 {
					t.Errorf("batch %d, %d threads: thread 0 has %d rows after a pass of one, %d before", batch, threads, hi, before)
				}
				if moves := batch <= 64*threads; moves != (most-least >= 8) {
					t.Errorf("batch %d, %d threads: thread 0 has had %d to %d rows, may move: %v", batch, threads, least, most, moves)
				}
			}
		}
	}
}

// examples returns images, half of whose pixels are 0, and labels.
func examples(batch int) (images matrix.Pixels, labels []byte) {
	s := random.New(2, "images")
	images, labels = matrix.Pixels{Data: make([]byte, batch*784), Cols: 784, Index: make([]int32, batch)}, make([]byte, batch)
	for i := range images.Data {
		images.Data[i] = byte(s.IntN(256) * s.IntN(2))
	}
	for i := range labels {
		images.Index[i], labels[i] = int32(i), byte(s.IntN(10))
	}
	return images, labels
}

// A thread that is behind again and again gives rows to its partner, and one whose partner is,
// takes some; one that was late once, for whatever time, does neither.
func TestWhenRowsMove(t *testing.T) {
	net, err := Build[float32](Architecture{Input: 784, Layers: []LayerSpec{{Kind: KindDense, Units: 20}, {Kind: KindDense, Units: 10}}})
	if err != nil {
		t.Fatal(err)
	}
	images, labels := examples(128)
	type pass struct{ first, second time.Duration } // when the two end, in µs; both begin with their rows at 36
	again := func(n int, p pass) (all []pass) {
		for range n {
			all = append(all, p)
		}
		return all
	}
	for _, test := range []struct {
		name   string
		passes []pass
		want   int // rows of the first
	}{
		{"even", again(50, pass{100, 100}), 64},
		{"nearly even", again(50, pass{96, 104}), 64},
		{"the second is behind", again(4, pass{90, 110}), 72},
		{"the first is behind", again(4, pass{110, 90}), 56},
		{"the second is behind for long, whatever is moved", again(100, pass{90, 120}), 96},
		{"the first is behind for long, whatever is moved", again(100, pass{120, 90}), 32},
		{"the second has been kept once", append(again(3, pass{100, 100}), pass{100, 5000}), 64},
		{"by turns", slices.Concat(again(1, pass{100, 120}), again(1, pass{120, 100}), again(1, pass{100, 120}), again(1, pass{120, 100})), 64},
		{"the caller alone", again(50, pass{0, 0}), 64},
		{"a thread without rows", again(50, pass{100, 0}), 64},
	} {
		trace := net.NewTrace(TraceOptions{Batch: 128, Backward: true, Threads: 2})
		r := trace.rows
		net.Gradients(trace, CrossEntropy[float32]{}, NewLossCache[float32](128, 10), images, labels)
		if _, hi := r.pairs.Rows(0, 2); hi != 64 {
			t.Fatalf("the first thread begins with %d rows of 128", hi)
		}
		r.threads[0].behind = 0
		for _, p := range test.passes {
			lo, hi := 0, 0
			for i, ended := range []time.Duration{p.first, p.second} {
				thread := &r.threads[i]
				thread.began, thread.ended = 36*time.Microsecond, ended*time.Microsecond
				lo, hi = r.pairs.Rows(i, 2)
				thread.share.lo, thread.share.hi = lo, hi
			}
			r.end()
		}
		if _, hi := r.pairs.Rows(0, 2); hi != test.want {
			t.Errorf("%s: the first thread has %d rows, want %d", test.name, hi, test.want)
		}
	}
}
