package explain

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"

	"glassnet/dataset"
	"glassnet/internal/usererr"
	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/optim"
	"glassnet/train"
)

// Options are those of the training that a step is of. Formulas are known for these
// losses, penalties and rules only; Record refuses others.
type Options[T matrix.Float] struct {
	Loss    nn.Loss[T]       // nn.CrossEntropy or nn.PublishedCrossEntropy
	Penalty optim.Penalty[T] // optim.L2 or optim.PublishedL2
	Rule    optim.Rule[T]    // optim.SGD
	Rate    float64          // learning rate, > 0
	Threads int              // cores to use; 0 means 1
}

// Step is one training step on one batch, with every number that took part in it.
type Step[T matrix.Float] struct {
	Net    *nn.Network[T]   // after the update; its Params hold the gradients
	Before [][]T            // values of Net.Params() before it
	Trace  *nn.Trace[T]     // of the forward and the backward pass
	Loss   *nn.LossCache[T] // of the same
	Batch  dataset.View     // the examples, row by row
	Cost   train.Cost       // before the update
	After  train.Cost       // of the same batch after it
	Options[T]

	params   map[string]int // where a name is in Net.Params()
	checking sync.Mutex
	checker  *checker // made by the first Check
}

// Record makes one training step of a copy of net on batch; net stays as it is. It
// returns an error when batch is empty, has one example only though net has batch
// normalisation, or does not fit net, when net is not nn.Network.Buildable or an option
// is one without a formula, and a
// *train.DivergedError when the step leaves the finite numbers, the cost after it
// included.
func Record[T matrix.Float](net *nn.Network[T], batch dataset.View, o Options[T]) (*Step[T], error) {
	switch any(o.Loss).(type) {
	case nn.CrossEntropy[T], nn.PublishedCrossEntropy[T]:
	default:
		return nil, fmt.Errorf("explain.Record: no formula for a loss of type %T", o.Loss)
	}
	switch any(o.Penalty).(type) {
	case optim.L2[T], optim.PublishedL2[T]:
	default:
		return nil, fmt.Errorf("explain.Record: no formula for a penalty of type %T", o.Penalty)
	}
	if _, sgd := any(o.Rule).(optim.SGD[T]); !sgd {
		return nil, fmt.Errorf("explain.Record: no formula for a rule of type %T", o.Rule)
	}
	if err := batch.Check(); err != nil {
		return nil, err
	}
	in, classes := net.Widths()
	if batch.Len() > 0 && (in != batch.Set.Features() || classes < batch.Set.Classes) {
		return nil, usererr.New("the network takes %d features and tells %d classes apart, but the examples have %d and %d",
			in, classes, batch.Set.Features(), batch.Set.Classes)
	}
	clone, err := nn.Copy[T](net)
	if err != nil {
		return nil, err
	}
	trainer, err := train.New(clone, train.Options[T]{
		Loss: o.Loss, Penalty: o.Penalty, Rule: o.Rule, Rate: o.Rate, Batch: batch.Len(), Threads: o.Threads,
	})
	if err != nil {
		return nil, err
	}
	s := &Step[T]{Net: clone, Trace: trainer.Trace(), Batch: batch, Options: o, params: map[string]int{}}
	for i, p := range clone.Params() {
		s.Before = append(s.Before, append([]T(nil), p.Value...))
		s.params[p.Name] = i
	}
	if s.Cost, err = trainer.Step(batch); err != nil {
		var diverged *train.DivergedError
		if errors.As(err, &diverged) {
			diverged.Step = 0 // the clone's first, which is none of the training's
		}
		return nil, err
	}
	s.Loss = trainer.LossCache()
	if s.After, err = s.costOf(clone); err != nil {
		return nil, err
	}
	if total := s.After.Data + s.After.Penalty; math.IsNaN(total) || math.IsInf(total, 0) {
		return nil, &train.DivergedError{Rate: o.Rate, What: fmt.Sprintf("the cost of the batch after the update is %v", total)}
	}
	return s, nil
}

// costOf returns the cost of the batch to net as a training step would find it: with
// batch normalisation by the batch's own statistics. net stays as it is.
func (s *Step[T]) costOf(net *nn.Network[T]) (train.Cost, error) {
	twin, err := nn.Copy[T](net) // whose running statistics may move
	if err != nil {
		return train.Cost{}, err
	}
	_, classes := twin.Widths()
	trace := twin.NewTrace(nn.TraceOptions{Batch: s.Batch.Len(), Threads: s.Threads})
	cache := nn.NewLossCache[T](s.Batch.Len(), classes)
	logits := twin.ForwardPixels(trace, s.Batch.Pixels(), nn.Train)
	data := s.Options.Loss.Forward(cache, logits, s.Batch.CopyLabels(make([]uint8, s.Batch.Len())))
	return train.Cost{Data: data, Penalty: s.Options.Penalty.Apply(twin.Params(), nn.Eval), Correct: cache.Correct()}, nil
}

// Follow returns n examples of set, the first given and those after it, round its end.
// It returns an error when first is not in the set or n not in [1, all of it].
func Follow(set *dataset.Set, first, n int) (dataset.View, error) {
	switch {
	case first < 0 || first >= set.Len():
		return dataset.View{}, usererr.New("example %d, want 0 to %d", first, set.Len()-1)
	case n < 1 || n > set.Len():
		return dataset.View{}, usererr.New("a batch of %d examples, want 1 to %d", n, set.Len())
	}
	view := dataset.View{Set: set}
	for i := range n {
		view.Index = append(view.Index, int32((first+i)%set.Len()))
	}
	return view, nil
}

// Rows is the number of examples in the step.
func (s *Step[T]) Rows() int { return s.Batch.Len() }

// lambda is the penalty's factor, and whether its cost is that of the published
// study.
func (s *Step[T]) lambda() (lambda float64, published bool) {
	switch p := s.Options.Penalty.(type) {
	case optim.L2[T]:
		return p.Lambda, false
	case optim.PublishedL2[T]:
		return p.Lambda, true
	}
	return 0, false
}

// layer returns layer l, from 1, and what it remembers.
func (s *Step[T]) layer(l int) (nn.Layer[T], *nn.Cache[T]) {
	return s.Net.Layers()[l-1], s.Trace.Caches[l-1]
}

// input returns number j of what went into layer l for the example in row i.
func (s *Step[T]) input(l, i, j int) Expr {
	if l > 1 {
		return number(float64(s.Trace.Caches[l-2].Out.At(i, j)), Ref{Kind: Output, Layer: l - 1, Index: [2]int{j}, Example: i})
	}
	return number(s.pixel(i, j), Ref{Kind: Pixel, Index: [2]int{j}, Example: i})
}

// pixel returns pixel j of the example in row i as the network gets it.
func (s *Step[T]) pixel(i, j int) float64 {
	return float64(T(matrix.Intensity(s.Batch.Set.Image(int(s.Batch.Index[i]))[j])))
}

// part returns the parameter of layer l whose name ends so, nil when there is none.
func (s *Step[T]) part(l int, part string) *nn.Param[T] {
	layer, _ := s.layer(l)
	for _, p := range layer.Params() {
		if strings.HasSuffix(p.Name, "."+part) {
			return p
		}
	}
	return nil
}

// before returns number at of parameter p before the update.
func (s *Step[T]) before(p *nn.Param[T], at ...int) Expr {
	return number(float64(s.Before[s.params[p.Name]][offset(p, at)]), s.ref(p, at))
}

// gradient returns dTotal/d number at of parameter p.
func (s *Step[T]) gradient(p *nn.Param[T], at ...int) Expr {
	return number(float64(p.Grad[offset(p, at)]), s.ref(p, at).of(Gradient))
}

func (s *Step[T]) ref(p *nn.Param[T], at []int) Ref { return ParameterRef(p.Name, at...) }

func offset[T matrix.Float](p *nn.Param[T], at []int) int {
	if len(at) == 2 {
		return at[0]*p.Shape[1] + at[1]
	}
	return at[0]
}

// kept returns number (i, j) of what layer l remembers by that name.
func (s *Step[T]) kept(l int, name string, i, j int) Expr {
	layer, cache := s.layer(l)
	for _, k := range cache.Kept {
		if k.Name == name {
			if k.Value.Rows == 1 {
				i = 0
			}
			r := Ref{Kind: Kept, Layer: l, Name: fmt.Sprintf("%d.%s.%s", l, layer.Spec().Kind, name), Index: [2]int{j}, Example: i}
			return number(float64(k.Value.At(i, j)), r)
		}
	}
	panic("explain: layer " + layer.Spec().Kind + " keeps no " + name)
}

// gradOut returns dTotal/d output j of layer l for the example in row i.
func (s *Step[T]) gradOut(l, i, j int) Expr {
	r := Ref{Kind: Output, Aspect: Gradient, Layer: l, Index: [2]int{j}, Example: i}
	return number(float64(s.Trace.Caches[l-1].GradOut.At(i, j)), r)
}
