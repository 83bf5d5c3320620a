package elementary

import (
	"math"
	"math/rand/v2"
	"os"
	"testing"
)

// exhaustive asks for 10 million random inputs of each float64 function and
// all 2^32 inputs of each float32 function; it takes about MINUTES on two cores.
var exhaustive = os.Getenv("GLASSNET_EXHAUSTIVE") == "1"

// functions lists what is tested against which reference. The limits are on the
// error in ulp; the doc comment of the package gives what an exhaustive run found.
var functions = []struct {
	name      string
	f64       func(float64) float64
	f32       func(float32) float32
	reference func(float64) wide
	quick     func(float64) float64 // good to 2^-49, to tell float32 inputs whose rounding is in no doubt
	inputs    func(*rand.Rand) float64
	limit64   float64
	limit32   float64
}{
	{"Exp", Exp64, Exp32, wideExp, math.Exp, expInput, 0.5001, 0.5001},
	{"Log", Log64, Log32, wideLog, math.Log, logInput, 0.5002, 0.5001},
	{"Tanh", Tanh64, Tanh32, wideTanh, math.Tanh, tanhInput, 0.505, 0.505},
	{"Sigmoid", Sigmoid64, Sigmoid32, wideSigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, expInput, 0.505, 0.505},
}

// expInput returns x with a finite, non-zero e^x: over the whole range, among
// subnormal results, of any magnitude, or where the table's entries change.
func expInput(rng *rand.Rand) float64 {
	sign := float64(1 - 2*rng.IntN(2))
	switch rng.IntN(5) {
	case 0:
		return -745.1 + rng.Float64()*(709.7+745.1)
	case 1:
		return -708 - rng.Float64()*37.1
	case 2:
		return sign * math.Ldexp(1+rng.Float64(), rng.IntN(70)-61)
	case 3:
		return sign * rng.Float64()
	default:
		return nearby(rng, (float64(rng.IntN(2000)-1000)+0.5)/stepsPerUnit)
	}
}

// logInput returns x > 0: of any magnitude, subnormal, near 1 or where the
// table's entries change.
func logInput(rng *rand.Rand) float64 {
	switch rng.IntN(5) {
	case 0:
		return math.Float64frombits(1 + rng.Uint64N(0x7ff<<52-1))
	case 1:
		return math.Float64frombits(1 + rng.Uint64N(1<<52)>>rng.IntN(52))
	case 2:
		return 1 + (rng.Float64()-0.5)*math.Ldexp(1, -rng.IntN(52))
	case 3:
		return rng.Float64() * 2
	default:
		return nearby(rng, math.Ldexp(1+float64(rng.IntN(128))/128, rng.IntN(5)-2))
	}
}

// tanhInput returns x of any magnitude up to 32.
func tanhInput(rng *rand.Rand) float64 {
	if rng.IntN(2) == 0 {
		return (rng.Float64() - 0.5) * 40
	}
	return float64(1-2*rng.IntN(2)) * math.Ldexp(1+rng.Float64(), rng.IntN(40)-35)
}

// nearby returns a number at most five places from x.
func nearby(rng *rand.Rand, x float64) float64 {
	return math.Float64frombits(math.Float64bits(x) + uint64(rng.IntN(11)) - 5)
}

// TestFloat64 compares random inputs with the reference.
func TestFloat64(t *testing.T) {
	count := 20_000
	if exhaustive {
		count = 10_000_000
	}
	for _, function := range functions {
		t.Run(function.name, func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(21, 22))
			worst, worstInput, misrounded := 0.0, 0.0, 0
			for range count {
				x := function.inputs(rng)
				got, want := function.f64(x), function.reference(x)
				ulps := want.ulps64(got)
				if !(ulps <= function.limit64) {
					t.Fatalf("%s64(%x) = %x, want %.20g: %.4f ulp away, limit %g", function.name, x, got, want.big(), ulps, function.limit64)
				}
				if ulps > 0.5 {
					misrounded++
				}
				if ulps > worst {
					worst, worstInput = ulps, x
				}
			}
			t.Logf("%s64: %d inputs, %d not correctly rounded, largest error %.6f ulp at %x", function.name, count, misrounded, worst, worstInput)
		})
	}
}

// TestFloat32 compares all 2^32 inputs, or one in 1009, with the reference.
func TestFloat32(t *testing.T) {
	stride := uint64(1009)
	if exhaustive {
		stride = 1
	}
	for _, function := range functions {
		t.Run(function.name, func(t *testing.T) {
			t.Parallel()
			count, worst, worstInput, misrounded := 0, 0.5, float32(0), 0
			for bits := uint64(0); bits < 1<<32; bits += stride {
				x := math.Float32frombits(uint32(bits))
				count++
				got := function.f32(x)
				quick := function.quick(float64(x))
				if quick-quick != 0 || quick == 0 { // 0, infinite or NaN
					if want := float32(quick); !sameFloat32(got, want) {
						t.Fatalf("%s32(%x) = %x, want %x", function.name, x, got, want)
					}
					continue
				}
				if low, high := float32(quick*(1-0x1p-49)), float32(quick*(1+0x1p-49)); low == high && got == low {
					continue
				}
				want := function.reference(float64(x))
				if got == want.round32() {
					continue
				}
				misrounded++
				ulps := want.ulps32(got)
				if !(ulps <= function.limit32) {
					t.Fatalf("%s32(%x) = %x, want %.20g: %.4f ulp away, limit %g", function.name, x, got, want.big(), ulps, function.limit32)
				}
				if ulps > worst {
					worst, worstInput = ulps, x
				}
			}
			t.Logf("%s32: %d inputs, %d not correctly rounded, largest error %.9f ulp at %x", function.name, count, misrounded, worst, worstInput)
		})
	}
}

