package nn

import (
	"glassnet/internal/kernel"
	"glassnet/matrix"
)

// Dense is the fully connected layer y = x·W + b.
type Dense[T matrix.Float] struct {
	in, out int
	weight  *Param[T] // [in, out]
	bias    *Param[T] // [out], or nil
	params  []*Param[T]
}

// NewDense returns a Dense layer with weights and biases 0; Initialise fills
// them. The column-vector convention of the literature writes its weight as the
// transpose, [out, in].
func NewDense[T matrix.Float](in, out int) *Dense[T] {
	d := NewDenseWithoutBias[T](in, out)
	d.bias = newParam[T]("bias", Bias, out)
	d.params = append(d.params, d.bias)
	return d
}

// NewDenseWithoutBias returns the layer y = x·W. It is what goes before a batch
// normalisation, which subtracts the mean and with it any bias.
func NewDenseWithoutBias[T matrix.Float](in, out int) *Dense[T] {
	d := &Dense[T]{in: in, out: out, weight: newParam[T]("weight", Weight, in, out)}
	d.params = []*Param[T]{d.weight}
	return d
}

// Spec implements Layer.
func (d *Dense[T]) Spec() LayerSpec {
	return LayerSpec{Kind: KindDense, Units: d.out, NoBias: d.bias == nil}
}

// Widths implements Layer.
func (d *Dense[T]) Widths() (in, out int) { return d.in, d.out }

// Params implements Layer.
func (d *Dense[T]) Params() []*Param[T] { return d.params }

// NewCache implements Layer.
func (d *Dense[T]) NewCache(o CacheOptions) *Cache[T] {
	c := newCache[T](o, d.in, d.out)
	if o.GradIn {
		c.transposed = make([]T, d.in*d.out)
	}
	return c
}

// Forward computes the pre-activations
//
//	y[i, j] = Σ_p x[i, p]·W[p, j] + b[j]
//
// Shapes: x [batch, in], W [in, out], b [out], y [batch, out].
func (d *Dense[T]) Forward(c *Cache[T], x matrix.Matrix[T], mode Mode) matrix.Matrix[T] {
	y := c.begin(d, x, mode)
	var b []T
	if d.bias != nil {
		b = d.bias.Value
	}
	c.engine.MatMul(y.Data, x.Data, d.weight.Value, b, x.Rows, d.in, d.out)
	return y
}

// Backward computes, for g = dCost/dy [batch, out],
//
//	dCost/dW[p, j] = Σ_i x[i, p]·g[i, j]     dW = xᵀ·g   [in, out]
//	dCost/db[j]    = Σ_i g[i, j]                         [out]
//	dCost/dx[i, p] = Σ_j g[i, j]·W[p, j]     dx = g·Wᵀ   [batch, in]
func (d *Dense[T]) Backward(c *Cache[T], gradOut matrix.Matrix[T]) matrix.Matrix[T] {
	c.beginBackward(d, gradOut)
	batch := gradOut.Rows
	c.engine.MatMulTransposed(d.weight.Grad, c.In.Data, gradOut.Data, batch, d.in, d.out)
	if d.bias != nil {
		clear(d.bias.Grad)
		kernel.AddColumns(d.bias.Grad, gradOut.Data)
	}
	if c.wantsGradIn() {
		kernel.Transpose(c.transposed, d.weight.Value, d.in, d.out)
		c.engine.MatMul(c.GradIn.Data, gradOut.Data, c.transposed, nil, batch, d.out, d.in)
	}
	return c.GradIn
}
