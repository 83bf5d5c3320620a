package nntest

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"glassnet/internal/kernel"
	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/random"
)

// Loss is a loss to be checked.
type Loss struct {
	Loss   nn.Loss[float64]
	Loss32 nn.Loss[float32] // the same loss in float32; nil leaves the comparison out
}

// TestLoss fails t for everything that CheckLoss finds wrong.
func TestLoss(t testing.TB, l Loss) {
	t.Helper()
	r := CheckLoss(l)
	r.report(t)
}

// CheckLoss runs the suite that every loss must pass: the gradient of every logit
// for 2, 3 and 10 classes, batches of 1, 2 and 5, Seeds draws each; gradients in
// float32 against those in float64; and the list of checks below.
func CheckLoss(l Loss) Result {
	var r Result
	for _, classes := range []int{2, 3, 10} {
		for _, batch := range batchSizes {
			for seed := range uint64(Seeds) {
				r.join(l.gradients(seed, batch, classes), fmt.Sprintf("%d classes, batch of %d, seed %d", classes, batch, seed))
			}
		}
		if l.Loss32 != nil {
			for seed := range uint64(Seeds) {
				r.Norm32 = max(r.Norm32, l.norm32(seed, classes))
			}
		}
	}
	r.judge()
	if !(r.Norm32 <= maxNorm32) {
		r.fail("float32", fmt.Errorf("gradients differ from those in float64 by a relative norm of %.2g, want at most %.2g", r.Norm32, maxNorm32))
	}
	for _, c := range []struct {
		name  string
		check func() error
	}{
		{"cache", l.checkCache},
		{"repeat", l.checkRepeat},
		{"short batch", l.checkShortBatch},
		{"mean", l.checkMean},
		{"probabilities", l.checkProbabilities},
		{"large logits", l.checkLargeLogits},
		{"allocations", l.checkAllocations},
		{"shapes", l.checkShapes},
	} {
		r.fail(c.name, c.check())
	}
	return r
}

// draw returns random logits, of a standard deviation of 3, and labels.
func drawLogits(seed uint64, batch, classes int) (matrix.Matrix[float64], []uint8) {
	s := random.New(seed, fmt.Sprintf("nntest loss, batch of %d, %d classes", batch, classes))
	labels := make([]uint8, batch)
	for i := range labels {
		labels[i] = uint8(s.IntN(classes))
	}
	return normal(s, batch, classes, 3), labels
}

func (l Loss) gradients(seed uint64, batch, classes int) Result {
	logits, labels := drawLogits(seed, batch, classes)
	c := nn.NewLossCache[float64](batch, classes)
	l.Loss.Forward(c, logits, labels)
	param := &nn.Param[float64]{Name: "logits", Value: logits.Data, Grad: l.Loss.Backward(c).Clone().Data}
	return Gradients([]*nn.Param[float64]{param}, func() float64 { return l.Loss.Forward(c, logits, labels) })
}

// norm32 returns ‖g32 - g64‖/‖g64‖ for a batch of 5 with logits of a standard
// deviation of 1. Where a label's probability comes close to 1, p - 1 has few
// digits left: that loss of float32 is not a fault.
func (l Loss) norm32(seed uint64, classes int) float64 {
	const batch = 5
	logits, labels := drawLogits(seed, batch, classes)
	for i := range logits.Data {
		logits.Data[i] /= 3
	}
	logits32 := convertMatrix[float32](logits)
	c32 := nn.NewLossCache[float32](batch, classes)
	l.Loss32.Forward(c32, logits32, labels)
	got := convert[float64](l.Loss32.Backward(c32).Data)
	_, want := l.pass(nn.NewLossCache[float64](batch, classes), convertMatrix[float64](logits32), labels)
	return RelativeNorm(got, want.Data)
}

// pass returns the cost and a copy of its gradient.
func (l Loss) pass(c *nn.LossCache[float64], logits matrix.Matrix[float64], labels []uint8) (float64, matrix.Matrix[float64]) {
	cost := l.Loss.Forward(c, logits, labels)
	return cost, l.Loss.Backward(c).Clone()
}

// compare returns an error unless a pass of logits through c gives the bits that
// one through another cache gives.
func (l Loss) compare(c, other *nn.LossCache[float64], logits matrix.Matrix[float64], labels []uint8) error {
	wantCost, want := l.pass(other, logits, labels)
	cost, got := l.pass(c, logits, labels)
	if cost != wantCost {
		return fmt.Errorf("cost %v, want %v", cost, wantCost)
	}
	return sameMatrix("gradient", got, want)
}

// checkCache: what a pass took and gave can be read in the cache, and nothing of
// the pass before is left in it.
func (l Loss) checkCache() error {
	logits, labels := drawLogits(1, 5, 4)
	c := nn.NewLossCache[float64](5, 4)
	for range 2 {
		l.Loss.Forward(c, logits, labels)
		if c.GradLogits.Data != nil {
			return fmt.Errorf("after Forward it still holds the gradient %v of the pass before", c.GradLogits)
		}
		grad := l.Loss.Backward(c)
		if err := sameMatrix("GradLogits", c.GradLogits, grad); err != nil {
			return err
		}
		if err := sameMatrix("Logits", c.Logits, logits); err != nil {
			return err
		}
		if string(c.Labels) != string(labels) {
			return fmt.Errorf("cached labels are %v, want %v", c.Labels, labels)
		}
	}
	return nil
}

// checkRepeat: the same pass again gives the same bits and writes to no input.
func (l Loss) checkRepeat() error {
	logits, labels := drawLogits(1, 5, 4)
	before, labelsBefore := logits.Clone(), string(labels)
	c := nn.NewLossCache[float64](5, 4)
	if err := l.compare(c, c, logits, labels); err != nil {
		return err
	}
	if string(labels) != labelsBefore {
		return fmt.Errorf("labels are %v after the pass, want %v", labels, []byte(labelsBefore))
	}
	return sameMatrix("logits after the pass", logits, before)
}

// checkShortBatch: a cache with room for 5 that has seen 5 examples passes 3 as a
// cache made for 3 does: the mean is over the true number.
func (l Loss) checkShortBatch() error {
	logits, labels := drawLogits(1, 5, 4)
	c := nn.NewLossCache[float64](5, 4)
	l.pass(c, logits, labels)
	return l.compare(c, nn.NewLossCache[float64](3, 4), logits.Head(3), labels[:3])
}

// checkMean: the cost is the mean of the examples' losses, which do not depend on
// the examples beside them.
func (l Loss) checkMean() error {
	logits, labels := drawLogits(1, 5, 4)
	c, one := nn.NewLossCache[float64](5, 4), nn.NewLossCache[float64](1, 4)
	cost := l.Loss.Forward(c, logits, labels)
	if mean := kernel.Sum(c.Losses) / 5; len(c.Losses) != 5 || !(math.Abs(cost-mean) <= 1e-12*math.Abs(mean)) {
		return fmt.Errorf("cost %v, want the mean of %v, %v", cost, c.Losses, mean)
	}
	for i := range labels {
		alone := l.Loss.Forward(one, matrix.FromRows(logits.Row(i)), labels[i:i+1])
		if alone != c.Losses[i] {
			return fmt.Errorf("loss of example %d is %v among others and %v alone", i, c.Losses[i], alone)
		}
	}
	return nil
}

func (l Loss) checkProbabilities() error {
	logits, labels := drawLogits(1, 5, 10)
	c := nn.NewLossCache[float64](5, 10)
	l.Loss.Forward(c, logits, labels)
	for i := range labels {
		if sum := kernel.Sum(c.Probabilities.Row(i)); !(math.Abs(sum-1) <= 1e-12) {
			return fmt.Errorf("those of example %d sum to %v, want 1", i, sum)
		}
	}
	return nil
}

// checkLargeLogits: no exponential overflows.
func (l Loss) checkLargeLogits() error {
	logits := matrix.FromRows([]float64{1e4, 0, -1e4}, []float64{1e4, 0, -1e4}, []float64{-1e4, -1e4, -1e4})
	cost, grad := l.pass(nn.NewLossCache[float64](3, 3), logits, []uint8{0, 2, 1})
	if !matrix.Finite([]float64{cost}) || !matrix.Finite(grad.Data) {
		return fmt.Errorf("cost %v and gradient %v of logits %v are not finite", cost, grad.Data, logits.Data)
	}
	return nil
}

func (l Loss) checkAllocations() error {
	logits, labels := drawLogits(1, 5, 4)
	c := nn.NewLossCache[float64](5, 4)
	return allocations(func() {
		l.Loss.Forward(c, logits, labels)
		l.Loss.Backward(c)
		l.Loss.Forward(c, logits.Head(3), labels[:3])
		l.Loss.Backward(c)
	})
}

// checkShapes: logits that do not fit, or are not as many as the labels, panic
// with a text that names both.
func (l Loss) checkShapes() error {
	for _, test := range []struct{ rows, cols, labels int }{{5, 5, 5}, {6, 4, 6}, {5, 4, 4}, {4, 4, 5}} {
		c := nn.NewLossCache[float64](5, 4)
		text := panicText(func() { l.Loss.Forward(c, matrix.New[float64](test.rows, test.cols), make([]uint8, test.labels)) })
		if !strings.Contains(text, shape(test.rows, test.cols)) || !strings.Contains(text, shape(5, 4)) ||
			!strings.Contains(text, fmt.Sprintf("%d labels", test.labels)) {
			return fmt.Errorf("logits [%d, %d] and %d labels panic with %q, want both named and %s",
				test.rows, test.cols, test.labels, text, shape(5, 4))
		}
	}
	return nil
}
