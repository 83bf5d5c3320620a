package elementary

import "math"

// Sigmoid64 returns the logistic function 1/(1 + e^-x) with an error below
// 0.501 ulp. It is 1 for large x, and for very negative x it goes to 0 as e^x
// does, through the subnormal numbers.
//
// With E = e^-|x| as head and tail, it is 1/(1+E) for x >= 0, else E/(1+E).
func Sigmoid64(x float64) float64 {
	switch {
	case x > 45: // E < 2^-64
		return 1
	case x < -45:
		return Exp64(x)
	}
	e, eTail := expNegative(-math.Abs(x))
	below, belowTail := fastTwoSum(1, e)
	if x < 0 {
		return quotient(e, eTail, below, belowTail+eTail)
	}
	return quotient(1, 0, below, belowTail+eTail)
}

// Tanh64 returns the hyperbolic tangent of x with an error below 0.503 ulp; it
// is ±1 from |x| = 19.07 on, and Tanh64(-x) = -Tanh64(x).
//
// With E = e^(-2|x|) as head and tail, |tanh x| = (1-E)/(1+E). For |x| < 0.0013
// expParts gives E as 1 + r1 and a tail, so that 1-E cancels nothing.
func Tanh64(x float64) float64 {
	size := math.Abs(x)
	switch {
	case size < 0x1p-28: // x³/3 is below 2^-57 x
		return x
	case size > 22: // 2E < 2^-62
		return math.Copysign(1, x)
	}
	e, eTail := expNegative(-2 * size)
	above, aboveTail := fastTwoSum(1, -e)
	below, belowTail := fastTwoSum(1, e)
	return math.Copysign(quotient(above, aboveTail-eTail, below, belowTail+eTail), x)
}

// expNegative returns e^x = head + tail for -700 <= x <= 0.
func expNegative(x float64) (head, tail float64) {
	head, tail, exponent := expParts(x)
	scale := math.Float64frombits(uint64(1023+exponent) << 52)
	return float64(head * scale), float64(tail * scale)
}

// quotient returns (a + aTail)/(b + bTail), tails below 2^-8 of their heads: a
// division rounded as usual, then corrected by its remainder divided by b.
func quotient(a, aTail, b, bTail float64) float64 {
	divisor := b + bTail
	q := (a + aTail) / divisor
	return q + (math.FMA(-q, b, a)+(aTail-float64(q*bTail)))/divisor
}

// Sigmoid32 returns the logistic function 1/(1 + e^-x), computed in float64 to
// 2^-51 and rounded.
func Sigmoid32(x float32) float32 {
	return float32(1 / (1 + Exp64(-float64(x))))
}

// Tanh32 returns the hyperbolic tangent of x, computed in float64 to 2^-40 and
// rounded.
func Tanh32(x float32) float32 {
	if -0x1p-12 < x && x < 0x1p-12 { // x³/3 is less than half an ulp of x
		return x
	}
	v := float64(x)
	e := Exp64(-2 * math.Abs(v))
	return float32(math.Copysign((1-e)/(1+e), v))
}
