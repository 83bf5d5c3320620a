package kernel

import (
	"fmt"
	"sync/atomic"
)

// What a backward pass sums over its examples, the gradients of the parameters, nobody
// waits for before the pass ends. So the pass collects these sums, and the threads meet
// once for all of them: each does its part of every large one, and small ones whole.
type collection[T Float] struct {
	engine *Engine[T]
	open   bool
	sums   []collected[T]
	own    []int // by thread: multiply-adds of the sums that are its own
	work   int   // multiply-adds of all sums
	factor T     // of the gradients that parameters follow; 0: none does
	lost   atomic.Bool
}

// collected is a sum that one thread computes, or all.
type collected[T Float] struct {
	product[T]
	thread int // -1: all
}

// overhead is what a small sum takes beside its multiply-adds, in multiply-adds: some
// 0.3 µs.
const overhead = 1 << 14

// Collect begins a collection: until Finish, MatMulTransposed, MatMulPairsTransposed and
// SumColumns compute nothing. What they are to read must stay as it is. With a rate other
// than 0, Finish makes a step of gradient descent too, with the parameters that Descend
// names.
func (e *Engine[T]) Collect(rate T) {
	c := &e.collection
	if c.engine == nil {
		c.engine, c.own = e, make([]int, e.pool.Threads())
	}
	c.forget()
	c.open, c.factor = true, -rate
}

// Descend has value, the parameter of the gradient d that was collected last, follow it,
// if the collection has a rate:
//
//	value[j] = value[j] - rate·d[j]
//
// in the arithmetic of Update, but a -0 whose gradient is 0 may stay. The thread that has summed a number of d does this to that of
// value, while both are near it: nobody waits, as all that reads parameters was
// computed before (K. Lv et al., "Full Parameter Fine-tuning for Large Language Models with
// Limited Resources", 2023, do it to save memory, and call it fused update).
func (e *Engine[T]) Descend(value []T) {
	c := &e.collection
	if !c.open || c.factor == 0 {
		return
	}
	p := &c.sums[len(c.sums)-1].product
	if len(value) != len(p.y) {
		panic(fmt.Sprintf("kernel.Descend: %d values for a gradient of %d", len(value), len(p.y)))
	}
	p.value, p.factor, p.lost = value, c.factor, &c.lost
}

// Finish computes what was collected. It reports whether all parameters that followed their
// gradients are finite.
func (e *Engine[T]) Finish() (finite bool) {
	c := &e.collection
	c.open = false
	c.lost.Store(false)
	e.pool.Run(c, c.work >= worthSplitting && !e.Alone)
	c.forget()
	return !c.lost.Load()
}

func (c *collection[T]) forget() {
	clear(c.sums) // let go of the caller's memory
	clear(c.own)
	c.sums, c.work = c.sums[:0], 0
}

// next returns where a sum over examples is to be described, before sum.
func (e *Engine[T]) next() *product[T] {
	c := &e.collection
	if !c.open {
		return &e.product
	}
	c.sums = append(c.sums, collected[T]{})
	return &c.sums[len(c.sums)-1].product
}

// sum computes the sum that next was for, of so many multiply-adds, or leaves it in the
// collection. All threads compute a large one, but for sums of columns, else one does.
func (e *Engine[T]) sum(work int) {
	c := &e.collection
	split := func(p *product[T]) bool { return p.kind != sumColumns && work >= worthSplitting }
	if !c.open {
		e.run(split(&e.product))
		return
	}
	last := &c.sums[len(c.sums)-1]
	c.work += work
	last.thread = -1
	if !split(&last.product) {
		last.thread = 0
		for t, w := range c.own {
			if w < c.own[last.thread] {
				last.thread = t
			}
		}
		c.own[last.thread] += work + overhead
	}
}

// Part does what one thread does of the collection.
func (c *collection[T]) Part(i, parts int) {
	for s := range c.sums {
		switch p := &c.sums[s]; {
		case p.thread < 0:
			c.engine.compute(&p.product, i, i, parts)
		case p.thread == i || parts == 1:
			c.engine.compute(&p.product, i, 0, 1)
		}
	}
}
