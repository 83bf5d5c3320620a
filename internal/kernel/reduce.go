package kernel

import "math"

// lanes is how many partial sums a full reduction keeps: enough for the widest
// registers of any CPU, several deep.
const lanes = 64

// Sum returns Σ values in float64: value i is added to partial sum i mod 64, and
// the partial sums are combined pairwise: lane l with lane l+32, then l+16, and
// so on. The order depends on nothing but the number of values.
func Sum[T Float](values []T) float64 {
	return reduce(values, func(acc, v float64) float64 { return acc + v })
}

// SumSquares returns Σ values² in float64, in the order of Sum, each square
// joining its partial sum by fused multiply-add.
func SumSquares[T Float](values []T) float64 {
	return reduce(values, func(acc, v float64) float64 { return math.FMA(v, v, acc) })
}

func reduce[T Float](values []T, add func(acc, v float64) float64) float64 {
	var partial [lanes]float64
	for i, v := range values {
		l := i % lanes
		partial[l] = add(partial[l], float64(v))
	}
	for width := lanes / 2; width > 0; width /= 2 {
		for l := range width {
			partial[l] += partial[l+width]
		}
	}
	return partial[0]
}

// Finite reports whether no value is infinite or NaN: v-v is 0 for a finite v
// and NaN for all others, and NaN survives every addition.
func Finite[T Float](values []T) bool {
	var sum T
	for _, v := range values {
		sum += v - v
	}
	return sum == 0
}

// AddColumns adds each row of the [rows, n] matrix x to sum [n], first row first.
func AddColumns[T Float](sum, x []T) {
	n := len(sum)
	for len(x) >= n && n > 0 {
		for j, v := range x[:n] {
			sum[j] += v
		}
		x = x[n:]
	}
}
