// Package nntest checks layers, losses, penalties and update rules the way
// testing/fstest checks file systems: one suite that every one of them must
// pass. Gradients are compared with finite differences in float64.
//
// The Check functions return what they found, so that a deliberately faulty
// layer can be shown to fail; the Test functions report it to a test.
package nntest

import (
	"fmt"
	"math"
	"testing"

	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/random"
)

// step is the h of a central difference (f(x+h) - f(x-h))/2h. At 1e-5 the error
// of the formula, h²/6 times the third derivative, and that of rounding, about
// 1e-16/h, are both far below the tolerance.
const step = 1e-5

// Seeds is how many draws of parameters and examples each check makes for each
// batch size.
const Seeds = 20

// batchSizes are the numbers of examples that the checks draw.
var batchSizes = []int{1, 2, 5}

// maxNorm32 bounds ‖g32 - g64‖/‖g64‖ for the gradients of small networks.
const maxNorm32 = 2e-6

// Difference is a gradient beside its finite difference.
type Difference struct {
	Of                string // such as "2.dense.weight[3]"
	Analytic, Numeric float64
}

// Share returns |Analytic - Numeric| as a share of what is tolerated,
// 1e-8 + 1e-6·|Numeric|: a gradient is wrong when this is above 1 or NaN.
func (d Difference) Share() float64 {
	return math.Abs(d.Analytic-d.Numeric) / (1e-8 + 1e-6*math.Abs(d.Numeric))
}

// worse reports whether d is to be reported rather than e. NaN is worst.
func (d Difference) worse(e Difference) bool {
	return !math.IsNaN(e.Share()) && !(d.Share() <= e.Share())
}

func (d Difference) String() string {
	return fmt.Sprintf("%s: analytic %.10g, numeric %.10g, differ by %.2g, %.2g of the tolerance",
		d.Of, d.Analytic, d.Numeric, math.Abs(d.Analytic-d.Numeric), d.Share())
}

// Result is what the checks of one subject found.
type Result struct {
	Compared int        // gradients compared with finite differences
	Off      int        // of these, the wrong ones
	Worst    Difference // the one with the largest Share
	Norm32   float64    // largest ‖g32 - g64‖/‖g64‖ of the gradients in float32 and float64
	Failures []string   // one line each, beginning with the name of the check
}

// join adds the gradients that another check compared.
func (r *Result) join(other Result, where string) {
	other.Worst.Of = where + ": " + other.Worst.Of
	if r.Compared == 0 || other.Worst.worse(r.Worst) {
		r.Worst = other.Worst
	}
	r.Compared += other.Compared
	r.Off += other.Off
}

// judge turns wrong gradients into a failure.
func (r *Result) judge() {
	if r.Off > 0 {
		r.fail("gradients", fmt.Errorf("%d of %d are wrong, worst %v", r.Off, r.Compared, r.Worst))
	}
}

// fail adds a failure unless err is nil.
func (r *Result) fail(check string, err error) {
	if err != nil {
		r.Failures = append(r.Failures, fmt.Sprintf("%s: %v", check, err))
	}
}

// report tells t the failures and the figures.
func (r *Result) report(t testing.TB) {
	t.Helper()
	for _, f := range r.Failures {
		t.Error(f)
	}
	if r.Compared > 0 {
		t.Logf("%d gradients, worst %v", r.Compared, r.Worst)
	}
	if r.Norm32 > 0 {
		t.Logf("float32 gradients differ by a relative norm of at most %.2g", r.Norm32)
	}
}

// Gradients compares the gradient of every parameter, as some Backward left it in
// Grad, with the central difference of cost, a function of the parameters' values.
// Anything can be made a Param: an input, for example, with its values and GradIn.
// Statistics are left out, having no gradient.
func Gradients(params []*nn.Param[float64], cost func() float64) Result {
	var r Result
	for _, p := range params {
		for i, analytic := range p.Grad {
			value := p.Value[i]
			p.Value[i] = value + step
			up := cost()
			p.Value[i] = value - step
			down := cost()
			p.Value[i] = value

			d := Difference{fmt.Sprintf("%s[%d]", p.Name, i), analytic, (up - down) / (2 * step)}
			if r.Compared == 0 || d.worse(r.Worst) {
				r.Worst = d
			}
			if !(d.Share() <= 1) {
				r.Off++
			}
			r.Compared++
		}
	}
	return r
}

// Randomise gives every parameter, statistics included, values that hide no
// fault: with gamma still 1, a Backward that forgot gamma would pass. Scales are
// ±[0.5, 1.5), running variances [0.5, 2), all others standard normal.
func Randomise[T matrix.Float](params []*nn.Param[T], s *random.Stream) {
	for _, p := range params {
		for i := range p.Value {
			switch {
			case p.Role == nn.Scale:
				p.Value[i] = T(0.5 + s.Float64())
				if s.IntN(2) == 0 {
					p.Value[i] = -p.Value[i]
				}
			case p.Role == nn.Statistic && isVariance(p):
				p.Value[i] = T(0.5 + 1.5*s.Float64())
			default:
				p.Value[i] = T(s.Normal())
			}
		}
	}
}

// isVariance reports whether p, named "running_variance" or
// "3.batch_norm.running_variance", must be positive.
func isVariance[T matrix.Float](p *nn.Param[T]) bool {
	const name = "variance"
	return len(p.Name) >= len(name) && p.Name[len(p.Name)-len(name):] == name
}

// normal returns a [rows, cols] matrix of normal deviates with the given
// standard deviation.
func normal(s *random.Stream, rows, cols int, deviation float64) matrix.Matrix[float64] {
	m := matrix.New[float64](rows, cols)
	for i := range m.Data {
		m.Data[i] = deviation * s.Normal()
	}
	return m
}

// dot returns Σ a·b: the scalar "cost" whose gradient with respect to b is a.
func dot(a, b []float64) float64 {
	var sum float64
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

// convert returns values in another number type.
func convert[To, From matrix.Float](values []From) []To {
	to := make([]To, len(values))
	for i, v := range values {
		to[i] = To(v)
	}
	return to
}

func convertMatrix[To, From matrix.Float](m matrix.Matrix[From]) matrix.Matrix[To] {
	return matrix.Matrix[To]{Rows: m.Rows, Cols: m.Cols, Data: convert[To](m.Data)}
}

// sameBits returns an error unless a and b have the same length and bits.
func sameBits(what string, a, b []float64) error {
	if len(a) != len(b) {
		return fmt.Errorf("%s has %d values, want %d", what, len(a), len(b))
	}
	for i := range a {
		if math.Float64bits(a[i]) != math.Float64bits(b[i]) {
			return fmt.Errorf("%s[%d] = %v, want %v", what, i, a[i], b[i])
		}
	}
	return nil
}

// sameMatrix is sameBits for matrices, shapes included.
func sameMatrix(what string, a, b matrix.Matrix[float64]) error {
	if a.Rows != b.Rows || a.Cols != b.Cols {
		return fmt.Errorf("%s has shape %v, want %v", what, a, b)
	}
	return sameBits(what, a.Data, b.Data)
}

// allocations returns an error when f allocates.
func allocations(f func()) error {
	if n := testing.AllocsPerRun(10, f); n != 0 {
		return fmt.Errorf("a pass makes %v allocations, want 0", n)
	}
	return nil
}

// panicText returns what f panics with, or "" when it returns.
func panicText(f func()) (text string) {
	defer func() {
		if r := recover(); r != nil {
			text = fmt.Sprint(r)
		}
	}()
	f()
	return ""
}
