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
	d.bias = NewParam[T]("bias", Bias, out)
	d.params = append(d.params, d.bias)
	return d
}

// NewDenseWithoutBias returns the layer y = x·W. It is what goes before a batch
// normalisation, which subtracts the mean and with it any bias.
func NewDenseWithoutBias[T matrix.Float](in, out int) *Dense[T] {
	d := &Dense[T]{in: in, out: out, weight: NewParam[T]("weight", Weight, in, out)}
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
func (d *Dense[T]) NewCache(o CacheOptions) *Cache[T] { return NewCache[T](o, d.in, d.out) }

// Forward computes the pre-activations
//
//	y[i, j] = Σ_p x[i, p]·W[p, j] + b[j]
//
// Shapes: x [batch, in], W [in, out], b [out], y [batch, out].
func (d *Dense[T]) Forward(c *Cache[T], x matrix.Matrix[T], mode Mode) matrix.Matrix[T] {
	y := c.Begin(d, x, mode)
	c.engine.MatMul(y.Data, x.Data, d.weight.Value, d.biases(), x.Rows, d.in, d.out)
	return y
}

// ForwardPixels is Forward for x = pixels/255 [batch, in], with the same bits as long as
// all weights are finite; but for mode Train in float32, where each half of an image has
// a sum of its own, and the two are added. It panics when a shape does not fit, or an
// image is not in pixels.Data. Pixels of 0, four of five on a handwritten digit, add
// nothing to the sum and are skipped.
func (d *Dense[T]) ForwardPixels(c *Cache[T], pixels matrix.Pixels, mode Mode) matrix.Matrix[T] {
	y := d.beginPixels(c, pixels, mode)
	d.multiplyPixels(c, nil)
	return y
}

// beginPixels prepares ForwardPixels and returns where its result will be.
func (d *Dense[T]) beginPixels(c *Cache[T], pixels matrix.Pixels, mode Mode) matrix.Matrix[T] {
	c.begin(d, matrix.Matrix[T]{Rows: pixels.Rows(), Cols: pixels.Cols}, mode)
	c.In, c.Pixels = matrix.Matrix[T]{}, pixels
	return c.Out
}

// multiplyPixels computes what ForwardPixels does. In mode Train a thread goes on with
// then, if that is not nil, for the rows it has computed.
func (d *Dense[T]) multiplyPixels(c *Cache[T], then kernel.Follower) {
	if c.mode == Train { // Backward will want the lists
		c.engine.MatMulPairs(c.Out.Data, &c.pairs, c.Pixels, d.weight.Value, d.biases(), d.out, then)
	} else {
		c.engine.MatMulPixels(c.Out.Data, c.Pixels, d.weight.Value, d.biases(), d.out)
	}
}

func (d *Dense[T]) biases() []T {
	if d.bias == nil {
		return nil
	}
	return d.bias.Value
}

// Backward computes, for g = dCost/dy [batch, out],
//
//	dCost/dW[p, j] = Σ_i x[i, p]·g[i, j]     dW = xᵀ·g   [in, out]
//	dCost/db[j]    = Σ_i g[i, j]                         [out]
//	dCost/dx[i, p] = Σ_j g[i, j]·W[p, j]     dx = g·Wᵀ   [batch, in]
//
// Within Network.Backward, dW and db are there when that returns; within Network.Descend, W
// and b have moved by then, too.
func (d *Dense[T]) Backward(c *Cache[T], gradOut matrix.Matrix[T]) matrix.Matrix[T] {
	c.BeginBackward(d, gradOut)
	batch := gradOut.Rows
	if c.wantsGrads() {
		if c.Pixels.Cols > 0 && c.mode == Train {
			c.engine.MatMulPairsTransposed(d.weight.Grad, &c.pairs, c.Pixels, gradOut.Data, d.out)
			c.engine.Descend(d.weight.Value)
		} else if c.Pixels.Cols > 0 {
			c.engine.MatMulPixelsTransposed(d.weight.Grad, c.Pixels, gradOut.Data, d.out)
		} else {
			c.engine.MatMulTransposed(d.weight.Grad, c.In.Data, gradOut.Data, batch, d.in, d.out)
			c.engine.Descend(d.weight.Value)
		}
		if d.bias != nil {
			c.engine.SumColumns(d.bias.Grad, gradOut.Data)
			c.engine.Descend(d.bias.Value)
		}
	}
	if c.WantsGradIn() {
		c.engine.MatMulByTransposed(c.GradIn.Data, gradOut.Data, d.weight.Value, batch, d.in, d.out)
	}
	return c.GradIn
}
