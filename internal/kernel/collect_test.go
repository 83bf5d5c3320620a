package kernel

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// What is collected is computed by Finish, not before, and then has the bits of what is
// computed at once; what an interrupted collection has left is forgotten.
func TestCollectedSumsAreThoseComputedAtOnce(t *testing.T) {
	underEach(t, func(t *testing.T) {
		t.Run("float32", testCollection[float32])
		t.Run("float64", testCollection[float64])
	})
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
			e.Collect()
			abandoned := gradients(e, x, g)
			e.Collect()
			got := gradients(e, x, g)
			for i := range got {
				if slices.Equal(got[i], want[i]) {
					t.Errorf("%d threads, round %d: result %d is there before Finish", threads, round, i)
				}
			}
			if own := e.collection.own; slices.Max(own)-slices.Min(own) > worthSplitting {
				t.Errorf("%d threads, round %d: small sums of %v multiply-adds, want about as many for each", threads, round, own)
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

func TestSumColumnsWantsWholeRows(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("7 values in 2 columns do not panic")
		}
	}()
	NewEngine[float32](nil).SumColumns(make([]float32, 2), make([]float32, 7))
}
