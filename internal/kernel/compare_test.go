package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"glassnet/matrix"
)

// images draws m images of k pixels in an order with repetitions; every value of
// a byte comes up.
func images(r *rand.Rand, m, k int, zeros float64) matrix.Pixels {
	p := matrix.Pixels{Cols: k, Data: make([]byte, (m+2)*k), Index: make([]int32, m)}
	for i := range p.Data {
		if r.Float64() >= zeros {
			p.Data[i] = byte(r.IntN(256))
		}
	}
	for i := range p.Index {
		p.Index[i] = int32(r.IntN(m + 2))
	}
	// What stands behind is only likely the next batch; it may be anything.
	p.Index = append(p.Index, slices.Repeat([]int32{0, -1, math.MaxInt32, math.MinInt32, 1}, r.IntN(m/2+2))...)[:m]
	return p
}

// results computes every product of one shape by the implementation in use.
func results[T Float](e *Engine[T], x, w, b, g []T, pixels matrix.Pixels, m, k, n int) map[string][]T {
	dirty := func(n int) []T { return slices.Repeat([]T{7}, n) } // a result replaces what was there
	all := map[string][]T{
		"MatMul": dirty(m * n), "MatMul without bias": dirty(m * n), "MatMulTransposed": dirty(k * n),
		"MatMulByTransposed": dirty(m * k), "MatMulPixels": dirty(m * n), "MatMulPixelsTransposed": dirty(k * n),
		"MatMulPairs": dirty(m * n), "MatMulPairsTransposed": dirty(k * n),
	}
	e.MatMul(all["MatMul"], x, w, b, m, k, n)
	e.MatMul(all["MatMul without bias"], x, w, nil, m, k, n)
	e.MatMulTransposed(all["MatMulTransposed"], x, g, m, k, n)
	e.MatMulByTransposed(all["MatMulByTransposed"], g, w, m, k, n)
	e.MatMulPixels(all["MatMulPixels"], pixels, w, b, n)
	e.MatMulPixelsTransposed(all["MatMulPixelsTransposed"], pixels, g, n)
	var l Pairs
	e.MatMulPairs(all["MatMulPairs"], &l, pixels, w, b, n, nil)
	e.MatMulPairsTransposed(all["MatMulPairsTransposed"], &l, pixels, g, n)
	return all
}

func testAgainstPortable[T Float](t *testing.T, shapes int) {
	sizes := []int{0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 12, 13, 15, 16, 17, 18, 20, 24, 25, 31, 32, 33, 36, 40, 48, 63, 64, 65, 100, 128, 129}
	r := rand.New(rand.NewPCG(11, 12))
	pool := NewPool(3)
	// One engine each for all shapes: what a product leaves in the scratch must not harm
	// the next, of another shape.
	engines := map[string][]*Engine[T]{}
	for _, name := range Names() {
		if err := Use(name); err != nil {
			t.Fatal(err)
		}
		engines[name] = []*Engine[T]{NewEngine[T](nil), NewEngine[T](pool)}
	}
	for range shapes {
		m, k, n := sizes[r.IntN(len(sizes))], sizes[r.IntN(len(sizes))], sizes[r.IntN(len(sizes))]
		switch r.IntN(20) {
		case 0:
			k = 2000 + r.IntN(3000)
		case 1:
			m, k = min(m, 20), 1024
		case 2:
			n, k = 256*(1+r.IntN(3)), 256
		case 3:
			m, k, n = r.IntN(3), 20000+r.IntN(20000), r.IntN(20)
		case 4:
			m, k, n = r.IntN(14), r.IntN(20), 2000+r.IntN(3000)
		case 5:
			m, k, n = 1000+r.IntN(1000), r.IntN(40), r.IntN(20)
		case 6:
			m, k, n = r.IntN(40), r.IntN(40), []int{72, worthStrips - 1, worthStrips, worthStrips + 1}[r.IntN(4)]
		}
		zeros := []float64{0, 0.5, 0.81, 1}[r.IntN(4)]
		odd := func(v []T) []T { // as v, but on an odd address
			at := 1 + r.IntN(7)
			return append(make([]T, at, at+len(v)), v...)[at:]
		}
		x, w, b, g := odd(fill[T](r, m*k, zeros)), odd(fill[T](r, k*n, 0.1)), odd(fill[T](r, n, 0)), odd(fill[T](r, m*n, zeros))
		if r.IntN(10) == 0 { // products too small for a number: -0 is stored as +0
			for _, v := range [][]T{w, g} {
				for i := range v {
					v[i] *= T(math.Ldexp(1, -1070))
					if v[i] == 0 {
						v[i] = -T(math.SmallestNonzeroFloat32)
					}
				}
			}
		}
		pixels := images(r, m, k, zeros)
		if err := Use("portable"); err != nil {
			t.Fatal(err)
		}
		want := results(NewEngine[T](nil), x, w, b, g, pixels, m, k, n)
		for _, name := range Names() {
			for _, e := range engines[name] {
				for what, got := range results(e, x, w, b, g, pixels, m, k, n) {
					gotBits, wantBits := bitsOf(got), bitsOf(want[what])
					if !slices.Equal(gotBits, wantBits) {
						i := 0
						for gotBits[i] == wantBits[i] {
							i++
						}
						t.Fatalf("%s of m, k, n = %d, %d, %d with %.0f %% zeros, %s, %d threads: element %d = %v, portable %v",
							what, m, k, n, 100*zeros, name, e.pool.Threads(), i, got[i], want[what][i])
					}
				}
			}
		}
	}
}

// Matrices that no second-level cache holds beside a panel are packed in other ways.
func testLargeAgainstPortable[T Float](t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	shapes := [][3]int{{300, 500, 130}, {120, 1500, 96}, {301, 99, 501}, {1029, 131, 161}, {8, 20000, 97}}
	for _, s := range shapes[:len(shapes)/slowness] {
		m, k, n := s[0], s[1], s[2]
		x, w, b, g := fill[T](r, m*k, 0.1), fill[T](r, k*n, 0.1), fill[T](r, n, 0), fill[T](r, m*n, 0.1)
		of := func(e *Engine[T]) [3][]T {
			y, d, dx := make([]T, m*n), make([]T, k*n), make([]T, m*k)
			e.MatMul(y, x, w, b, m, k, n)
			e.MatMulTransposed(d, x, g, m, k, n)
			e.MatMulByTransposed(dx, g, w, m, k, n)
			return [3][]T{y, d, dx}
		}
		if err := Use("portable"); err != nil {
			t.Fatal(err)
		}
		want := of(NewEngine[T](nil))
		for _, name := range Names() {
			if err := Use(name); err != nil {
				t.Fatal(err)
			}
			for _, threads := range []int{1, 2} {
				for i, got := range of(NewEngine[T](NewPool(threads))) {
					if !slices.Equal(bitsOf(got), bitsOf(want[i])) {
						t.Errorf("product %d of m, k, n = %v, %s, %d threads: other bits than portable", i, s, name, threads)
					}
				}
			}
		}
	}
}

func TestEveryImplementationGivesThePortableBits(t *testing.T) {
	defer Use("")
	shapes := 1000
	if testing.Short() {
		shapes = 100 / slowness
	}
	t.Run("float32", func(t *testing.T) { testAgainstPortable[float32](t, shapes) })
	t.Run("float64", func(t *testing.T) { testAgainstPortable[float64](t, shapes) })
	t.Run("large float32", testLargeAgainstPortable[float32])
	t.Run("large float64", testLargeAgainstPortable[float64])
}

// The error bound of a sum made term by term (Higham, Accuracy and Stability of
// Numerical Algorithms, 2002, section 3.1): |ŷ - y| <= γ Σ |x·w|, γ = k·u/(1 - k·u).
func TestErrorBound(t *testing.T) {
	underEach(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(41, 42))
		for range 20 {
			m, k, n := 1+r.IntN(5), 1+r.IntN(5000), 1+r.IntN(40)
			x, w, y := fill[float32](r, m*k, 0.3), fill[float32](r, k*n, 0), make([]float32, m*n)
			NewEngine[float32](nil).MatMul(y, x, w, nil, m, k, n)
			gamma := float64(k) * 0x1p-24 / (1 - float64(k)*0x1p-24)
			for i := range m {
				for j := range n {
					var exact, size float64 // products of float32 are exact in float64, and its sums nearly so
					for p := range k {
						term := float64(x[i*k+p]) * float64(w[p*n+j])
						exact += term
						size += math.Abs(term)
					}
					if got := float64(y[i*n+j]); !(math.Abs(got-exact) <= gamma*size) {
						t.Fatalf("element (%d, %d) of inner %d is %v, want %v within %v", i, j, k, got, exact, gamma*size)
					}
				}
			}
		}
	})
}

func BenchmarkPixels(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 6))
	const m, k = 128, 784
	pixels := images(r, m, k, 0.81)
	for _, n := range []int{20, 128, 512} {
		w, y, g, d := fill[float32](r, k*n, 0), make([]float32, m*n), fill[float32](r, m*n, 0), make([]float32, k*n)
		for _, threads := range []int{1, 2} {
			e := NewEngine[float32](NewPool(threads))
			b.Run(fmt.Sprintf("forward%d/threads=%d", n, threads), func(b *testing.B) {
				for b.Loop() {
					e.MatMulPixels(y, pixels, w, nil, n)
				}
			})
			b.Run(fmt.Sprintf("gradient%d/threads=%d", n, threads), func(b *testing.B) {
				for b.Loop() {
					e.MatMulPixelsTransposed(d, pixels, g, n)
				}
			})
		}
	}
}
