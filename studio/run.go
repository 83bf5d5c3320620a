package studio

import (
	"errors"
	"math"
	"slices"
	"unsafe"

	"glassnet/dataset"
	"glassnet/experiment"
	"glassnet/explain"
	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/random"
	"glassnet/train"
)

// position is all that decides how a training goes on.
type position struct {
	params  any     // [][]T, of the network
	order   []int32 // of the epoch's examples: not written to, shared by the epoch's positions
	at      int     // examples of it that are done
	shuffle []byte  // state of the stream that orders the next epoch
	epoch   int     // begun
	steps   int
	rate    float64
}

// typedRun is a run with numbers of type T.
type typedRun[T matrix.Float] struct {
	ready   *experiment.Ready[T]
	threads int
	view    dataset.View // the epoch's order
	at      int
	shuffle *random.Stream // nil: one order for ever
	begun   int            // epochs
	made    int            // steps
}

func newRun(data *dataset.Data, s experiment.Settings, threads int) (run, error) {
	if s.Precision == "float64" {
		return newTypedRun[float64](data, s, threads)
	}
	return newTypedRun[float32](data, s, threads)
}

func newTypedRun[T matrix.Float](data *dataset.Data, s experiment.Settings, threads int) (*typedRun[T], error) {
	ready, err := experiment.Prepare[T](data, s, threads)
	if err != nil {
		return nil, err
	}
	r := &typedRun[T]{ready: ready, threads: threads, view: dataset.View{Set: ready.Fit.Set, Index: slices.Clone(ready.Fit.Index)}}
	if s.Shuffle {
		r.shuffle = random.New(s.Seed, random.Shuffle)
	}
	r.at = r.view.Len() // the first step begins an epoch
	return r, nil
}

func (r *typedRun[T]) step() (train.Cost, int, error) {
	if r.epochOver() {
		r.begun++
		r.at = 0
		if r.shuffle != nil {
			// Positions of the last epoch keep its order.
			r.view.Index = slices.Clone(r.view.Index)
			r.shuffle.Shuffle(r.view.Index)
		}
	}
	batch := r.view.Slice(r.at, min(r.at+r.ready.Batch, r.view.Len()))
	cost, err := r.ready.Trainer.Step(batch)
	var diverged *train.DivergedError
	if errors.As(err, &diverged) { // the trainer does not know of going back
		diverged.Epoch, diverged.Step = r.begun, r.made+1
	}
	if err == nil {
		r.at += batch.Len()
		r.made++
	}
	return cost, batch.Len(), err
}

// epochOver reports whether no batch of the epoch is left.
func (r *typedRun[T]) epochOver() bool { return r.overAt(r.at) }

// overAt reports whether no batch is left when so many examples are done. One example is
// none under batch normalisation, as in package train.
func (r *typedRun[T]) overAt(done int) bool {
	return r.ready.Trainer.StepsPerEpoch(r.view.Len()-done) == 0
}

func (r *typedRun[T]) validate() *train.Metrics {
	if r.ready.Validation.Len() == 0 {
		return nil
	}
	m := r.ready.Trainer.Evaluate(r.ready.Validation)
	if math.IsNaN(m.Cost) || math.IsInf(m.Cost, 0) {
		return nil
	}
	return &m
}

func (r *typedRun[T]) position() position {
	var params [][]T
	for _, p := range r.ready.Net.Params() {
		params = append(params, slices.Clone(p.Value))
	}
	p := r.place()
	p.params = params
	return p
}

// place is the position without its parameters.
func (r *typedRun[T]) place() position {
	p := position{order: r.view.Index, at: r.at, epoch: r.begun, steps: r.made, rate: r.rate()}
	if r.shuffle != nil {
		p.shuffle, _ = r.shuffle.MarshalBinary() // never fails
	}
	return p
}

func (r *typedRun[T]) restore(p position) {
	for i, values := range p.params.([][]T) {
		copy(r.ready.Net.Params()[i].Value, values)
	}
	r.ready.Trainer.ParametersWritten()
	r.view.Index, r.at, r.begun, r.made = p.order, p.at, p.epoch, p.steps
	if r.shuffle != nil {
		_ = r.shuffle.UnmarshalBinary(p.shuffle) // it was made by MarshalBinary
	}
	r.setRate(p.rate)
}

func (r *typedRun[T]) setRate(rate float64) { r.ready.Trainer.SetRate(rate) }
func (r *typedRun[T]) rate() float64        { return r.ready.Trainer.Rate() }
func (r *typedRun[T]) epoch() int           { return r.begun }
func (r *typedRun[T]) steps() int           { return r.made }

// lastStep is the number of steps that end the last epoch. Those that were made may have
// had batches of another size.
func (r *typedRun[T]) lastStep(epochs int) int {
	return r.made + r.ready.Trainer.StepsPerEpoch(r.view.Len()-r.at) + max(0, epochs-r.begun)*r.perEpoch()
}

func (r *typedRun[T]) perEpoch() int { return r.ready.Trainer.StepsPerEpoch(r.view.Len()) }

func (r *typedRun[T]) examples() (fit, validation int) {
	return r.view.Len(), r.ready.Validation.Len()
}

func (r *typedRun[T]) layers() (all []layerInfo) {
	for _, l := range r.ready.Net.Layers() {
		in, out := l.Widths()
		one := layerInfo{Kind: l.Spec().Kind, In: in, Out: out}
		for _, p := range l.Params() {
			if p.Role != nn.Statistic {
				one.Parameters += len(p.Value)
			}
		}
		all = append(all, one)
	}
	return all
}

// size is how many bytes a number takes.
func size[T matrix.Float]() int { return int(unsafe.Sizeof(T(0))) }

// bytes counts the order of an epoch to every position: one is enough to keep it.
func (r *typedRun[T]) bytes() int {
	n := 4 * r.view.Len()
	for _, p := range r.ready.Net.Params() {
		n += size[T]() * len(p.Value)
	}
	return n
}

// reorder orders the examples that the epoch has left anew, and the epochs after it.
func (r *typedRun[T]) reorder(seed uint64) {
	r.shuffle = random.New(seed, random.Shuffle)
	r.view.Index = slices.Clone(r.view.Index)
	r.shuffle.Shuffle(r.view.Index[r.at:])
}

func (r *typedRun[T]) fit() dataset.View { return r.ready.Fit }

// next returns the batch of the step that follows a position, or now when that is nil.
func (r *typedRun[T]) next(after *position) dataset.View {
	if after == nil {
		now := r.place()
		after = &now
	}
	view, first := dataset.View{Set: r.view.Set, Index: after.order}, after.at
	if r.overAt(first) {
		first = 0
		if r.shuffle != nil {
			stream := random.New(0, random.Shuffle)
			_ = stream.UnmarshalBinary(after.shuffle) // it was made by MarshalBinary
			view.Index = slices.Clone(view.Index)
			stream.Shuffle(view.Index)
		}
	}
	return view.Slice(first, min(first+r.ready.Batch, view.Len()))
}

func (r *typedRun[T]) network(at *position) (network, error) {
	net, err := nn.Copy[T](r.ready.Net)
	if err != nil {
		return nil, err
	}
	rate, steps := r.rate(), r.made
	if at != nil {
		for i, values := range at.params.([][]T) {
			copy(net.Params()[i].Value, values)
		}
		rate, steps = at.rate, at.steps
	}
	o := explain.Options[T]{Loss: r.ready.Loss, Penalty: r.ready.Penalty, Rule: r.ready.Rule, Rate: rate, Threads: r.threads}
	return typedNetwork[T]{net, o, steps}, nil
}

// explained is a recorded step at either number type.
type explained interface {
	open(explain.Ref, explain.Convention) (explain.Formula, error)
	check(explain.Ref) (explain.CheckText, error)
	overview() seen
	look() look
	param(name string, unit *int) (param, error)
	bits() int  // of the number type
	bytes() int // that the step takes at most
}

type typedStep[T matrix.Float] struct {
	*explain.Step[T]
	steps int // of the training, before this one
}

func (s typedStep[T]) open(r explain.Ref, c explain.Convention) (explain.Formula, error) {
	return s.Open(r, c)
}

func (s typedStep[T]) check(r explain.Ref) (explain.CheckText, error) {
	c, err := s.Check(r)
	if err != nil {
		return explain.CheckText{}, err
	}
	return s.CheckText(c), nil
}

// seen are the numbers of the example in row 0, and its image.
type seen struct {
	Step int `json:"step"` // of the training, before this one
	Rows int `json:"rows"`
	// Example is where the one in row 0 is in its set.
	Example int `json:"example"`
	explain.Overview
	Pixels []byte `json:"pixels"`
}

func (s typedStep[T]) overview() seen {
	return seen{s.steps, s.Rows(), int(s.Batch.Index[0]), s.Overview(0, explain.Rows), s.Batch.Set.Image(int(s.Batch.Index[0]))}
}

func (s typedStep[T]) bits() int { return 8 * size[T]() }

// bytes counts parameters before and after the step and their gradients, with a copy in
// float64 that the first check makes; and for each example what the layers remember,
// in both number types.
func (s typedStep[T]) bytes() int {
	const double = 8
	n := 0
	for _, p := range s.Net.Params() {
		n += len(p.Value) * (3*size[T]() + 2*double)
	}
	for _, l := range s.Net.Layers() {
		in, out := l.Widths()
		perExample := 2*out + in // output, x̂ of a normalisation, gradient of the input
		n += s.Rows() * perExample * (size[T]() + 2*double)
	}
	return n
}
