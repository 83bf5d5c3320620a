package kernel

import (
	"math"
	"unsafe"

	"glassnet/internal/elementary"
)

// The portable tables: plain Go for every CPU, and the reference that all other
// implementations are compared with bit for bit. The products are written once,
// over the AddScaled of their number type.
var (
	portable32 = portable(addScaled32)
	portable64 = portable(addScaled64)
)

func portable[T Float](addScaled func(y, x []T, a T)) Table[T] {
	return Table[T]{
		AddScaled: addScaled,
		Product: func(y, x, w, b []T, k, n, lo, hi int) {
			product(addScaled, y, x, w, b, k, n, lo, hi)
		},
		TransposedProduct: func(d, x, g []T, m, k, n, lo, hi int) {
			transposedProduct(addScaled, d, x, g, m, k, n, lo, hi)
		},
	}
}

// blockRows is how many rows of the result are built together: few enough to
// stay in the first-level cache, enough to reuse each row of the other factor.
const blockRows = 8

// product adds one scaled row of w after the other to each row of y:
// y[i, :] = Σ_p x[i, p]·w[p, :], so every element is summed in increasing p.
// Zero inputs (81 % of MNIST's pixels, about half of a ReLU's outputs) are skipped.
func product[T Float](addScaled func(y, x []T, a T), y, x, w, b []T, k, n, lo, hi int) {
	for first := lo; first < hi; first += blockRows {
		last := min(first+blockRows, hi)
		clear(y[first*n : last*n])
		for p := range k {
			row := w[p*n : p*n+n]
			for i := first; i < last; i++ {
				if a := x[i*k+p]; a != 0 {
					addScaled(y[i*n:i*n+n], row, a)
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
func transposedProduct[T Float](addScaled func(y, x []T, a T), d, x, g []T, m, k, n, lo, hi int) {
	for first := lo; first < hi; first += blockRows {
		last := min(first+blockRows, hi)
		clear(d[first*n : last*n])
		for i := range m {
			row := g[i*n : i*n+n]
			for p := first; p < last; p++ {
				if a := x[i*k+p]; a != 0 {
					addScaled(d[p*n:p*n+n], row, a)
				}
			}
		}
		for p := first; p < last; p++ {
			addBias(d[p*n:p*n+n], nil)
		}
	}
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

// FMA returns a·b + c, rounded once.
func FMA[T Float](a, b, c T) T {
	if unsafe.Sizeof(a) == 4 {
		return T(elementary.FMA32(float32(a), float32(b), float32(c)))
	}
	return T(math.FMA(float64(a), float64(b), float64(c)))
}
