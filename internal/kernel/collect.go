package kernel

// What a backward pass sums over its examples, the gradients of the parameters, nobody
// waits for before the pass ends. So the pass collects these sums, and the threads meet
// once for all of them: each does its part of every large one, and small ones whole.
type collection[T Float] struct {
	engine *Engine[T]
	open   bool
	sums   []collected[T]
	own    []int // by thread: multiply-adds of the sums that are its own
	work   int   // multiply-adds of all sums
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
// SumColumns compute nothing. What they are to read must stay as it is.
func (e *Engine[T]) Collect() {
	c := &e.collection
	if c.engine == nil {
		c.engine, c.own = e, make([]int, e.pool.Threads())
	}
	c.forget()
	c.open = true
}

// Finish computes what was collected.
func (e *Engine[T]) Finish() {
	c := &e.collection
	c.open = false
	e.pool.Run(c, c.work >= worthSplitting && !e.Alone)
	c.forget()
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
