package nn

import (
	"fmt"
	"math"
	"slices"
	"time"

	"glassnet/internal/kernel"
	"glassnet/matrix"
)

// Gradients makes a training pass of one batch and returns its cost, the mean loss in
// nats. It overwrites the gradients of all parameters. Pixels are [batch, in], labels
// [batch], each < classes; t has room for a backward pass. It panics when they do not fit.
// It is
//
//	logits := n.ForwardPixels(t, pixels, Train)
//	cost := loss.Forward(c, logits, labels)
//	n.Backward(t, loss.Backward(c))
//
// It does just that, or what has the same bits and is faster on several threads:
// every example goes its own way through the first layer, small ones behind it, the loss
// and back, so each thread takes some rows of the batch all that way, and they meet once
// (partners twice: kernel.MatMulPairs) instead of after each layer (data parallelism
// within a batch). What sums over the examples, the gradients of parameters, follows.
func (n *Network[T]) Gradients(t *Trace[T], loss Loss[T], c *LossCache[T], pixels matrix.Pixels, labels []uint8) (cost float64) {
	cost, _ = n.gradients(t, loss, c, pixels, labels, 0)
	return cost
}

// Descend is Gradients and, unless the cost is infinite or NaN, a step of plain gradient
// descent in place, with a learning rate > 0 and finite, for the weights [in, out] and biases
// [out] of all layers:
//
//	W = W - rate·dCost/dW     b = b - rate·dCost/db
//
// It has the bits of optim.SGD after Gradients, but that weights of pixels that are 0 in the
// whole batch may not be looked at, so that a -0 there stays, or a number that is not finite;
// and it is faster: a thread has a parameter follow its gradient as soon as it has summed
// that. finite says whether all parameters that have moved are finite, true where none has.
// It panics, too, where CanDescend is false.
func (n *Network[T]) Descend(t *Trace[T], loss Loss[T], c *LossCache[T], pixels matrix.Pixels, labels []uint8, rate T) (cost float64, finite bool) {
	if !t.descends {
		panic("nn: Descend where a layer is not this package's or has parameters and is not Dense, or without room for a backward pass")
	}
	return n.gradients(t, loss, c, pixels, labels, rate)
}

// CanDescend says whether Descend can make steps in t: it has room for a backward pass, all
// layers are this package's, and only Dense ones have parameters.
func (t *Trace[T]) CanDescend() bool { return t.descends }

// gradients is Descend, or Gradients if rate is 0.
func (n *Network[T]) gradients(t *Trace[T], loss Loss[T], c *LossCache[T], pixels matrix.Pixels, labels []uint8, rate T) (cost float64, finite bool) {
	if !t.sharesRows(loss, pixels.Rows()) {
		cost = loss.Forward(c, n.ForwardPixels(t, pixels, Train), labels)
		if notFinite(cost) {
			rate = 0
		}
		_, finite = n.backward(t, loss.Backward(c), rate)
		return cost, finite
	}
	first := n.layers[0].(*Dense[T])
	x := first.beginPixels(t.Caches[0], pixels, Train)
	for i, l := range n.layers[1:] {
		x = t.Caches[i+1].Begin(l, x, Train)
	}
	c.Begin(x, labels)
	if largest := slices.Max(labels); int(largest) >= x.Cols { // here, where who called can recover
		panic(fmt.Sprintf("nn: label %d of %d classes", largest, x.Cols))
	}
	c.BeginBackward()

	r := t.rows
	r.began = time.Now()
	for i := range r.threads {
		r.threads[i].ended = 0
	}
	r.firstLayer, r.layers, r.loss, r.whole, r.labels, r.firstOut, r.rate = first, n.layers[1:], loss, c, labels, t.Caches[1].In, rate
	first.multiplyPixels(t.Caches[0], r)
	finite = t.engine.Joined()
	r.end()
	r.firstLayer, r.layers, r.loss, r.whole, r.labels, r.firstOut = nil, nil, nil, nil, nil, matrix.Matrix[T]{}
	return r.cost, finite
}

func notFinite(cost float64) bool { return math.IsInf(cost, 0) || math.IsNaN(cost) }

// byRows is the way of a batch from behind the first layer to the loss and back, by
// rows, and then to the gradients. It is a task for the threads of a trace.
//
// Each thread has some rows. Where of two partners one is late again and again, because
// another program is on its core or its half of the images has more to sum, the other takes
// eight of its rows from the next pass on (dynamic load balancing), where kernel.Pairs.Move
// can: in float32, in batches of up to 64 examples a thread. Gradients are taken over in
// another way, as pieces that nobody has begun: kernel.Engine.Collect.
type byRows[T matrix.Float] struct {
	pairs      *kernel.Pairs // says which rows a thread takes: those that the first layer gave it
	engine     *kernel.Engine[T]
	firstCache *Cache[T]
	caches     []*Cache[T] // of the others
	threads    []rowsThread[T]

	// Of the pass under way: all that the threads read of it, side by side.
	firstLayer Layer[T]
	layers     []Layer[T] // the others
	loss       Loss[T]
	whole      *LossCache[T]
	labels     []uint8
	firstOut   matrix.Matrix[T] // what the first layer gives
	rate       T
	began      time.Time

	cost float64 // of the batch, once all have met
}

// rowsThread is what a thread has to take rows of a batch.
type rowsThread[T matrix.Float] struct {
	engine *kernel.Engine[T]
	share  share[T]
	began  time.Duration // with its rows, since the pass began
	ended  time.Duration // 0: it had no rows, or the caller was alone
	behind time.Duration // of the first of two: how much later the second ends, as a mean
	_      [64]byte      // nothing of another thread on the last cache line
}

// share is some rows of the caches of a batch, in the same memory.
type share[T matrix.Float] struct {
	whole  *LossCache[T] // what the caches are rows [lo, hi) of
	lo, hi int
	caches []*Cache[T]
	loss   LossCache[T]
}

const (
	// worthSharing is the number of examples from which the rows of a batch are shared.
	worthSharing = 64
	// fewWeights is the most weights that a layer may have for each thread to read all.
	fewWeights = 1 << 18
	// rowsMoved is how many rows go from one thread to its partner at once.
	rowsMoved = kernel.MovedTogether
	// passesSeen is how many passes the mean is of that says who is behind.
	passesSeen = 4
)

// newByRows returns the way by rows of a trace, or nil where there is none: a layer
// looks at the batch as a whole, as batch normalisation does, or has many weights, or the
// gradient of the images is wanted, which follows that of all rows.
func newByRows[T matrix.Float](n *Network[T], t *Trace[T], threads int) *byRows[T] {
	if _, dense := n.layers[0].(*Dense[T]); !dense || threads < 2 || len(n.layers) < 2 || t.Caches[0].gradIn.Rows > 0 {
		return nil
	}
	r := &byRows[T]{
		pairs: &t.Caches[0].pairs, engine: t.engine, threads: make([]rowsThread[T], threads),
		firstCache: t.Caches[0], caches: t.Caches[1:],
	}
	for _, l := range n.layers[1:] {
		if d, dense := l.(*Dense[T]); !alongRows(l) || dense && d.in*d.out > fewWeights {
			return nil
		}
	}
	for i := range r.threads {
		thread := &r.threads[i]
		thread.engine = kernel.NewEngine[T](nil)
		for _, whole := range r.caches {
			thread.share.caches = append(thread.share.caches, &Cache[T]{gradInOnly: true, kept: slices.Clone(whole.kept), Kept: slices.Clone(whole.Kept)})
		}
	}
	return r
}

// alongRows says whether l is a layer of this package through which every example goes its
// own way.
func alongRows[T matrix.Float](l Layer[T]) bool {
	switch l.(type) {
	case *Dense[T], *Activation[T], *PublishedNorm[T]:
		return true
	}
	return false
}

// sharesRows says whether a batch of so many rows goes by rows.
func (t *Trace[T]) sharesRows(loss Loss[T], rows int) bool {
	switch loss.(type) {
	case CrossEntropy[T], PublishedCrossEntropy[T]:
		return t.rows != nil && rows >= worthSharing && !t.engine.Alone
	}
	return false
}

// Begin describes the gradients that are to follow the pass.
func (r *byRows[T]) Begin() {
	r.engine.Collect(r.rate)
	g := r.whole.GradLogits
	for k := len(r.layers) - 1; k >= 0; k-- {
		r.caches[k].gradInDone = true // by the time that these are computed
		g = r.layers[k].Backward(r.caches[k], g)
		r.caches[k].gradInDone = false
	}
	r.firstLayer.Backward(r.firstCache, g)
	r.engine.Close()
}

// end moves rows between partners where one of them is behind.
func (r *byRows[T]) end() {
	for i := 0; i+1 < len(r.threads); i += 2 {
		a, b := &r.threads[i], &r.threads[i+1]
		if a.ended == 0 || b.ended == 0 { // the caller was alone, which says nothing
			continue
		}
		// Rows that move change the gap between their ends by this. The product takes as long
		// wherever the border is: each sums a half of the pixels for the rows of both.
		moved := rowsMoved * (a.perRow() + b.perRow())
		if moved <= 0 {
			continue // a coarse clock
		}
		// What has kept one of them for long is no measure of its speed.
		behind := min(max(b.ended-a.ended, -2*moved), 2*moved)
		a.behind += (behind - a.behind) / passesSeen
		// From half of that on a move narrows the gap; three quarters keep rows from moving
		// to and fro.
		switch {
		case a.behind > moved*3/4 && r.pairs.Move(i, rowsMoved):
			a.behind -= moved
		case a.behind < -moved*3/4 && r.pairs.Move(i, -rowsMoved):
			a.behind += moved
		}
	}
}

// perRow is the time that a row took.
func (t *rowsThread[T]) perRow() time.Duration {
	return (t.ended - t.began) / time.Duration(t.share.hi-t.share.lo)
}

// Part takes the rows of thread i through the layers, the loss and back, and computes
// gradients with the others.
func (r *byRows[T]) Part(i, parts int) {
	t := &r.threads[i]
	if lo, hi := r.pairs.Rows(i, parts); lo < hi {
		t.began = time.Since(r.began)
		r.pass(&t.share, t.engine, lo, hi)
		if parts > 1 {
			t.ended = time.Since(r.began)
		}
	}
	r.engine.Meet(i, parts)
	cost := r.whole.Mean()
	if i == 0 {
		r.cost = cost
	}
	if notFinite(cost) { // as all threads find
		r.engine.Stay()
	}
	r.engine.Compute(i, parts)
}

// pass takes rows [lo, hi) through the layers, the loss and back.
func (r *byRows[T]) pass(s *share[T], engine *kernel.Engine[T], lo, hi int) {
	// Where all is as it was, what another thread has just written is not read for nothing.
	if s.whole != r.whole || s.lo != lo || s.hi != hi {
		s.whole, s.lo, s.hi = r.whole, lo, hi
		for k, c := range s.caches {
			c.take(r.caches[k], lo, hi)
		}
		s.loss.take(r.whole, lo, hi)
	}
	x := between(r.firstOut, lo, hi)
	for k, l := range r.layers {
		if s.caches[k].engine != engine {
			s.caches[k].engine = engine
		}
		x = l.Forward(s.caches[k], x, Train)
	}
	r.loss.Forward(&s.loss, x, r.labels[lo:hi])
	s.loss.batch = len(r.labels)
	g := r.loss.Backward(&s.loss)
	for k := len(r.layers) - 1; k >= 0; k-- {
		g = r.layers[k].Backward(s.caches[k], g)
	}
}

// take makes c the cache of rows [lo, hi) of the batch of whole.
func (c *Cache[T]) take(whole *Cache[T], lo, hi int) {
	c.out, c.gradIn = between(whole.out, lo, hi), between(whole.gradIn, lo, hi)
	for i, k := range whole.kept {
		c.kept[i].value = between(k.value, lo, hi)
	}
}

// take makes c the cache of rows [lo, hi) of the batch of whole.
func (c *LossCache[T]) take(whole *LossCache[T], lo, hi int) {
	c.probabilities, c.gradLogits = between(whole.probabilities, lo, hi), between(whole.gradLogits, lo, hi)
	c.losses, c.sums, c.predicted = whole.losses[lo:hi], whole.sums[lo:hi], whole.predicted[lo:hi]
}

// between returns rows [lo, hi) of m, in the same memory.
func between[T matrix.Float](m matrix.Matrix[T], lo, hi int) matrix.Matrix[T] {
	return matrix.Matrix[T]{Rows: hi - lo, Cols: m.Cols, Data: m.Data[lo*m.Cols : hi*m.Cols]}
}
