package elementary

import "math"

// Exp64 returns e^x. Its error is below 0.5001 units in the last place, for
// subnormal results too; e^-Inf is 0, and e^x is +Inf above 709.78 and 0
// below -745.13.
func Exp64(x float64) float64 {
	switch {
	case x > 0x1.62e42fefa39efp9: // ln of the largest float64, rounded down
		return math.Inf(1)
	case x < -746: // e^x < 2^-1076
		return 0
	case x != x:
		return x
	}
	head, tail, exponent := expParts(x)
	y := head + tail
	bits := int64(math.Float64bits(y)) + int64(exponent)<<52
	if bits < 0x1p52 {
		return subnormal(head, tail, exponent)
	}
	return math.Float64frombits(uint64(bits))
}

// expParts returns e^x = (head + tail)·2^exponent with a relative error below
// 2^-68, for |x| <= 746. head is within 0.3 % of [1, 2), |tail| < 2^-16.
//
// The method is that of P. T. P. Tang, "Table-driven implementation of the
// exponential function in IEEE floating-point arithmetic", ACM TOMS 15 (1989):
//
//	k = round(128 x/ln 2),  x = k ln 2/128 + r,  |r| < 0.00271
//	e^x = 2^(k div 128) · 2^((k mod 128)/128) · (1 + r + r²/2 + ... + r⁶/720)
//
// Products that must be exact have factors that are short enough: stepHead
// has 35 bits and k 18; the table's heads have 29 bits and leading part r1 of
// r has 24. What is rounded is below 2^-17, so its error is below 2^-69; r⁷/5040,
// the first term left out, is below 2^-71.
func expParts(x float64) (head, tail float64, exponent int) {
	const roundToInteger = 0x1.8p52 // a sum of this size has no fraction bits
	n := (float64(x*stepsPerUnit) + roundToInteger) - roundToInteger
	k := int(n)
	a, b := x-float64(n*stepHead), float64(n*stepTail) // a is exact
	r := a - b
	rTail := (a - r) - b
	r2 := float64(r * r)
	q := rTail + float64(r2*((1.0/2+float64(r*(1.0/6)))+float64(r2*((1.0/24+float64(r*(1.0/120)))+float64(r2*(1.0/720))))))

	power := &expTable[k&127]
	r1 := float64(float32(r))
	rest := (r - r1) + q
	product := float64(power.head * r1) // exact
	head = power.head + product
	tail = ((power.head - head) + product) + // exact
		(power.tail + (float64(power.tail*r1) + float64((power.head+power.tail)*rest)))
	return head, tail, k >> 7
}

// subnormal returns (head + tail)·2^exponent, head in (1/2, 2], rounded once to
// a multiple of the smallest float64, for results below 2^-1022.
func subnormal(head, tail float64, exponent int) float64 {
	// From base to 2 base, consecutive float64 differ by 2^(-1074-exponent):
	// adding base rounds head to what the result can hold.
	base := math.Float64frombits(uint64(1023-1022-exponent) << 52)
	sum := base + head
	sum += (head - (sum - base)) + tail // what was cut off decides once more
	return math.Float64frombits(math.Float64bits(sum) - math.Float64bits(base))
}
