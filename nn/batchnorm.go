package nn

import (
	"fmt"
	"math"

	"glassnet/internal/kernel"
	"glassnet/matrix"
)

// BatchNorm is batch normalisation (Ioffe and Szegedy, "Batch Normalization",
// 2015, Algorithm 1): each feature is brought to mean 0 and variance 1 over the
// examples of the batch, then scaled by gamma and shifted by beta, which are
// trained.
//
// In Train mode the batch needs two examples or more; the running mean and
// variance move towards the batch's, the variance in its unbiased form (n/(n-1)),
// as the paper uses for inference. In Eval mode the running ones are used, and
// nothing is written.
//
// A mean is one sum in the network's number type: of float32 inputs that differ by less
// than about n·1e-7 of their size, n the examples of the batch, mean 0 and variance 1 are
// rounding errors.
type BatchNorm[T matrix.Float] struct {
	width                   int
	options                 BatchNormOptions
	gamma, beta             *Param[T]
	runningMean, runningVar *Param[T]
	params                  []*Param[T]
}

// BatchNormOptions are the hyperparameters of a BatchNorm.
type BatchNormOptions struct {
	// Epsilon is added to the variance inside the root. From 1e-30, which float32 holds, to 1.
	Epsilon float64
	// Decay is the share of the old value that a running statistic keeps:
	// running = Decay·running + (1 - Decay)·batch. In [0, 1).
	Decay float64
}

// leastEpsilon is one that is not 0 in float32, nor the reciprocal of its root infinite.
const leastEpsilon = 1e-30

// DefaultBatchNorm returns the usual options, epsilon 1e-5 and decay 0.9.
func DefaultBatchNorm() BatchNormOptions { return BatchNormOptions{Epsilon: 1e-5, Decay: 0.9} }

// What a BatchNorm keeps in its cache, in this order. Mean, variance and inverse
// standard deviation are [1, width], those that the pass used; x-hat is
// [batch, width].
const (
	keptMean = iota
	keptVariance
	keptInverse
	keptXHat
)

// NewBatchNorm returns a BatchNorm over width features with gamma 1, beta 0,
// running mean 0 and running variance 1. It panics when an option is out of range.
func NewBatchNorm[T matrix.Float](width int, o BatchNormOptions) *BatchNorm[T] {
	if !(o.Epsilon >= leastEpsilon && o.Epsilon <= 1) || !(o.Decay >= 0 && o.Decay < 1) {
		panic(fmt.Sprintf("nn.NewBatchNorm: %+v, want epsilon in [%v, 1] and decay in [0, 1)", o, leastEpsilon))
	}
	b := &BatchNorm[T]{
		width: width, options: o,
		gamma:       NewParam[T]("gamma", Scale, width),
		beta:        NewParam[T]("beta", Shift, width),
		runningMean: NewParam[T]("running_mean", Statistic, width),
		runningVar:  NewParam[T]("running_variance", Statistic, width),
	}
	for j := range width {
		b.gamma.Value[j], b.runningVar.Value[j] = 1, 1
	}
	b.params = []*Param[T]{b.gamma, b.beta, b.runningMean, b.runningVar}
	return b
}

// Spec implements Layer.
func (b *BatchNorm[T]) Spec() LayerSpec {
	return LayerSpec{Kind: KindBatchNorm, Epsilon: b.options.Epsilon, Decay: b.options.Decay}
}

// Widths implements Layer.
func (b *BatchNorm[T]) Widths() (in, out int) { return b.width, b.width }

// Params implements Layer.
func (b *BatchNorm[T]) Params() []*Param[T] { return b.params }

// NewCache implements Layer.
func (b *BatchNorm[T]) NewCache(o CacheOptions) *Cache[T] {
	c := NewCache[T](o, b.width, b.width)
	c.Keep("mean", b.width)
	c.Keep("variance", b.width)
	c.Keep("inverse_std", b.width)
	c.KeepPerExample("x_hat", b.width)
	if o.Backward {
		c.scratch = make([]T, 3*b.width)
	}
	return c
}

// Forward computes, for each feature j over the n examples of the batch,
//
//	mean[j]     = 1/n Σ_i x[i, j]
//	variance[j] = 1/n Σ_i (x[i, j] - mean[j])²
//	x̂[i, j]     = (x[i, j] - mean[j]) / √(variance[j] + ε)
//	y[i, j]     = gamma[j]·x̂[i, j] + beta[j]
//
// In Eval mode mean and variance are the running ones. Shapes: x, y [batch, width].
func (b *BatchNorm[T]) Forward(c *Cache[T], x matrix.Matrix[T], mode Mode) matrix.Matrix[T] {
	y := c.Begin(b, x, mode)
	mean, variance := c.Kept[keptMean].Value.Data, c.Kept[keptVariance].Value.Data
	inverse, xHat := c.Kept[keptInverse].Value.Data, c.Kept[keptXHat].Value

	if mode == Train {
		if x.Rows < 2 {
			panic(fmt.Sprintf("nn: batch_norm: training batch of %d examples has no variance, want >= 2", x.Rows))
		}
		batchStatistics(c.engine, mean, variance, x)
		b.moveRunning(mean, variance, x.Rows)
	} else {
		copy(mean, b.runningMean.Value)
		copy(variance, b.runningVar.Value)
	}
	for j, v := range variance {
		inverse[j] = 1 / sqrt(v+T(b.options.Epsilon))
	}
	c.engine.Normalise(xHat.Data, y.Data, x.Data, mean, inverse, b.gamma.Value, b.beta.Value)
	return y
}

// batchStatistics computes mean and (biased) variance of each column, summed over
// the rows from first to last and divided once.
func batchStatistics[T matrix.Float](e *kernel.Engine[T], mean, variance []T, x matrix.Matrix[T]) {
	n := T(x.Rows)
	clear(mean)
	e.AddColumns(mean, x.Data)
	for j := range mean {
		mean[j] /= n
	}
	clear(variance)
	e.AddSquares(variance, mean, x.Data)
	for j := range variance {
		variance[j] /= n
	}
}

// moveRunning moves the running statistics towards those of a batch of n.
func (b *BatchNorm[T]) moveRunning(mean, variance []T, n int) {
	keep, take := T(b.options.Decay), T(1-b.options.Decay)
	unbiased := T(n) / T(n-1)
	for j := range mean {
		b.runningMean.Value[j] = kernel.FMA(keep, b.runningMean.Value[j], T(take*mean[j]))
		b.runningVar.Value[j] = kernel.FMA(keep, b.runningVar.Value[j], T(take*T(variance[j]*unbiased)))
	}
}

// Backward computes, for g = dCost/dy [batch, width] and n examples,
//
//	dCost/dgamma[j] = Σ_i g[i, j]·x̂[i, j]
//	dCost/dbeta[j]  = Σ_i g[i, j]
//	dCost/dx[i, j]  = gamma[j]/√(variance[j] + ε) ·
//	                  (g[i, j] - dCost/dbeta[j]/n - x̂[i, j]·dCost/dgamma[j]/n)
//
// The three terms of dx are the direct path, the path through the mean and the
// path through the variance. After an Eval pass, where both are constants, only
// the direct one is there.
func (b *BatchNorm[T]) Backward(c *Cache[T], gradOut matrix.Matrix[T]) matrix.Matrix[T] {
	c.BeginBackward(b, gradOut)
	inverse, xHat := c.Kept[keptInverse].Value.Data, c.Kept[keptXHat].Value
	gradGamma, gradBeta := b.gamma.Grad, b.beta.Grad
	clear(gradGamma)
	clear(gradBeta)
	c.engine.AddColumns(gradBeta, gradOut.Data)
	c.engine.AddProducts(gradGamma, gradOut.Data, xHat.Data)
	if !c.WantsGradIn() {
		return c.GradIn
	}
	n := T(gradOut.Rows)
	factor, meanG, meanGX := c.scratch[:b.width], c.scratch[b.width:2*b.width], c.scratch[2*b.width:]
	for j := range factor {
		factor[j] = b.gamma.Value[j] * inverse[j]
		meanG[j], meanGX[j] = 0, 0
		if c.Mode() == Train {
			meanG[j], meanGX[j] = gradBeta[j]/n, gradGamma[j]/n
		}
	}
	c.engine.NormaliseSlope(c.GradIn.Data, gradOut.Data, xHat.Data, factor, meanG, meanGX)
	return c.GradIn
}

func sqrt[T matrix.Float](x T) T { return T(math.Sqrt(float64(x))) }
