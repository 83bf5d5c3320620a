package nn_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"glassnet/nn"
	"glassnet/random"
)

func stream(seed uint64) *random.Stream { return random.New(seed, random.Init) }

// Each rule's standard deviation, bound and mean, on 784 x 128 weights. The
// standard error of a standard deviation of n = 100,352 values is 0.22 % (normal)
// or 0.14 % (uniform).
func TestInitialisers(t *testing.T) {
	const in, out = 784, 128
	deviations := map[string]float64{
		"he":     math.Sqrt(2.0 / in), // 0.0505076
		"glorot": math.Sqrt(2.0 / (in + out)),
		"lecun":  math.Sqrt(1.0 / in),
		"zeros":  0,
	}
	for _, rule := range nn.Initialisers {
		t.Run(rule.Name, func(t *testing.T) {
			net, err := nn.New(in, nn.Layer[float64](nn.NewDense[float64](in, out)), nn.NewBatchNorm[float64](out, nn.DefaultBatchNorm()))
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range net.Params() {
				for i := range p.Value {
					p.Value[i] = 9
				}
			}
			nn.Initialise(net, rule, stream(7))
			for _, p := range net.Params()[1:] {
				want := 0.0
				if strings.HasSuffix(p.Name, "gamma") || strings.HasSuffix(p.Name, "running_variance") {
					want = 1
				}
				for i, v := range p.Value {
					if v != want {
						t.Fatalf("%s[%d] = %v, want %v", p.Name, i, v, want)
					}
				}
			}

			w := net.Params()[0].Value
			family, _, _ := strings.Cut(rule.Name, "-")
			want, known := deviations[family]
			if !known {
				t.Fatalf("no expectation for %q", rule.Name)
			}
			n := float64(len(w))
			var sum, squares, fourth, bound float64
			for _, v := range w {
				sum += v
				squares += v * v
				fourth += v * v * v * v
				bound = max(bound, math.Abs(v))
			}
			if deviation := math.Sqrt(squares / n); math.Abs(deviation-want) > 0.01*want {
				t.Errorf("standard deviation %v, want %v within 1 %%", deviation, want)
			}
			if mean := sum / n; math.Abs(mean) > 3*want/math.Sqrt(n) {
				t.Errorf("mean %v, want 0 within %v", mean, 3*want/math.Sqrt(n))
			}
			switch kurtosis := fourth / n / (squares / n * squares / n); {
			case strings.HasSuffix(rule.Name, "-uniform"):
				if limit := math.Sqrt(3) * want; bound > limit || bound < 0.999*limit {
					t.Errorf("largest weight %v, want just below √3·σ = %v", bound, limit)
				}
				if math.Abs(kurtosis-1.8) > 0.02 {
					t.Errorf("kurtosis %v, want that of the uniform distribution, 1.8", kurtosis)
				}
			case strings.HasSuffix(rule.Name, "-normal"):
				if math.Abs(kurtosis-3) > 0.1 {
					t.Errorf("kurtosis %v, want that of the normal distribution, 3", kurtosis)
				}
			}
			if rule.Name == "glorot-uniform" && math.Abs(math.Sqrt(3)*want-0.0811107) > 1e-7 {
				t.Errorf("bound of glorot-uniform for 784 x 128 = %v, want 0.0811107", math.Sqrt(3)*want)
			}
		})
	}
}

func TestFindInitialiser(t *testing.T) {
	for _, rule := range nn.Initialisers {
		if got, err := nn.FindInitialiser(rule.Name); err != nil || got.Name != rule.Name {
			t.Errorf("FindInitialiser(%q) = %q, %v", rule.Name, got.Name, err)
		}
	}
	_, err := nn.FindInitialiser("xavier")
	wantUserError(t, `FindInitialiser("xavier")`, err, `unknown initialiser "xavier", want he-normal, `)
}

// Equal streams give equal weights, whatever normalisation stands between the
// layers and in both number types.
func TestInitialWeightsDoNotDependOnNormalisation(t *testing.T) {
	he, err := nn.FindInitialiser("he-normal")
	if err != nil {
		t.Fatal(err)
	}
	dense := func(units int) nn.LayerSpec { return nn.LayerSpec{Kind: nn.KindDense, Units: units} }
	plain := nn.Architecture{Input: 6, Layers: []nn.LayerSpec{dense(5), {Kind: nn.KindReLU}, dense(3)}}
	normed := nn.Architecture{Input: 6, Layers: []nn.LayerSpec{dense(5), {Kind: nn.KindBatchNorm, Epsilon: 1e-5, Decay: 0.9}, {Kind: nn.KindReLU}, dense(3)}}
	a, b, c := build[float64](t, plain), build[float64](t, normed), build[float32](t, plain)
	nn.Initialise(a, he, stream(5))
	nn.Initialise(b, he, stream(5))
	nn.Initialise(c, he, stream(5))
	weights := func(net *nn.Network[float64]) (w []float64) {
		for _, p := range net.Params() {
			if p.Role == nn.Weight {
				w = append(w, p.Value...)
			}
		}
		return w
	}
	if !slices.Equal(weights(a), weights(b)) {
		t.Error("weights differ with and without batch normalisation")
	}
	for i, p := range a.Params() {
		for j, v := range p.Value {
			if c.Params()[i].Value[j] != float32(v) {
				t.Fatalf("%s[%d] is %v in float32 and %v in float64", p.Name, j, c.Params()[i].Value[j], v)
			}
		}
	}
	nn.Initialise(b, he, stream(6))
	if slices.Equal(weights(a), weights(b)) {
		t.Error("seeds 5 and 6 give the same weights")
	}
}
