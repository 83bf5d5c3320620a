package kernel

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// underEach runs a test under every implementation that this machine has.
func underEach(t *testing.T, test func(t *testing.T)) {
	t.Helper()
	defer Use("")
	for _, name := range Names() {
		t.Run(name, func(t *testing.T) {
			if err := Use(name); err != nil {
				t.Fatal(err)
			}
			test(t)
		})
	}
}

// underEachType is underEach for a test of both number types.
func underEachType(t *testing.T, test32, test64 func(t *testing.T)) {
	t.Helper()
	underEach(t, func(t *testing.T) {
		t.Run("float32", test32)
		t.Run("float64", test64)
	})
}

// fill draws values of which the given share is zero.
func fill[T Float](r *rand.Rand, n int, zeros float64) []T {
	v := make([]T, n)
	for i := range v {
		if r.Float64() >= zeros {
			v[i] = T(r.Float64()*2 - 1)
		}
	}
	return v
}

// exactSum sums terms a·b with one rounding per term, by way of big.Float: the
// arithmetic contract written down once more, slowly.
func exactSum[T Float](terms [][2]T) T {
	var sum T
	for _, t := range terms {
		product := new(big.Float).SetPrec(200).Mul(big.NewFloat(float64(t[0])), big.NewFloat(float64(t[1])))
		product.Add(product, big.NewFloat(float64(sum)))
		switch any(sum).(type) {
		case float32:
			v, _ := product.Float32()
			sum = T(v)
		default:
			v, _ := product.Float64()
			sum = T(v)
		}
	}
	return sum + 0
}

func testProducts[T Float](t *testing.T) {
	sizes := []int{0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 20, 31, 33, 64, 129}
	r := rand.New(rand.NewPCG(1, 2))
	pool := NewPool(2)
	for range 60 {
		m, k, n := sizes[r.IntN(len(sizes))], sizes[r.IntN(len(sizes))], sizes[r.IntN(len(sizes))]
		zeros := []float64{0, 0.5, 0.81, 1}[r.IntN(4)]
		x, w, b := fill[T](r, m*k, zeros), fill[T](r, k*n, 0.1), fill[T](r, n, 0)
		g := fill[T](r, m*n, zeros)
		shape := fmt.Sprintf("[%d, %d]·[%d, %d], %.0f %% zeros", m, k, k, n, 100*zeros)
		for _, e := range []*Engine[T]{NewEngine[T](nil), NewEngine[T](pool)} {
			y, d := make([]T, m*n), make([]T, k*n)
			e.MatMul(y, x, w, b, m, k, n)
			for range min(20, m*n) {
				i, j := r.IntN(m), r.IntN(n)
				var terms [][2]T
				for p := range k {
					terms = append(terms, [2]T{x[i*k+p], w[p*n+j]})
				}
				if want := exactSum(terms) + b[j]; y[i*n+j] != want {
					t.Fatalf("MatMul %s: element (%d, %d) = %v, want %v", shape, i, j, y[i*n+j], want)
				}
			}
			e.MatMulTransposed(d, x, g, m, k, n)
			for range min(20, k*n) {
				p, j := r.IntN(k), r.IntN(n)
				var terms [][2]T
				for i := range m {
					terms = append(terms, [2]T{x[i*k+p], g[i*n+j]})
				}
				if want := exactSum(terms); d[p*n+j] != want {
					t.Fatalf("MatMulTransposed %s: element (%d, %d) = %v, want %v", shape, p, j, d[p*n+j], want)
				}
			}
		}
	}
}

func TestProductsSumInOrderWithOneRoundingPerTerm(t *testing.T) {
	underEachType(t, testProducts[float32], testProducts[float64])
}

func testThreads[T Float](t *testing.T) {
	const m, k, n = 97, 91, 53 // no part is as long as another
	r := rand.New(rand.NewPCG(3, 4))
	x, w, b, g := fill[T](r, m*k, 0.5), fill[T](r, k*n, 0), fill[T](r, n, 0), fill[T](r, m*n, 0.3)
	var wantY, wantD []T
	for _, threads := range []int{1, 2, 3, 8} {
		e := NewEngine[T](NewPool(threads))
		y, d := make([]T, m*n), make([]T, k*n)
		e.MatMul(y, x, w, b, m, k, n)
		e.MatMulTransposed(d, x, g, m, k, n)
		if threads == 1 {
			wantY, wantD = y, d
			continue
		}
		if !slices.Equal(y, wantY) || !slices.Equal(d, wantD) {
			t.Errorf("%d threads give other bits than 1", threads)
		}
	}
}

func TestSameBitsOnAnyNumberOfThreads(t *testing.T) {
	if 97*91*53 < worthSplitting {
		t.Fatal("the shapes are too small to be split at all")
	}
	underEachType(t, testThreads[float32], testThreads[float64])
}

func testNoNegativeZero[T Float](t *testing.T) {
	negative := T(math.Copysign(0, -1))
	tiny := T(1e-30)
	tiny *= tiny * tiny * tiny // underflows in float32
	e := NewEngine[T](nil)
	for _, x := range [][]T{{negative, 1}, {1, -1}, {-tiny, tiny}, {T(-1e-38), T(1e-38)}} {
		y := []T{7}
		e.MatMul(y, x, []T{T(1e-38), negative}, nil, 1, 2, 1)
		if y[0] == 0 && math.Signbit(float64(y[0])) {
			t.Errorf("MatMul of %v stores -0", x)
		}
		e.MatMulTransposed(y, x, []T{T(1e-38), negative}, 2, 1, 1)
		if y[0] == 0 && math.Signbit(float64(y[0])) {
			t.Errorf("MatMulTransposed of %v stores -0", x)
		}
	}
}

func TestNoNegativeZeroIsStored(t *testing.T) {
	underEachType(t, testNoNegativeZero[float32], testNoNegativeZero[float64])
}

func TestNotANumberGetsThrough(t *testing.T) {
	nan := math.NaN()
	underEach(t, func(t *testing.T) {
		y := []float64{0}
		NewEngine[float64](nil).MatMul(y, []float64{1, nan}, []float64{1, 1}, nil, 1, 2, 1)
		if y[0] == y[0] {
			t.Errorf("MatMul with a NaN input = %v, want NaN", y[0])
		}
	})
}

func TestTranspose(t *testing.T) {
	got := make([]float64, 6)
	transpose(got, []float64{1, 2, 3, 4, 5, 6}, 2, 3)
	if want := []float64{1, 4, 2, 5, 3, 6}; !slices.Equal(got, want) {
		t.Errorf("Transpose = %v, want %v", got, want)
	}
}

// The reference order of Sum: values 64 apart share a partial sum, and these are
// combined pairwise.
func TestSumOrder(t *testing.T) {
	for _, n := range []int{0, 1, 63, 64, 65, 128, 1000, 10007, 30011} {
		v := fill[float64](rand.New(rand.NewPCG(uint64(n), 1)), n, 0) // float32 would sum exactly in any order
		var lane [64]float64
		for i := range v {
			lane[i%64] += v[i]
		}
		for _, w := range []int{32, 16, 8, 4, 2, 1} {
			for l := range w {
				lane[l] += lane[l+w]
			}
		}
		if got := Sum(v); got != lane[0] {
			t.Errorf("Sum of %d values = %v, want %v", n, got, lane[0])
		}
	}
	if got := sumSquares([]float64{3, 4}); got != 25 {
		t.Errorf("SumSquares(3, 4) = %v, want 25", got)
	}
}

func TestUse(t *testing.T) {
	defer Use("")
	if err := Use("portable"); err != nil || Name() != "portable" {
		t.Errorf("Use(portable): %v, Name() = %q", err, Name())
	}
	if err := Use("abacus"); err == nil || !strings.Contains(err.Error(), "unknown kernel") {
		t.Errorf("Use(abacus) = %v, want an unknown kernel", err)
	}
	for _, name := range known {
		if slices.Contains(Names(), name) {
			continue
		}
		if err := Use(name); err == nil || !strings.Contains(err.Error(), "cannot run on this machine") {
			t.Errorf("Use(%s) = %v, want: cannot run on this machine", name, err)
		}
	}
	t.Setenv(EnvVar, "abacus")
	if err := Use(""); err == nil {
		t.Errorf("Use with %s=abacus = nil, want an error", EnvVar)
	}
}

// A library user who sets the variable to nonsense learns of it at first use.
func TestBadVariablePanics(t *testing.T) {
	if os.Getenv(EnvVar) == "abacus" {
		NewEngine[float32](nil)
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestBadVariablePanics$")
	cmd.Env = append(os.Environ(), EnvVar+"=abacus")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), EnvVar+": unknown kernel") {
		t.Errorf("NewEngine with %s=abacus: %v\n%s", EnvVar, err, out)
	}
}

func TestMisusePanics(t *testing.T) {
	e := NewEngine[float32](nil)
	v := make([]float32, 6)
	for name, f := range map[string]func(){
		"MatMul":           func() { e.MatMul(v, v, v, nil, 2, 3, 2) },
		"MatMul bias":      func() { e.MatMul(v[:4], v, v, v[:3], 2, 3, 2) },
		"MatMulTransposed": func() { e.MatMulTransposed(v, v, v, 2, 3, 4) },
		"NewPool(0)":       func() { NewPool(0) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Errorf("%s did not panic", name)
				}
			}()
			f()
		})
	}
}

func BenchmarkProducts(b *testing.B) {
	type shape struct{ m, k, n int }
	for _, s := range []shape{{128, 784, 20}, {128, 784, 512}, {1024, 1024, 1024}, {256, 2048, 2048}} {
		benchmarkProduct[float32](b, s.m, s.k, s.n, "float32")
		benchmarkProduct[float64](b, s.m, s.k, s.n, "float64")
	}
}

func benchmarkProduct[T Float](b *testing.B, m, k, n int, name string) {
	r := rand.New(rand.NewPCG(5, 6))
	x, w := fill[T](r, m*k, 0), fill[T](r, k*n, 0)
	y := make([]T, m*n)
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprintf("%dx%dx%d/%s/threads=%d", m, k, n, name, threads), func(b *testing.B) {
			e := NewEngine[T](NewPool(threads))
			for b.Loop() {
				e.MatMul(y, x, w, nil, m, k, n)
			}
			b.ReportMetric(2*float64(m*k*n)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}
