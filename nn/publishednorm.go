package nn

import "glassnet/matrix"

// PublishedNorm is the normalisation of the published study, kept as it was so
// that its table can be replayed. The study calls it "batch norm"; it is not:
//
//   - it takes mean and variance of each example across the units of the layer,
//     where batch normalisation takes those of each unit across the batch;
//   - it has no scale and shift, and does the same in training and evaluation;
//   - its Backward leaves out its derivative: the gradient passes through as if
//     the layer were not there. That is a fault, and gradient checks fail on it.
//
// Since y does not change when x is scaled, no gradient should point along x;
// without the derivative it does, and the weights before the layer grow without
// bound.
type PublishedNorm[T matrix.Float] struct{ width int }

// PublishedEpsilon is what PublishedNorm adds to the variance inside the root.
const PublishedEpsilon = 1e-8

// NewPublishedNorm returns the published study's normalisation over width units.
func NewPublishedNorm[T matrix.Float](width int) *PublishedNorm[T] {
	return &PublishedNorm[T]{width}
}

// Spec implements Layer.
func (p *PublishedNorm[T]) Spec() LayerSpec { return LayerSpec{Kind: KindPublishedNorm} }

// Widths implements Layer.
func (p *PublishedNorm[T]) Widths() (in, out int) { return p.width, p.width }

// Params implements Layer.
func (p *PublishedNorm[T]) Params() []*Param[T] { return nil }

// NewCache implements Layer.
func (p *PublishedNorm[T]) NewCache(o CacheOptions) *Cache[T] {
	c := NewCache[T](o, p.width, p.width)
	c.KeepPerExample("mean", 1)
	c.KeepPerExample("variance", 1)
	return c
}

// Forward computes, for each example i over the d units of the layer,
//
//	mean[i]     = 1/d Σ_j x[i, j]
//	variance[i] = 1/d Σ_j (x[i, j] - mean[i])²
//	y[i, j]     = (x[i, j] - mean[i]) / √(variance[i] + 1e-8)
//
// Shapes: x, y [batch, width].
func (p *PublishedNorm[T]) Forward(c *Cache[T], x matrix.Matrix[T], mode Mode) matrix.Matrix[T] {
	y := c.Begin(p, x, mode)
	d := T(p.width)
	for i := range x.Rows {
		xi, yi := x.Row(i), y.Row(i)
		var mean, variance T
		for _, v := range xi {
			mean += v
		}
		mean /= d
		for _, v := range xi {
			variance += T(T(v-mean) * T(v-mean))
		}
		variance /= d
		std := sqrt(variance + PublishedEpsilon)
		for j, v := range xi {
			yi[j] = T(v-mean) / std
		}
		c.Kept[keptMean].Value.Data[i], c.Kept[keptVariance].Value.Data[i] = mean, variance
	}
	return y
}

// Backward passes the gradient through unchanged, as the published study does:
// dCost/dx = dCost/dy. The true gradient would be
//
//	dCost/dx[i, j] = (g[i, j] - mean_j(g) - y[i, j]·mean_j(g·y)) / √(variance[i] + 1e-8)
func (p *PublishedNorm[T]) Backward(c *Cache[T], gradOut matrix.Matrix[T]) matrix.Matrix[T] {
	c.BeginBackward(p, gradOut)
	if c.WantsGradIn() {
		copy(c.GradIn.Data, gradOut.Data)
	}
	return c.GradIn
}
