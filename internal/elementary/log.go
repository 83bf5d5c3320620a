package elementary

import "math"

// logStart is where the reduced range [logStart, 2 logStart) of the logarithm
// begins, as its table has it.
const logStart = 0x1.6p-1

// Log64 returns the natural logarithm of x with an error below 0.5001 ulp, near
// 1 and for subnormal x too. The logarithm of ±0 is -Inf, that of x < 0 is NaN.
//
// The method is that of P. T. P. Tang, "Table-driven implementation of the
// logarithm function in IEEE floating-point arithmetic", ACM TOMS 16 (1990):
//
//	x = 2^e·m,  0.6875 <= m < 1.375,  r = m·inverse - 1 with inverse of m's interval,  |r| <= 2^-7
//	ln x = e ln 2 - ln inverse + r - r²/2 + r³/3 - ... + r⁹/9
//
// e ln 2 - ln inverse and r are kept as heads and tails, and so is r²/2 with the
// help of the leading 24 bits r1 of r. In the two intervals that touch 1,
// inverse is 1 and its logarithm 0: r = x - 1 is exact, and the result keeps
// its relative accuracy. What is rounded before the last addition is there below
// r³/3 < 2^-15 |r|, and the first term left out, r¹⁰/10, below 2^-66 |r|.
func Log64(x float64) float64 {
	bits, shift := math.Float64bits(x), 0.0
	if bits-1<<52 >= 0x7fe<<52 { // zero, subnormal, negative, infinite or NaN
		switch {
		case x == 0:
			return math.Inf(-1)
		case x < 0:
			return math.NaN()
		case x-x != 0:
			return x
		}
		bits, shift = math.Float64bits(x*0x1p52), -52
	}
	m, e, entry := logReduce(bits)
	e += shift

	m1 := float64(float32(m))
	// Both summands are exact; should the first be the smaller one, so is r.
	r, rTail := fastTwoSum(float64(m1*entry.inverse)-1, float64((m-m1)*entry.inverse))
	r1 := float64(float32(r))
	half := float64(r1*r1) * 0.5 // exact; r²/2 = half + halfTail
	halfTail := float64(float64((r-r1)*(r+r1))*0.5) + float64(r*rTail)
	r2 := float64(r * r)
	p := ((1.0/3 - float64(r*(1.0/4))) + float64(r2*(1.0/5-float64(r*(1.0/6))))) +
		float64(float64(r2*r2)*((1.0/7-float64(r*(1.0/8)))+float64(r2*(1.0/9))))

	base := float64(e*ln2Head) + entry.head // exact; 0 around 1, else above |r|
	sum, sumTail := fastTwoSum(base, r)
	sum, cut := fastTwoSum(sum, -half)
	tail := cut + (sumTail + (rTail + (entry.tail + float64(e*ln2Tail))))
	return sum + (tail + (float64(r*float64(r2*p)) - halfTail))
}

// logReduce splits the positive normal number with these bits into m·2^e,
// logStart <= m < 2 logStart, and returns the table's entry for m too.
func logReduce(bits uint64) (m, e float64, entry *logEntry) {
	offset := bits - math.Float64bits(logStart)
	const exponent = 0xfff << 52
	return math.Float64frombits(bits - offset&exponent), float64(int64(offset) >> 52), &logTable[offset>>45&127]
}

// Log32 returns the natural logarithm of x, computed in float64 to 2^-51 by the
// method of [Log64] and rounded. The logarithm of ±0 is -Inf, that of x < 0 is
// NaN.
func Log32(x float32) float32 {
	switch {
	case x == 0:
		return float32(math.Inf(-1))
	case x < 0:
		return float32(math.NaN())
	case x-x != 0:
		return x
	}
	m, e, entry := logReduce(math.Float64bits(float64(x)))
	r := float64(m*entry.inverse) - 1 // exact
	r2 := float64(r * r)
	p := ((float64(r*(1.0/3)) - 1.0/2) - float64(r2*(1.0/4-float64(r*(1.0/5))))) -
		float64(float64(r2*r2)*(1.0/6-float64(r*(1.0/7))))
	base := float64(e*ln2Head) + entry.head // exact
	return float32(base + (r + ((float64(e*ln2Tail) + entry.tail) + float64(r2*p))))
}
