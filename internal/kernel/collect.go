package kernel

// What a backward pass sums over its examples, the gradients of the parameters, nobody
// waits for before the pass ends. So the pass collects these sums, and the threads meet
// once for all of them: each does its part of every large one, and small ones whole.
type collection[T Float] struct {
	engine  *Engine[T]
	sums    []collected[T]
	work    []int // by thread: multiply-adds of the sums that are its own
	largest int   // multiply-adds of one sum
}

// collected is a sum that one thread computes, or all.
type collected[T Float] struct {
	product[T]
	thread int // -1: all
}

// overhead is what a small sum takes beside its multiply-adds, in multiply-adds: some
// 0.3 µs.
const overhead = 1 << 14

// Collect begins a collection: while Collecting is true, MatMulTransposed,
// MatMulPairsTransposed and SumColumns compute nothing; Finish does. What they read must
// stay as it is until then.
func (e *Engine[T]) Collect() {
	c := &e.collection
	if c.engine == nil {
		c.engine, c.work = e, make([]int, e.pool.Threads())
	}
	clear(c.sums) // let go of the caller's memory
	clear(c.work)
	c.sums, c.largest = c.sums[:0], 0
}

// Finish computes what was collected.
func (e *Engine[T]) Finish() {
	e.Collecting = false
	e.pool.Run(&e.collection, e.collection.largest >= worthSplitting && !e.Alone)
	e.Collect()
}

// sum computes p, a sum over examples of so many multiply-adds, or collects it.
func (e *Engine[T]) sum(p product[T], work int) {
	c := &e.collection
	if !e.Collecting {
		e.run(p, work >= worthSplitting)
		return
	}
	c.largest = max(c.largest, work)
	thread := -1
	if work < worthSplitting {
		thread = 0
		for t, w := range c.work {
			if w < c.work[thread] {
				thread = t
			}
		}
		c.work[thread] += work + overhead
	}
	c.sums = append(c.sums, collected[T]{p, thread})
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
