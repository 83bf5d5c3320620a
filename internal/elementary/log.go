package elementary

import "math"

// logStart is where the reduced range of Log64 begins.
const logStart = 0x1.6p-1

// Log64 returns the natural logarithm of x with an error below 0.5002 units in
// the last place, near 1 and for subnormal x too. The logarithm of 0 is -Inf,
// that of a negative x is NaN.
//
// The method is that of P. T. P. Tang, "Table-driven implementation of the
// logarithm function in IEEE floating-point arithmetic", ACM TOMS 16 (1990):
//
//	x = 2^e·m,  0.6875 <= m < 1.375,  i = the interval of m,  r = m·inverse[i] - 1,  |r| <= 2^-7
//	ln x = e ln 2 - ln inverse[i] + r - r²/2 + r³/3 - ... + r⁹/9
//
// e ln 2 - ln inverse[i] and r are sums of two float64, r exactly, and so is
// r²/2 with the help of the leading 24 bits r1 of r. Around 1 inverse is 1 and
// its logarithm 0, so that r = x - 1 keeps all its bits and the result its
// relative accuracy: what is rounded before the last addition is there below
// r³/3 < 2^-15.5 |r|, and the first term left out, r¹⁰/10, below 2^-66 |r|.
func Log64(x float64) float64 {
	bits, e := math.Float64bits(x), 0
	if bits-0x1p52 >= 0x7fep52 { // zero, subnormal, negative, infinite or NaN
		switch {
		case x == 0:
			return math.Inf(-1)
		case x < 0:
			return math.NaN()
		case x-x != 0:
			return x
		}
		bits, e = math.Float64bits(x*0x1p52), -52
	}
	offset := bits - math.Float64bits(logStart)
	entry := &logTable[offset>>45&127]
	e += int(int64(offset) >> 52)
	m := math.Float64frombits(bits - offset&(0xfff<<52))

	m1 := float64(float32(m))
	a, b := float64(m1*entry.inverse)-1, float64((m-m1)*entry.inverse) // both exact
	r := a + b
	rTail := (a - r) + b
	r1 := float64(float32(r))
	half := float64(r1*r1) * 0.5                              // exact: most of r²/2
	halfTail := float64((r-r1)*(r+r1))*0.5 + float64(r*rTail) // the rest
	r2 := float64(r * r)
	p := ((1.0/3 - float64(r*(1.0/4))) + float64(r2*(1.0/5-float64(r*(1.0/6))))) +
		float64(float64(r2*r2)*((1.0/7-float64(r*(1.0/8)))+float64(r2*(1.0/9))))

	base := float64(float64(e)*ln2Head) + entry.head // exact
	sum := base + r
	sumTail := (base - sum) + r // exact
	head := sum - half
	headTail := (sum - head) - half // exact
	tail := (headTail + (sumTail + (rTail + (entry.tail + float64(float64(e)*ln2Tail))))) -
		(halfTail - float64(r*float64(r2*p)))
	return head + tail
}
