package kernel

import (
	"fmt"
	"unsafe"

	"glassnet/matrix"
)

// Engine runs the products on the caller's goroutine and a pool of workers. Each sum is
// made by one of them, so the bits do not depend on their number. An Engine serves one caller
// at a time and allocates nothing once the scratch memory of each thread has grown to the
// largest part of a product that it has computed.
type Engine[T Float] struct {
	*Table[T]
	// Alone has the caller compute everything, though there is a pool.
	Alone   bool
	pool    *Pool
	product product[T]   // in flight, where the workers find it
	scratch []Scratch[T] // one per thread
	pairs   Pairs        // for MatMulPixelsTransposed, whose caller has made no lists
	met     []tally      // by thread: the meetings that it has come to
	begun   []pieceCount // by part of a product in pieces

	collection collection[T]
}

// NewEngine returns an engine on the implementation in use. A nil pool means the
// caller's goroutine alone.
func NewEngine[T Float](pool *Pool) *Engine[T] {
	return &Engine[T]{Table: Of[T](), pool: pool, scratch: make([]Scratch[T], pool.Threads()), met: make([]tally, pool.Threads()), begun: make([]pieceCount, pool.Threads())}
}

// Part computes one part of the product in flight, as Multiply does.
func (e *Engine[T]) Part(i, parts int) {
	if i == 0 && e.product.then != nil {
		e.product.then.Begin()
	}
	e.compute(&e.product, i, i, parts)
	if e.product.then != nil {
		e.product.then.Part(i, parts)
	}
}

// compute has a thread compute one part of a product, as Multiply does, and its parameter follow.
func (e *Engine[T]) compute(p *product[T], thread, part, parts int) {
	switch p.kind {
	case rectify, rectifySlope:
		e.rectify(p, e.share(p.m, p.n, part, parts))
	case sumColumns: // in one part
		clear(p.y)
		e.AddColumns(p.y, p.x)
	default:
		e.Multiply(&e.scratch[thread], p, part, parts)
	}
	if (p.kind == sumColumns || !e.fusesUpdate) && p.descends() {
		lo, hi := 0, p.n
		if p.kind != sumColumns {
			top, bottom := p.rows(part, parts)
			lo, hi = top*p.n, bottom*p.n
		}
		if !e.Update(p.value[lo:hi], p.y[lo:hi], p.factor) {
			p.descent.lost.Store(true)
		}
	}
}

// worthSplitting is the number of multiply-adds from which handing a part to
// another core costs less than it gives: some 2 µs of work.
const worthSplitting = 1 << 17

// run computes e.product. Its callers fill that field by field: what is copied as a whole
// waits for its fields to be written, several times a step of a small network.
func (e *Engine[T]) run(split bool) {
	e.pool.Run(e, split && !e.Alone)
	e.product = product[T]{} // let go of the caller's memory
}

// multiply computes e.product, of so many multiply-adds; a dense one in pieces if these are many.
func (e *Engine[T]) multiply(work int) {
	if work >= worthPieces {
		e.inPieces()
	}
	e.run(work >= worthSplitting)
}

// inPieces has the threads compute e.product in pieces, of which none has been begun.
func (e *Engine[T]) inPieces() {
	for i := range e.begun {
		e.begun[i].counts.Store(0)
	}
	e.product.begun = e.begun
}

// MatMul computes y = x·w + b; shapes x [m, k], w [k, n], b [n] or nil, y [m, n].
func (e *Engine[T]) MatMul(y, x, w, b []T, m, k, n int) {
	check("MatMul", m, k, n, len(y), m*n, len(x), m*k, len(w), k*n, b, n)
	e.product.set(forward, y, x, w, b, m, k, n)
	e.multiply(m * k * n)
}

// MatMulTransposed computes d = xᵀ·g; shapes x [m, k], g [m, n], d [k, n].
func (e *Engine[T]) MatMulTransposed(d, x, g []T, m, k, n int) {
	check[T]("MatMulTransposed", m, k, n, len(d), k*n, len(x), m*k, len(g), m*n, nil, n)
	e.next().set(forGradWeight, d, x, g, nil, m, k, n)
	e.sum(m * k * n)
}

// SumColumns computes d[j] = Σ_i g[i, j]; shapes d [n], g [m, n].
func (e *Engine[T]) SumColumns(d, g []T) {
	n := len(d)
	if n == 0 || len(g)%n != 0 {
		panic(fmt.Sprintf("kernel.SumColumns: %d values in %d columns, want 1 column or more, and whole rows", len(g), n))
	}
	e.next().set(sumColumns, d, g, nil, nil, len(g)/n, 0, n)
	e.sum(len(g))
}

// MatMulByTransposed computes y = g·wᵀ; shapes g [m, n], w [k, n], y [m, k].
func (e *Engine[T]) MatMulByTransposed(y, g, w []T, m, k, n int) {
	check[T]("MatMulByTransposed", m, k, n, len(y), m*k, len(g), m*n, len(w), k*n, nil, n)
	e.product.set(forGradIn, y, g, w, nil, m, k, n)
	e.multiply(m * k * n)
}

// sparse is about the share of multiply-adds that pixels leave to do.
const sparse = 4

// MatMulPixels computes y = x·w + b for x = pixels/255; shapes x [m, k], w [k, n],
// b [n] or nil, y [m, n]. Pixels of 0 are skipped.
func (e *Engine[T]) MatMulPixels(y []T, pixels matrix.Pixels, w, b []T, n int) {
	m, k := pixels.Rows(), pixels.Cols
	checkPixels(pixels)
	check("MatMulPixels", m, k, n, len(y), m*n, m*k, m*k, len(w), k*n, b, n)
	e.product.set(pixelsForward, y, nil, w, b, m, k, n)
	e.product.pixels = pixels
	e.run(m*k*n/sparse >= worthSplitting)
}

// MatMulPairs computes y = x·w + b as MatMulPixels does, and fills l for
// MatMulPairsTransposed. In float32 an element has two sums, which are added: of two threads
// that are partners each sums a half of the pixels for the images of both, and they meet
// once for it (see pairsForward). Where then is not nil, its Begin comes first, and whoever has
// computed the rows l.Rows(i, parts) of y goes on with its Part(i, parts). It panics when a
// shape does not fit.
func (e *Engine[T]) MatMulPairs(y []T, l *Pairs, pixels matrix.Pixels, w, b []T, n int, then Follower) {
	m, k := pixels.Rows(), pixels.Cols
	checkPixels(pixels)
	check("MatMulPairs", m, k, n, len(y), m*n, m*k, m*k, len(w), k*n, b, n)
	split := m*k*n/sparse >= worthSplitting || then != nil
	l.begin(m, k, firstHalf[T](k), e.threads(split), e.pool)
	p := &e.product
	p.set(pairsForward, y, nil, w, b, m, k, n)
	p.pixels, p.pairs, p.then = pixels, l, then
	e.run(split)
}

// Follower is a task that goes on where MatMulPairs ends. Begin is called once, by thread 0,
// before its part of the product, while others may be at theirs: it may make a collection
// (Collect to Close) that reads the product's lists, and computes nothing. Part(i, parts)
// follows part i of the product.
type Follower interface {
	Task
	Begin()
}

// MatMulPairsTransposed computes d = xᵀ·g for x = pixels/255, l being as MatMulPairs left
// it for these pixels; shapes g [m, n], d [k, n].
func (e *Engine[T]) MatMulPairsTransposed(d []T, l *Pairs, pixels matrix.Pixels, g []T, n int) {
	m, k := pixels.Rows(), pixels.Cols
	if l.images != m || l.cols != k {
		panic(fmt.Sprintf("kernel.MatMulPairsTransposed: lists of %d images of %d pixels for %d of %d", l.images, l.cols, m, k))
	}
	check[T]("MatMulPairsTransposed", m, k, n, len(d), k*n, m*k, m*k, len(g), m*n, nil, n)
	p := e.next()
	p.set(pairsForWeight, d, nil, g, nil, m, k, n)
	p.pixels, p.pairs = pixels, l
	e.sum(m * k * n / sparse)
}

// MatMulPixelsTransposed computes d = xᵀ·g for x = pixels/255; shapes x [m, k],
// g [m, n], d [k, n]. Pixels of 0 are skipped, but for one beside one that is not.
// It is never collected: the lists are the engine's.
func (e *Engine[T]) MatMulPixelsTransposed(d []T, pixels matrix.Pixels, g []T, n int) {
	checkPixels(pixels)
	m, k := pixels.Rows(), pixels.Cols
	check[T]("MatMulPixelsTransposed", m, k, n, len(d), k*n, m*k, m*k, len(g), m*n, nil, n)
	e.pairs.begin(m, k, firstHalf[T](k), e.threads(m*k >= worthListing), e.pool)
	e.list(&e.pairs, pixels)
	p := &e.product
	p.set(pairsForWeight, d, nil, g, nil, m, k, n)
	p.pixels, p.pairs = pixels, &e.pairs
	e.run(m*k*n/sparse >= worthSplitting)
}

// worthListing is the number of pixels from which a second core helps to list them.
const worthListing = 1 << 16

// list makes the lists of l.
func (e *Engine[T]) list(l *Pairs, pixels matrix.Pixels) {
	m, k := pixels.Rows(), pixels.Cols
	p := &e.product
	p.set(listing, nil, nil, nil, nil, m, k, 0)
	p.pixels, p.pairs = pixels, l
	e.run(m*k >= worthListing)
}

// threads is how many threads a product is for.
func (e *Engine[T]) threads(split bool) int {
	if !split || e.Alone {
		return 1
	}
	return e.pool.Threads()
}

// worthRectifying is the number of elements from which a second core helps with a ReLU.
const worthRectifying = 1 << 15

// ReLU computes y = ReLU(x), shapes [m, n]. Of a large matrix each thread takes the
// part that is its own of a product by MatMul or MatMulPixels (MatMulPairs shares images): what
// another core has written is slow to read, and what another has read slow to write.
func (e *Engine[T]) ReLU(y, x []T, n int) {
	m := rowsOf("ReLU", n, len(x), len(y), len(y))
	e.product.set(rectify, y, x, nil, nil, m, 0, n)
	e.run(m*n >= worthRectifying)
}

// ReLUSlope computes dx = grad·ReLU'(x), shapes [m, n], as ReLU does.
func (e *Engine[T]) ReLUSlope(dx, grad, x []T, n int) {
	m := rowsOf("ReLUSlope", n, len(x), len(dx), len(grad))
	e.product.set(rectifySlope, dx, x, grad, nil, m, 0, n)
	e.run(m*n >= worthRectifying)
}

// rowsOf returns the rows of matrices of x, y and z numbers in n columns. It panics unless
// these are whole rows, and as many in all.
func rowsOf(name string, n, x, y, z int) int {
	if n < 1 || x%n != 0 || y != x || z != x {
		panic(fmt.Sprintf("kernel.%s of rows of %d: got %d, %d and %d values, want as many in all, in whole rows", name, n, x, y, z))
	}
	return x / n
}

// rowsAhead is how many rows ahead a part of columns is fetched that another core has read.
const rowsAhead = 2

func (e *Engine[T]) rectify(p *product[T], to span) {
	step, lo, hi := 1, to.left, to.right
	if to.left == 0 && to.right == p.n { // whole rows stand side by side
		step, lo, hi = max(1, to.bottom-to.top), 0, p.n*(to.bottom-to.top)
	}
	for r := to.top; r < to.bottom; r += step {
		from, until := r*p.n+lo, r*p.n+hi
		if ahead := r + rowsAhead; e.fetchToWrite != nil && step == 1 && ahead < to.bottom {
			e.fetchToWrite((*byte)(unsafe.Pointer(&p.y[ahead*p.n+lo])), (hi-lo)*sizeOf[T]()/line)
		}
		if p.kind == rectify {
			e.Table.ReLU(p.y[from:until], p.x[from:until])
		} else {
			e.Table.ReLUSlope(p.y[from:until], p.w[from:until], p.x[from:until])
		}
	}
}

// checkPixels panics when there are too many pixels for an entry, or an image is none.
func checkPixels(p matrix.Pixels) {
	if p.Cols > maxPlaces {
		panic(fmt.Sprintf("kernel: images of %d pixels, want at most %d", p.Cols, maxPlaces))
	}
	p.Check()
}

// check panics unless the lengths of result, factors and bias are what they must.
func check[T Float](name string, m, k, n, y, wantY, x, wantX, w, wantW int, b []T, wantB int) {
	if y != wantY || x != wantX || w != wantW || b != nil && len(b) != wantB {
		panic(fmt.Sprintf("kernel.%s of m, k, n = %d, %d, %d: got %d = %d x %d values, want %d = %d x %d",
			name, m, k, n, y, x, w, wantY, wantX, wantW))
	}
}
