package optim_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"glassnet/internal/usererr"
	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/nn/nntest"
	"glassnet/optim"
)

func TestRules(t *testing.T) {
	// w = 1, cost w²/2, rate 0.1: each step leaves 0.9 of w.
	t.Run("sgd", func(t *testing.T) { nntest.TestRule(t, optim.SGD[float64]{}, []float64{.9, .81, .729}) })
}

func TestSGDInFloat32(t *testing.T) {
	w := []float32{1}
	for step, want := range []float32{.9, .81, .729} {
		optim.SGD[float32]{}.Update(w, []float32{w[0]}, nil, 0.1, step+1)
		if math.Abs(float64(w[0]-want)) > 1e-6 {
			t.Errorf("w after step %d is %v, want %v", step+1, w[0], want)
		}
	}
}

func TestPenalties(t *testing.T) {
	for _, lambda := range []float64{0, 1e-4, 0.1, 3} {
		t.Run(fmt.Sprintf("L2 %v", lambda), func(t *testing.T) { nntest.TestPenalty(t, optim.L2[float64]{Lambda: lambda}) })
	}
}

// The published penalty is not the integral of its gradient; all else holds.
func TestPublishedL2Gradient(t *testing.T) {
	r := nntest.CheckPenalty(optim.PublishedL2[float64]{Lambda: 0.1})
	if len(r.Failures) != 1 || !strings.HasPrefix(r.Failures[0], "gradients: ") {
		t.Errorf("failures %q, want one, of the gradients", r.Failures)
	}
	t.Logf("as it must: %q", r.Failures)
}

// parameters returns a 2 x 2 weight [[1 2] [3 4]] and a bias [5 6], gradients 0.
func parameters[T matrix.Float]() []*nn.Param[T] {
	return []*nn.Param[T]{
		{Name: "weight", Role: nn.Weight, Shape: []int{2, 2}, Value: []T{1, 2, 3, 4}, Grad: make([]T, 4)},
		{Name: "bias", Role: nn.Bias, Shape: []int{2}, Value: []T{5, 6}, Grad: make([]T, 2)},
	}
}

func TestPenaltyValues(t *testing.T) {
	t.Run("float32", testPenaltyValues[float32])
	t.Run("float64", testPenaltyValues[float64])
}

func testPenaltyValues[T matrix.Float](t *testing.T) {
	for _, test := range []struct {
		form   string
		lambda float64
		want   float64
	}{
		{"l2", 0.5, 0.25 * (1 + 4 + 9 + 16)},
		{"l2", 0, 0},
		// W·Wᵀ = [[5 11] [11 25]], all entries of which sum to 52 = (1+3)² + (2+4)².
		{"published", 0.5, 0.5 * 52},
		{"published", 0, 0},
	} {
		p, err := optim.NewPenalty[T](test.form, test.lambda)
		if err != nil {
			t.Fatal(err)
		}
		params := parameters[T]()
		params[0].Grad[0] = 10
		if got := p.Apply(params, nn.Train); got != test.want {
			t.Errorf("%s with λ = %v costs %v, want %v", test.form, test.lambda, got, test.want)
		}
		l := T(test.lambda)
		if want := []T{10 + l, 2 * l, 3 * l, 4 * l}; !slices.Equal(params[0].Grad, want) {
			t.Errorf("%s with λ = %v: gradient %v, want %v", test.form, test.lambda, params[0].Grad, want)
		}
		if !slices.Equal(params[1].Grad, []T{0, 0}) {
			t.Errorf("%s with λ = %v: gradient of the bias %v, want 0", test.form, test.lambda, params[1].Grad)
		}
	}
}

func TestByName(t *testing.T) {
	if rule, err := optim.NewRule[float64]("sgd"); err != nil || rule.Name() != "sgd" || rule.Slots() != 0 {
		t.Errorf("NewRule(sgd) = %v, %v", rule, err)
	}
	_, err := optim.NewRule[float64]("adamm")
	if _, ok := usererr.Find(err); !ok || err.Error() != `unknown update rule "adamm", want "sgd"` {
		t.Errorf("NewRule(adamm): error %v", err)
	}
	_, err = optim.NewPenalty[float64]("l1", 1)
	if _, ok := usererr.Find(err); !ok || err.Error() != `unknown form of L2 penalty "l1", want "l2" or "published"` {
		t.Errorf("NewPenalty(l1): error %v", err)
	}
	for _, lambda := range []float64{-1, math.NaN(), math.Inf(1)} {
		_, err = optim.NewPenalty[float64]("l2", lambda)
		if _, ok := usererr.Find(err); !ok || !strings.Contains(err.Error(), "want a finite number of 0 or more") {
			t.Errorf("NewPenalty(l2, %v): error %v", lambda, err)
		}
	}
}

// counting is a rule with two slots: it counts its updates of each element in the
// first, negatively in the second, and notes the step it was told.
type counting struct{ steps *[]int }

func (counting) Name() string { return "counting" }
func (counting) Slots() int   { return 2 }
func (r counting) Update(value, _ []float64, slots [][]float64, rate float64, step int) bool {
	*r.steps = append(*r.steps, step)
	for i := range value {
		slots[0][i]++
		slots[1][i]--
		value[i] = rate*slots[0][i] + slots[1][i]
	}
	return true
}

func TestOptimizerKeepsSlotsPerParameter(t *testing.T) {
	params := append(parameters[float64](), &nn.Param[float64]{Name: "mean", Role: nn.Statistic, Shape: []int{1}, Value: []float64{7}})
	var steps []int
	o := optim.New[float64](counting{&steps}, params, 1)
	if got := o.Rule().Name(); got != "counting" {
		t.Errorf("Rule() is %q", got)
	}
	for range 3 {
		if err := o.Step(0.5); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range params[:2] {
		for i, v := range p.Value {
			if v != 0.5*3-3 {
				t.Errorf("%s[%d] = %v after 3 steps, want %v", p.Name, i, v, 0.5*3-3)
			}
		}
	}
	if params[2].Value[0] != 7 {
		t.Errorf("the statistic became %v, want it left at 7", params[2].Value[0])
	}
	if want := []int{1, 1, 2, 2, 3, 3}; !slices.Equal(steps, want) {
		t.Errorf("the rule was told steps %v, want %v", steps, want)
	}
}

func TestOptimizerStep(t *testing.T) {
	params := parameters[float32]()
	o := optim.New[float32](optim.SGD[float32]{}, params, 0)
	params[0].Grad = []float32{1, 2, 6, -8}
	if err := o.Step(0.5); err != nil {
		t.Fatal(err)
	}
	if want := []float32{.5, 1, 0, 8}; !slices.Equal(params[0].Value, want) {
		t.Errorf("weight %v, want %v", params[0].Value, want)
	}

	// A result of -0 is stored as +0.
	params[1].Value[0] = float32(math.Copysign(0, -1))
	if err := o.Step(0.5); err != nil {
		t.Fatal(err)
	}
	if bits := math.Float32bits(params[1].Value[0]); bits != 0 {
		t.Errorf("-0 has bits %#x after the step, want those of +0", bits)
	}

	// Steps allocate nothing.
	if n := testing.AllocsPerRun(10, func() {
		if err := o.Step(0.5); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("Step makes %v allocations, want 0", n)
	}

	for _, bad := range []float64{math.Inf(1), math.NaN(), 1e38} { // 1e38·10 overflows float32
		params := parameters[float32]()
		o := optim.New[float32](optim.SGD[float32]{}, params, 0)
		params[1].Grad[1] = float32(bad)
		if err := o.Step(10); err == nil || err.Error() != "bias is not finite after the update" {
			t.Errorf("Step with gradient %v: error %v, want that the bias is not finite", bad, err)
		}
	}
}

// Several threads update each number once, and see one that is not finite wherever it is.
func TestThreadsUpdateTogether(t *testing.T) {
	sizes := []int{20000, 30, 9001, 0, 7}
	for _, threads := range []int{1, 2, 3, 8} {
		var params []*nn.Param[float64]
		for i, n := range sizes {
			p := &nn.Param[float64]{Name: fmt.Sprintf("p%d", i), Role: nn.Weight, Shape: []int{n}, Value: make([]float64, n), Grad: make([]float64, n)}
			for j := range p.Grad {
				p.Grad[j] = float64(i*100000 + j)
			}
			params = append(params, p)
		}
		o := optim.New[float64](optim.SGD[float64]{}, params, threads)
		if err := o.Step(0.5); err != nil {
			t.Fatal(err)
		}
		for i, p := range params {
			for j, v := range p.Value {
				if v != -0.5*float64(i*100000+j) {
					t.Fatalf("%d threads: %s[%d] is %v after a step, want %v", threads, p.Name, j, v, -0.5*float64(i*100000+j))
				}
			}
		}
		for _, p := range params {
			for _, j := range []int{0, len(p.Grad) / 2, len(p.Grad) - 1} {
				if len(p.Grad) == 0 {
					continue
				}
				p.Grad[j] = math.NaN()
				if err := o.Step(0.5); err == nil || err.Error() != p.Name+" is not finite after the update" {
					t.Errorf("%d threads, gradient %d of %s is NaN: error %v", threads, j, p.Name, err)
				}
				p.Grad[j], p.Value[j] = 0, 0
			}
		}
		if err := o.Step(0.5); err != nil {
			t.Errorf("%d threads, all finite again: %v", threads, err)
		}
		testSlots(t, params, threads)
	}
}

// remembering is a rule whose slots count what each number has seen.
type remembering struct{}

func (remembering) Name() string { return "remembering" }
func (remembering) Slots() int   { return 2 }
func (remembering) Update(value, grad []float64, slots [][]float64, _ float64, _ int) bool {
	for j := range value {
		slots[0][j]++
		slots[1][j] += grad[j]
		value[j] = slots[1][j] / slots[0][j]
	}
	return true
}

func testSlots(t *testing.T, params []*nn.Param[float64], threads int) {
	for i, p := range params {
		for j := range p.Grad {
			p.Grad[j] = float64(i*100000 + j)
		}
	}
	o := optim.New[float64](remembering{}, params, threads)
	for range 3 {
		if err := o.Step(1); err != nil {
			t.Fatal(err)
		}
	}
	for i, p := range params {
		for j, v := range p.Value {
			if v != float64(i*100000+j) {
				t.Fatalf("%d threads: the slots of %s[%d] give %v, want %v", threads, p.Name, j, v, i*100000+j)
			}
		}
	}
}

// One step of scikit-learn's worked example (test_mlp.py), recomputed with 50
// digits: a logistic hidden layer, a logistic output, L2 with α = 0.1, rate 0.1.
// A logistic output is a softmax over two logits of which the first is held at 0:
// its weights start at 0, its own gradient is the mirror of the other's, and it
// is put back to 0 after the step.
func TestWorkedStep(t *testing.T) {
	t.Run("float64", func(t *testing.T) { testWorkedStep[float64](t, 1e-12) })
	t.Run("float32", func(t *testing.T) { testWorkedStep[float32](t, 1e-6) })
}

func testWorkedStep[T matrix.Float](t *testing.T, tolerance float64) {
	net, err := nn.New(3, nn.NewDense[T](3, 2), nn.NewSigmoid[T](2), nn.NewDense[T](2, 2))
	if err != nil {
		t.Fatal(err)
	}
	w1, b1, w2, b2 := net.Params()[0].Value, net.Params()[1].Value, net.Params()[2].Value, net.Params()[3].Value
	copy(w1, []T{.1, .2, .3, .1, .5, 0})
	copy(b1, []T{.1, .1})
	copy(w2, []T{0, .1, 0, .2})
	copy(b2, []T{0, 1})
	x := matrix.FromRows([]T{.6, .8, .7})

	check := func(what string, got []T, want ...float64) {
		t.Helper()
		for i := range want {
			if !(math.Abs(float64(got[i])-want[i]) <= tolerance*max(1, math.Abs(want[i]))) {
				t.Errorf("%s[%d] = %v, want %v", what, i, got[i], want[i])
			}
		}
	}
	trace, cache := net.NewTrace(nn.TraceOptions{Batch: 1, Backward: true}), nn.NewLossCache[T](1, 2)
	loss, penalty, optimizer := nn.CrossEntropy[T]{}, optim.L2[T]{Lambda: 0.1}, optim.New[T](optim.SGD[T]{}, net.Params(), 1)

	cost := loss.Forward(cache, net.Forward(trace, x, nn.Train), []uint8{0})
	check("hidden", trace.Caches[1].Out.Data, .679178699175393, .574442516811659)
	check("output", cache.Probabilities.Row(0)[1:], .76545202190952)
	check("cost", []T{T(cost)}, 1.4500951146222294)
	net.Backward(trace, loss.Backward(cache))
	check("cost with penalty", []T{T(cost + penalty.Apply(net.Params(), nn.Train))}, 1.4725951146222294)
	if err := optimizer.Step(0.1); err != nil {
		t.Fatal(err)
	}
	check("W1", w1, .09799927101876635, .19575454669252476, .29566569469168846, .09600606225669969, .4938324828552274, -.002619695525387767)
	check("b1", b1, .09833211836461057, .09625757782087462)
	check("W2", []T{w2[1], w2[3]}, .04701212914783178, .15402918140357222)
	check("b2", b2[1:], .923454797809048)

	w2[0], w2[2], b2[0] = 0, 0, 0
	loss.Forward(cache, net.Forward(trace, x, nn.Eval), []uint8{0})
	check("output after the step", cache.Probabilities.Row(0)[1:], .7394919180486682)
}

func ExampleOptimizer() {
	w := &nn.Param[float64]{Name: "w", Role: nn.Weight, Shape: []int{1}, Value: []float64{1}, Grad: make([]float64, 1)}
	optimizer := optim.New(optim.SGD[float64]{}, []*nn.Param[float64]{w}, 1)
	for range 3 {
		w.Grad[0] = w.Value[0] // of the cost w²/2
		if err := optimizer.Step(0.1); err != nil {
			fmt.Println(err)
		}
		fmt.Printf("%.3f\n", w.Value[0])
	}
	// Output:
	// 0.900
	// 0.810
	// 0.729
}

// Plain descent is what nn.Network.Descend does: SGD, and no penalty.
func TestPlainDescent(t *testing.T) {
	for _, test := range []struct {
		name    string
		rule    optim.Rule[float64]
		penalty optim.Penalty[float64]
		want    bool
	}{
		{"no penalty", optim.SGD[float64]{}, optim.L2[float64]{}, true},
		{"no published penalty", optim.SGD[float64]{}, optim.PublishedL2[float64]{}, true},
		{"L2", optim.SGD[float64]{}, optim.L2[float64]{Lambda: 1e-3}, false},
		{"published L2", optim.SGD[float64]{}, optim.PublishedL2[float64]{Lambda: 1e-3}, false},
		{"another rule", counting{}, optim.L2[float64]{}, false},
		{"an unknown penalty", optim.SGD[float64]{}, nil, false},
	} {
		if got := optim.PlainDescent(test.rule, test.penalty); got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

// The first parameter that is not finite is named; statistics do not count.
func TestNotFinite(t *testing.T) {
	mean, weight, bias := nn.NewParam[float32]("mean", nn.Statistic, 2), nn.NewParam[float32]("weight", nn.Weight, 1, 2), nn.NewParam[float32]("bias", nn.Bias, 2)
	params := []*nn.Param[float32]{mean, weight, bias}
	mean.Value[0] = float32(math.NaN())
	if err := optim.NotFinite(params); err != nil {
		t.Errorf("of finite parameters: %v", err)
	}
	bias.Value[1] = float32(math.Inf(-1))
	if err := optim.NotFinite(params); err == nil || err.Error() != "bias is not finite after the update" {
		t.Errorf("an infinite bias: %v", err)
	}
	weight.Value[0] = float32(math.NaN())
	if err := optim.NotFinite(params); err == nil || err.Error() != "weight is not finite after the update" {
		t.Errorf("a weight that is no number: %v", err)
	}
}
