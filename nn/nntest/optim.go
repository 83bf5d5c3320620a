package nntest

import (
	"errors"
	"fmt"
	"math"
	"testing"

	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/optim"
	"glassnet/random"
)

// TestPenalty fails t for everything that CheckPenalty finds wrong.
func TestPenalty(t testing.TB, p optim.Penalty[float64]) {
	t.Helper()
	r := CheckPenalty(p)
	r.report(t)
}

// CheckPenalty runs the suite that every penalty on weights must pass: what it
// adds to the gradient of each parameter is the derivative of the penalty that it
// returns, Seeds draws; in Eval mode it returns the same and adds nothing;
// parameters other than weights do not count; and it allocates nothing.
func CheckPenalty(p optim.Penalty[float64]) Result {
	var r Result
	for seed := range uint64(Seeds) {
		params, before := penaltyParams(seed)
		p.Apply(params, nn.Train)
		for i, param := range params {
			for k := range param.Grad {
				param.Grad[k] -= before[i][k]
			}
		}
		r.join(Gradients(params, func() float64 { return p.Apply(params, nn.Eval) }), fmt.Sprintf("seed %d", seed))
	}
	r.judge()

	params, before := penaltyParams(0)
	cost := p.Apply(params, nn.Eval)
	for i, param := range params {
		r.fail("eval", sameBits("gradient of "+param.Name, param.Grad, before[i]))
	}
	if trained := p.Apply(params, nn.Train); trained != cost {
		r.fail("eval", fmt.Errorf("penalty %v, in train mode %v", cost, trained))
	}
	for i, param := range params {
		if param.Role == nn.Weight {
			continue
		}
		r.fail("roles", sameBits("gradient of "+param.Name, param.Grad, before[i]))
		clear(param.Value)
	}
	if weights := p.Apply(params, nn.Eval); weights != cost {
		r.fail("roles", fmt.Errorf("penalty %v, of the weights alone %v", cost, weights))
	}
	r.fail("allocations", allocations(func() { p.Apply(params, nn.Train) }))
	return r
}

// penaltyParams returns two weights and one parameter of every other role, with
// random values and gradients, and a copy of the gradients.
func penaltyParams(seed uint64) (params []*nn.Param[float64], grads [][]float64) {
	s := random.New(seed, "nntest penalty")
	for _, p := range []nn.Param[float64]{
		{Name: "first weight", Role: nn.Weight, Shape: []int{4, 3}},
		{Name: "bias", Role: nn.Bias, Shape: []int{3}},
		{Name: "gamma", Role: nn.Scale, Shape: []int{3}},
		{Name: "beta", Role: nn.Shift, Shape: []int{3}},
		{Name: "running mean", Role: nn.Statistic, Shape: []int{3}},
		{Name: "second weight", Role: nn.Weight, Shape: []int{3, 2}},
	} {
		size := 1
		for _, n := range p.Shape {
			size *= n
		}
		p.Value = normal(s, 1, size, 1).Data
		if p.Role != nn.Statistic {
			p.Grad = normal(s, 1, size, 1).Data
		}
		params = append(params, &p)
		grads = append(grads, append([]float64(nil), p.Grad...))
	}
	return params, grads
}

// TestRule fails t for everything that CheckRule finds wrong.
func TestRule(t testing.TB, rule optim.Rule[float64], want []float64) {
	t.Helper()
	r := CheckRule(rule, want)
	r.report(t)
}

// CheckRule runs the suite that every update rule must pass. want holds w after
// each of the first steps, worked out by hand, on the cost w²/2 (whose gradient is
// w) from w = 1 with learning rate 0.1. The rule must also leave the gradient
// alone, update each element as if it were alone, keep no state outside its slots, say
// when a result is not finite, store +0 for -0, and allocate nothing.
func CheckRule(rule optim.Rule[float64], want []float64) Result {
	var r Result
	got := descend(rule, []float64{1}, len(want), nil)
	for i := range want {
		if !(math.Abs(got[i][0]-want[i]) <= 1e-15) {
			r.fail("steps", fmt.Errorf("w after step %d is %v, want %v", i+1, got[i][0], want[i]))
		}
	}

	start := []float64{1, -2, 0.5, 0, 3e-5}
	together := descend(rule, start, len(want), nil)
	for j, w := range start {
		alone := descend(rule, []float64{w}, len(want), nil)
		for i := range want {
			if together[i][j] != alone[i][0] {
				r.fail("elements", fmt.Errorf("w[%d] after step %d is %v among others and %v alone", j, i+1, together[i][j], alone[i][0]))
			}
		}
	}

	other := newSlots(rule, 1)
	disturbed := descend(rule, start, len(want), func(step int) {
		rule.Update([]float64{7}, []float64{-3}, other, 0.1, step)
	})
	for i := range want {
		r.fail("state", sameBits(fmt.Sprintf("w after step %d, another parameter updated in between,", i+1), disturbed[i], together[i]))
	}

	value, grad, slots := []float64{1, 2}, []float64{3, 4}, newSlots(rule, 2)
	rule.Update(value, grad, slots, 0.1, 1)
	r.fail("writes", sameBits("gradient", grad, []float64{3, 4}))
	r.fail("allocations", allocations(func() { rule.Update(value, grad, slots, 0.1, 2) }))

	for _, w := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 1} {
		value := []float64{1, w}
		finite := rule.Update(value, []float64{0, 0}, newSlots(rule, 2), 0.1, 1)
		if want := matrix.Finite(value); finite != want {
			r.fail("finite", fmt.Errorf("of %v after the step it says %v, want %v", value, finite, want))
		}
		if value[1] == 0 && math.Signbit(value[1]) {
			r.fail("zero", errors.New("-0 stays as it is, want +0"))
		}
	}
	return r
}

func newSlots(rule optim.Rule[float64], n int) [][]float64 {
	slots := make([][]float64, rule.Slots())
	for i := range slots {
		slots[i] = make([]float64, n)
	}
	return slots
}

// descend makes steps on the cost Σ w²/2 from w with learning rate 0.1, calling
// between, when not nil, before each, and returns w after each.
func descend(rule optim.Rule[float64], start []float64, steps int, between func(step int)) [][]float64 {
	w := append([]float64(nil), start...)
	slots := newSlots(rule, len(w))
	var after [][]float64
	for step := 1; step <= steps; step++ {
		if between != nil {
			between(step)
		}
		rule.Update(w, append([]float64(nil), w...), slots, 0.1, step)
		after = append(after, append([]float64(nil), w...))
	}
	return after
}
