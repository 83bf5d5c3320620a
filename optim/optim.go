// Package optim holds the rules by which parameters follow their gradients, and
// the penalties on weights.
package optim

import (
	"fmt"

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
	// Update moves value against grad. The slots have value's length and start
	// at 0; rate is the learning rate; step counts from 1.
	Update(value, grad []T, slots [][]T, rate float64, step int)
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
func (SGD[T]) Update(value, grad []T, _ [][]T, rate float64, _ int) {
	kernel.AddScaled(value, grad, T(-rate))
}

// NewRule returns the rule of that name.
func NewRule[T matrix.Float](name string) (Rule[T], error) {
	if name == "sgd" {
		return SGD[T]{}, nil
	}
	return nil, usererr.New("unknown update rule %q, want %q", name, "sgd")
}

// Optimizer applies a rule to the parameters of a network and holds the rule's
// state.
type Optimizer[T matrix.Float] struct {
	rule   Rule[T]
	params []*nn.Param[T] // without the statistics
	slots  [][][]T        // by parameter
	step   int
}

// New returns an optimizer for params; statistics among them are left alone.
func New[T matrix.Float](rule Rule[T], params []*nn.Param[T]) *Optimizer[T] {
	o := &Optimizer[T]{rule: rule}
	for _, p := range params {
		if p.Role == nn.Statistic {
			continue
		}
		slots := make([][]T, rule.Slots())
		for s := range slots {
			slots[s] = make([]T, len(p.Value))
		}
		o.params = append(o.params, p)
		o.slots = append(o.slots, slots)
	}
	return o
}

// Rule returns the update rule.
func (o *Optimizer[T]) Rule() Rule[T] { return o.rule }

// Step updates every parameter from its gradient with the given learning rate and
// returns an error that names the parameter when one is no longer finite.
func (o *Optimizer[T]) Step(rate float64) error {
	o.step++
	for i, p := range o.params {
		o.rule.Update(p.Value, p.Grad, o.slots[i], rate, o.step)
		if !kernel.Finite(p.Value) {
			return fmt.Errorf("%s is not finite after the update", p.Name)
		}
		for j := range p.Value {
			p.Value[j] += 0 // -0 becomes +0
		}
	}
	return nil
}
