package nn

import (
	"glassnet/internal/elementary"
	"glassnet/internal/kernel"
	"glassnet/matrix"
)

// Activation applies one function to every pre-activation. It has no parameters.
type Activation[T matrix.Float] struct {
	width int
	kind  string
	// value fills y with f(x); slope fills dx with g·f'(x), given x and y = f(x). All
	// are [batch, width].
	value func(e *kernel.Engine[T], y, x []T, width int)
	slope func(e *kernel.Engine[T], dx, g, x, y []T, width int)
}

// NewReLU returns the rectifier y = max(x, 0) (Nair and Hinton 2010).
func NewReLU[T matrix.Float](width int) *Activation[T] {
	return &Activation[T]{width, KindReLU, relu[T], reluSlope[T]}
}

// NewSigmoid returns the logistic function y = 1/(1 + e^-x).
func NewSigmoid[T matrix.Float](width int) *Activation[T] {
	return &Activation[T]{width, KindSigmoid, sigmoid[T], sigmoidSlope[T]}
}

// NewTanh returns the hyperbolic tangent y = (e^x - e^-x)/(e^x + e^-x).
func NewTanh[T matrix.Float](width int) *Activation[T] {
	return &Activation[T]{width, KindTanh, tanh[T], tanhSlope[T]}
}

// relu lets NaN pass: it must be seen in the cost, not hidden.
func relu[T matrix.Float](e *kernel.Engine[T], y, x []T, width int) { e.ReLU(y, x, width) }

// reluSlope: f'(x) is 1 for x > 0 and 0 below. At the corner, where no derivative
// exists, it takes 0, as is usual.
func reluSlope[T matrix.Float](e *kernel.Engine[T], dx, g, x, _ []T, width int) {
	e.ReLUSlope(dx, g, x, width)
}

func sigmoid[T matrix.Float](_ *kernel.Engine[T], y, x []T, _ int) {
	for i, v := range x {
		y[i] = elementary.Sigmoid(v)
	}
}

// sigmoidSlope: f'(x) = y·(1 - y).
func sigmoidSlope[T matrix.Float](_ *kernel.Engine[T], dx, g, _, y []T, _ int) {
	for i, v := range y {
		dx[i] = T(g[i] * T(v*(1-v)))
	}
}

func tanh[T matrix.Float](_ *kernel.Engine[T], y, x []T, _ int) {
	for i, v := range x {
		y[i] = elementary.Tanh(v)
	}
}

// tanhSlope: f'(x) = 1 - y² = (1 - y)·(1 + y); the product keeps its precision
// where y is close to 1.
func tanhSlope[T matrix.Float](_ *kernel.Engine[T], dx, g, _, y []T, _ int) {
	for i, v := range y {
		dx[i] = T(g[i] * T((1-v)*(1+v)))
	}
}

// Spec implements Layer.
func (a *Activation[T]) Spec() LayerSpec { return LayerSpec{Kind: a.kind} }

// Widths implements Layer.
func (a *Activation[T]) Widths() (in, out int) { return a.width, a.width }

// Params implements Layer.
func (a *Activation[T]) Params() []*Param[T] { return nil }

// NewCache implements Layer.
func (a *Activation[T]) NewCache(o CacheOptions) *Cache[T] { return NewCache[T](o, a.width, a.width) }

// Forward computes y[i, j] = f(x[i, j]); shapes x, y [batch, width].
func (a *Activation[T]) Forward(c *Cache[T], x matrix.Matrix[T], mode Mode) matrix.Matrix[T] {
	y := c.Begin(a, x, mode)
	a.value(c.engine, y.Data, x.Data, a.width)
	return y
}

// Backward computes dCost/dx[i, j] = dCost/dy[i, j]·f'(x[i, j]).
func (a *Activation[T]) Backward(c *Cache[T], gradOut matrix.Matrix[T]) matrix.Matrix[T] {
	c.BeginBackward(a, gradOut)
	if c.WantsGradIn() {
		a.slope(c.engine, c.GradIn.Data, gradOut.Data, c.In.Data, c.Out.Data, a.width)
	}
	return c.GradIn
}
