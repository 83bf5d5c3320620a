package elementary

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// The tests compare with two references: series in big.Float to 200 bits and
// more, and the same functions in double-double arithmetic, whose 100 bits
// suffice to see errors of 2^-40 ulp and which are fast enough for 10 million
// inputs. TestReferences holds the second against the first.

// wide is the number (head + tail)·2^exponent, |tail| at most half an ulp of head.
type wide struct {
	head, tail float64
	exponent   int
}

func twoSum(a, b float64) wide {
	sum := a + b
	t := sum - a
	return wide{sum, (a - (sum - t)) + (b - t), 0}
}

func (a wide) plus(b wide) wide { // of equal exponents
	heads, tails := twoSum(a.head, b.head), twoSum(a.tail, b.tail)
	sum := twoSum(heads.head, heads.tail+tails.head)
	sum = twoSum(sum.head, sum.tail+tails.tail)
	sum.exponent = a.exponent
	return sum
}

func (a wide) times(b wide) wide {
	product := float64(a.head * b.head)
	tail := math.FMA(a.head, b.head, -product)
	result := twoSum(product, tail+(a.head*b.tail+a.tail*b.head))
	result.exponent = a.exponent + b.exponent
	return result
}

func (a wide) negated() wide { return wide{-a.head, -a.tail, a.exponent} }

func (a wide) over(b wide) wide {
	result, rest := wide{}, wide{a.head, a.tail, 0}
	divisor := wide{b.head, b.tail, 0}
	for range 3 {
		digit := wide{rest.head / divisor.head, 0, 0}
		result = result.plus(digit)
		rest = rest.plus(digit.times(divisor).negated())
	}
	result.exponent = a.exponent - b.exponent
	return result
}

// plain returns a with exponent 0; what underflows is lost.
func (a wide) plain() wide {
	return wide{math.Ldexp(a.head, a.exponent), math.Ldexp(a.tail, a.exponent), 0}
}

func (a wide) big() *big.Float {
	sum := new(big.Float).SetPrec(bigPrecision).Add(big.NewFloat(a.head), big.NewFloat(a.tail))
	return sum.SetMantExp(sum, a.exponent)
}

// ulps returns |got - a| in units in the last place of a, in a format of the
// given precision in bits whose smallest normal number is 2^lowest.
func (a wide) ulps(got float64, precision, lowest int) float64 {
	_, exponent := math.Frexp(a.head)
	unit := max(exponent-1+a.exponent, lowest) - (precision - 1) - a.exponent // in the scale of a.head
	return math.Ldexp(math.Abs((math.Ldexp(got, -a.exponent)-a.head)-a.tail), -unit)
}

func (a wide) ulps64(got float64) float64 { return a.ulps(got, 53, -1022) }
func (a wide) ulps32(got float32) float64 { return a.ulps(float64(got), 24, -126) }

// round32 returns a rounded to float32; no a of these tests is exactly half-way.
func (a wide) round32() float32 {
	result, _ := a.big().Float32()
	return result
}

const (
	bigPrecision = 280
	// The first two of three parts of ln 2 have at most 42 bits: times k, of 11
	// bits, they are exact.
	ln2Part1 = 0x1.62e42fefa38p-1
	ln2Part2 = 0x1.ef35793cp-45
)

func newBig(x float64) *big.Float { return new(big.Float).SetPrec(bigPrecision).SetFloat64(x) }

var (
	bigLn2   = bigArtanhSeries(2)
	wideLn2  = fromBig(bigLn2)
	wideOne  = wide{1, 0, 0}
	inverses [64]wide // 1/n

	ln2Part3, _ = newBig(0).Sub(newBig(0).Sub(bigLn2, newBig(ln2Part1)), newBig(ln2Part2)).Float64()
)

func init() {
	for n := 1; n < len(inverses); n++ {
		inverses[n] = wideOne.over(wide{float64(n), 0, 0})
	}
}

func fromBig(x *big.Float) wide {
	head, _ := x.Float64()
	tail, _ := newBig(0).Sub(x, newBig(head)).Float64()
	return wide{head, tail, 0}
}

// bigArtanhSeries returns ln x = 2 (s + s³/3 + s⁵/5 + ...), s = (x-1)/(x+1).
func bigArtanhSeries(x float64) *big.Float {
	s := newBig(0).Quo(newBig(0).Sub(newBig(x), newBig(1)), newBig(0).Add(newBig(x), newBig(1)))
	square, power, sum := newBig(0).Mul(s, s), newBig(0).Set(s), newBig(0)
	for n := 1; power.Sign() != 0 && power.MantExp(nil) > s.MantExp(nil)-bigPrecision; n += 2 {
		sum.Add(sum, newBig(0).Quo(power, newBig(float64(n))))
		power.Mul(power, square)
	}
	return sum.Mul(sum, newBig(2))
}

// bigLog returns ln x: the series for the significand, brought to
// [0.71, 1.42), and a multiple of ln 2.
func bigLog(x float64) *big.Float {
	m, e := significand(x)
	return newBig(0).Add(newBig(0).Mul(newBig(float64(e)), bigLn2), bigArtanhSeries(m))
}

// significand returns x = m·2^e with 0.71 <= m < 1.42.
func significand(x float64) (m float64, e int) {
	m, e = math.Frexp(x)
	if m < 0.71 {
		m, e = 2*m, e-1
	}
	return m, e
}

// bigExp returns e^x: x = k ln 2 + r, the Taylor series of r/2^20 and 20 squarings.
func bigExp(x float64) *big.Float {
	k := math.Round(x / math.Ln2)
	r := newBig(0).Sub(newBig(x), newBig(0).Mul(newBig(k), bigLn2))
	r.SetMantExp(r, -20)
	sum, term := newBig(1), newBig(1)
	for n := 1; n < 15; n++ {
		term.Quo(term.Mul(term, r), newBig(float64(n)))
		sum.Add(sum, term)
	}
	for range 20 {
		sum.Mul(sum, sum)
	}
	return sum.SetMantExp(sum, int(k))
}

func wideExp(x float64) wide {
	k := math.Round(x / math.Ln2)
	r := twoSum(x, float64(-k*ln2Part1)).plus(wide{float64(-k * ln2Part2), 0, 0}).plus(wide{float64(-k * ln2Part3), 0, 0})
	r = wide{r.head / 64, r.tail / 64, 0}
	sum := wideOne
	for n := 13; n > 0; n-- { // Horner: 1 + r/1 (1 + r/2 (1 + ...))
		sum = wideOne.plus(sum.times(r).times(inverses[n]))
	}
	for range 6 {
		sum = sum.times(sum)
	}
	sum.exponent = int(k)
	return sum
}

func wideLog(x float64) wide {
	m, e := significand(x)
	s := twoSum(m, -1).over(twoSum(m, 1))
	square, sum := s.times(s), wide{}
	for n := 45; n > 0; n -= 2 {
		sum = inverses[n].plus(sum.times(square))
	}
	sum = sum.times(s)
	return wide{2 * sum.head, 2 * sum.tail, 0}.plus(wideLn2.times(wide{float64(e), 0, 0}))
}

func wideSigmoid(x float64) wide {
	e := wideExp(-math.Abs(x))
	below := wideOne.plus(e.plain())
	if x < 0 {
		return e.over(below)
	}
	return wideOne.over(below)
}

func wideTanh(x float64) wide {
	if math.Abs(x) < 0x1p-20 { // x - x³/3 + 2x⁵/15
		cube := float64(x * x * x)
		return twoSum(x, -cube/3+2*cube*x*x/15)
	}
	e := wideExp(-2 * math.Abs(x)).plain()
	result := wideOne.plus(e.negated()).over(wideOne.plus(e))
	if x < 0 {
		return result.negated()
	}
	return result
}

func TestReferences(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	check := func(name string, x float64, got wide, want *big.Float) {
		t.Helper()
		difference := newBig(0).Sub(got.big(), want)
		if difference.Sign() != 0 && difference.MantExp(nil) > want.MantExp(nil)-90 {
			t.Fatalf("%s(%x): double-double %.40g and series %.40g differ before bit 90", name, x, got.big(), want)
		}
	}
	for range 3000 {
		for _, x := range []float64{
			(rng.Float64() - 0.5) * 1400,
			(rng.Float64() - 0.5) * math.Ldexp(1, -rng.IntN(60)),
		} {
			check("exp", x, wideExp(x), bigExp(x))
		}
		for _, x := range []float64{
			math.Float64frombits(rng.Uint64N(0x7ff << 52)),
			1 + (rng.Float64()-0.5)*math.Ldexp(1, -rng.IntN(50)),
			math.Float64frombits(1 + rng.Uint64N(1<<52)),
		} {
			check("log", x, wideLog(x), bigLog(x))
		}
	}
}
