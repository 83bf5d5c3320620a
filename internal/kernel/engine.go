package kernel

import "fmt"

// Engine runs the products on the caller's goroutine and a pool of workers, rows
// of the result split among them, so the bits do not depend on their number. An
// Engine serves one caller at a time and allocates nothing per call.
type Engine[T Float] struct {
	table *Table[T]
	pool  *Pool
	call  call[T]

	scratch []Scratch[T] // one per thread
}

// NewEngine returns an engine on the implementation in use. A nil pool means the
// caller's goroutine alone.
func NewEngine[T Float](pool *Pool) *Engine[T] {
	threads := 1
	if pool != nil {
		threads = pool.threads
	}
	return &Engine[T]{table: tableFor[T](), pool: pool, scratch: make([]Scratch[T], threads)}
}

// call is the product in flight, where the workers find it.
type call[T Float] struct {
	table      *Table[T]
	scratch    []Scratch[T]
	transposed bool
	y, x, w, b []T
	m, k, n    int
	rows       int // of the result, to be split
}

func (c *call[T]) part(i, parts int) {
	lo, hi := c.rows*i/parts, c.rows*(i+1)/parts
	if c.transposed {
		c.table.TransposedProduct(&c.scratch[i], c.y, c.x, c.w, c.m, c.k, c.n, lo, hi)
	} else {
		c.table.Product(c.y, c.x, c.w, c.b, c.k, c.n, lo, hi)
	}
}

// worthSplitting is the number of multiply-adds from which handing a part to
// another core costs less than it gives.
const worthSplitting = 1 << 15

func (e *Engine[T]) run() {
	c := &e.call
	if e.pool == nil || c.m*c.k*c.n < worthSplitting {
		c.part(0, 1)
	} else {
		e.pool.run(c)
	}
	*c = call[T]{} // let go of the caller's memory
}

// MatMul computes y = x·w + b; shapes x [m, k], w [k, n], b [n] or nil, y [m, n].
func (e *Engine[T]) MatMul(y, x, w, b []T, m, k, n int) {
	if len(y) != m*n || len(x) != m*k || len(w) != k*n || (b != nil && len(b) != n) {
		panic(fmt.Sprintf("kernel.MatMul: %d = %d x %d + %d values do not fit [%d, %d]·[%d, %d]",
			len(y), len(x), len(w), len(b), m, k, k, n))
	}
	e.call = call[T]{table: e.table, y: y, x: x, w: w, b: b, m: m, k: k, n: n, rows: m}
	e.run()
}

// MatMulTransposed computes d = xᵀ·g; shapes x [m, k], g [m, n], d [k, n].
func (e *Engine[T]) MatMulTransposed(d, x, g []T, m, k, n int) {
	if len(d) != k*n || len(x) != m*k || len(g) != m*n {
		panic(fmt.Sprintf("kernel.MatMulTransposed: %d = %d x %d values do not fit [%d, %d]ᵀ·[%d, %d]",
			len(d), len(x), len(g), m, k, m, n))
	}
	e.call = call[T]{table: e.table, scratch: e.scratch, transposed: true, y: d, x: x, w: g, m: m, k: k, n: n, rows: k}
	e.run()
}

// AddScaled computes y[j] = fma(a, x[j], y[j]) for every j < len(y) = len(x) by
// the implementation in use.
func AddScaled[T Float](y, x []T, a T) { tableFor[T]().AddScaled(y, x, a) }

// Transpose writes the [k, n] matrix w into t as [n, k].
func Transpose[T Float](t, w []T, k, n int) {
	for p := range k {
		for j, v := range w[p*n : p*n+n] {
			t[j*k+p] = v
		}
	}
}
