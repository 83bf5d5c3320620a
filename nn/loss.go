package nn

import (
	"fmt"

	"glassnet/internal/elementary"
	"glassnet/internal/kernel"
	"glassnet/matrix"
)

// Loss compares logits with labels. Its cost is the mean over the examples. To write one of
// your own, begin Forward with LossCache.Begin and Backward with LossCache.BeginBackward,
// and test it with nntest.TestLoss: see Example (extended). Probabilities are the softmax of the
// logits whatever the loss; evaluation and predictions show them.
type Loss[T matrix.Float] interface {
	// Name is the loss's name in files.
	Name() string

	// Forward fills c, GradLogits aside, for logits [batch, classes] and one label per
	// example, each < classes, and returns the mean loss in nats.
	Forward(c *LossCache[T], logits matrix.Matrix[T], labels []uint8) (cost float64)

	// Backward returns c.GradLogits = dCost/dLogits [batch, classes] of the
	// batch that c last saw.
	Backward(c *LossCache[T]) matrix.Matrix[T]
}

// LossCache is what a loss remembers of one batch.
type LossCache[T matrix.Float] struct {
	Logits        matrix.Matrix[T] // [batch, classes]
	Probabilities matrix.Matrix[T] // [batch, classes], each row sums to 1
	Losses        []T              // [batch], nats
	Labels        []uint8          // [batch]
	Predicted     []int32          // [batch], where the largest logit is, the first of equal ones
	GradLogits    matrix.Matrix[T] // [batch, classes]

	probabilities, gradLogits matrix.Matrix[T] // storage for a full batch
	losses, sums              []T              // sums of exponentials
	predicted                 []int32

	batch int // examples that the cost is the mean of: more than those here, where these are a share of a batch
}

// NewLossCache returns room for batches of up to batch examples.
func NewLossCache[T matrix.Float](batch, classes int) *LossCache[T] {
	return &LossCache[T]{
		probabilities: matrix.New[T](batch, classes),
		gradLogits:    matrix.New[T](batch, classes),
		losses:        make([]T, batch),
		sums:          make([]T, batch),
		predicted:     make([]int32, batch),
	}
}

// Begin prepares the loss of logits [batch, classes]: every field but GradLogits has the
// batch's shape then. Losses are to be filled, and Probabilities and Predicted, which Softmax
// does. It panics when there is no room for the logits, their Data does not fit their
// shape, or there is not a label for each row.
func (c *LossCache[T]) Begin(logits matrix.Matrix[T], labels []uint8) {
	if logits.Cols != c.probabilities.Cols || logits.Rows > len(c.losses) || len(labels) != logits.Rows || len(logits.Data) != logits.Rows*logits.Cols {
		panic(fmt.Sprintf("nn: loss of logits %v, %d numbers, and %d labels, want at most [%d, %d] and a label for each row",
			logits, len(logits.Data), len(labels), len(c.losses), c.probabilities.Cols))
	}
	c.Logits, c.Labels = logits, labels
	c.Probabilities, c.Losses = c.probabilities.Head(logits.Rows), c.losses[:logits.Rows]
	c.Predicted = c.predicted[:logits.Rows]
	c.GradLogits = matrix.Matrix[T]{}
	c.batch = logits.Rows
}

// Softmax fills Probabilities and Predicted and returns Σ_k e^(z[i, k] - top) of each row,
// [batch], top being its largest logit.
func (c *LossCache[T]) Softmax() (sums []T) {
	sums = c.sums[:c.Logits.Rows]
	kernel.Of[T]().Softmax(c.Probabilities.Data, c.Logits.Data, sums, c.Predicted)
	return sums
}

// BeginBackward returns where dCost/dLogits [batch, classes] goes, not cleared.
func (c *LossCache[T]) BeginBackward() matrix.Matrix[T] {
	c.GradLogits = c.gradLogits.Head(len(c.Labels))
	return c.GradLogits
}

// Mean returns the mean of Losses.
func (c *LossCache[T]) Mean() float64 { return kernel.Sum(c.Losses) / float64(len(c.Losses)) }

// Correct returns how many examples have their label as the largest logit.
func (c *LossCache[T]) Correct() int {
	n := 0
	for i, label := range c.Labels {
		if c.Predicted[i] == int32(label) {
			n++
		}
	}
	return n
}

// Argmax returns the index of the largest value, the first of equal ones.
func Argmax[T matrix.Float](v []T) int {
	best := 0
	for j, x := range v {
		if x > v[best] {
			best = j
		}
	}
	return best
}

// Softmax fills p with the softmax of the logits z, p[j] = e^z[j] / Σ_k e^z[k],
// and returns log Σ_k e^(z[k] - max z). The largest logit is subtracted first, so
// that no exponential overflows; lengths must be equal, and p and z must not
// overlap.
func Softmax[T matrix.Float](p, z []T) (logSum T) {
	var sum [1]T
	var at [1]int32
	kernel.Of[T]().Softmax(p, z, sum[:], at[:])
	return elementary.Log(sum[0])
}

// CrossEntropy is the cross entropy of the softmax of the logits:
//
//	p[i, j] = e^z[i, j] / Σ_k e^z[i, k]
//	loss[i] = -ln p[i, label[i]] = ln Σ_k e^(z[i, k] - top) - (z[i, label] - top)
//
// with top the largest logit of the row. Equal logits give ln(classes): 2.302585
// for ten digits.
type CrossEntropy[T matrix.Float] struct{}

// Name implements Loss.
func (CrossEntropy[T]) Name() string { return LossCrossEntropy }

// Forward implements Loss.
func (CrossEntropy[T]) Forward(c *LossCache[T], logits matrix.Matrix[T], labels []uint8) float64 {
	c.Begin(logits, labels)
	sums := c.Softmax()
	for i, label := range labels {
		z := logits.Row(i)
		c.Losses[i] = elementary.Log(sums[i]) - (z[label] - z[c.Predicted[i]])
	}
	return c.Mean()
}

// Backward computes, for a batch of n,
//
//	dCost/dz[i, j] = (p[i, j] - [j = label[i]]) / n
func (CrossEntropy[T]) Backward(c *LossCache[T]) matrix.Matrix[T] {
	c.BeginBackward()
	n := T(c.batch)
	kernel.Of[T]().Divide(c.GradLogits.Data, c.Probabilities.Data, n)
	for i, label := range c.Labels {
		c.GradLogits.Row(i)[label] = (c.Probabilities.Row(i)[label] - 1) / n
	}
	return c.GradLogits
}

// PublishedCrossEntropy is the cost of the published study:
//
//	loss[i] = -ln(p[i, label[i]] + 1e-8)
//
// The 1e-8, PublishedLossEpsilon, keeps the logarithm finite where p underflows. The study's gradient
// ignores it and is that of CrossEntropy; the two differ by the factor
// p/(p + 1e-8).
type PublishedCrossEntropy[T matrix.Float] struct{ CrossEntropy[T] }

// PublishedLossEpsilon is what PublishedCrossEntropy adds to the probability.
const PublishedLossEpsilon = 1e-8

// Name implements Loss.
func (PublishedCrossEntropy[T]) Name() string { return LossPublishedCrossEntropy }

// Forward implements Loss.
func (PublishedCrossEntropy[T]) Forward(c *LossCache[T], logits matrix.Matrix[T], labels []uint8) float64 {
	c.Begin(logits, labels)
	c.Softmax()
	for i, label := range labels {
		c.Losses[i] = -elementary.Log(c.Probabilities.Row(i)[label] + PublishedLossEpsilon)
	}
	return c.Mean()
}
