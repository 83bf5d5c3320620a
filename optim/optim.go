// Package optim holds the rules by which parameters follow their gradients, and
// the penalties on weights.
package optim

import (
	"fmt"
	"slices"

	"glassnet/internal/kernel"
	"glassnet/internal/usererr"
	"glassnet/matrix"
	"glassnet/nn"
)

// Rule is an update rule: a pure function of a parameter, its gradient and the
// rule's state vectors (slots), which the Optimizer holds. A Rule value has
// hyperparameters only.
type Rule[T matrix.Float] interface {
	Name() string
	// Slots returns how many state vectors the rule needs per parameter.
	Slots() int
	// Update moves value against grad, each number on its own, so that an array
	// may be updated in parts, by several threads at once. The slots have value's
	// length and start at 0; rate is the learning rate; step counts from 1. A result
	// of -0 is stored as +0; finite is false when one is infinite or NaN.
	Update(value, grad []T, slots [][]T, rate float64, step int) (finite bool)
}

// SGD is plain gradient descent on the gradient of a batch:
//
//	w = w - rate·dCost/dw
type SGD[T matrix.Float] struct{}

// Name implements Rule.
func (SGD[T]) Name() string { return "sgd" }

// Slots implements Rule: SGD remembers nothing.
func (SGD[T]) Slots() int { return 0 }

// Update implements Rule.
func (SGD[T]) Update(value, grad []T, _ [][]T, rate float64, _ int) bool {
	return kernel.Of[T]().Update(value, grad, T(-rate))
}

// NewRule returns the rule of that name.
func NewRule[T matrix.Float](name string) (Rule[T], error) {
	if name == "sgd" {
		return SGD[T]{}, nil
	}
	return nil, usererr.New("unknown update rule %q, want %q", name, "sgd")
}

// PlainDescent says whether a step by rule, after penalty, is plain gradient descent on the
// gradients as they are: what nn.Network.Descend does.
func PlainDescent[T matrix.Float](rule Rule[T], penalty Penalty[T]) bool {
	_, sgd := rule.(SGD[T])
	switch p := penalty.(type) {
	case L2[T]:
		return sgd && p.Lambda == 0
	case PublishedL2[T]:
		return sgd && p.Lambda == 0
	}
	return false
}

// Optimizer applies a rule to the parameters of a network and holds the rule's
// state.
type Optimizer[T matrix.Float] struct {
	rule Rule[T]
	step int

	pool    *kernel.Pool
	alone   bool
	updates []update[T] // by parameter, without the statistics
	largest int         // numbers of the largest parameter
	rate    float64     // of the step under way

	allAtOnce allAtOnce[T]
}

// update is the update of one parameter, in parts.
type update[T matrix.Float] struct {
	param  *nn.Param[T]
	slots  [][]T
	parts  [][][]T // of the slots, by part
	finite []bool  // by part
}

// fewRows: parameters with fewer rows are shared among threads by numbers.
const fewRows = 64

// rows returns how many rows a parameter has, and how many numbers each; of few rows, and
// of what is no matrix, each number is one.
func (u *update[T]) rows() (rows, width int) {
	if len(u.param.Shape) != 2 || u.param.Shape[0] < fewRows {
		return len(u.param.Value), 1
	}
	return u.param.Shape[0], u.param.Shape[1]
}

// New returns an optimizer for params on that many threads (0 means 1);
// statistics among them are left alone.
func New[T matrix.Float](rule Rule[T], params []*nn.Param[T], threads int) *Optimizer[T] {
	o := &Optimizer[T]{rule: rule, pool: kernel.PoolOf(max(threads, 1))}
	o.allAtOnce.Optimizer = o
	for _, p := range params {
		if p.Role == nn.Statistic {
			continue
		}
		u := update[T]{param: p, finite: make([]bool, o.pool.Threads())}
		for range rule.Slots() {
			u.slots = append(u.slots, make([]T, len(p.Value)))
		}
		for range o.pool.Threads() {
			u.parts = append(u.parts, make([][]T, len(u.slots)))
		}
		o.updates = append(o.updates, u)
		o.largest = max(o.largest, len(p.Value))
	}
	return o
}

// SetAlone says whether steps are made by the caller's thread alone. It changes how fast
// they are, no bit.
func (o *Optimizer[T]) SetAlone(alone bool) { o.alone = alone }

// Rule returns the update rule.
func (o *Optimizer[T]) Rule() Rule[T] { return o.rule }

// worthSplitting is how many numbers a parameter has from which a second core helps.
const worthSplitting = 1 << 13

// Step updates every parameter from its gradient with the given learning rate and
// returns an error that names the first parameter that is no longer finite; all are
// updated even then.
func (o *Optimizer[T]) Step(rate float64) error {
	o.step++
	o.rate = rate
	for i := range o.updates {
		for part := range o.updates[i].finite {
			o.updates[i].finite[part] = true // of fewer parts than threads, too
		}
	}
	o.pool.Run(&o.allAtOnce, !o.alone && o.largest >= worthSplitting)
	for i := range o.updates {
		if u := &o.updates[i]; slices.Contains(u.finite, false) {
			return notFinite(u.param)
		}
	}
	return nil
}

// NotFinite returns Step's error for the first of params that has a number which is not
// finite, or nil.
func NotFinite[T matrix.Float](params []*nn.Param[T]) error {
	for _, p := range params {
		if p.Role != nn.Statistic && !matrix.Finite(p.Value) {
			return notFinite(p)
		}
	}
	return nil
}

func notFinite[T matrix.Float](p *nn.Param[T]) error {
	return fmt.Errorf("%s is not finite after the update", p.Name)
}

// allAtOnce is the task of updating all parameters.
type allAtOnce[T matrix.Float] struct{ *Optimizer[T] }

// Part updates one part of every large parameter, and of the small ones each parts-th.
func (o *allAtOnce[T]) Part(i, parts int) {
	small := 0
	for k := range o.updates {
		u := &o.updates[k]
		lo, hi := 0, len(u.param.Value)
		if hi >= worthSplitting {
			rows, width := u.rows()
			top, bottom := kernel.ParameterRows(rows, i, parts)
			lo, hi = top*width, bottom*width
		} else if small++; small%parts != i {
			continue
		}
		slots := u.parts[i]
		for s := range slots {
			slots[s] = u.slots[s][lo:hi]
		}
		u.finite[i] = o.rule.Update(u.param.Value[lo:hi], u.param.Grad[lo:hi], slots, o.rate, o.step)
	}
}
