// Package elementary computes exponentials, logarithms, tanh, the logistic
// sigmoid and the float32 fused multiply-add with the same bits on every CPU
// and architecture. The standard library's versions differ between machines;
// these use only operations that IEEE 754 defines to the last bit: sums,
// products and quotients rounded one by one, math.FMA where one rounding is
// meant, conversions between float32 and float64, and the bits of a number.
//
// A product that is added is written float64(a*b), for the language otherwise
// lets a compiler fuse it with the sum. A pair named x, xTail or head, tail
// stands for the exact value of its sum: the tail holds what rounding cut off.
//
// Largest errors, in units in the last place (ulp) of the result, where 0.5 is the
// least that rounding allows, and how many results were not correctly rounded:
//
//	Exp32, Log32          0.50000001   0 and 5 of all 2^32 inputs
//	Tanh32, Sigmoid32     0.5000007    22 and 66 of all 2^32 inputs
//	Exp64, Sigmoid64      0.50001      7 and 6 of 10 million inputs
//	Log64                 0.5001       13 of 10 million inputs
//	Tanh64                0.503        272 of 10 million inputs
//
// The tests find them with GLASSNET_EXHAUSTIVE=1. FMA32 is exact.
package elementary

import "unsafe"

//go:generate go run ./gentable

// Exp returns e^x by [Exp32] or [Exp64].
func Exp[T ~float32 | ~float64](x T) T {
	if unsafe.Sizeof(x) == 4 { // a constant for each T: no branch is left
		return T(Exp32(float32(x)))
	}
	return T(Exp64(float64(x)))
}

// Log returns the natural logarithm of x by [Log32] or [Log64].
func Log[T ~float32 | ~float64](x T) T {
	if unsafe.Sizeof(x) == 4 {
		return T(Log32(float32(x)))
	}
	return T(Log64(float64(x)))
}

// Tanh returns the hyperbolic tangent of x by [Tanh32] or [Tanh64].
func Tanh[T ~float32 | ~float64](x T) T {
	if unsafe.Sizeof(x) == 4 {
		return T(Tanh32(float32(x)))
	}
	return T(Tanh64(float64(x)))
}

// Sigmoid returns 1/(1 + e^-x) by [Sigmoid32] or [Sigmoid64].
func Sigmoid[T ~float32 | ~float64](x T) T {
	if unsafe.Sizeof(x) == 4 {
		return T(Sigmoid32(float32(x)))
	}
	return T(Sigmoid64(float64(x)))
}
