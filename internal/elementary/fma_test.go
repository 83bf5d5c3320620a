package elementary

import (
	"math"
	"math/big"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
)

// The smallest numbers of float32, and its infinity.
const (
	tiny32   = 0x1p-149
	normal32 = 0x1p-126
)

var inf32 = float32(math.Inf(1))

// fmaReference computes a·b + c exactly and rounds it once.
func fmaReference(a, b, c float32) float32 {
	x, y, z := float64(a), float64(b), float64(c)
	for _, v := range []float64{x, y, z} {
		if v-v != 0 { // infinite or NaN: float64 gives the same kind of result
			return float32(x*y + z)
		}
	}
	product := new(big.Float).SetPrec(48).Mul(big.NewFloat(x), big.NewFloat(y))
	// Product and summand lie between 2^-298 and 2^256: 600 bits hold any sum.
	sum := new(big.Float).SetPrec(600).Add(product, big.NewFloat(z))
	if sum.Sign() == 0 {
		return float32(x*y + z) // only the sign of zero is at stake
	}
	result, _ := sum.Float32()
	return result
}

func sameFloat32(a, b float32) bool {
	return math.Float32bits(a) == math.Float32bits(b) || (a != a && b != b)
}

func checkFMA32(t *testing.T, a, b, c float32) {
	t.Helper()
	if got, want := FMA32(a, b, c), fmaReference(a, b, c); !sameFloat32(got, want) {
		t.Fatalf("FMA32(%x, %x, %x) = %x, want %x", a, b, c, got, want)
	}
}

func TestFMA32Cases(t *testing.T) {
	nan := float32(math.NaN())
	negZero := float32(math.Copysign(0, -1))
	for _, test := range []struct {
		name          string
		a, b, c, want float32
	}{
		{"rounded twice this is 0x1.000004p0", 0x1.000002p-24, 0x1.fffffcp-1, 0x1.000002p0, 0x1.000002p0},
		{"and its negative", -0x1.000002p-24, 0x1.fffffcp-1, -0x1.000002p0, -0x1.000002p0},
		{"above half-way by 2^-48", 0x1.000002p-24, 0x1.000002p0, 1, 0x1.000002p0},
		{"exactly half-way, to even below", 0x1p-24, 1, 1, 1},
		{"exactly half-way, to even above", 0x1p-24, 1, 0x1.000002p0, 0x1.000004p0},
		{"above half-way among subnormals by 2^-184", 0x7ff4b1p-98, 0x1.0016ap-75, 0x1p-127, 0x1p-127 + tiny32},
		{"below half-way among subnormals by 2^-182", 0x1.0001p-75, 0x1.fffep-76, 0x1p-127 + tiny32, 0x1p-127 + tiny32},
		{"half the smallest subnormal, to even", 0x1p-75, 0x1p-75, 0, 0},
		{"half the smallest subnormal and a little", 0x1.000002p-75, 0x1p-75, 0, tiny32},
		{"underflow keeps the sign", -0x1p-100, 0x1p-100, 0, negZero},
		{"half-way to overflow", math.MaxFloat32, 1, 0x1p103, inf32},
		{"just below half-way to overflow", math.MaxFloat32, 1, 0x1.fffffep102, math.MaxFloat32},
		{"product overflows, sum does not", 0x1p64, 0x1p64, -math.MaxFloat32, 0x1p104},
		{"exact cancellation is +0", 3, 5, -15, 0},
		{"-0 + -0", negZero, 1, negZero, negZero},
		{"+0 + -0", 0, 1, negZero, 0},
		{"inf - inf", inf32, 1, -inf32, nan},
		{"0 * inf", 0, inf32, 1, nan},
		{"finite + inf", 2, 3, -inf32, -inf32},
		{"nan", 1, nan, 1, nan},
	} {
		if got := FMA32(test.a, test.b, test.c); !sameFloat32(got, test.want) {
			t.Errorf("%s: FMA32(%x, %x, %x) = %x, want %x", test.name, test.a, test.b, test.c, got, test.want)
		}
		checkFMA32(t, test.a, test.b, test.c)
	}
}

func TestFMA32Specials(t *testing.T) {
	var values []float32
	for _, v := range []float32{0, tiny32, 3 * tiny32, normal32 - tiny32, normal32, normal32 + tiny32, 0x1p-75,
		0x1.000002p-75, 0x1p-64, 0x1p-24, 0x1.000002p-24, 0x1.fffffep-1, 1, 0x1.000002p0, 3, 0x1p24, 0x1.fffffep63,
		0x1p64, 0x1p103, 0x1.fffffep102, 0x1p127, math.MaxFloat32, inf32, float32(math.NaN())} {
		values = append(values, v, -v)
	}
	for _, a := range values {
		for _, b := range values {
			for _, c := range values {
				checkFMA32(t, a, b, c)
			}
		}
	}
}

// TestFMA32Random checks a million triples and more: any bits, equal
// magnitudes, cancellation, and results placed on or beside a half-way point
// of normal, subnormal and overflowing numbers.
func TestFMA32Random(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	anyBits := func() float32 { return math.Float32frombits(rng.Uint32()) }
	between := func(low, high int) float32 { // a random sign and significand, 2^low <= |x| < 2^high
		x := float32(math.Ldexp(1+float64(rng.Uint32()>>9)*0x1p-23, low+rng.IntN(high-low)))
		if rng.IntN(2) == 0 {
			return -x
		}
		return x
	}
	short := func(low, high int) float32 { // few significant bits, so that half-way points are common
		return math.Float32frombits(math.Float32bits(between(low, high)) &^ (1<<(8+rng.IntN(16)) - 1))
	}
	for range 150_000 {
		checkFMA32(t, anyBits(), anyBits(), anyBits())
		checkFMA32(t, between(-3, 3), between(-3, 3), between(-6, 6))
		checkFMA32(t, between(-75, -60), between(-75, -60), between(-149, -120))
		checkFMA32(t, between(50, 70), between(50, 70), between(100, 128))

		a, b := between(-20, 20), between(-20, 20)
		checkFMA32(t, a, b, -float32(a*b))

		// 1 <= |c| < 2 with half a unit in its last place from the product, nearly or exactly.
		half := math.Float32frombits(math.Float32bits(0x1p-24) + uint32(rng.IntN(5)) - 2)
		checkFMA32(t, half, float32(math.Copysign(1, float64(b)))+short(-23, -20), between(0, 1))
		// The same a few powers of two above the smallest subnormal.
		checkFMA32(t, half*0x1p-51, 0x1p-75+short(-98, -95), between(-149, -124))
		checkFMA32(t, short(-80, -70), short(-80, -70), short(-149, -120))
	}
}

// TestFMA32Inlines asks the compiler: a call per multiply-add would cost three
// times the work itself.
func TestFMA32Inlines(t *testing.T) {
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("needs the go command: only the compiler tells what it inlines")
	}
	output, err := exec.Command(goTool, "build", "-gcflags=-m", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("go build -gcflags=-m: %v\n%s", err, output)
	}
	if !strings.Contains(string(output), "can inline FMA32") {
		t.Errorf("go build -gcflags=-m says nothing of inlining FMA32:\n%s", output)
	}
}

// BenchmarkFMA32 runs the inner loop of a product, y += a·w, over rows of 20:
// of random numbers, and of rows in which half of w and a quarter of y are 0.
func BenchmarkFMA32(b *testing.B) {
	const rows, width = 1000, 20
	for _, name := range []string{"dense", "half zero"} {
		b.Run(name, func(b *testing.B) {
			rng := rand.New(rand.NewPCG(3, 4))
			w, y := make([]float32, rows*width), make([]float32, rows*width)
			for i := range w {
				w[i], y[i] = rng.Float32()-0.5, rng.Float32()-0.5
				if name == "half zero" && rng.IntN(2) == 0 {
					w[i], y[i] = 0, y[i]*float32(i%2)
				}
			}
			a, first := float32(0.37), 0
			for b.Loop() {
				axpy32(a, w[first:first+width], y[first:first+width])
				if first += width; first == len(w) {
					a, first = -a, 0
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*width), "ns/FMA32")
		})
	}
}

func axpy32(a float32, w, y []float32) {
	y = y[:len(w)]
	for j, v := range w {
		y[j] = FMA32(a, v, y[j])
	}
}
