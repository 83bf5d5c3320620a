package kernel

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"

	"glassnet/matrix"
)

// The lists of every implementation, read back, are the images.
func TestPairsListTheImages(t *testing.T) {
	underEach(t, func(t *testing.T) {
		if Name() == "portable" {
			return // it needs none
		}
		r := rand.New(rand.NewPCG(51, 52))
		pools := []*Pool{NewPool(2), NewPool(3), NewPool(4)}
		for range 400 {
			pool := pools[r.IntN(len(pools))]
			m, k := r.IntN(300), 1+r.IntN(70)
			if r.IntN(3) == 0 {
				m = []int{33, 39, 97, 100, 103, 104}[r.IntN(6)] // the last thread has few of them
			}
			if r.IntN(4) == 0 {
				k += 300 // several threads list
			}
			half := []int{0, firstHalf[float32](k)}[r.IntN(2)]
			pixels := images(r, m, k, []float64{0, 0.5, 0.81, 1}[r.IntN(4)])
			e := NewEngine[float32](pool)
			var l Pairs
			l.begin(m, k, half, pool.Threads(), pool)
			for part := range pool.Threads() {
				l.Move(part, 8*r.IntN(5)-16)
			}
			e.list(&l, pixels)
			got := make([]byte, m*k)
			for _, h := range l.lists() {
				for block, b := range h.blocks {
					for q := range h.pairs() {
						list := b.entries[b.starts[2*q]:b.starts[2*q+2]]
						if !slices.IsSorted(list) {
							t.Fatalf("the images of pair %d of block %d of %d images of %d pixels are not in order", q, block, m, k)
						}
						second := uint32(l.first(block*l.sides) + l.height*l.sides) // image of the second side, or behind the last
						if l.sides > 1 && block*l.sides+1 < l.count {
							second = uint32(l.first(block*l.sides + 1))
						}
						if got, want := int(b.starts[2*q+1]-b.starts[2*q]), numberBefore(list, second<<imageShift); got != want {
							t.Fatalf("pair %d of block %d of %d images of %d pixels has %d of %d entries in its first side, want %d", q, block, m, k, got, len(list), want)
						}
						for _, e := range list {
							i, p := block*l.sides/l.group()*l.group()*l.height+int(e>>imageShift), h.lo+2*q
							got[i*k+p] = byte(e)
							if p+1 < h.hi {
								got[i*k+p+1] = byte(e >> 8)
							}
							if e&0xffff == 0 || p+1 == h.hi && e>>8&0xff != 0 {
								t.Fatalf("pixel %d and the next of image %d of %d pixels have the entry %#x", p, i, k, e)
							}
						}
					}
				}
			}
			for i := range m {
				if !slices.Equal(got[i*k:(i+1)*k], pixels.Row(i)) {
					t.Fatalf("image %d of %d, of %d pixels, is listed as %v, want %v", i, m, k, got[i*k:(i+1)*k], pixels.Row(i))
				}
			}
		}
	})
}

func numberBefore(list []uint32, entry uint32) int {
	n, _ := slices.BinarySearch(list, entry)
	return n
}

// rowsSeen notes which rows of a product its parts find computed.
type rowsSeen struct {
	l       *Pairs
	y, want []float32
	n       int
	seen    []int // by row, as often; parts write to different rows
}

func (s *rowsSeen) Begin() {}

func (s *rowsSeen) Part(i, parts int) {
	lo, hi := s.l.Rows(i, parts)
	for r := lo; r < hi; r++ {
		if slices.Equal(s.y[r*s.n:(r+1)*s.n], s.want[r*s.n:(r+1)*s.n]) {
			s.seen[r]++
		}
	}
}

// What follows a product finds the rows that its part has, once, whatever they are.
func TestThenFindsTheRowsOfItsPart(t *testing.T) {
	underEach(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(53, 54))
		for _, threads := range []int{1, 2, 3, 4, 8} {
			e := NewEngine[float32](NewPool(threads))
			for _, shape := range [][2]int{{1, 130}, {33, 130}, {63, 130}, {97, 130}, {104, 130}, {64, 20}, {64, 130}, {100, 20}, {100, 130}, {128, 20}, {128, 130}, {129, 20}, {129, 130}, {400, 20}, {500, 130}} {
				const k = 200
				m, n := shape[0], shape[1]
				pixels := images(r, m, k, 0)
				w := fill[float32](r, k*n, 0)
				want := make([]float32, m*n)
				NewEngine[float32](nil).MatMulPairs(want, new(Pairs), pixels, w, nil, n, nil)
				l := new(Pairs)
				s := &rowsSeen{l, make([]float32, m*n), want, n, make([]int, m)}
				for pass := range 4 {
					clear(s.y)
					clear(s.seen)
					e.MatMulPairs(s.y, l, pixels, w, nil, n, s)
					if slices.Min(s.seen) != 1 || slices.Max(s.seen) != 1 {
						t.Errorf("%d threads, %d rows of %d, pass %d: seen %v times", threads, m, n, pass, s.seen)
					}
					l.Move(r.IntN(threads), 8*r.IntN(9)-32)
					for i := range threads {
						if lo, hi := l.Rows(i, threads); lo == hi && i*l.height < m {
							t.Errorf("%d threads, %d rows: thread %d has none left", threads, m, i)
						}
					}
				}
			}
		}
	})
}

// Whichever partner is late, sums that are kept for its own are finished with them: those of
// a few columns and of more than there is room for.
func TestSumsAwaitThoseOfALatePartner(t *testing.T) {
	underEach(t, func(t *testing.T) {
		if Name() == "portable" {
			return // its threads have no partners
		}
		r := rand.New(rand.NewPCG(61, 62))
		const k = 200
		for _, shape := range [][2]int{{128, 20}, {128, 100}, {128, 300}, {128, 1500}, {2400, 20}, {121, 484}, {124, 516}} {
			m, n := shape[0], shape[1]
			pixels, w, bias := images(r, m, k, 0.5), fill[float32](r, k*n, 0), fill[float32](r, n, 0)
			want := make([]float32, m*n)
			NewEngine[float32](nil).MatMulPairs(want, new(Pairs), pixels, w, bias, n, nil)
			e, l := NewEngine[float32](NewPool(2)), new(Pairs)
			l.begin(m, k, firstHalf[float32](k), 2, e.pool)
			for late := range 2 {
				for _, moved := range []int{0, 24, -32} {
					l.Move(0, moved)
					y := make([]float32, m*n)
					p := &e.product
					p.set(pairsForward, y, nil, w, bias, m, k, n)
					p.pixels, p.pairs = pixels, l
					done := make(chan bool)
					go func() {
						e.Part(1-late, 2)
						done <- true
					}()
					time.Sleep(5 * time.Millisecond)
					e.Part(late, 2)
					<-done
					if !slices.Equal(y, want) {
						t.Errorf("%d images, %d columns, part %d late, %d images moved: the product differs from one thread's", m, n, late, moved)
					}
				}
				l.Move(0, 8)
			}
		}
	})
}

// inHalves computes what MatMulPairs does from numbers.
func inHalves[T Float](e *Engine[T], y, x, w, b []T, m, k, n int) {
	h := firstHalf[T](k)
	var upper, lower []T
	for i := range m {
		upper = append(upper, x[i*k:i*k+h]...)
		lower = append(lower, x[i*k+h:(i+1)*k]...)
	}
	second := make([]T, m*n)
	e.MatMul(y, upper, w[:h*n], nil, m, h, n)
	e.MatMul(second, lower, w[h*n:], nil, m, k-h, n)
	for i, v := range second {
		y[i] += v
		if b != nil {
			y[i] += b[i%n]
		}
	}
}

// A batch after a larger or smaller one gets lists of its own.
func TestPairsAreMadeAnew(t *testing.T) {
	underEachType(t, testPairsAreMadeAnew[float32], testPairsAreMadeAnew[float64])
}

func testPairsAreMadeAnew[T Float](t *testing.T) {
	r := rand.New(rand.NewPCG(55, 56))
	for _, threads := range []int{1, 2, 3, 4, 8} {
		for _, shape := range [][2]int{{50, 20}, {501, 70}, {701, 20}} { // the last two are split
			k, n := shape[0], shape[1]
			e, w, bias := NewEngine[T](NewPool(threads)), fill[T](r, k*n, 0), fill[T](r, n, 0)
			var kept Pairs
			for _, m := range []int{200, 3, 64, 0, 130} {
				pixels, g := images(r, m, k, 0.8), fill[T](r, m*n, 0)
				y, d, wantY, wantD := make([]T, m*n), make([]T, k*n), make([]T, m*n), make([]T, k*n)
				e.MatMulPairs(y, &kept, pixels, w, bias, n, nil)
				kept.Move(0, 16)
				e.MatMulPairs(y, &kept, pixels, w, bias, n, nil)
				e.MatMulPairsTransposed(d, &kept, pixels, g, n)
				x := matrix.New[T](m, k)
				matrix.Unpack(x, pixels)
				inHalves(e, wantY, x.Data, w, bias, m, k, n)
				e.MatMulTransposed(wantD, x.Data, g, m, k, n)
				if !slices.Equal(y, wantY) || !slices.Equal(d, wantD) {
					t.Errorf("%d threads, a batch of %d after others, %d pixels, %d columns: products differ from those of numbers", threads, m, k, n)
				}
			}
		}
	}
}

// Lists of another shape would be read beyond their end.
func TestListsOfAnotherShapePanic(t *testing.T) {
	underEach(t, func(t *testing.T) {
		e, pixels := NewEngine[float32](nil), images(rand.New(rand.NewPCG(57, 58)), 6, 10, 0.5)
		var l Pairs
		e.MatMulPairs(make([]float32, 6*4), &l, pixels, make([]float32, 10*4), nil, 4, nil)
		pixels.Cols, pixels.Index = 20, pixels.Index[:3] // as many pixels
		defer func() {
			if got, want := recover(), "kernel.MatMulPairsTransposed: lists of 6 images of 10 pixels for 3 of 20"; got != want {
				t.Errorf("panic %v, want %q", got, want)
			}
		}()
		e.MatMulPairsTransposed(make([]float32, 20*4), &l, pixels, make([]float32, 3*4), 4)
	})
}

// A product that panicked, and was recovered from, leaves nothing to the next one.
func TestEngineAfterPanic(t *testing.T) {
	e := NewEngine[float32](nil)
	then := &panics{}
	func() {
		defer func() { recover() }()
		var l Pairs
		e.MatMulPairs(make([]float32, 2), &l, matrix.Pixels{Cols: 2, Data: make([]byte, 4), Index: []int32{0, 1}}, make([]float32, 2), nil, 1, then)
	}()
	y := make([]float32, 1)
	e.MatMul(y, []float32{2}, []float32{3}, nil, 1, 1, 1)
	if y[0] != 6 || then.calls != 1 {
		t.Errorf("2·3 = %v, and what followed the product before was done %d times, want once", y[0], then.calls)
	}
}

type panics struct{ calls int }

func (p *panics) Begin() {}

func (p *panics) Part(int, int) {
	p.calls++
	panic("on purpose")
}

// The assembly knows where the fields of pairRow and pairBlock are (_gen/pairs.go, neon.go).
func TestFieldsAreWhereTheAssemblyLooks(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) != 8 {
		t.Skip("assembly is for pointers of 8 bytes")
	}
	var r pairRow[float32]
	var b pairBlock
	got := []uintptr{
		unsafe.Offsetof(r.d0), unsafe.Offsetof(r.d1), unsafe.Offsetof(r.entries), unsafe.Offsetof(r.count), unsafe.Offsetof(r.w0), unsafe.Offsetof(r.w1), unsafe.Sizeof(r),
		unsafe.Offsetof(b.entries), unsafe.Offsetof(b.starts), unsafe.Sizeof(b),
	}
	if want := []uintptr{0, 8, 16, 24, 32, 40, 48, 0, 24, 48}; !slices.Equal(got, want) {
		t.Errorf("fields at %v, want %v", got, want)
	}
}

// nothing is a task with nothing to do.
type nothing struct{}

func (nothing) Begin() {}

func (nothing) Part(int, int) {}
