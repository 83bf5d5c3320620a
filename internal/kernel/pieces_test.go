package kernel

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
)

// Threads that take pieces from both ends begin each of them once.
func TestPiecesAreBegunOnce(t *testing.T) {
	const pieces = 10000
	var b pieceCount
	var taken [3][]int
	var done sync.WaitGroup
	for thread := range taken {
		done.Go(func() {
			for {
				piece, some := b.next(pieces, thread == 0)
				if !some {
					return
				}
				taken[thread] = append(taken[thread], piece)
				if piece%100 == 0 {
					runtime.Gosched()
				}
			}
		})
	}
	done.Wait()
	for i, piece := range taken[0] {
		if piece != i {
			t.Fatalf("the part's own thread begins piece %d, want %d", piece, i)
		}
	}
	all := slices.Concat(taken[0], taken[1], taken[2])
	slices.Sort(all)
	for i, piece := range all {
		if piece != i {
			t.Fatalf("of all pieces that were begun number %d is %d", i, piece)
		}
	}
	if len(all) != pieces {
		t.Errorf("%d pieces were begun, want %d", len(all), pieces)
	}
}

// A product in pieces has the bits of one that is not, whoever computes them.
func TestProductsInPieces(t *testing.T) {
	underEachType(t, testProductsInPieces[float32], testProductsInPieces[float64])
}

func testProductsInPieces[T Float](t *testing.T) {
	r := rand.New(rand.NewPCG(81, 82))
	// Of {1030, 130, 130} avx512 packs a transposed factor in strips, and several panels together.
	shapes := [][3]int{{300, 40, 700}, {40, 300, 3}, {300, 1, 216}, {300, 216, 1}, {1030, 130, 130}, {530, 7, 1024}, {300, 460, 300}, {129, 400, 513}}
	if testing.Short() {
		shapes = shapes[:5]
	}
	for _, shape := range shapes {
		m, k, n := shape[0], shape[1], shape[2]
		x, w, b := fill[T](r, m*k, 0.1), fill[T](r, k*n, 0.1), fill[T](r, n, 0)
		g := fill[T](r, m*n, 0.1)
		wantY, wantD, wantDX := make([]T, m*n), make([]T, k*n), make([]T, m*k)
		one := NewEngine[T](nil)
		one.MatMul(wantY, x, w, b, m, k, n)
		one.MatMulTransposed(wantD, x, g, m, k, n)
		one.MatMulByTransposed(wantDX, g, w, m, k, n)
		for _, threads := range []int{2, 3} {
			e := NewEngine[T](NewPool(threads))
			y, d, dx := make([]T, m*n), make([]T, k*n), make([]T, m*k)
			describe := []func() (got, want []T){
				func() (got, want []T) { e.product.set(forward, y, x, w, b, m, k, n); return y, wantY },
				func() (got, want []T) { e.product.set(forGradWeight, d, x, g, nil, m, k, n); return d, wantD },
				func() (got, want []T) { e.product.set(forGradIn, dx, g, w, nil, m, k, n); return dx, wantDX },
			}
			for _, set := range describe {
				for range 3 {
					got, want := set()
					clear(got)
					e.multiply(worthPieces)
					if !slices.Equal(bitsOf(got), bitsOf(want)) {
						t.Errorf("m, k, n = %v, %d threads: other bits in pieces", shape, threads)
					}
				}
				// One thread comes first and takes what the others have not begun.
				for early := range threads {
					got, want := set()
					clear(got)
					e.inPieces()
					e.Part(early, threads)
					begun := false
					for i := range e.begun {
						begun = begun || e.begun[i].counts.Load() > 0
					}
					if vectors := e.fusesUpdate; begun != vectors { // the portable implementation has none
						t.Errorf("m, k, n = %v, %d threads: in pieces: %t, want %t", shape, threads, begun, vectors)
					}
					if begun && !slices.Equal(bitsOf(got), bitsOf(want)) {
						t.Errorf("m, k, n = %v, %d threads: thread %d alone has not computed all", shape, threads, early)
					}
					if begun {
						clear(got)
					}
					for i := range threads {
						if i != early {
							e.Part(i, threads)
						}
					}
					if begun && !slices.Equal(got, make([]T, len(got))) {
						t.Errorf("m, k, n = %v, %d threads: a piece is computed twice", shape, threads)
					}
					if !begun && !slices.Equal(bitsOf(got), bitsOf(want)) {
						t.Errorf("m, k, n = %v, %d threads: other bits", shape, threads)
					}
				}
			}
		}
	}
}
