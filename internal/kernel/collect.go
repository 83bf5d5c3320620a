package kernel

import (
	"fmt"
	"sync/atomic"
)

// What a backward pass sums over its examples, the gradients of the parameters, nobody
// waits for before the pass ends. So the pass collects these sums, in pieces, and the threads
// meet once for all of them, or go on with them in the task that they are at (Meet). Each
// piece is one thread's, but who is done with its own takes over what others have not begun
// (work stealing, after R. D. Blumofe and C. E. Leiserson, "Scheduling Multithreaded
// Computations by Work Stealing", J. ACM 46 (1999)): another program on its core makes a
// thread late.
type collection[T Float] struct {
	engine *Engine[T]
	open   bool
	sums   []product[T]
	all    []deque // by thread
	deques []deque // those in use: all, or the first where the caller is alone
	work   int     // multiply-adds of all sums
	factor T       // of the gradients that parameters follow; 0: none does
	descent
}

// descent is what threads say of parameters that follow their gradients.
type descent struct {
	lost  atomic.Bool // one that has moved is infinite or NaN
	stays atomic.Bool // none is to move
}

// deque is what one thread has to do of a collection: its owner takes the last piece, others
// the first.
type deque struct {
	pieces []piece
	work   int // multiply-adds of the sums that it does whole
	_      [line]byte
}

// piece is a part of a sum, or all of it.
type piece struct {
	sum, part, parts int32
	taken            atomic.Bool
}

// overhead is what a small sum takes beside its multiply-adds, in multiply-adds: some
// 0.3 µs.
const overhead = 1 << 14

const (
	// piecesEach is how many pieces a thread has of a sum that all compute; but one of pairs,
	// since each piece packs all of g, and one where half of its part would no longer be
	// packed in strips.
	piecesEach = 2
	// roomForPieces is for how many pieces a thread has room at first: 1 KB, which begins a
	// cache line, so that no other thread's are on it.
	roomForPieces = 64
)

// Collect begins a collection: until Finish or Close, MatMulTransposed, MatMulPairsTransposed
// and SumColumns compute nothing. What they are to read must stay as it is until Finish, or be
// there when all have called Meet. With a rate other than 0, what computes them also makes a
// step of gradient descent with the parameters that Descend names.
func (e *Engine[T]) Collect(rate T) {
	c := &e.collection
	if c.engine == nil {
		c.engine, c.all = e, make([]deque, e.pool.Threads())
		for i := range c.all {
			c.all[i].pieces = make([]piece, 0, roomForPieces)
		}
	}
	c.forget()
	c.deques = c.all
	if e.Alone {
		c.deques = c.all[:1]
	}
	c.open, c.factor = true, -rate
	c.lost.Store(false)
	c.stays.Store(false)
}

// Descend has value, the parameter of the gradient d that was collected last, follow it,
// if the collection has a rate:
//
//	value[j] = value[j] - rate·d[j]
//
// in the arithmetic of Update; but where all of a row of d is 0, that of value may not be
// looked at, so that a -0 stays, or a number that is not finite. The thread that has summed
// a number of d moves that of value at once, while both are near it. Nobody waits: all that
// reads parameters was computed before. (K. Lv et al., "Full Parameter Fine-tuning for Large
// Language Models with Limited Resources", 2023, call it fused update, and do it to save
// memory.) It panics where a collection with a rate has no gradient of as many numbers.
func (e *Engine[T]) Descend(value []T) {
	c := &e.collection
	if !c.open || c.factor == 0 {
		return
	}
	if len(c.sums) == 0 {
		panic("kernel.Descend: no gradient was collected")
	}
	p := &c.sums[len(c.sums)-1]
	if len(value) != len(p.y) {
		panic(fmt.Sprintf("kernel.Descend: %d values for a gradient of %d", len(value), len(p.y)))
	}
	p.value, p.factor, p.descent = value, c.factor, &c.descent
}

// Finish computes what was collected. It reports whether all parameters that followed their
// gradients are finite.
func (e *Engine[T]) Finish() (finite bool) {
	e.Close()
	e.pool.Run(&e.collection, e.collection.work >= worthSplitting && !e.Alone)
	return e.Joined()
}

// Close ends the collection without computing it: all parts of the task under way do that, by
// Meet and Compute, and then the caller calls Joined.
func (e *Engine[T]) Close() { e.collection.open = false }

// Meet is called by each part of a task behind MatMulPairs whose Begin has made a collection,
// once the part has written what the collected sums are to read. It returns when all have.
func (e *Engine[T]) Meet(i, parts int) {
	if parts == 1 {
		return
	}
	e.preparePieces(i, parts)
	all := e.met[i].count.Add(1) // as many meetings as all others have come to
	for other := range parts {
		if other != i {
			e.pool.await(&e.met[other].count, all, i == 0)
		}
	}
}

// Stay has no parameter follow its gradient in this collection. Each part says so, or none.
func (e *Engine[T]) Stay() { e.collection.stays.Store(true) }

// Compute does what part i has of the collection, and what others have not begun.
func (e *Engine[T]) Compute(i, parts int) { e.collection.Part(i, parts) }

// Joined forgets the collection, which all parts of a task have computed, and reports whether
// all parameters that followed their gradients are finite.
func (e *Engine[T]) Joined() (finite bool) {
	e.collection.forget()
	return !e.collection.lost.Load()
}

// preparePieces finds the pairs of thread i's own pieces before all have met. It does so for
// two partners only: they have met in the product, so that each sees what thread 0 has
// collected, and all that is listed.
func (e *Engine[T]) preparePieces(i, parts int) {
	if e.prepare == nil || parts != 2 || !e.product.pairs.parted {
		return
	}
	c := &e.collection
	own := c.deques[i].pieces
	for k := range own {
		if p := &c.sums[own[k].sum]; p.kind == pairsForWeight {
			e.prepare(&e.scratch[i], p, int(own[k].part), int(own[k].parts))
		}
	}
}

func (c *collection[T]) forget() {
	clear(c.sums) // let go of the caller's memory
	c.sums, c.work = c.sums[:0], 0
	for i := range c.all {
		s := &c.all[i]
		s.pieces, s.work = s.pieces[:0], 0
	}
}

// next returns where a sum over examples is to be described, before sum.
func (e *Engine[T]) next() *product[T] {
	c := &e.collection
	if !c.open {
		return &e.product
	}
	c.sums = append(c.sums, product[T]{})
	return &c.sums[len(c.sums)-1]
}

// sum computes the sum that next was for, of so many multiply-adds, or leaves it in the
// collection. All threads compute a large one, but for sums of columns, else one does.
func (e *Engine[T]) sum(work int) {
	c := &e.collection
	if !c.open {
		if e.product.kind == sumColumns {
			e.run(false)
		} else {
			e.multiply(work)
		}
		return
	}
	c.work += work
	last := int32(len(c.sums) - 1)
	if c.sums[last].kind == sumColumns || work < worthSplitting {
		least := 0
		for t := range c.deques {
			if c.deques[t].work < c.deques[least].work {
				least = t
			}
		}
		c.deques[least].work += work + overhead
		c.deques[least].add(last, 0, 1)
		return
	}
	each, p := piecesEach, &c.sums[last]
	part := p.m * p.k / len(c.deques) * sizeOf[T]() // of the first factor
	if len(c.deques) == 1 || p.kind == pairsForWeight || part >= large && part < piecesEach*large {
		each = 1
	}
	for t := range c.deques {
		for i := range each {
			c.deques[t].add(last, t*each+i, len(c.deques)*each)
		}
	}
}

func (d *deque) add(sum int32, part, parts int) {
	d.pieces = append(d.pieces, piece{sum: sum, part: int32(part), parts: int32(parts)})
}

// Part does the pieces of thread i, and what others have not begun.
func (c *collection[T]) Part(i, _ int) {
	own := c.deques[i].pieces
	for k := len(own) - 1; k >= 0; k-- {
		c.do(&own[k], i)
	}
	for other := 1; other < len(c.deques); other++ {
		pieces := c.deques[(i+other)%len(c.deques)].pieces
		for k := range pieces {
			c.do(&pieces[k], i)
		}
	}
	c.engine.scratch[i].prepared.forget() // another may have taken the piece that it was for
}

// do computes a piece, unless a thread has taken it.
func (c *collection[T]) do(p *piece, thread int) {
	if !p.taken.Load() && p.taken.CompareAndSwap(false, true) {
		c.engine.compute(&c.sums[p.sum], thread, int(p.part), int(p.parts))
	}
}
