//go:build linux || darwin

package kernel

import (
	"math/rand/v2"
	"syscall"
	"testing"
	"unsafe"

	"glassnet/matrix"
)

// fence hands out memory that ends, or begins, at a page that may not be touched:
// a read or write beyond it kills the test.
type fence struct {
	t       *testing.T
	page    int
	atStart bool
}

// fenced returns a copy of v in such memory.
func fenced[E any](f fence, v []E) []E {
	var e E
	bytes := len(v) * int(unsafe.Sizeof(e))
	room := (bytes + f.page - 1) / f.page * f.page
	all, err := syscall.Mmap(-1, 0, room+2*f.page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { syscall.Munmap(all) })
	for _, forbidden := range [][]byte{all[:f.page], all[f.page+room:]} {
		if err := syscall.Mprotect(forbidden, syscall.PROT_NONE); err != nil {
			f.t.Fatal(err)
		}
	}
	if len(v) == 0 {
		return nil
	}
	first := f.page + room - bytes
	if f.atStart {
		first = f.page
	}
	w := unsafe.Slice((*E)(unsafe.Pointer(&all[first])), len(v))
	copy(w, v)
	return w
}

func testFences[T Float](t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	pools := []*Pool{nil, NewPool(2), NewPool(4)}
	for round := range 60 {
		m, k, n := 1+r.IntN(40), 1+r.IntN(150), 1+r.IntN(70)
		if r.IntN(4) == 0 {
			m = 100 + r.IntN(100) // lists of several threads are joined, and sums gone on with
		}
		if r.IntN(4) == 0 {
			n += worthStrips
		}
		if round%20 == 0 { // a large first factor is packed, and panels in groups
			m, k, n = 500+r.IntN(100), 300+r.IntN(60), 120+r.IntN(200)
		}
		f := fence{t, syscall.Getpagesize(), r.IntN(2) == 0}
		x, w, b, g := fenced(f, fill[T](r, m*k, 0.5)), fenced(f, fill[T](r, k*n, 0)), fenced(f, fill[T](r, n, 0)), fenced(f, fill[T](r, m*n, 0.5))
		pixels := images(r, m, k, 0.8)
		pixels = matrix.Pixels{Cols: k, Data: fenced(f, pixels.Data), Index: fenced(f, pixels.Index)}
		pixels.Index[0], pixels.Index[m-1] = 0, int32(m+1) // the first and the last image
		y, d, dx := fenced(f, make([]T, m*n)), fenced(f, make([]T, k*n)), fenced(f, make([]T, m*k))
		e := NewEngine[T](nil)
		e.MatMul(y, x, w, b, m, k, n)
		for range 2 {
			e.MatMulTransposed(d, x, g, m, k, n)
			s := &e.scratch[0]
			s.first, s.panel = fenced(f, s.first), fenced(f, s.panel)
		}
		e.MatMulByTransposed(dx, g, w, m, k, n)
		e.MatMulPixels(y, pixels, w, b, n)
		e.MatMulPixelsTransposed(d, pixels, g, n)
		pairs := NewEngine[T](pools[r.IntN(len(pools))]) // whose scratch ends at a page that may not be touched, too
		var l Pairs
		for range 2 {
			pairs.MatMulPairs(y, &l, pixels, w, b, n, nothing{}) // what follows a product is always shared
			pairs.MatMulPairsTransposed(d, &l, pixels, g, n)
			pairs.Collect(0.1)
			pairs.MatMulPairsTransposed(d, &l, pixels, g, n)
			pairs.Descend(w)
			pairs.MatMulTransposed(d, x, g, m, k, n)
			pairs.Descend(w)
			pairs.Finish()
			for h := range l.halves {
				l.ahead[h] = fenced(f, l.ahead[h])
				for i := range l.halves[h].blocks {
					b := &l.halves[h].blocks[i]
					b.entries, b.starts = fenced(f, b.entries), fenced(f, b.starts)
				}
			}
			for i := range pairs.scratch {
				s := &pairs.scratch[i]
				for h := range s.joined {
					s.joined[h].entries = fenced(f, s.joined[h].entries)
				}
				s.sums, s.panel, s.tile, s.trash = fenced(f, s.sums), fenced(f, s.panel), fenced(f, s.tile), fenced(f, s.trash)
			}
		}
		e.AddScaled(y, g, 2)
		e.Update(y, g, -0.1)
		e.SumSquares(y)
		e.ReLU(y, g, n)
		e.ReLUSlope(y, g, g, n)
		e.Divide(y, g, 3)
		sum, mean := fenced(f, make([]T, n)), fenced(f, make([]T, n))
		e.AddColumns(sum, g)
		e.AddSquares(sum, mean, g)
		e.AddProducts(sum, g, y)
		h := fenced(f, make([]T, m*n))
		e.Normalise(h, y, g, mean, sum, b, b)
		e.NormaliseSlope(y, g, h, mean, sum, b)
		e.Softmax(y, g, fenced(f, make([]T, m)), fenced(f, make([]int32, m)))
	}
}

func TestNothingIsTouchedBeyondTheSlices(t *testing.T) {
	underEachType(t, testFences[float32], testFences[float64])
}
