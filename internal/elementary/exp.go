package elementary

import (
	"math"
	"unsafe"
)

// roundToInteger, added to a number below 2^51 and subtracted again, leaves
// its nearest integer: a sum of this size has no fraction bits.
const roundToInteger = 0x1.8p52

// Exp64 returns e^x, rounded from a head and a tail with a relative error below
// 2^-68: less than 0.5001 ulp, subnormal results included. e^x is +Inf for
// x > 709.78 and 0 for x < -745.13.
func Exp64(x float64) float64 {
	switch {
	case x > 0x1.62e42fefa39efp9: // the last x whose e^x is finite
		return math.Inf(1)
	case x < -746: // e^x < 2^-1076
		return 0
	case x != x:
		return x
	}
	head, tail, exponent := expParts(x)
	y := head + tail
	bits := int64(math.Float64bits(y)) + int64(exponent)<<52
	if bits < 1<<52 {
		return subnormal(head, tail, exponent)
	}
	return math.Float64frombits(uint64(bits))
}

// expParts returns e^x as (head + tail)·2^exponent, for |x| <= 746. head is
// within 0.3 % of [1, 2) and |tail| < 2^-16.
//
// The method is that of P. T. P. Tang, "Table-driven implementation of the
// exponential function in IEEE floating-point arithmetic", ACM TOMS 15 (1989):
//
//	k = round(128 x/ln 2),  x = k ln 2/128 + r,  |r| < 0.00271
//	e^x = 2^(k div 128) · 2^((k mod 128)/128) · (1 + r + r²/2 + ... + r⁶/720)
//
// Where a product must be exact its factors are short: stepHead has 35 bits
// and k 18; the table's heads have 29 bits and the leading part r1 of r has
// 24. What is rounded is below 2^-17, so the error is below 2^-69; r⁷/5040,
// the first term left out, is below 2^-71.
func expParts(x float64) (head, tail float64, exponent int) {
	n := (float64(x*stepsPerUnit) + roundToInteger) - roundToInteger
	k := int(n)
	a, b := x-float64(n*stepHead), float64(n*stepTail) // a is exact
	r := a - b
	rTail := (a - r) - b
	r2 := float64(r * r)
	q := rTail + float64(r2*((1.0/2+float64(r*(1.0/6)))+
		float64(r2*((1.0/24+float64(r*(1.0/120)))+float64(r2*(1.0/720))))))

	power := &expTable[k&127]
	r1 := float64(float32(r))
	rest := (r - r1) + q // 1 + r1 + rest = e^r
	head, cut := fastTwoSum(power.head, float64(power.head*r1))
	tail = cut + (power.tail + (float64(power.tail*r1) + float64((power.head+power.tail)*rest)))
	return head, tail, k >> 7
}

// fastTwoSum returns a + b as the rounded sum and its exact error, for |a| >= |b|
// (Dekker 1971; Muller et al., Handbook of Floating-Point Arithmetic, 4.3.1).
func fastTwoSum(a, b float64) (sum, tail float64) {
	sum = a + b
	return sum, (a - sum) + b
}

// subnormal returns (head + tail)·2^exponent, below 2^-1022 and with head
// between 0.99 and 2.01, rounded once to a multiple of the smallest float64.
func subnormal(head, tail float64, exponent int) float64 {
	// From base to 2 base, neighbouring float64 differ by 2^(-1074-exponent), the
	// spacing of the result. So base + head is rounded to that; what was cut off
	// and the tail then decide once more, about at most one unit.
	base := math.Float64frombits(uint64(1-exponent) << 52)
	sum, cut := fastTwoSum(base, head)
	sum += cut + tail
	return math.Float64frombits(math.Float64bits(sum) - math.Float64bits(base))
}

// Exp32 returns e^x, computed in float64 to 2^-51 and rounded. e^x is +Inf for
// x > 88.72 and 0 for x < -103.97.
//
// The method is that of [Exp64] with fewer steps, whose powers fit two registers of
// eight, and a term more:
//
//	k = round(16 x/ln 2),  x = k ln 2/16 + r,  |r| < 0.0217
//	e^x = 2^(k div 16) · 2^((k mod 16)/16) · (1 + r + r²/2 + ... + r⁷/5040)
func Exp32(x float32) float32 {
	switch {
	case x > highest32: // e^x > 2^128
		return float32(math.Inf(1))
	case x < lowest32: // e^x < 2^-150
		return 0
	case x != x:
		return x
	}
	v := float64(x)
	n := (float64(v*stepsPerUnit32) + roundToInteger) - roundToInteger
	k := int(n)
	r := (v - float64(n*stepHead32)) - float64(n*stepTail32)
	r2 := float64(r * r)
	p := r + float64(r2*((1.0/2+float64(r*(1.0/6)))+
		float64(r2*((1.0/24+float64(r*(1.0/120)))+float64(r2*(1.0/720+float64(r*(1.0/5040))))))))
	power := expTable32[k&15]
	y := power + float64(power*p)
	return float32(math.Float64frombits(math.Float64bits(y) + uint64(k>>4)<<52))
}

// An eighth of the steps of Exp64, exactly, and the bounds beyond which Exp32 knows its
// result.
const (
	stepsPerUnit32      = stepsPerUnit / 8
	stepHead32          = stepHead * 8
	stepTail32          = stepTail * 8
	lowest32, highest32 = -104, 89
)

// Exp32Tables returns what a vector implementation of [Exp32] needs: 2^(j/16), and
// 16/ln 2, the number that rounds to integers, head and tail of ln 2/16, 1/2! to 1/7!, and
// the bounds below and above which e^x is 0 and +Inf.
func Exp32Tables() (powers *[16]float64, constants *[12]float64) { return &expTable32, &constants32 }

// Exp64Tables returns what a vector implementation of [Exp64] needs: 2^(j/128) as head and
// tail, and 128/ln 2, the number that rounds to integers, head and tail of ln 2/128, 1/2!
// to 1/6!, a 0, and the bounds between which Exp64 is the sum of its head and its tail.
func Exp64Tables() (powers *[128][2]float64, constants *[12]float64) {
	return (*[128][2]float64)(unsafe.Pointer(&expTable)), &constants64
}

var (
	constants32 = [12]float64{stepsPerUnit32, roundToInteger, stepHead32, stepTail32,
		1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 1.0 / 5040, lowest32, highest32}
	constants64 = [12]float64{stepsPerUnit, roundToInteger, stepHead, stepTail,
		1.0 / 2, 1.0 / 6, 1.0 / 24, 1.0 / 120, 1.0 / 720, 0, -708, 709}
)
