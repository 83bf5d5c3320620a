package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
	"unsafe"
)

// bitsOf returns the bits of v, so that -0 differs from +0, and the same for all NaN.
func bitsOf[T Float](v []T) []uint64 {
	b := make([]uint64, len(v))
	for i, x := range v {
		if b[i] = math.Float64bits(float64(x)); x != x {
			b[i] = math.Float64bits(math.NaN())
		}
	}
	return b
}

// special draws numbers of all kinds, of which few are special.
func special[T Float](r *rand.Rand, n int) []T {
	v := fill[T](r, n, 0.2)
	var t T
	tiny := T(math.SmallestNonzeroFloat64)
	if unsafe.Sizeof(t) == 4 {
		tiny = T(math.SmallestNonzeroFloat32)
	}
	kinds := []T{T(math.NaN()), T(math.Inf(1)), T(math.Inf(-1)), T(math.Copysign(0, -1)), tiny, -tiny, 1e30, -1e30}
	for i := range v {
		if r.IntN(40) == 0 {
			v[i] = kinds[r.IntN(len(kinds))]
		}
	}
	return v
}

func testLoops[T Float](t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	reference := plain[T]()
	table := Of[T]()
	for range 400 {
		rows, cols := r.IntN(20), 1+r.IntN(70)
		n := rows * cols
		draw := fill[T]
		if r.IntN(2) == 0 {
			draw = func(r *rand.Rand, n int, _ float64) []T { return special[T](r, n) }
		}
		x, g, h := draw(r, n, 0.3), draw(r, n, 0.3), draw(r, n, 0.3)
		a, b, c, d := draw(r, cols, 0), draw(r, cols, 0), draw(r, cols, 0), draw(r, cols, 0)
		factor := T(r.Float64() - 0.5)
		compare := func(name string, run func(l loops[T], out, second []T) any) {
			t.Helper()
			var outs [2][]T
			var seconds [2][]T
			var values [2]any
			for i, l := range []loops[T]{reference, table.loops} {
				outs[i], seconds[i] = slices.Clone(x), slices.Clone(a)
				values[i] = run(l, outs[i], seconds[i])
			}
			if !slices.Equal(bitsOf(outs[0]), bitsOf(outs[1])) || !slices.Equal(bitsOf(seconds[0]), bitsOf(seconds[1])) || values[0] != values[1] {
				for i, v := range outs[0] {
					if got := outs[1][i]; got != v && (got == got || v == v) {
						t.Errorf("element %d is %v, plain Go %v", i, got, v)
					}
				}
				t.Fatalf("%s of [%d, %d]: %v %v, plain Go %v %v", name, rows, cols, seconds[1], values[1], seconds[0], values[0])
			}
		}
		compare("Update", func(l loops[T], out, _ []T) any { return l.Update(out, g, factor) })
		compare("SumSquares", func(l loops[T], out, _ []T) any { return bitsOf([]float64{l.SumSquares(out)})[0] })
		compare("ReLU", func(l loops[T], out, _ []T) any { l.ReLU(out, g); return nil })
		compare("ReLUSlope", func(l loops[T], out, _ []T) any { l.ReLUSlope(out, g, h); return nil })
		compare("AddColumns", func(l loops[T], _, sum []T) any { l.AddColumns(sum, g); return nil })
		compare("AddSquares", func(l loops[T], _, sum []T) any { l.AddSquares(sum, b, g); return nil })
		compare("AddProducts", func(l loops[T], _, sum []T) any { l.AddProducts(sum, g, h); return nil })
		compare("Normalise", func(l loops[T], out, _ []T) any {
			y := make([]T, n)
			l.Normalise(out, y, g, a, b, c, d)
			return fmt.Sprint(bitsOf(y))
		})
		compare("NormaliseSlope", func(l loops[T], out, _ []T) any { l.NormaliseSlope(out, g, h, a, b, c); return nil })
		compare("Divide", func(l loops[T], out, _ []T) any { l.Divide(out, g, 128); return nil })
		for i := range h {
			h[i] *= T([]float64{1, 20, 200, 800}[r.IntN(4)])
		}
		compare("Softmax", func(l loops[T], out, _ []T) any {
			sum, best := make([]T, rows), make([]int32, rows)
			l.Softmax(out, h, sum, best)
			return fmt.Sprint(bitsOf(sum), best)
		})
	}
}

func TestLoopsGiveTheBitsOfPlainGo(t *testing.T) {
	underEachType(t, testLoops[float32], testLoops[float64])
}

// Whichever part of a matrix a thread takes, all of it is done, with the same bits.
func TestReLUOnManyThreads(t *testing.T) {
	underEach(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(23, 24))
		for _, cols := range []int{1, 20, 100, 272, 512} {
			rows := worthRectifying/cols + 3
			x, g := special[float32](r, rows*cols), fill[float32](r, rows*cols, 0.3)
			wantY, wantDx := make([]float32, len(x)), make([]float32, len(x))
			relu(wantY, x)
			reluSlope(wantDx, g, x)
			for _, threads := range []int{1, 2, 3, 8} {
				y, dx := fill[float32](r, len(x), 0), fill[float32](r, len(x), 0)
				pool := NewPool(threads)
				if pool != nil {
					pool.shared.grace = time.Hour
				}
				e := NewEngine[float32](pool)
				e.ReLU(y, x, cols)
				e.ReLUSlope(dx, g, x, cols)
				if !slices.Equal(bitsOf(y), bitsOf(wantY)) || !slices.Equal(bitsOf(dx), bitsOf(wantDx)) {
					t.Errorf("[%d, %d] on %d threads differs from plain Go", rows, cols, threads)
				}
			}
		}
	})
}

// e^x of these is so near the middle between two float32 that leaving out r⁶/720, the last
// term but one of the series, rounds it to the other one. An error of a term before that
// would change one of some thousand other numbers too.
func TestSoftmaxOfHardLogits(t *testing.T) {
	hard := []float32{-0x1.e1dbe2p-08, -0x1.598f82p-06, -0x1.71e81ep-06, -0x1.71fc1p-06, -0x1.741828p-06, -0x1.c02f76p-06,
		-0x1.02d986p-04, -0x1.b1c756p-04, -0x1.bd2b62p-04, -0x1.e251d6p-04, -0x1.3a79f4p-03, -0x1.49bf78p-02,
		-0x1.da035ep-02, -0x1.fffdd2p-02, -0x1.2af904p-01, -0x1.841408p-01}
	underEach(t, func(t *testing.T) {
		var z []float32
		for _, x := range hard {
			z = append(z, x, 0)
		}
		got, want := make([]float32, len(z)), make([]float32, len(z))
		sum, best := make([]float32, len(hard)), make([]int32, len(hard))
		Of[float32]().Softmax(got, z, sum, best)
		softmax(want, z, sum, best)
		for i, v := range got {
			if v != want[i] {
				t.Errorf("softmax of %x and 0: %x for place %d, plain Go %x", hard[i/2], v, i%2, want[i])
			}
		}
	})
}
