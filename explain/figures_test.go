package explain_test

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"glassnet/dataset"
	"glassnet/explain"
	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/optim"
	"glassnet/random"
)

// What stands beside a number says which number it is, and the law is the formula that
// the numbers are put into.
func TestWordsAndLaws(t *testing.T) {
	const rows, columns = explain.Rows, explain.Columns
	for _, test := range []struct {
		step       int
		ref        string
		convention explain.Convention
		what, law  string
	}{
		{0, "x:5", rows, "pixel 5 (row 1, column 1) of example 1", "x = byte / 255, rounded to float32"},
		{4, "x:11@2", rows, "pixel 11 (row 2, column 3) of example 3 (row 2)", ""},
		{0, "1:4", rows, "pre-activation of unit 4 of layer 1 (dense), example 1", "z[i, j] = Σ_p x[i, p]·W[p, j] + b[j]"},
		{1, "1:4@5", columns, "pre-activation of unit 4 of layer 1 (dense), example 6 (row 5)", "z[j, i] = Σ_p W[j, p]·a[p, i] + b[j]"},
		{1, "2:3@1", rows, "activation of unit 3 of layer 2 (relu), example 2 (row 1)", "a = max(0, z)"},
		{1, "3:2@1", rows, "logit of unit 2 of layer 3 (dense), example 2 (row 1)", ""},
		{2, "2:3@1", rows, "activation of unit 3 of layer 2 (tanh), example 2 (row 1)", "a = tanh(z)"},
		{3, "2:3@1", rows, "activation of unit 3 of layer 2 (sigmoid), example 2 (row 1)", "a = 1 / (1 + exp(-z))"},
		{4, "6:3@1", rows, "normalised value of unit 3 of layer 6 (batch_norm), example 2 (row 1)", "y = γ·x̂ + β, x̂ = (x - μ) / √(σ² + ε)"},
		{5, "3:3@1", rows, "normalised value of unit 3 of layer 3 (published_per_example_norm), example 2 (row 1)", "y = (x - mean over units) / √(variance over units + ε)"},
		{1, "p:2@3", rows, "probability of class 2 for example 4 (row 3)", "p[j] = exp(z[j] - max z) / Σ_k exp(z[k] - max z)"},
		{0, "loss", rows, "loss of example 1, whose label is 2", "loss = -ln p[label] = ln Σ_k exp(z[k] - max z) - (z[label] - max z)"},
		{1, "loss@5", rows, "loss of example 6 (row 5), whose label is 1", ""},
		{5, "loss@2", rows, "loss of example 3 (row 2), whose label is 2", "loss = -ln(p[label] + 1e-8)"},
		{1, "cost", rows, "cost of the batch: the mean loss of its examples, nats", "cost = 1/n Σ_i loss[i]"},
		{2, "penalty", rows, "penalty on the weights", "penalty = λ/2 Σ w²; a term for each dense layer"},
		{5, "penalty", rows, "penalty on the weights", "penalty = λ Σ_j (Σ_p W[p, j])², as published; a term for each dense layer"},
		{2, "total", rows, "what training lowers: cost and penalty", "C = cost + penalty"},

		{4, "6.batch_norm.mean:3", rows, "mean of unit 3 of layer 6 over the 7 examples of the batch", "μ = 1/n Σ_i x[i]"},
		{4, "6.batch_norm.variance:3", rows, "variance of unit 3 of layer 6 over the 7 examples of the batch", "σ² = 1/n Σ_i (x[i] - μ)²"},
		{4, "6.batch_norm.inverse_std:3", rows, "inverse standard deviation of unit 3 of layer 6", "1/σ = 1 / √(σ² + ε)"},
		{4, "6.batch_norm.x_hat:3@2", rows, "x̂ of unit 3 of layer 6, example 3 (row 2)", "x̂ = (x - μ)·1/σ"},
		{5, "3.published_per_example_norm.mean:0@2", rows, "mean of example 3 (row 2) over the 5 units of layer 3", "μ = 1/n Σ_i x[i]"},
		{5, "3.published_per_example_norm.variance:0@3", rows, "variance of example 4 (row 3) over the 5 units of layer 3", "σ² = 1/n Σ_i (x[i] - μ)²"},

		{0, "1.dense.weight:7,2", rows, "weight of layer 1 from input 7 to unit 2 before the update", "as it was initialised and the steps before this one have left it"},
		{0, "after(1.dense.weight:7,2)", rows, "weight of layer 1 from input 7 to unit 2 after the update", "w ← w - η·dC/dw"},
		{0, "3.dense.bias:2", rows, "bias of unit 2 of layer 3 before the update", ""},
		{4, "2.batch_norm.gamma:4", rows, "gamma of unit 4 of layer 2 before the update", ""},
		{4, "after(2.batch_norm.beta:4)", rows, "beta of unit 4 of layer 2 after the update", "w ← w - η·dC/dw"},
		{4, "2.batch_norm.running_mean:4", rows, "running mean of unit 4 of layer 2 before the update", ""},
		{4, "after(2.batch_norm.running_mean:4)", rows, "running mean of unit 4 of layer 2 after the update", "running μ ← decay·running μ + (1 - decay)·μ"},
		{4, "after(2.batch_norm.running_variance:4)", rows, "running variance of unit 4 of layer 2 after the update", "running σ² ← decay·running σ² + (1 - decay)·σ²·n/(n - 1)"},

		{1, "grad(3:2@1)", rows, "gradient of the logit of unit 2 of layer 3 (dense), example 2 (row 1)", "dC/dz[j] = (p[j] - [j is the label]) / n"},
		{1, "grad(2:3@1)", rows, "gradient of the activation of unit 3 of layer 2 (relu), example 2 (row 1)", "dC/dx[i, p] = Σ_j dC/dz[i, j]·W[p, j]"},
		{1, "grad(2:3@1)", columns, "gradient of the activation of unit 3 of layer 2 (relu), example 2 (row 1)", "dC/da[p, i] = Σ_j W[j, p]·dC/dz[j, i]"},
		{1, "grad(1:3@1)", rows, "gradient of the pre-activation of unit 3 of layer 1 (dense), example 2 (row 1)", "dC/dz = dC/da·1 where z > 0, else ·0"},
		{2, "grad(1:3@1)", rows, "", "dC/dz = dC/da·(1 - a)·(1 + a)"},
		{3, "grad(1:3@1)", rows, "", "dC/dz = dC/da·a·(1 - a)"},
		{4, "grad(1:3@1)", rows, "", "dC/dx = γ/σ·dC/dy - γ/σ·1/n·dC/dβ - γ/σ·x̂·1/n·dC/dγ: directly, through the mean, through the variance"},
		{5, "grad(2:3@1)", rows, "", "dC/dx = dC/dy: the published study leaves out the derivative of its normalisation"},
		{0, "grad(1.dense.weight:7,2)", rows, "gradient of the weight of layer 1 from input 7 to unit 2", "dC/dW[p, j] = Σ_i x[i, p]·dC/dz[i, j]"},
		{0, "grad(1.dense.weight:7,2)", columns, "", "dC/dW[j, p] = Σ_i dC/dz[j, i]·a[p, i]"},
		{2, "grad(1.dense.weight:7,2)", rows, "", "dC/dW[p, j] = Σ_i x[i, p]·dC/dz[i, j] + λ·W[p, j]"},
		{2, "grad(1.dense.weight:7,2)", columns, "", "dC/dW[j, p] = Σ_i dC/dz[j, i]·a[p, i] + λ·W[j, p]"},
		{0, "grad(3.dense.bias:2)", rows, "gradient of the bias of unit 2 of layer 3", "dC/db[j] = Σ_i dC/dz[i, j]"},
		{0, "grad(3.dense.bias:2)", columns, "", "dC/db[j] = Σ_i dC/dz[j, i]"},
		{4, "grad(2.batch_norm.gamma:4)", rows, "gradient of the gamma of unit 4 of layer 2", "dC/dγ[j] = Σ_i dC/dy[i, j]·x̂[i, j]"},
		{4, "grad(2.batch_norm.beta:4)", rows, "gradient of the beta of unit 4 of layer 2", "dC/dβ[j] = Σ_i dC/dy[i, j]"},
	} {
		f := opened(t, step[float64](t, test.step), test.ref, test.convention)
		if test.what != "" && f.What != test.what {
			t.Errorf("%s of %s is called\n%s, want\n%s", test.ref, cases[test.step].name, f.What, test.what)
		}
		if test.law != "" && f.Law != test.law {
			t.Errorf("the law of %s of %s is\n%s, want\n%s", test.ref, cases[test.step].name, f.Law, test.law)
		}
	}
	// The table above tells a label from a prediction, and an example from its row.
	s := step[float64](t, 1)
	if s.Loss.Labels[5] == uint8(s.Loss.Predicted[5]) || s.Batch.Index[5] == 5 {
		t.Error("the table shows nothing")
	}
}

func opened[T matrix.Float](t *testing.T, s *explain.Step[T], ref string, c explain.Convention) explain.Formula {
	t.Helper()
	r, err := explain.ParseRef(ref)
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Open(r, c)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// The overview of each row has the numbers that open one by one, those of this row.
func TestOverview(t *testing.T) {
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := step[float64](t, i)
			value := func(ref string, args ...any) float64 {
				return opened(t, s, fmt.Sprintf(ref, args...), explain.Rows).Value
			}
			next, err := explain.Record(s.Net, s.Batch, s.Options)
			if err != nil {
				t.Fatal(err)
			}
			for row := range s.Rows() {
				o := s.Overview(row, explain.Columns)
				if o.Label != int(s.Batch.Label(row)) || o.Predicted != nn.Argmax(o.Probabilities) {
					t.Errorf("row %d: label %d, predicted %d, want %d, %d", row, o.Label, o.Predicted, s.Batch.Label(row), nn.Argmax(o.Probabilities))
				}
				for k, p := range o.Probabilities {
					if p != value("p:%d@%d", k, row) {
						t.Errorf("row %d: p[%d] = %v", row, k, p)
					}
				}
				if o.Loss != value("loss@%d", row) || o.Cost != value("cost") || o.Penalty != value("penalty") {
					t.Errorf("row %d: loss %v, cost %v, penalty %v", row, o.Loss, o.Cost, o.Penalty)
				}
				// What one step ends with, the next begins with.
				if o.CostAfter != next.Cost.Data || o.PenaltyAfter != next.Cost.Penalty {
					t.Errorf("after the update: cost %v, penalty %v, want %v, %v", o.CostAfter, o.PenaltyAfter, next.Cost.Data, next.Cost.Penalty)
				}
				if o.Cost == o.CostAfter || (o.Penalty == o.PenaltyAfter) != (c.lambda == 0) {
					t.Errorf("cost %v, %v after; penalty %v, %v after", o.Cost, o.CostAfter, o.Penalty, o.PenaltyAfter)
				}
				if o.Rule != "sgd" || o.Rate != 0.05 || len(o.Layers) != len(c.layers) {
					t.Errorf("rule %q, rate %v, %d layers", o.Rule, o.Rate, len(o.Layers))
				}
				for l, one := range o.Layers {
					if want := opened(t, s, fmt.Sprintf("%d:0", l+1), explain.Columns).Law; one.Layer != l+1 || one.Law != want {
						t.Errorf("layer %d, %s, want %d, %s", one.Layer, one.Law, l+1, want)
					}
					for j := range one.Output {
						if one.Output[j] != value("%d:%d@%d", l+1, j, row) || one.Gradient[j] != value("grad(%d:%d@%d)", l+1, j, row) {
							t.Errorf("row %d: %d:%d = %v, its gradient %v", row, l+1, j, one.Output[j], one.Gradient[j])
						}
					}
					if len(one.Kept) != len(s.Trace.Caches[l].Kept) {
						t.Errorf("layer %d: %d kept, want %d", l+1, len(one.Kept), len(s.Trace.Caches[l].Kept))
					}
					for name, kept := range one.Kept {
						for j, v := range kept {
							if want := value("%d.%s.%s:%d@%d", l+1, one.Kind, name, j, row); v != want {
								t.Errorf("row %d: %s of unit %d of layer %d is %v, want %v", row, name, j, l+1, v, want)
							}
						}
					}
				}
			}
		})
	}
}

// A gradient may be off by 1e-8 and a millionth of the difference, and no further.
func TestOff(t *testing.T) {
	nan := math.NaN()
	for _, test := range []struct {
		analytic, numeric float64
		off               bool
	}{
		{0, 0, false},
		{0.9e-8, 0, false}, {1.1e-8, 0, true}, {-1.1e-8, 0, true},
		{1 + 1.005e-6, 1, false}, {1 + 1.02e-6, 1, true}, {1 - 1.02e-6, 1, true},
		{-1000 + 0.99e-3, -1000, false}, {-1000 + 1.01e-3, -1000, true},
		{1, 2, true}, {1, -1, true},
		{1, math.Inf(1), true}, {1, math.Inf(-1), true},
		{nan, 1, true}, {1, nan, true}, {nan, nan, true},
	} {
		c := explain.Check{Analytic: test.analytic, Numeric: test.numeric}
		if c.Off() != test.off {
			t.Errorf("%v beside %v: off %v, want %v", test.analytic, test.numeric, c.Off(), test.off)
		}
		if c.Kink = true; c.Off() {
			t.Errorf("%v beside %v is off at a kink", test.analytic, test.numeric)
		}
	}
}

// Gradients wrong by three millionths are off, none of them undecided, and the check
// says by how much they are wrong.
func TestCheckSeesSmallFaults(t *testing.T) {
	s := step[float64](t, 3) // sigmoid: it has no kinks
	fault := func(g float64) float64 { return 3e-6 * max(1, math.Abs(g)) }
	for _, p := range s.Net.Params() {
		for i, g := range p.Grad {
			p.Grad[i] += fault(g)
		}
	}
	for _, cache := range s.Trace.Caches {
		for i, g := range cache.GradOut.Data {
			cache.GradOut.Data[i] += fault(g)
		}
	}
	for _, r := range every(s, 3) {
		if r.Aspect != explain.Gradient {
			continue
		}
		c, err := s.Check(r)
		if err != nil || !c.Off() || c.Kink {
			t.Errorf("%+v, %v", c, err)
		}
		want := math.Abs(c.Analytic-c.Numeric) / max(math.Abs(c.Analytic), math.Abs(c.Numeric))
		if c.Relative != want || math.Abs(c.Analytic-c.Numeric) > 3.1e-6*max(1, math.Abs(c.Analytic)) {
			t.Errorf("%+v: relative difference, want %v", c, want)
		}
		if text := s.CheckText(c); !text.Off || text.Kink || text.Ref != r.String() || text.Analytic != c.Analytic || text.Numeric != c.Numeric || text.Relative != want {
			t.Errorf("%+v is told as %+v", c, text)
		}
	}
}

// Where a ReLU is at its corner nothing is said; where it is near, a smaller distance
// stays on its side.
func TestChecksNearACorner(t *testing.T) {
	for _, test := range []struct {
		z    float64
		kink bool
		step float64
	}{
		{0, true, 1e-7}, {3e-4, false, 1e-4}, {-3e-4, false, 1e-4},
		{1.5e-4, false, 1e-5}, {-1.5e-4, false, 1e-5}, // the outer two of the four points cross
		{3e-5, false, 1e-5}, {1.5e-5, false, 1e-6}, {1.5e-6, false, 1e-7}, {1e-7, true, 1e-7},
	} {
		stream := random.New(8, "explain/test")
		net := network[float64](t, stream, 12, "dense 4", "relu", "dense 3")
		for i := range 12 {
			net.Params()[0].Value[4*i+1] = 0
		}
		net.Params()[1].Value[1] = test.z
		s, err := explain.Record(net, dataset.All(images(stream, 1, 4, 3, 3)), options[float64](t, nn.LossCrossEntropy, "l2", 0))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []explain.Ref{explain.ParameterRef("1.dense.bias", 1), {Kind: explain.Output, Layer: 1, Index: [2]int{1}}} {
			c, err := s.Check(r)
			if err != nil || c.Off() || c.Kink != test.kink || c.Step != test.step {
				t.Errorf("z = %v: %+v, %v, want kink %v, distance %v", test.z, c, err, test.kink, test.step)
			}
			if !test.kink && (c.Analytic == 0) != (test.z < 0) {
				t.Errorf("z = %v: gradient %v", test.z, c.Analytic)
			}
		}
	}
}

// Many goroutines may check at once.
func TestChecksAtOnce(t *testing.T) {
	s := step[float32](t, 4)
	var refs []explain.Ref
	for _, r := range every(s, 1) {
		if r.Aspect == explain.Gradient {
			refs = append(refs, r)
		}
	}
	one := step[float32](t, 4)
	var want []explain.Check
	for _, r := range refs {
		c, err := one.Check(r)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, c)
	}
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := range 4 * len(refs) {
				i = (i + worker*len(refs)/4) % len(refs)
				if got, err := s.Check(refs[i]); err != nil || got != want[i] {
					t.Errorf("%+v, want %+v, %v", got, want[i], err)
					return
				}
			}
		})
	}
	group.Wait()
}

// ill returns a step of so many examples in which nothing ails: each figure that Health
// judges by is set.
func ill(t *testing.T, rows int) *explain.Step[float64] {
	t.Helper()
	stream := random.New(9, "explain/test")
	net := network[float64](t, stream, 12, "dense 4", "relu", "dense 4", "sigmoid", "dense 4", "tanh", "dense 3")
	s, err := explain.Record(net, dataset.All(images(stream, rows, 4, 3, 3)), options[float64](t, nn.LossCrossEntropy, "l2", 0))
	if err != nil {
		t.Fatal(err)
	}
	s.Rate = 0.5
	for i, p := range s.Net.Params() {
		fill(p.Grad, 1e-3)
		fill(s.Before[i], 2)
		fill(p.Value, 200)
	}
	for _, cache := range s.Trace.Caches {
		fill(cache.Out.Data, 0.5)
		fill(cache.GradOut.Data, -1)
	}
	return s
}

func fill(values []float64, v float64) {
	for i := range values {
		values[i] = v
	}
}

// Each limit of Health is where it is said to be.
func TestHealthLimits(t *testing.T) {
	type step = *explain.Step[float64]
	// unit sets the outputs of unit 2 of a layer for the first n examples.
	unit := func(layer int, v func() float64, n int) func(s step) {
		return func(s step) {
			for i := range min(n, s.Rows()) {
				s.Trace.Caches[layer-1].Out.Row(i)[2] = v()
			}
		}
	}
	just := func(v float64) func() float64 { return func() float64 { return v } }
	// The output at which a share of the steepest slope is left.
	sigmoid := func(share float64) func() float64 { return just((1 - math.Sqrt(1-share)) / 2) }
	sigmoidAbove := func(share float64) func() float64 { return just((1 + math.Sqrt(1-share)) / 2) }
	tanh := func(share float64) func() float64 { return just(-math.Sqrt(1 - share)) }
	gradient := func(v float64) func(s step) {
		return func(s step) { fill(s.Trace.Caches[0].GradOut.Data, v) }
	}
	// update makes the update of layer 3 that share of its weights.
	update := func(share float64) func(s step) {
		return func(s step) { fill(s.Net.Params()[2].Grad, share*2/0.5) }
	}
	blocked := func(s step) {
		fill(s.Trace.Caches[1].Out.Data, 0)
		fill(s.Trace.Caches[0].GradOut.Data, 0)
	}
	const saturated4, saturated6 = "1 of 4 units of layer 4 are saturated for nearly all examples", "1 of 4 units of layer 6 are saturated for nearly all examples"
	for _, test := range []struct {
		name  string
		rows  int
		spoil func(s step)
		layer int
		want  string // "": nothing ails
	}{
		{"well", 40, func(step) {}, 0, ""},
		{"dead", 32, unit(2, just(0), 32), 2, "1 of 4 units of layer 2 are 0 for all 32 examples"},
		{"dead, few examples", 31, unit(2, just(0), 31), 0, ""},
		{"alive for one example", 32, unit(2, just(0), 31), 0, ""},
		{"hardly alive", 32, unit(2, just(1e-300), 32), 0, ""},
		{"sigmoid flat", 40, unit(4, sigmoid(0.0099), 40), 4, saturated4},
		{"sigmoid flat above", 40, unit(4, sigmoidAbove(0.0099), 40), 4, saturated4},
		{"sigmoid nearly flat", 40, unit(4, sigmoid(0.0101), 40), 0, ""},
		{"sigmoid flat, few examples", 31, unit(4, sigmoid(0.0099), 31), 0, ""},
		{"sigmoid flat, 32 examples", 32, unit(4, sigmoid(0.0099), 32), 4, saturated4},
		{"sigmoid flat for nearly all", 40, unit(4, sigmoid(0.0099), 38), 4, saturated4},
		{"sigmoid flat for many", 40, unit(4, sigmoid(0.0099), 37), 0, ""},
		{"tanh flat", 40, unit(6, tanh(0.0099), 40), 6, saturated6},
		{"tanh nearly flat", 40, unit(6, tanh(0.0101), 40), 0, ""},
		{"tanh flat for nearly all", 40, unit(6, tanh(0.0099), 38), 6, saturated6},
		{"tanh flat for many", 40, unit(6, tanh(0.0099), 37), 0, ""},
		{"large update", 32, update(0.0301), 3, "one update moves the weights of layer 3 by 0.03 of their length"},
		{"large update, few examples", 31, update(0.0301), 0, ""},
		{"not so large update", 32, update(0.0299), 0, ""},
		{"small update", 32, update(0.99e-6), 3, "one update moves the weights of layer 3 by 9.9e-07 of their length"},
		{"small update, few examples", 31, update(0.99e-6), 0, ""},
		{"not so small update", 32, update(1.01e-6), 0, ""},
		{"no update", 32, update(0), 0, ""},
		{"vanishing", 2, gradient(0.99e-3), 1, "the gradient at layer 1 is 0.00099 of that at layer 7: it vanishes on its way"},
		{"hardly vanishing", 2, gradient(1.01e-3), 0, ""},
		{"exploding", 2, gradient(1010), 1, "the gradient at layer 1 is 1e+03 times that at layer 7: it explodes on its way"},
		{"hardly exploding", 2, gradient(990), 0, ""},
		{"no gradient at all", 2, func(s step) { gradient(0)(s); fill(s.Trace.Caches[6].GradOut.Data, 0) }, 0, ""},
		{"blocked", 40, blocked, 2, "4 of 4 units of layer 2 are 0 for all 40 examples"},
		{"blocked, few examples", 31, blocked, 1, "the gradient at layer 1 is 0 of that at layer 7: it vanishes on its way"},
	} {
		s := ill(t, test.rows)
		test.spoil(s)
		var want, got []string
		if test.want != "" {
			want = []string{fmt.Sprint(test.layer, " ", test.want)}
		}
		for _, f := range s.Health().Findings {
			got = append(got, fmt.Sprint(f.Layer, " ", f.What))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: findings %q, want %q", test.name, got, want)
		}
	}
	// shrunk is what spoil does with weights of layer 3, [4, 4], of that length; those of
	// glorot-normal have 0.5.
	shrunk := func(length float64, spoil func(s step)) func(s step) {
		return func(s step) {
			spoil(s)
			fill(s.Before[2], length)
			for i := range s.Net.Params()[2].Grad {
				s.Net.Params()[2].Grad[i] *= length / 2
			}
		}
	}
	// What a strong penalty has done is told as that. The rate is 0.5.
	for _, test := range []struct {
		spoil         func(s step)
		lambda        float64
		cause, remedy string
	}{
		{update(0.0301), 0, "learning rate is large", "A learning rate some ten times smaller."},
		{update(0.0301), 0.0019, "learning rate is large", "A learning rate some ten times smaller."},
		{update(0.0301), 0.0021, "learning rate is large", "A learning rate some ten times smaller."}, // of weights that have their length
		{shrunk(0.26, update(0.0301)), 0.0021, "learning rate is large", "A learning rate some ten times smaller."},
		{shrunk(0.24, update(0.0301)), 0.0019, "learning rate is large", "A learning rate some ten times smaller."},
		{shrunk(0.24, update(0.0301)), 0.0021, "The weights are short: with λ 0.0021 the penalty takes 0.001 of each away in every update.", "A smaller λ."},
		{update(0.0301), 0.031, "The penalty's λ·w, with λ 0.031,", "A smaller λ."},
		{gradient(0.99e-3), 0.0019, "many layers leave nothing", "Where the activation is sigmoid or tanh, ReLU; he-normal initial weights, or batch normalisation."},
		{gradient(0.99e-3), 0.0021, "many layers leave nothing", "Where the activation is sigmoid or tanh, ReLU; he-normal initial weights, or batch normalisation."},
		{shrunk(0.24, gradient(0.99e-3)), 0.0021, "with λ 0.0021 the penalty takes 0.001 of each away in every update.", "A smaller λ."},
		{unit(2, just(0), 32), 0, "so the cost does not change the weights before it.", "a smaller learning rate"},
		{unit(2, just(0), 32), 1e-5, "so nothing but the penalty changes the weights before it, towards 0.", "a smaller learning rate"},
	} {
		s := ill(t, 32)
		test.spoil(s)
		s.Options.Penalty = optim.L2[float64]{Lambda: test.lambda}
		if f := s.Health().Findings; len(f) != 1 || !strings.Contains(f[0].Cause, test.cause) || !strings.Contains(f[0].Remedy, test.remedy) {
			t.Errorf("λ %v: findings %+v, want one with the cause %q and the remedy %q", test.lambda, f, test.cause, test.remedy)
		}
	}
	// Of weights that are all 0 no update is a share.
	s := ill(t, 32)
	update(1)(s)
	fill(s.Before[2], 0)
	if h := s.Health(); len(h.Findings) != 0 || !math.IsNaN(h.Layers[2].Update) {
		t.Errorf("weights of 0: update %v, findings %+v", h.Layers[2].Update, h.Findings)
	}
}

// The figures themselves, and where each is from.
func TestHealthFigures(t *testing.T) {
	s := ill(t, 3)
	s.Trace.Caches[0].GradOut.Data[5] = 7
	s.Trace.Caches[1].Out.Row(2)[3] = 0
	for i := range 3 {
		s.Trace.Caches[1].Out.Row(i)[1] = 0
		s.Trace.Caches[3].Out.Row(i)[0] = 1
		s.Trace.Caches[5].Out.Row(i)[2] = -1
	}
	h := s.Health()
	for i, l := range h.Layers {
		kind, units := []string{"dense", "relu", "dense", "sigmoid", "dense", "tanh", "dense"}[i], []int{4, 4, 4, 4, 4, 4, 3}[i]
		if l.Layer != i+1 || l.Kind != kind || l.Units != units {
			t.Errorf("layer %d %s of %d units, want %d %s of %d", l.Layer, l.Kind, l.Units, i+1, kind, units)
		}
		switch i {
		case 0, 2, 4, 6:
			want := 1.0
			if i == 0 {
				want = math.Sqrt((11 + 49) / 12.0)
			}
			if math.Abs(l.Update-0.5*1e-3/2) > 1e-15 || math.Abs(l.Gradient-want) > 1e-12 {
				t.Errorf("layer %d: update %v, gradient %v", l.Layer, l.Update, l.Gradient)
			}
		default:
			if !math.IsNaN(l.Update) || l.Gradient != 0 {
				t.Errorf("layer %d: update %v, gradient %v", l.Layer, l.Update, l.Gradient)
			}
		}
		dead, saturated := []int(nil), []int(nil)
		switch i {
		case 1:
			dead = []int{1}
		case 3:
			saturated = []int{0}
		case 5:
			saturated = []int{2}
		}
		if !slices.Equal(l.Dead, dead) || !slices.Equal(l.Saturated, saturated) {
			t.Errorf("layer %d: dead %v, saturated %v, want %v, %v", l.Layer, l.Dead, l.Saturated, dead, saturated)
		}
	}
}

// Of equal outputs the earlier of the view comes first, also from another part of it, and
// an example is called as its set counts.
func TestMaximallyActivatingOfEqualOnes(t *testing.T) {
	stream := random.New(4, "explain/test")
	set := images(stream, 700, 4, 3, 3)
	for i := 3; i < 700; i++ { // three images, again and again
		copy(set.Image(i), set.Image(i%3))
	}
	view := dataset.View{Set: set}
	for i := range 601 {
		view.Index = append(view.Index, int32(i*11%700))
	}
	net := network[float64](t, stream, 12, "dense 5", "tanh", "dense 3")
	trace := net.NewTrace(nn.TraceOptions{Batch: view.Len()})
	net.ForwardPixels(trace, view.Pixels(), nn.Eval)
	var all []explain.Activating
	for i, example := range view.Index {
		all = append(all, explain.Activating{Example: int(example), Value: trace.Caches[1].Out.At(i, 3)})
	}
	slices.SortStableFunc(all, func(a, b explain.Activating) int {
		return cmp.Compare(b.Value, a.Value)
	})
	for _, n := range []int{0, 1, 9, 250, 601, 1000} {
		got, err := explain.MaximallyActivating(t.Context(), net, view, 2, 3, n, 2)
		if want := all[:min(n, len(all))]; err != nil || !slices.Equal(got, want) {
			t.Errorf("%d of %d examples: %v, %v, want %v", n, view.Len(), got, err, want)
		}
	}
}

// The examples after the given one go round the end of the set.
func TestFollow(t *testing.T) {
	set := images(random.New(1, "explain/test"), 5, 4, 3, 3)
	for _, test := range []struct {
		first, n int
		want     []int32
		refused  string
	}{
		{0, 1, []int32{0}, ""},
		{1, 3, []int32{1, 2, 3}, ""},
		{3, 2, []int32{3, 4}, ""},
		{3, 4, []int32{3, 4, 0, 1}, ""},
		{4, 5, []int32{4, 0, 1, 2, 3}, ""},
		{0, 5, []int32{0, 1, 2, 3, 4}, ""},
		{5, 1, nil, "example 5, want 0 to 4"},
		{-1, 1, nil, "example -1, want 0 to 4"},
		{0, 0, nil, "a batch of 0 examples, want 1 to 5"},
		{0, 6, nil, "a batch of 6 examples, want 1 to 5"},
	} {
		view, err := explain.Follow(set, test.first, test.n)
		if test.refused != "" {
			if err == nil || !strings.Contains(err.Error(), test.refused) {
				t.Errorf("%d after %d: error %v, want %q", test.n, test.first, err, test.refused)
			}
			continue
		}
		if err != nil || view.Set != set || !slices.Equal(view.Index, test.want) {
			t.Errorf("%d after %d: %v, %v, want %v", test.n, test.first, view.Index, err, test.want)
		}
	}
}
