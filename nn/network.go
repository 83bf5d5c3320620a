package nn

import (
	"fmt"

	"glassnet/internal/kernel"
	"glassnet/internal/usererr"
	"glassnet/matrix"
)

// Network is a chain of layers. It holds parameters only; what belongs to one
// batch is in a Trace.
type Network[T matrix.Float] struct {
	in     int
	layers []Layer[T]
	params []*Param[T]
}

// New connects layers into a network for examples of in features, names their
// parameters ("1.dense.weight": position from 1, kind, part), and returns an
// error when a width does not fit the layer before or a parameter occurs twice. A layer
// without parameters may stand in several places.
func New[T matrix.Float](in int, layers ...Layer[T]) (*Network[T], error) {
	if in < 1 {
		return nil, usererr.New("network: input has %d features, want 1 or more", in)
	}
	if len(layers) == 0 {
		return nil, usererr.New("network: no layers")
	}
	n := &Network[T]{in: in, layers: layers}
	width := in
	owner := map[*Param[T]]int{}
	var names []string
	for i, l := range layers {
		if l == nil {
			return nil, usererr.New("network: layer %d is nil", i+1)
		}
		kind := l.Spec().Kind
		lin, lout := l.Widths()
		if lin != width {
			return nil, usererr.New("network: layer %d (%s) takes %d features, but the one before gives %d", i+1, kind, lin, width)
		}
		if lout < 1 {
			return nil, usererr.New("network: layer %d (%s) gives %d features, want 1 or more", i+1, kind, lout)
		}
		width = lout
		for _, p := range l.Params() {
			if first, taken := owner[p]; taken {
				return nil, usererr.New("network: layer %d (%s) has the parameters of layer %d; each layer may occur once", i+1, kind, first)
			}
			owner[p] = i + 1
			n.params = append(n.params, p)
			names = append(names, fmt.Sprintf("%d.%s.%s", i+1, kind, partOf(p.Name)))
		}
	}
	for i, p := range n.params { // now that nothing is wrong
		p.Name = names[i]
	}
	return n, nil
}

// partOf returns the last part of a parameter's name.
func partOf(name string) string {
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '.' {
			return name[i+1:]
		}
	}
	return name
}

// Layers returns the layers, first to last.
func (n *Network[T]) Layers() []Layer[T] { return n.layers }

// Params returns the parameters of all layers, first to last, statistics included.
func (n *Network[T]) Params() []*Param[T] { return n.params }

// Widths returns the features of an example and of its logits.
func (n *Network[T]) Widths() (in, out int) {
	_, out = n.layers[len(n.layers)-1].Widths()
	return n.in, out
}

// mostActivations is how many activations, of all layers and examples, a pass should hold
// whose number of examples is free: 64 MiB in float32.
const mostActivations = 1 << 24

// Together returns how many examples to pass through the network at once: most, or fewer
// where the activations of all layers would take much memory, and one at least.
func (n *Network[T]) Together(most int) int {
	activations := 0 // of one example
	for _, l := range n.layers {
		_, out := l.Widths()
		activations += out
	}
	return max(1, min(most, mostActivations/activations))
}

// Trace holds what every layer remembers of one batch.
type Trace[T matrix.Float] struct {
	Caches []*Cache[T] // one per layer

	engine   *kernel.Engine[T]
	backward bool             // whether there is room for a backward pass
	collects bool             // whether a backward pass computes the gradients of Dense layers at its end
	descends bool             // whether Descend can make steps
	rows     *byRows[T]       // how threads share the rows of a batch; nil: they do not
	unpacked matrix.Matrix[T] // images as numbers, for a first layer that is not Dense
}

// SetAlone says whether passes are made by the caller's thread alone, whatever
// TraceOptions.Threads says. It changes how fast they are, no bit.
func (t *Trace[T]) SetAlone(alone bool) { t.engine.Alone = alone }

// TraceOptions says what a Trace has room for.
type TraceOptions struct {
	Batch    int  // largest number of examples in one pass
	Backward bool // room for a backward pass
	GradIn   bool // room for the gradient of the network's input too
	Threads  int  // cores to use; 0 means 1
}

// NewTrace returns room for passes of up to o.Batch examples. A Trace serves one
// caller at a time; any number of Traces may run Eval passes at once.
func (n *Network[T]) NewTrace(o TraceOptions) *Trace[T] {
	engine := kernel.NewEngine[T](kernel.PoolOf(max(o.Threads, 1)))
	t := &Trace[T]{Caches: make([]*Cache[T], len(n.layers)), engine: engine, backward: o.Backward, collects: true, descends: o.Backward}
	for i, l := range n.layers {
		// A layer of somebody else may look at another's gradients, or write where Dense is
		// still to read.
		t.collects = t.collects && ours(l)
		if _, dense := l.(*Dense[T]); !dense && len(l.Params()) > 0 {
			t.descends = false
		}
		c := l.NewCache(CacheOptions{Batch: o.Batch, Backward: o.Backward, GradIn: o.GradIn || o.Backward && i > 0})
		c.engine = engine
		t.Caches[i] = c
	}
	t.descends = t.descends && t.collects
	if o.Backward {
		t.rows = newByRows(n, t, o.Threads)
	}
	if _, dense := n.layers[0].(*Dense[T]); !dense {
		t.unpacked = matrix.New[T](o.Batch, n.in)
	}
	return t
}

// Forward passes x [batch, in] through all layers and returns the logits
// [batch, out], which stay valid until the trace is used again.
func (n *Network[T]) Forward(t *Trace[T], x matrix.Matrix[T], mode Mode) matrix.Matrix[T] {
	for i, l := range n.layers {
		x = l.Forward(t.Caches[i], x, mode)
	}
	return x
}

// ForwardPixels is Forward for x = pixels/255, with the same bits (see Dense.ForwardPixels
// for those of mode Train); a first layer
// that is Dense takes the bytes as they are.
func (n *Network[T]) ForwardPixels(t *Trace[T], pixels matrix.Pixels, mode Mode) matrix.Matrix[T] {
	first, dense := n.layers[0].(*Dense[T])
	if !dense {
		return n.Forward(t, matrix.Unpack(t.unpacked, pixels), mode)
	}
	first.ForwardPixels(t.Caches[0], pixels, mode)
	// By way of Cache.Out, which is what Forward returns (see Layer): a matrix that is returned
	// and passed on is copied as a whole, and waits for its words to be written.
	for i, l := range n.layers[1:] {
		l.Forward(t.Caches[i+1], t.Caches[i].Out, mode)
	}
	return t.Caches[len(t.Caches)-1].Out
}

// Backward takes dCost/dLogits [batch, out] of the batch that t last saw, goes through the
// layers, last one first, and overwrites the gradients of all parameters; those of Dense
// layers are there when it returns. The result is dCost/dIn [batch, in], empty unless the
// trace has room for it. It panics when the trace was not made for it.
func (n *Network[T]) Backward(t *Trace[T], gradLogits matrix.Matrix[T]) matrix.Matrix[T] {
	gradIn, _ := n.backward(t, gradLogits, 0)
	return gradIn
}

// backward is Backward; if rate is not 0 and the trace collects, the parameters of Dense
// layers follow their gradients, and finite says whether these all are.
func (n *Network[T]) backward(t *Trace[T], g matrix.Matrix[T], rate T) (gradIn matrix.Matrix[T], finite bool) {
	if !t.backward {
		panic("nn: Backward through a trace that has no room for it: want TraceOptions.Backward")
	}
	if t.collects {
		t.engine.Collect(rate)
		defer func() { finite = t.engine.Finish() }()
	}
	for i := len(n.layers) - 1; i >= 0; i-- {
		g = n.layers[i].Backward(t.Caches[i], g)
	}
	return g, true
}
