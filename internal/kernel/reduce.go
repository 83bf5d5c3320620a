package kernel

// lanes is how many partial sums a full reduction keeps: enough for the widest
// registers of any CPU, several deep.
const lanes = 64

// Sum returns Σ values in float64: value i is added to partial sum i mod 64, and
// the partial sums are combined pairwise: lane l with lane l+32, then l+16, and
// so on. The order depends on nothing but the number of values.
func Sum[T Float](values []T) float64 {
	var partial [lanes]float64
	for i, v := range values {
		partial[i%lanes] += float64(v)
	}
	return combine(&partial)
}

// combine adds the partial sums as Sum says, and overwrites them.
func combine(partial *[lanes]float64) float64 {
	for width := lanes / 2; width > 0; width /= 2 {
		for l := range width {
			partial[l] += partial[l+width]
		}
	}
	return partial[0]
}
