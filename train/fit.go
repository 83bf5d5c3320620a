package train

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"

	"glassnet/dataset"
	"glassnet/internal/usererr"
	"glassnet/matrix"
	"glassnet/nn"
)

// Look is one look at how training goes: a value, no pointer into the run.
type Look struct {
	Epoch, Step int // epochs begun, updates made

	// Batch is the cost of the last batch before its update.
	Batch Cost
	// TrainCost and TrainAccuracy are means over the examples of the epoch so
	// far, each taken just before the update that learned from it.
	TrainCost, TrainAccuracy float64
	// Validation is measured after the update; NaN without a validation set.
	Validation Metrics
	// Penalty is the penalty of the weights after the update.
	Penalty float64
}

// Epochs makes n passes over fit (n < 1: without end) and yields every look. It
// ends early when the caller breaks, when ctx is done (the error is ctx's), or
// when training diverges (a *DivergedError); after an error nothing more comes.
// A last batch shorter than the others is trained and weighs by its true size;
// with batch normalisation a last batch of one example, which has no variance, is
// left out.
func (t *Trainer[T]) Epochs(ctx context.Context, n int, fit, validation dataset.View) iter.Seq2[Look, error] {
	return func(yield func(Look, error) bool) {
		if err := t.Check(fit, validation); err != nil {
			yield(Look{}, err)
			return
		}
		// Shuffling must not touch the caller's order.
		order := dataset.View{Set: fit.Set, Index: slices.Clone(fit.Index)}
		for epoch := 1; n < 1 || epoch <= n; epoch++ {
			if !t.pass(ctx, order, validation, yield) {
				return
			}
		}
	}
}

// pass makes one epoch and reports whether training goes on.
func (t *Trainer[T]) pass(ctx context.Context, order, validation dataset.View, yield func(Look, error) bool) bool {
	t.epoch++
	if t.o.Shuffle != nil {
		t.o.Shuffle.Shuffle(order.Index)
	}
	var sum float64
	var seen, correct int
	steps := t.StepsPerEpoch(order.Len())
	for step := 1; step <= steps; step++ {
		batch := order.Slice((step-1)*t.o.Batch, min(step*t.o.Batch, order.Len()))
		err := ctx.Err()
		var cost Cost
		if err == nil {
			cost, err = t.Step(batch)
		}
		if err != nil {
			yield(Look{Epoch: t.epoch, Step: t.steps}, err)
			return false
		}
		sum += float64(cost.Data * float64(batch.Len()))
		seen += batch.Len()
		correct += cost.Correct
		if t.o.LookEvery == 0 && step == steps || t.o.LookEvery > 0 && step%t.o.LookEvery == 0 {
			look := Look{
				Epoch: t.epoch, Step: t.steps, Batch: cost,
				TrainCost:     sum / float64(seen),
				TrainAccuracy: float64(correct) / float64(seen),
				Validation:    t.evaluator.Evaluate(validation, nil),
				Penalty:       t.o.Penalty.Apply(t.net.Params(), nn.Eval),
			}
			if !yield(look, nil) {
				return false
			}
		}
	}
	return true
}

// StepsPerEpoch returns how many batches n examples make. A last batch of one is none
// under batch normalisation, which finds no variance in it.
func (t *Trainer[T]) StepsPerEpoch(n int) int {
	steps := (n + t.o.Batch - 1) / t.o.Batch
	if n%t.o.Batch == 1 && t.batchNorm {
		steps--
	}
	return steps
}

// Check refuses data that cannot train the network: no examples, other features,
// more classes, images or labels that are not there, a validation set of another kind,
// looks that never come. Epochs and Fit call it; a caller may do so before it writes
// anything.
func (t *Trainer[T]) Check(fit, validation dataset.View) error {
	if fit.Set == nil {
		return usererr.New("no training examples")
	}
	if err := fit.Check(); err != nil {
		return usererr.New("training examples: %w", err)
	}
	if err := validation.Check(); err != nil {
		return usererr.New("validation examples: %w", err)
	}
	in, classes := t.net.Widths()
	steps := t.StepsPerEpoch(fit.Len())
	switch {
	case fit.Set.Features() != in:
		return usererr.New("examples have %d features, but the network takes %d", fit.Set.Features(), in)
	case fit.Set.Classes > classes:
		return usererr.New("examples have %d classes, but the network tells %d apart", fit.Set.Classes, classes)
	case steps < 1:
		return usererr.New("%d training examples make no batch", fit.Len())
	case t.o.LookEvery > steps:
		return usererr.New("a look every %d steps never comes: an epoch has %d", t.o.LookEvery, steps)
	case validation.Len() > 0 && validation.Set.Features() != in:
		return usererr.New("validation examples have %d features, but the network takes %d", validation.Set.Features(), in)
	case validation.Len() > 0 && validation.Set.Classes > classes:
		return usererr.New("validation examples have %d classes, but the network tells %d apart", validation.Set.Classes, classes)
	}
	return nil
}

// StopRule decides after each look whether training ends.
type StopRule interface {
	// Observe takes the next look and reports whether to stop.
	Observe(Look) (stop bool)
	// Name says why training stopped, when it did.
	Name() string
}

// Why training stopped, beside the names of the stop rules.
const (
	StoppedMaxEpochs   = "max_epochs"
	StoppedInterrupted = "interrupted"
	StoppedDiverged    = "diverged"
)

// Patience stops when the validation cost has not improved on its best by more
// than MinImprovement for Epochs epochs in a row: at the look of an epoch that has the
// place of the best one in its own. It remembers what it has seen: one value serves one
// training.
type Patience struct {
	Epochs         int // >= 1
	MinImprovement float64
	best           float64
	bestEpoch      int
	bestLook       int // which of its epoch, from 1
	epoch, look    int // of the last look
}

// Name implements StopRule.
func (*Patience) Name() string { return "patience" }

// Observe implements StopRule.
func (p *Patience) Observe(l Look) bool {
	if l.Epoch != p.epoch {
		p.epoch, p.look = l.Epoch, 0
	}
	p.look++
	if p.bestEpoch == 0 || math.IsNaN(p.best) || l.Validation.Cost < p.best-p.MinImprovement {
		p.best, p.bestEpoch, p.bestLook = l.Validation.Cost, l.Epoch, p.look
	}
	epochs := l.Epoch - p.bestEpoch
	return epochs > p.Epochs || epochs == p.Epochs && p.look >= p.bestLook
}

// PublishedCriterion is the stop rule of the published study: it stops at the
// first look whose validation cost (penalty included) differs from the look
// before by less than Difference, in either direction. It fires on a coincidence:
// a cost that wanders meets its last value sooner or later. One value serves one
// training.
type PublishedCriterion struct {
	Difference float64
	last       float64
	seen       bool
}

// Name implements StopRule.
func (*PublishedCriterion) Name() string { return "criterion" }

// Observe implements StopRule.
func (c *PublishedCriterion) Observe(l Look) bool {
	cost := l.Validation.Cost + l.Penalty
	stop := c.seen && math.Abs(cost-c.last) < c.Difference
	c.last, c.seen = cost, true
	return stop
}

// FitOptions say when Fit ends and what it leaves.
type FitOptions struct {
	Epochs   int        // at most; >= 1
	Stop     StopRule   // nil: only Epochs ends the training
	KeepBest bool       // leave the weights of the look with the lowest validation cost, not the last
	Watch    func(Look) // called after each look; may be nil
}

// Result is what a training came to.
type Result struct {
	Epochs, Steps int    // begun, made, by all trainings of the Trainer
	Stopped       string // the stop rule's name or one of the Stopped constants; "" of data that Check refuses
	Last          Look   // the last look, behind which steps may have followed; zero when there was none
	Best          Look   // the look with the lowest validation cost so far
}

// Fit trains until the stop rule, the number of epochs, ctx or divergence ends
// it. In the last two cases the Result holds what was reached and the error is
// ctx's or a *DivergedError; with KeepBest the best weights are restored even
// then. Another Fit goes on from there and counts on.
func (t *Trainer[T]) Fit(ctx context.Context, fit, validation dataset.View, o FitOptions) (Result, error) {
	if o.Epochs < 1 {
		return Result{}, usererr.New("%d epochs, want 1 or more", o.Epochs)
	}
	if validation.Len() == 0 && (o.KeepBest || o.Stop != nil) {
		return Result{}, usererr.New("a stop rule and the best weights need a validation set, but it is empty").
			Try("--validation 0.2, or no stop rule")
	}
	result := Result{Stopped: StoppedMaxEpochs}
	best := newSnapshot(t.net)
	var failure error
	for look, err := range t.Epochs(ctx, o.Epochs, fit, validation) {
		if err != nil {
			failure = err
			break
		}
		result.Last = look
		if lowest := result.Best.Validation.Cost; result.Best.Step == 0 || math.IsNaN(lowest) || look.Validation.Cost < lowest {
			result.Best = look
			if o.KeepBest {
				best.take(t.net)
			}
		}
		if o.Watch != nil {
			o.Watch(look)
		}
		if o.Stop != nil && o.Stop.Observe(look) {
			result.Stopped = o.Stop.Name()
			break
		}
	}
	result.Epochs, result.Steps = t.epoch, t.steps
	var diverged *DivergedError
	switch {
	case errors.As(failure, &diverged):
		result.Stopped = StoppedDiverged
	case failure != nil && errors.Is(failure, ctx.Err()):
		result.Stopped = StoppedInterrupted
	case failure != nil: // the data: nothing was trained
		result.Stopped = ""
	}
	if o.KeepBest && result.Best.Step > 0 {
		best.restore(t.net)
		t.ParametersWritten()
	}
	if failure == nil {
		// A step looks at what is trained; running statistics may have overflowed, too.
		for _, p := range t.net.Params() {
			if !matrix.Finite(p.Value) {
				result.Stopped = StoppedDiverged
				return result, &DivergedError{Epoch: t.epoch, Step: t.steps, Rate: t.o.Rate, What: p.Name + " is not finite"}
			}
		}
		// The next step would see that outputs overflow; behind the last one is the look.
		left := result.Last
		if o.KeepBest {
			left = result.Best
		}
		if cost := left.Validation.Cost; validation.Len() > 0 && left.Step > 0 && (math.IsNaN(cost) || math.IsInf(cost, 0)) {
			result.Stopped = StoppedDiverged
			return result, &DivergedError{Epoch: t.epoch, Step: t.steps, Rate: t.o.Rate, What: fmt.Sprintf("the validation cost is %v", cost)}
		}
	}
	return result, failure
}

// snapshot is a copy of all parameters of a network.
type snapshot[T matrix.Float] [][]T

func newSnapshot[T matrix.Float](net *nn.Network[T]) snapshot[T] {
	s := make(snapshot[T], len(net.Params()))
	for i, p := range net.Params() {
		s[i] = make([]T, len(p.Value))
	}
	return s
}

func (s snapshot[T]) take(net *nn.Network[T]) {
	for i, p := range net.Params() {
		copy(s[i], p.Value)
	}
}

func (s snapshot[T]) restore(net *nn.Network[T]) {
	for i, p := range net.Params() {
		copy(p.Value, s[i])
	}
}
