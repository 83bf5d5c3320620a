package elementary

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"os"
	"testing"
)

// exhaustive asks for 10 million random inputs of each float64 function and
// all 2^32 inputs of each float32 function; it takes a quarter of an hour on two cores.
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
	{"Log", Log64, Log32, wideLog, math.Log, logInput, 0.5001, 0.5001},
	{"Tanh", Tanh64, Tanh32, wideTanh, math.Tanh, tanhInput, 0.504, 0.5001},
	{"Sigmoid", Sigmoid64, Sigmoid32, wideSigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, expInput, 0.501, 0.5001},
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

// logInput returns x > 0: of any magnitude, subnormal, near 1, in the table's two
// intervals that touch 1, or where its entries change.
func logInput(rng *rand.Rand) float64 {
	switch rng.IntN(5) {
	case 0:
		return math.Float64frombits(1 + rng.Uint64N(0x7ff<<52-1))
	case 1:
		return math.Float64frombits(1 + rng.Uint64N(1<<52)>>rng.IntN(52))
	case 2:
		return 1 + (rng.Float64()-0.5)*math.Ldexp(1, -rng.IntN(52))
	case 3:
		return 1 + (rng.Float64()*1.5-0.5)*0x1p-7
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
	count := 100_000
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

// TestFloat64Hard takes inputs whose results lie within 2^-40 ulp of half-way
// between two float64, from V. Lefèvre and J.-M. Muller, "Worst cases for
// correct rounding of the elementary functions in double precision" (2001).
func TestFloat64Hard(t *testing.T) {
	for _, test := range []struct {
		name      string
		function  func(float64) float64
		reference func(float64) wide
		inputs    []float64
	}{
		{"Exp64", Exp64, wideExp, []float64{0x1.9e9cbbfd6080bp-31, 0x1.6a4d1af9cc989p-8, 0x1.aca7ae8da5a7bp0,
			0x1.accfbe46b4efp-1, -0x1.22e24fa3d5cf9p-1}},
		{"Log64", Log64, wideLog, []float64{0x1.05112792934b3p0, 0x1.076d1d8c75ea6p0, 0x1.789e95b11578cp0,
			0x1.b9f1fa4587967p0, 0x1.ffffffffffffep-1}},
	} {
		for _, x := range test.inputs {
			got, want := test.function(x), test.reference(x)
			if ulps := want.ulps64(got); math.Abs(ulps-0.5) > 0x1p-40 {
				t.Errorf("%s(%x) = %x, want %.25g: %.15f ulp away, want 0.5", test.name, x, got, want.big(), ulps)
			}
		}
	}
}

// TestSpecial takes the ends of the ranges, in both number types.
func TestSpecial(t *testing.T) {
	inf, nan, negZero := math.Inf(1), math.NaN(), math.Copysign(0, -1)
	const tiny, tinyF = math.SmallestNonzeroFloat64, math.SmallestNonzeroFloat32
	for _, test := range []struct {
		name    string
		f64     func(float64) float64
		x, want float64
	}{
		{"Exp64", Exp64, 0, 1},
		{"Exp64", Exp64, negZero, 1},
		{"Exp64", Exp64, tiny, 1},
		{"Exp64", Exp64, -tiny, 1},
		{"Exp64", Exp64, inf, inf},
		{"Exp64", Exp64, -inf, 0},
		{"Exp64", Exp64, nan, nan},
		{"Exp64", Exp64, math.MaxFloat64, inf},
		{"Exp64", Exp64, -math.MaxFloat64, 0},
		{"Exp64", Exp64, 0x1.62e42fefa39efp9, 0x1.fffffffffff2ap1023},
		{"Exp64", Exp64, 0x1.62e42fefa39f0p9, inf},
		{"Exp64", Exp64, -0x1.74910d52d3051p9, tiny},
		{"Exp64", Exp64, -0x1.74910d52d3052p9, 0},
		{"Exp64", Exp64, -746, 0},
		{"Exp64", Exp64, -0x1.6232bdd7abcd2p9, 0x1.000000000007cp-1022},
		{"Exp64", Exp64, -0x1.6232bdd7abcd3p9, 0x0.ffffffffffe7cp-1022},
		{"Log64", Log64, 0, -inf},
		{"Log64", Log64, negZero, -inf},
		{"Log64", Log64, 1, 0},
		{"Log64", Log64, -1, nan},
		{"Log64", Log64, -tiny, nan},
		{"Log64", Log64, -inf, nan},
		{"Log64", Log64, inf, inf},
		{"Log64", Log64, nan, nan},
		{"Log64", Log64, tiny, -0x1.74385446d71c3p9},
		{"Log64", Log64, math.MaxFloat64, 0x1.62e42fefa39efp9},
		{"Log64", Log64, 2, math.Ln2},
		{"Tanh64", Tanh64, 0, 0},
		{"Tanh64", Tanh64, negZero, negZero},
		{"Tanh64", Tanh64, tiny, tiny},
		{"Tanh64", Tanh64, -tiny, -tiny},
		{"Tanh64", Tanh64, 19, 1 - 0x1p-53},
		{"Tanh64", Tanh64, -20, -1},
		{"Tanh64", Tanh64, inf, 1},
		{"Tanh64", Tanh64, -inf, -1},
		{"Tanh64", Tanh64, nan, nan},
		{"Sigmoid64", Sigmoid64, 0, 0.5},
		{"Sigmoid64", Sigmoid64, negZero, 0.5},
		{"Sigmoid64", Sigmoid64, 36, 1 - 0x1p-52},
		{"Sigmoid64", Sigmoid64, 38, 1},
		{"Sigmoid64", Sigmoid64, 1000, 1},
		{"Sigmoid64", Sigmoid64, -1000, 0},
		{"Sigmoid64", Sigmoid64, -745, tiny},
		{"Sigmoid64", Sigmoid64, inf, 1},
		{"Sigmoid64", Sigmoid64, -inf, 0},
		{"Sigmoid64", Sigmoid64, nan, nan},
	} {
		if got := test.f64(test.x); math.Float64bits(got) != math.Float64bits(test.want) && (got == got || test.want == test.want) {
			t.Errorf("%s(%x) = %x, want %x", test.name, test.x, got, test.want)
		}
	}
	for _, test := range []struct {
		name    string
		f32     func(float32) float32
		x, want float32
	}{
		{"Exp32", Exp32, 0x1.62e42ep6, 0x1.ffff08p127},
		{"Exp32", Exp32, 0x1.62e430p6, inf32},
		{"Exp32", Exp32, -0x1.9fe368p6, tinyF},
		{"Exp32", Exp32, -0x1.9fe36ap6, 0},
		{"Log32", Log32, tinyF, -0x1.9d1da0p6},
		{"Log32", Log32, math.MaxFloat32, 0x1.62e430p6},
		{"Tanh32", Tanh32, float32(negZero), float32(negZero)},
		{"Tanh32", Tanh32, tinyF, tinyF},
		{"Sigmoid32", Sigmoid32, -1000, 0},
	} {
		if got := test.f32(test.x); !sameFloat32(got, test.want) {
			t.Errorf("%s(%x) = %x, want %x", test.name, test.x, got, test.want)
		}
	}
}

// TestMonotone walks in small and in large steps: none of the functions ever
// falls, and tanh is odd.
func TestMonotone(t *testing.T) {
	for _, function := range functions {
		for _, step := range []uint64{1, 1 << 28, 1 << 44} {
			for _, start := range []float64{0x1p-29, 0.001, 0.6874, 0.9999, 1, 3.3, 22, 44.9} {
				last := function.f64(start)
				for i := range uint64(500) {
					x := math.Float64frombits(math.Float64bits(start) + i*step)
					got := function.f64(x)
					if got < last {
						t.Errorf("%s64(%x) = %x is less than at the place before, %x", function.name, x, got, last)
					}
					if function.name == "Tanh" && Tanh64(-x) != -got {
						t.Errorf("Tanh64(%x) = %x, want %x", -x, Tanh64(-x), -got)
					}
					last = got
				}
			}
		}
	}
}

type myFloat32 float32

func TestGeneric(t *testing.T) {
	for _, function := range []struct {
		name    string
		f32     func(float32) float32
		generic func(float32) float32
		named   func(myFloat32) myFloat32
		f64     func(float64) float64
		wide    func(float64) float64
	}{
		{"Exp", Exp32, Exp[float32], Exp[myFloat32], Exp64, Exp[float64]},
		{"Log", Log32, Log[float32], Log[myFloat32], Log64, Log[float64]},
		{"Tanh", Tanh32, Tanh[float32], Tanh[myFloat32], Tanh64, Tanh[float64]},
		{"Sigmoid", Sigmoid32, Sigmoid[float32], Sigmoid[myFloat32], Sigmoid64, Sigmoid[float64]},
	} {
		const x = 0.7
		if got, want := function.generic(x), function.f32(x); got != want {
			t.Errorf("%s[float32](%v) = %v, want %v", function.name, x, got, want)
		}
		if got, want := function.named(x), function.f32(x); float32(got) != want {
			t.Errorf("%s[myFloat32](%v) = %v, want %v", function.name, x, got, want)
		}
		if got, want := function.wide(x), function.f64(x); got != want {
			t.Errorf("%s[float64](%v) = %v, want %v", function.name, x, got, want)
		}
	}
}

// TestBits pins the bits of every function over inputs made by integer
// arithmetic alone: they must be the same on every architecture.
func TestBits(t *testing.T) {
	const want = "d68a8c36e3388255afaea030e9a9c1a12fc8160518b2d8f0fc8c4c27770cd3eb"
	hash := sha256.New()
	for _, function := range functions {
		for i := range uint64(50_000) {
			pattern := i * 0x9e3779b97f4a7c15 // visits all exponents and signs
			for _, x := range []float64{math.Float64frombits(pattern), math.Ldexp(float64(int64(pattern)), -58)} {
				for _, y := range []float64{function.f64(x), float64(function.f32(float32(x)))} {
					if y == y { // the payload of a NaN is free
						hash.Write(binary.LittleEndian.AppendUint64(nil, math.Float64bits(y)))
					}
				}
			}
		}
	}
	if got := hex.EncodeToString(hash.Sum(nil)); got != want {
		t.Errorf("SHA-256 of all results is %s, want %s", got, want)
	}
}

func Benchmark(b *testing.B) {
	for _, function := range functions {
		b.Run(function.name+"64", func(b *testing.B) { benchmark(b, function.f64) })
		b.Run(function.name+"32", func(b *testing.B) { benchmark(b, function.f32) })
	}
	b.Run("generic Exp64", func(b *testing.B) { benchmark(b, Exp[float64]) })
	b.Run("generic Exp32", func(b *testing.B) { benchmark(b, Exp[float32]) })
}

// benchmark runs the function over numbers from 0.01 to 8, independent of one
// another.
func benchmark[T float32 | float64](b *testing.B, function func(T) T) {
	rng := rand.New(rand.NewPCG(31, 32))
	x, y := make([]T, 1024), make([]T, 1024)
	for i := range x {
		x[i] = T(0.01 + 7.99*rng.Float64())
	}
	for b.Loop() {
		for i, v := range x {
			y[i] = function(v)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(x)), "ns/call")
}
