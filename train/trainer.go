// Package train turns a network and a data set into a trained network, in three
// layers that can each be used alone: Step makes one update, Epochs passes over
// the data again and again, Fit adds a stop rule and keeps the best weights.
package train

import (
	"fmt"
	"math"
	"time"

	"glassnet/dataset"
	"glassnet/internal/kernel"
	"glassnet/internal/usererr"
	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/optim"
	"glassnet/random"
)

// Options are what a Trainer needs beside the network. Loss, Penalty and Rule
// have no default: a nil is an error.
type Options[T matrix.Float] struct {
	Loss    nn.Loss[T]
	Penalty optim.Penalty[T] // optim.L2[T]{} for none
	Rule    optim.Rule[T]
	Rate    float64 // learning rate, > 0 and finite, as T too
	Batch   int     // examples per step, 1 to 2^24; 2 or more with batch normalisation
	Threads int     // cores to use where more than one helps; 0 means 1

	// Shuffle, when not nil, puts the training examples into a new order before
	// each epoch. nil keeps one order for ever.
	Shuffle *random.Stream

	// LookEvery is the number of steps between looks at the validation set,
	// counted within each epoch; 0 means one look at the epoch's end.
	LookEvery int
}

// Trainer trains one network. It serves one caller at a time.
type Trainer[T matrix.Float] struct {
	net       *nn.Network[T]
	o         Options[T]
	optimizer *optim.Optimizer[T] // not asked by steps that descend
	trace     *nn.Trace[T]
	loss      *nn.LossCache[T]
	labels    []uint8
	evaluator *Evaluator[T]
	pace      pace
	late      func() bool // whether workers are left out
	batchNorm bool
	descends  bool // steps of a settled network are made by nn.Network.Descend
	settled   bool // no parameter is -0: an ordinary step has been made since they were written from outside
	epoch     int  // epochs begun
	steps     int  // updates made
}

// New returns a Trainer for net. The error is a user error where a number of o is out of
// its range.
func New[T matrix.Float](net *nn.Network[T], o Options[T]) (*Trainer[T], error) {
	_, classes := net.Widths()
	switch {
	case o.Loss == nil || o.Penalty == nil || o.Rule == nil:
		return nil, fmt.Errorf("train.New: Loss, Penalty and Rule must all be given")
	case !possibleRate[T](o.Rate):
		return nil, usererr.New("learning rate %v, want a finite number > 0, as %T too", o.Rate, T(0))
	case o.Batch < 1 || o.Batch > mostExamples:
		return nil, usererr.New("batch of %d examples, want 1 to %d", o.Batch, mostExamples)
	case o.Batch < 2 && hasBatchNorm(net):
		return nil, usererr.New("batch of 1 example has no variance to normalise with, want 2 or more with batch normalisation")
	case o.LookEvery < 0:
		return nil, usererr.New("a look every %d steps, want 0 or more", o.LookEvery)
	case o.Threads < 0:
		return nil, usererr.New("%d threads, want 0 or more", o.Threads)
	}
	t := &Trainer[T]{
		net: net, o: o, batchNorm: hasBatchNorm(net),
		optimizer: optim.New(o.Rule, net.Params(), o.Threads),
		trace:     net.NewTrace(nn.TraceOptions{Batch: o.Batch, Backward: true, Threads: o.Threads}),
		loss:      nn.NewLossCache[T](o.Batch, classes),
		labels:    make([]uint8, o.Batch),
		evaluator: NewEvaluator(net, o.Loss, o.Threads),
		late:      kernel.PoolOf(max(o.Threads, 1)).Late,
	}
	t.descends = optim.PlainDescent(o.Rule, o.Penalty) && t.trace.CanDescend()
	return t, nil
}

// mostExamples is how many examples a batch may have.
const mostExamples = 1 << 24

// possibleRate says whether a step with that rate moves anything, and keeps it finite.
func possibleRate[T matrix.Float](rate float64) bool {
	return T(rate) > 0 && !math.IsInf(float64(T(rate)), 0)
}

func hasBatchNorm[T matrix.Float](net *nn.Network[T]) bool {
	for _, l := range net.Layers() {
		if l.Spec().Kind == nn.KindBatchNorm {
			return true
		}
	}
	return false
}

// Trace returns what the layers remember of the last step.
func (t *Trainer[T]) Trace() *nn.Trace[T] { return t.trace }

// LossCache returns what the loss remembers of the last step.
func (t *Trainer[T]) LossCache() *nn.LossCache[T] { return t.loss }

// Rate returns the learning rate.
func (t *Trainer[T]) Rate() float64 { return t.o.Rate }

// SetRate changes the learning rate of the steps to come. It panics when rate is not a
// finite number > 0, in T too.
func (t *Trainer[T]) SetRate(rate float64) {
	if !possibleRate[T](rate) {
		panic(fmt.Sprintf("train: learning rate %v, want a finite number > 0, as %T too", rate, T(0)))
	}
	t.o.Rate = rate
}

// ParametersWritten tells the Trainer that somebody else has written to parameters since the
// last step, as New takes for granted. The next step then looks at every one: afterwards
// none is -0, and one that is not finite is an error.
func (t *Trainer[T]) ParametersWritten() { t.settled = false }

// Evaluate measures the network on view in Eval mode. An empty view gives NaN.
func (t *Trainer[T]) Evaluate(view dataset.View) Metrics { return t.evaluator.Evaluate(view, nil) }

// Cost is what a batch cost before its update.
type Cost struct {
	Data    float64 // mean loss over the batch, nats
	Penalty float64 // on the weights
	Correct int     // examples whose label had the largest logit
}

// DivergedError reports that training left the finite numbers. Epoch and Step, from 1, name
// the step that could not be made, or the last, behind which something is not finite. Epoch
// is 0 of a step by itself, and Step too of one that stands in no training, as
// explain.Record makes it.
type DivergedError struct {
	Epoch, Step int
	Rate        float64 // learning rate
	What        string  // what was not finite
}

func (e *DivergedError) Error() string {
	switch {
	case e.Epoch == 0 && e.Step == 0:
		return fmt.Sprintf("this step diverges (learning rate %v): %s", e.Rate, e.What)
	case e.Epoch == 0:
		return fmt.Sprintf("training diverged at step %d (learning rate %v): %s", e.Step, e.Rate, e.What)
	}
	return fmt.Sprintf("training diverged in epoch %d at step %d (learning rate %v): %s", e.Epoch, e.Step, e.Rate, e.What)
}

// Step makes one update from one batch of at most Options.Batch examples:
//
//	logits = network(x), cost = mean loss + penalty, gradients by Backward, update
//
// It returns the cost before the update. When that is not finite, nothing that is
// trained changes (running statistics have seen the batch) and the error is a
// *DivergedError; it is one, too, when a parameter that moves is not finite after the
// update: then the network is lost. A batch that is empty or too large, or one example under
// batch normalisation, is a user error. Step trusts its examples (Check has looked at those
// of Epochs and Fit) and panics where they do not fit the network.
//
// Plain gradient descent without a penalty, where only Dense layers have parameters, goes by
// nn.Network.Descend from the second step on: without Options.Rule, with its bits. Who writes
// to parameters between steps calls ParametersWritten.
//
// A Step allocates nothing but where its memory grows: in the first PacedAfter steps, and, as
// other programs have kept a thread from those, in the first that it takes part in, waits long
// in, or has more of the examples in than before.
func (t *Trainer[T]) Step(batch dataset.View) (Cost, error) {
	switch n := batch.Len(); {
	case n == 0:
		return Cost{}, usererr.New("a batch of no examples")
	case n > t.o.Batch:
		return Cost{}, usererr.New("a batch of %d examples, want at most %d", n, t.o.Batch)
	case n == 1 && t.batchNorm:
		return Cost{}, usererr.New("a batch of 1 example has no variance to normalise with, want 2 or more with batch normalisation")
	}
	if t.o.Threads > 1 {
		counts := t.pace.alone || !t.late() // without workers it is no example of a step by all threads
		defer func(began time.Time) {
			alone := t.pace.made(time.Since(began), counts)
			t.trace.SetAlone(alone)
			t.optimizer.SetAlone(alone)
		}(time.Now())
	}
	labels := batch.CopyLabels(t.labels)
	var data, penalty float64
	finite := true
	descends := t.descends && t.settled
	if descends {
		data, finite = t.net.Descend(t.trace, t.o.Loss, t.loss, batch.Pixels(), labels, T(t.o.Rate))
	} else {
		data = t.net.Gradients(t.trace, t.o.Loss, t.loss, batch.Pixels(), labels)
		penalty = t.o.Penalty.Apply(t.net.Params(), nn.Train)
	}
	if total := data + penalty; math.IsNaN(total) || math.IsInf(total, 0) {
		return Cost{}, t.diverged(fmt.Sprintf("the cost of the batch is %v", total))
	}
	var err error
	if !descends {
		err = t.optimizer.Step(t.o.Rate)
	} else if !finite {
		err = optim.NotFinite(t.net.Params())
	}
	if err != nil {
		return Cost{}, t.diverged(err.Error())
	}
	t.settled = true
	t.steps++
	return Cost{data, penalty, t.loss.Correct()}, nil
}

func (t *Trainer[T]) diverged(what string) error {
	return &DivergedError{Epoch: t.epoch, Step: t.steps + 1, Rate: t.o.Rate, What: what}
}

// Evaluator measures a network on any number of examples. It serves one caller at
// a time.
type Evaluator[T matrix.Float] struct {
	net    *nn.Network[T]
	loss   nn.Loss[T]
	trace  *nn.Trace[T]
	cache  *nn.LossCache[T]
	labels []uint8
	losses []T
}

// evaluationBatch is how many examples are evaluated together, at most; it changes
// speed, not bits.
const evaluationBatch = 256

// NewEvaluator returns an Evaluator on the given number of threads (0 means 1).
func NewEvaluator[T matrix.Float](net *nn.Network[T], loss nn.Loss[T], threads int) *Evaluator[T] {
	_, classes := net.Widths()
	batch := net.Together(evaluationBatch)
	return &Evaluator[T]{
		net: net, loss: loss,
		trace:  net.NewTrace(nn.TraceOptions{Batch: batch, Threads: threads}),
		cache:  nn.NewLossCache[T](batch, classes),
		labels: make([]uint8, batch),
	}
}

// Metrics is how a network does on a set of examples.
type Metrics struct {
	Cost     float64 // mean loss in nats, without the penalty
	Accuracy float64 // share of examples whose label has the largest logit, in [0, 1]; NaN where Cost is: outputs have overflowed and tell nothing
}

// Evaluate measures the network on view in Eval mode. each, when not nil, is
// called for every example in order with its probabilities, which are valid
// during the call only. An empty view gives NaN.
func (e *Evaluator[T]) Evaluate(view dataset.View, each func(i int, probabilities []T)) Metrics {
	if cap(e.losses) < view.Len() {
		e.losses = make([]T, view.Len())
	}
	losses := e.losses[:view.Len()]
	correct := 0
	for lo := 0; lo < view.Len(); lo += len(e.labels) {
		hi := min(lo+len(e.labels), view.Len())
		batch := view.Slice(lo, hi)
		e.loss.Forward(e.cache, e.net.ForwardPixels(e.trace, batch.Pixels(), nn.Eval), batch.CopyLabels(e.labels))
		copy(losses[lo:hi], e.cache.Losses)
		correct += e.cache.Correct()
		if each != nil {
			for i := range hi - lo {
				each(lo+i, e.cache.Probabilities.Row(i))
			}
		}
	}
	n := float64(view.Len())
	m := Metrics{Cost: kernel.Sum(losses) / n, Accuracy: float64(correct) / n}
	if math.IsNaN(m.Cost) {
		m.Accuracy = math.NaN()
	}
	return m
}
