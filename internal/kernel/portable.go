package kernel

import (
	"math"
	"unsafe"

	"glassnet/internal/elementary"
)

// The portable tables: plain Go for every CPU, and the reference that all other
// implementations are compared with bit for bit. The products are written once,
// over the inner loops of their number type.
var (
	portable32 = portable(inner[float32]{addScaled32, addScaledAt32})
	portable64 = portable(inner[float64]{addScaled64, nil})
)

// inner holds the inner loops of the products.
type inner[T Float] struct {
	// addScaled computes y[j] = fma(a, x[j], y[j]) for every j.
	addScaled func(y, x []T, a T)
	// addScaledAt computes y[at[t]] = fma(a, x[t], y[at[t]]) for every t. It is
	// nil where leaving out zeros does not pay.
	addScaledAt func(y []T, at []int32, x []T, a T)
}

func portable[T Float](in inner[T]) Table[T] {
	return Table[T]{AddScaled: in.addScaled, Product: in.product, TransposedProduct: in.transposedProduct}
}

const (
	// blockRows is how many rows of y are built together when w is too large for
	// the second-level cache: few enough to stay in the first, enough to reuse
	// each row of w.
	blockRows = 8
	// cached is the number of elements that the second-level cache surely holds.
	cached = 1 << 15
	// blockElements is how much of d is built together.
	blockElements = 1 << 14
)

// product adds one scaled row of w after the other to each row of y:
// y[i, :] = Σ_p x[i, p]·w[p, :], so every element is summed in increasing p.
// Zero inputs (81 % of MNIST's pixels, about half of a ReLU's outputs) are skipped.
func (in inner[T]) product(y, x, w, b []T, k, n, lo, hi int) {
	rows := blockRows
	if k*n <= cached {
		rows = 1
	}
	for first := lo; first < hi; first += rows {
		last := min(first+rows, hi)
		clear(y[first*n : last*n])
		for p := range k {
			for i := first; i < last; i++ {
				if a := x[i*k+p]; a != 0 {
					in.addScaled(y[i*n:i*n+n], w[p*n:p*n+n], a)
				}
			}
		}
		for i := first; i < last; i++ {
			addBias(y[i*n:i*n+n], b)
		}
	}
}

// transposedProduct adds one scaled row of g after the other to each row of d:
// d[p, :] = Σ_i x[i, p]·g[i, :], so every element is summed in increasing i.
// Zero inputs are skipped, and zeros of g (the gradient of a unit that its ReLU
// has switched off) where addScaledAt makes that pay.
func (in inner[T]) transposedProduct(s *Scratch[T], d, x, g []T, m, k, n, lo, hi int) {
	clear(d[lo*n : hi*n])
	rows := max(blockRows, blockElements/max(n, 1))
	for first := lo; first < hi; first += rows {
		last := min(first+rows, hi)
		for left := 0; left < n; left += blockColumns {
			right := min(left+blockColumns, n)
			for i := range m {
				row := g[i*n+left : i*n+right]
				count := len(row)
				if in.addScaledAt != nil {
					count = s.nonzeros(row)
				}
				for p := first; p < last; p++ {
					a := x[i*k+p]
					switch {
					case a == 0:
					case count == len(row):
						in.addScaled(d[p*n+left:p*n+right], row, a)
					default:
						in.addScaledAt(d[p*n+left:p*n+right], s.at[:count], s.value[:count], a)
					}
				}
			}
		}
	}
	addBias(d[lo*n:hi*n], nil)
}

// blockColumns is how many columns of d are built together.
const blockColumns = 256

// Scratch is what one thread needs to compute a product.
type Scratch[T Float] struct {
	at    [blockColumns]int32
	value [blockColumns]T
}

// nonzeros lists the values of row that are not 0, and where they are.
func (s *Scratch[T]) nonzeros(row []T) (count int) {
	for j, v := range row {
		if v != 0 {
			s.at[count], s.value[count] = int32(j), v
			count++
		}
	}
	return count
}

// addBias adds b, or +0 when b is nil, once; either turns a sum of -0 into +0.
func addBias[T Float](y, b []T) {
	if b == nil {
		for j := range y {
			y[j] += 0
		}
		return
	}
	for j, v := range b {
		y[j] += v
	}
}

// addScaled64 computes y[j] = fma(a, x[j], y[j]).
func addScaled64(y, x []float64, a float64) {
	x = x[:len(y)]
	for j := range y {
		y[j] = math.FMA(a, x[j], y[j])
	}
}

// addScaled32 computes y[j] = fma(a, x[j], y[j]). The standard library has no
// fused multiply-add of float32, and rounding math.FMA's result is wrong.
func addScaled32(y, x []float32, a float32) {
	x = x[:len(y)]
	for j := range y {
		y[j] = elementary.FMA32(a, x[j], y[j])
	}
}

// addScaledAt32 computes y[at[t]] = fma(a, x[t], y[at[t]]). A sum with a zero
// product is exact, which FMA32 has to find out the long way: leaving those out
// makes a step on ReLU networks about twice as fast.
func addScaledAt32(y []float32, at []int32, x []float32, a float32) {
	x = x[:len(at)]
	for t, j := range at {
		y[j] = elementary.FMA32(a, x[t], y[j])
	}
}

// FMA returns a·b + c, rounded once.
func FMA[T Float](a, b, c T) T {
	if unsafe.Sizeof(a) == 4 {
		return T(elementary.FMA32(float32(a), float32(b), float32(c)))
	}
	return T(math.FMA(float64(a), float64(b), float64(c)))
}
