package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"glassnet/matrix"
)

// What is collected is computed by Finish, not before, and then has the bits of what is
// computed at once; what an interrupted collection has left is forgotten.
func TestCollectedSumsAreThoseComputedAtOnce(t *testing.T) {
	underEachType(t, testCollection[float32], testCollection[float64])
}

func testCollection[T Float](t *testing.T) {
	r := rand.New(rand.NewPCG(61, 62))
	const m = 128
	widths := []int{784, 128, 70, 7, 10} // of the last layers only some are worth splitting
	pixels := images(r, m, widths[0], 0.8)
	gradients := func(e *Engine[T], x, g [][]T) (results [][]T) {
		var l Pairs
		e.MatMulPairs(make([]T, m*widths[1]), &l, pixels, make([]T, widths[0]*widths[1]), nil, widths[1], nil)
		for layer := len(widths) - 2; layer >= 0; layer-- {
			k, n := widths[layer], widths[layer+1]
			d, b := fill[T](r, k*n, 0), fill[T](r, n, 0) // a result replaces what was there
			results = append(results, d, b)
			if layer == 0 {
				e.MatMulPairsTransposed(d, &l, pixels, g[0], n)
			} else {
				e.MatMulTransposed(d, x[layer], g[layer], m, k, n)
			}
			e.SumColumns(b, g[layer])
		}
		return results
	}
	var x, g [][]T
	for layer, width := range widths {
		x = append(x, fill[T](r, m*width, 0.3))
		if layer > 0 {
			g = append(g, fill[T](r, m*width, 0.3))
		}
	}
	want := gradients(NewEngine[T](nil), x, g)
	for _, threads := range []int{1, 2, 3, 8} {
		e := NewEngine[T](NewPool(threads))
		for round, alone := range []bool{false, true, false} {
			e.Alone = alone
			e.Collect(0)
			abandoned := gradients(e, x, g)
			e.Collect(0)
			got := gradients(e, x, g)
			for i := range got {
				if slices.Equal(got[i], want[i]) {
					t.Errorf("%d threads, round %d: result %d is there before Finish", threads, round, i)
				}
			}
			var work []int
			for _, s := range e.collection.deques {
				work = append(work, s.work)
			}
			if slices.Max(work)-slices.Min(work) > worthSplitting {
				t.Errorf("%d threads, round %d: small sums of %v multiply-adds, want about as many for each", threads, round, work)
			}
			e.Finish()
			for i := range got {
				if !slices.Equal(got[i], want[i]) {
					t.Errorf("%d threads, round %d: result %d is not what is computed at once", threads, round, i)
				}
				if slices.Equal(abandoned[i], want[i]) {
					t.Errorf("%d threads, round %d: result %d of a collection that was begun again is computed", threads, round, i)
				}
			}
			if c := &e.collection; len(c.sums) > 0 || c.sums[:1][0].y != nil {
				t.Errorf("%d threads, round %d: the collection is kept", threads, round)
			}
			for i, v := range gradients(e, x, g) {
				if !slices.Equal(v, want[i]) {
					t.Errorf("%d threads, round %d: result %d is not computed at once after Finish", threads, round, i)
				}
			}
		}
	}
}

// A thread that is done with its own pieces does what others have not begun, and nothing that
// was done.
func TestThreadsTakeOverWhatOthersHaveNotBegun(t *testing.T) {
	r := rand.New(rand.NewPCG(65, 66))
	const m, k, n, threads = 128, 100, 64, 3
	x, g := fill[float32](r, m*k, 0.3), fill[float32](r, m*n, 0.3)
	want, wantColumns := make([]float32, k*n), make([]float32, n)
	e := NewEngine[float32](nil)
	e.MatMulTransposed(want, x, g, m, k, n)
	e.SumColumns(wantColumns, g)
	for late := range threads {
		e := NewEngine[float32](NewPool(threads))
		e.Collect(0)
		d, columns := make([]float32, k*n), make([]float32, n)
		e.MatMulTransposed(d, x, g, m, k, n)
		e.SumColumns(columns, g)
		if pieces := len(e.collection.deques[late].pieces); pieces < piecesEach {
			t.Fatalf("thread %d has %d pieces, want %d of the product", late, pieces, piecesEach)
		}
		for thread := range threads {
			if thread != late {
				e.collection.Part(thread, threads)
			}
		}
		if !slices.Equal(d, want) || !slices.Equal(columns, wantColumns) {
			t.Errorf("without thread %d a sum is missing", late)
		}
		clear(d)
		clear(columns)
		e.collection.Part(late, threads)
		if !slices.Equal(d, make([]float32, k*n)) || !slices.Equal(columns, make([]float32, n)) {
			t.Errorf("thread %d does again what was done", late)
		}
		e.Finish()
	}
}

func TestSumColumnsWantsWholeRows(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("7 values in 2 columns do not panic")
		}
	}()
	NewEngine[float32](nil).SumColumns(make([]float32, 2), make([]float32, 7))
}

// Parameters that follow their gradients have the bits of an update after all gradients, and
// the gradients are there.
func TestParametersFollowTheirGradients(t *testing.T) {
	underEachType(t, testDescent[float32], testDescent[float64])
}

func testDescent[T Float](t *testing.T) {
	r := rand.New(rand.NewPCG(63, 64))
	shapes := [][3]int{{128, 784, 128}, {128, 784, 20}, {300, 784, 70}, {129, 99, 7}, {1, 784, 33}, {64, 17, 1}, {200, 30, 140}, {0, 12, 5}}
	for range 12 / slowness {
		shapes = append(shapes, [3]int{1 + r.IntN(400), 1 + r.IntN(130), 1 + r.IntN(150)})
	}
	pools := map[int]*Pool{}
	for _, threads := range []int{1, 2, 3, 8} {
		pools[threads] = NewPool(threads)
	}
	for i, shape := range shapes {
		m, k, n := shape[0], shape[1], shape[2]
		const rate = 0.3
		hidden := 1 + r.IntN(90) // whole panels and parts of one, and some that end in half a register
		if widths := []int{12, 20, 6, 10, 36, 18, 43}; i < len(widths) {
			hidden = widths[i]
		}
		pixels := images(r, m, k, []float64{0.8, 0.99}[r.IntN(2)]) // pixels that are 0 in all images, too
		lit := -1                                                  // one that is not, in the last image if possible
		for i := range m {
			for p, v := range pixels.Row(i) {
				if v != 0 {
					lit = p
				}
			}
		}
		x, g, h := fill[T](r, m*n, 0.3), fill[T](r, m*n, 0.3), fill[T](r, m*hidden, 0.3)
		weights, biases, dense := fill[T](r, k*n, 0.1), fill[T](r, n, 0), fill[T](r, n*hidden, 0)
		for i, w := range weights {
			weights[i] = w + 0 // a -0 may stay where its gradient is 0
		}
		var l Pairs
		// descend returns parameters and gradients after a step, by Descend or by Update.
		descend := func(e *Engine[T], atOnce bool) (after [][]T, finite bool) {
			e.MatMulPairs(make([]T, m*n), &l, pixels, weights, nil, n, nothing{})
			values := [][]T{slices.Clone(weights), slices.Clone(biases), slices.Clone(dense)}
			grads := [][]T{fill[T](r, k*n, 0), fill[T](r, n, 0), fill[T](r, n*hidden, 0)}
			if atOnce {
				e.Collect(rate)
			}
			e.MatMulTransposed(grads[2], x, h, m, n, hidden)
			e.Descend(values[2])
			e.MatMulPairsTransposed(grads[0], &l, pixels, g, n)
			e.Descend(values[0])
			e.SumColumns(grads[1], g)
			e.Descend(values[1])
			finite = true
			if atOnce {
				finite = e.Finish()
			} else {
				for i, value := range values {
					finite = e.Update(value, grads[i], -rate) && finite
				}
			}
			return append(values, grads...), finite
		}
		for threads, pool := range pools {
			e := NewEngine[T](pool)
			spoil := []*T{nil, &biases[0], &dense[len(dense)/2]}
			if lit >= 0 {
				spoil = append(spoil, &weights[lit*n+n-1])
			}
			for _, one := range spoil {
				var before T
				if one != nil {
					before, *one = *one, T(math.Inf(1))
				}
				want, wantFinite := descend(e, false)
				got, finite := descend(e, true)
				if one != nil {
					*one = before
				}
				for i := range want {
					if !slices.Equal(bitsOf(got[i]), bitsOf(want[i])) {
						t.Fatalf("%v, %d threads: parameters or gradients %d differ", shape, threads, i)
					}
				}
				if finite != wantFinite || finite != (one == nil) {
					t.Fatalf("%v, %d threads: finite is %v, of an update %v", shape, threads, finite, wantFinite)
				}
			}
			if m > 0 {
				before := slices.Clone(g)
				for i := range g {
					g[i] = T(math.Inf(1))
				}
				descend(e, true)
				copy(g, before)
				if _, finite := descend(e, true); !finite {
					t.Fatalf("%v, %d threads: not finite after a step that was not", shape, threads)
				}
			}
			still := slices.Clone(weights)
			e.Collect(0)
			e.MatMulPairsTransposed(make([]T, k*n), &l, pixels, g, n)
			e.Descend(still)
			if !e.Finish() || !slices.Equal(still, weights) {
				t.Fatalf("%v, %d threads: without a rate parameters move", shape, threads)
			}
		}
	}
}

// Whether parameters are finite does not hang on what a product before has left behind.
func TestFiniteParametersAreSoWhateverWasBefore(t *testing.T) {
	underEachType(t, testLeftovers[float32], testLeftovers[float64])
}

func testLeftovers[T Float](t *testing.T) {
	r := rand.New(rand.NewPCG(67, 68))
	const m, k = 128, 20
	for n := 1; n < 20; n++ {
		e := NewEngine[T](nil)
		wide := slices.Repeat([]T{T(math.Inf(1))}, m*64)
		e.MatMulTransposed(make([]T, 64*64), wide, wide, m, 64, 64)
		pixels, g := images(r, m, k, 0.5), fill[T](r, m*n, 0)
		var l Pairs
		e.MatMulPairs(make([]T, m*n), &l, pixels, make([]T, k*n), nil, n, nil)
		e.Collect(0.1)
		e.MatMulPairsTransposed(make([]T, k*n), &l, pixels, g, n)
		e.Descend(make([]T, k*n))
		if !e.Finish() {
			t.Errorf("%d columns: a parameter is not finite, says Finish", n)
		}
		for wider := n + 1; wider <= 64; wider++ {
			x, infinite := fill[T](r, m*k, 0), slices.Repeat([]T{T(math.Inf(1))}, m*wider)
			e.Collect(0.1)
			e.MatMulTransposed(make([]T, k*wider), x, infinite, m, k, wider)
			e.Descend(make([]T, k*wider))
			e.Finish()
			e.Collect(0.1)
			e.MatMulTransposed(make([]T, k*n), x, g, m, k, n)
			e.Descend(make([]T, k*n))
			if !e.Finish() {
				t.Errorf("%d columns after %d: a parameter is not finite, says Finish", n, wider)
			}
		}
	}
}

func TestDescendWantsTheParameterOfTheGradient(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("3 values for a gradient of 2 do not panic")
		}
	}()
	e := NewEngine[float32](nil)
	e.Collect(1)
	e.SumColumns(make([]float32, 2), make([]float32, 8))
	e.Descend(make([]float32, 3))
}

// layers is a task that collects gradients, writes what they are of, its rows in each part,
// meets the others and computes them.
type layers[T Float] struct {
	e               *Engine[T]
	l               *Pairs
	pixels          matrix.Pixels
	x, g, known     []T // known is what its parts copy to g
	d, values       [3][]T
	k, n            int
	rate            T
	stays           bool
	slow, idle      int // parts that others wait for, and that others take pieces of; below 0: none
	early, prepared atomic.Bool
	parts           atomic.Int32
}

// collect describes the gradients.
func (s *layers[T]) collect(rate T) {
	s.e.Collect(rate)
	s.e.MatMulPairsTransposed(s.d[0], s.l, s.pixels, s.g, s.n)
	s.e.Descend(s.values[0])
	s.e.MatMulTransposed(s.d[1], s.x, s.g, len(s.g)/s.n, s.k, s.n)
	s.e.Descend(s.values[1])
	s.e.SumColumns(s.d[2], s.g)
	s.e.Descend(s.values[2])
}

func (s *layers[T]) Begin() {
	s.collect(s.rate)
	s.e.Close()
}

func (s *layers[T]) Part(i, parts int) {
	s.parts.Store(int32(parts))
	if s.slow == i {
		time.Sleep(time.Millisecond) // the others come to the meeting first
	}
	lo, hi := s.l.Rows(i, parts)
	copy(s.g[lo*s.n:hi*s.n], s.known[lo*s.n:])
	s.e.Meet(i, parts)
	if !slices.Equal(s.g, s.known) {
		s.early.Store(true)
	}
	if s.e.scratch[i].prepared.of != nil {
		s.prepared.Store(true)
	}
	if s.idle == i {
		time.Sleep(time.Millisecond) // the others take over what it has
	}
	if s.stays {
		s.e.Stay()
	}
	s.e.Compute(i, parts)
}

// Gradients that the threads of a product go on with are those that are collected behind it,
// and parameters follow them or stay.
func TestCollectionInATask(t *testing.T) {
	underEachType(t, testCollectionInATask[float32], testCollectionInATask[float64])
}

func testCollectionInATask[T Float](t *testing.T) {
	r := rand.New(rand.NewPCG(71, 72))
	for _, threads := range []int{1, 2, 3, 8} {
		e, l := NewEngine[T](NewPool(threads)), new(Pairs)
		for _, shape := range [][3]int{{128, 300, 20}, {130, 301, 70}, {128, 300, 128}, {20, 300, 5}, {500, 100, 40}} {
			m, k, n := shape[0], shape[1], shape[2]
			for pass := range 5 {
				s := &layers[T]{
					e: e, l: l, pixels: images(r, m, k, 0.8), x: fill[T](r, m*k, 0), g: make([]T, m*n), known: fill[T](r, m*n, 0),
					k: k, n: n, rate: 0.5, stays: pass == 2, slow: pass - 1, idle: pass - 3,
				}
				for i, size := range []int{k * n, k * n, n} {
					s.d[i], s.values[i] = fill[T](r, size, 0), fill[T](r, size, 0)
				}
				w := fill[T](r, k*n, 0)
				want := &layers[T]{e: NewEngine[T](nil), l: new(Pairs), pixels: s.pixels, x: s.x, g: s.known, k: k, n: n}
				for i := range s.d {
					want.d[i], want.values[i] = make([]T, len(s.d[i])), slices.Clone(s.values[i])
				}
				want.e.MatMulPairs(make([]T, m*n), want.l, s.pixels, w, nil, n, nil)
				if s.stays {
					want.collect(0)
				} else {
					want.collect(s.rate)
				}
				want.e.Finish()

				e.MatMulPairs(make([]T, m*n), l, s.pixels, w, nil, n, s)
				if !e.Joined() {
					t.Errorf("%d threads, %v, pass %d: finite parameters are said not to be", threads, shape, pass)
				}
				if s.early.Load() {
					t.Errorf("%d threads, %v, pass %d: a part went on before all had come", threads, shape, pass)
				}
				if prepares := e.prepare != nil && s.parts.Load() == 2 && l.parted && m <= inGroup; prepares != s.prepared.Load() {
					t.Errorf("%d threads, %v, pass %d: pairs were found before all had come: %v, want %v", threads, shape, pass, !prepares, prepares)
				}
				for i := range s.d {
					if !slices.Equal(s.d[i], want.d[i]) {
						t.Errorf("%d threads, %v, pass %d: gradient %d differs", threads, shape, pass, i)
					}
					if !slices.Equal(s.values[i], want.values[i]) {
						t.Errorf("%d threads, %v, pass %d: parameter %d differs", threads, shape, pass, i)
					}
				}
				l.Move(0, 8) // the lists that were prepared are not those of the next pass
			}
		}
	}
}
