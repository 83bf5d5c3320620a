// Package kernel holds the hot loops of glassnet behind one table of functions
// per number type, so that every implementation (portable Go, the reference, and
// assembly per instruction set) can be chosen, tested and compared by name.
//
// # The arithmetic contract
//
// All implementations give the same bits, on any number of threads:
//
//   - An element of a product is summed from +0 in increasing inner index by
//     fused multiply-add, one rounding per term. The sum is never split across
//     lanes, threads or cache blocks.
//   - The first product of a training step in float32, MatMulPairs, has two such sums,
//     over those of an image's k pixels that ParameterRows(k, 0, 2) gives and over the rest,
//     each never split: two threads may take one each. They are added, then the bias.
//   - A bias is added once, after the sum.
//   - Zero inputs may be skipped: for finite factors fma(0, w, acc) = acc.
//   - A result of -0 is stored as +0, which is what adding +0 does.
//   - A full reduction to one number uses 64 interleaved partial sums, combined
//     in a fixed order (see Sum).
package kernel

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync/atomic"

	"glassnet/internal/usererr"
	"glassnet/matrix"
)

//go:generate go -C _gen run . -isa avx512 -out ../avx512_amd64.s -stubs ../avx512_amd64.go -pkg kernel
//go:generate go -C _gen run . -isa avx2 -out ../avx2_amd64.s -stubs ../avx2_amd64.go -pkg kernel
//go:generate go -C _gen run . -isa neon -out ../neon_arm64.s -stubs ../neon_arm64.go -pkg kernel

// Float is the number type of a kernel.
type Float interface{ float32 | float64 }

// Table is one implementation of the hot loops for one number type. Matrices are
// row-major slices; the functions check nothing, Engine does.
type Table[T Float] struct {
	// AddScaled computes y[j] = fma(a, x[j], y[j]) for every j < len(y).
	AddScaled func(y, x []T, a T)

	// Multiply computes one of parts disjoint parts of a product; of one in pieces, what others
	// have not begun of it, and of theirs. A product is complete when all parts have returned.
	Multiply func(s *Scratch[T], p *product[T], part, parts int)
	// share is about the part of a [rows, cols] result that Multiply computes.
	share func(rows, cols, part, parts int) span

	// Peak makes n rounds of nothing but independent fused multiply-adds and returns
	// the floating-point operations of a round: what the CPU could do at best.
	Peak func(n int) (flops int)

	// fetchToWrite fetches cache lines that other cores may have read, for writing; nil:
	// nothing is fetched.
	fetchToWrite func(p *byte, lines int)

	// prepare does what a part of a pairsForWeight can do before g is there; may be nil.
	prepare func(s *Scratch[T], p *product[T], part, parts int)

	// fusesUpdate says that Multiply also updates the parameter of a gradient of weights (fused
	// update); else Engine does, behind each part.
	fusesUpdate bool

	loops[T]
}

// span is a part of a matrix.
type span struct{ top, bottom, left, right int }

// product is one product of a dense layer, or what follows one. In the products x is
// [m, k] or the pixels of m images of k, w is [k, n] and g is [m, n].
type product[T Float] struct {
	kind    kind
	y       []T // the result
	x, w, b []T // factors and bias; b may be nil
	pixels  matrix.Pixels
	pairs   *Pairs
	then    Follower // of which each part follows that part of the product, or nil
	m, k, n int
	begun   []pieceCount // by part, of a product in pieces; else nil, as of collected sums, whose pieces a deque has

	// Of a gradient y that its parameter follows at once: value = value + factor·y, as
	// loops.Update computes it. value is nil elsewhere.
	value   []T
	factor  T
	descent *descent
}

// descends says whether the parameter of a gradient follows it.
func (p *product[T]) descends() bool { return p.value != nil && !p.descent.stays.Load() }

// set describes a product without images, whatever was there before: that may be left over
// from one that panicked.
func (p *product[T]) set(what kind, y, x, w, b []T, m, k, n int) {
	p.kind, p.y, p.x, p.w, p.b, p.m, p.k, p.n = what, y, x, w, b, m, k, n
	p.pixels, p.pairs, p.then, p.begun = matrix.Pixels{}, nil, nil, nil
	p.value, p.factor, p.descent = nil, 0, nil
}

// rows returns the rows [top, bottom) of a gradient of weights [k, n] that a part computes.
func (p *product[T]) rows(part, parts int) (top, bottom int) {
	return ParameterRows(p.k, part, parts)
}

const (
	// sharedRows is the number of rows whose multiples parts of many rows begin with.
	sharedRows = 16
	// manyRows is how many rows of a part are many: then sharedRows more or less do not count.
	manyRows = 8 * sharedRows
)

// ParameterRows returns the rows [top, bottom) of a parameter that one of so many threads
// computes the gradient of, unless another takes over a piece, and of a large parameter with
// many rows updates, too: what one core has written is slow to write for another. Between two
// threads, the rows of a first layer part where its float32 sums do.
func ParameterRows(rows, part, parts int) (top, bottom int) {
	unit := 2 // a pair of pixels is not parted
	if rows >= manyRows*parts {
		unit = sharedRows
	}
	bound := func(part int) int {
		if part == parts {
			return rows
		}
		return (rows*part/parts + unit/2) / unit * unit
	}
	return bound(part), bound(part + 1)
}

// kind tells the products apart.
type kind uint8

const (
	forward        kind = iota // y [m, n] = x·w + b
	forGradWeight              // y [k, n] = xᵀ·g, with g in w
	forGradIn                  // y [m, k] = g·wᵀ, with g in x
	pixelsForward              // y [m, n] = pixels·w + b
	listing                    // nothing but the lists
	pairsForward               // y [m, n] = pixels·w + b, and lists the pairs; in float32 by two sums
	pairsForWeight             // y [k, n] = pixelsᵀ·g, with g in w, by the lists
	rectify                    // y [m, n] = ReLU(x)
	rectifySlope               // y [m, n] = g·ReLU'(x), with g in w
	sumColumns                 // y [n], the sums of the columns of x [m, n]
)

// implementation is what one name stands for.
type implementation struct {
	name      string
	available bool // this CPU and operating system can run it
	float32   *Table[float32]
	float64   *Table[float64]
}

// implementations lists the fastest first; the portable reference ends it.
var implementations = append(native, implementation{"portable", true, &portable32, &portable64})

// known names every implementation that any machine may have.
var known = []string{"portable", "avx2", "avx512", "neon"}

// EnvVar names the environment variable that chooses the implementation.
const EnvVar = "GLASSNET_KERNEL"

var chosen atomic.Pointer[implementation] // nil until first use

// Names returns the implementations that this machine can run, fastest first.
func Names() []string {
	var names []string
	for _, im := range implementations {
		if im.available {
			names = append(names, im.name)
		}
	}
	return names
}

// Use makes name the implementation of every Engine made from now on. "" means
// $GLASSNET_KERNEL or, when that is empty too, the fastest. A name that is
// unknown, or that this CPU lacks, is a user error.
func Use(name string) error {
	from := "" // who said so, where it was not the caller
	if variable := os.Getenv(EnvVar); name == "" && variable != "" {
		name, from = variable, EnvVar+": "
	}
	name = cmp.Or(name, Names()[0])
	for i := range implementations {
		if im := &implementations[i]; im.name == name && im.available {
			chosen.Store(im)
			return nil
		}
	}
	if slices.Contains(known, name) {
		return usererr.New("%skernel %q cannot run on this machine, which has %s", from, name, strings.Join(Names(), ", "))
	}
	return usererr.New("%sunknown kernel %q, want %s", from, name, usererr.List(known))
}

// Name returns the implementation in use.
func Name() string { return current().name }

func current() *implementation {
	im := chosen.Load()
	if im == nil {
		if err := Use(""); err != nil {
			// A program that takes user input has called Use before and
			// reported the error; a library user learns of a bad variable here.
			panic(fmt.Sprintf("kernel: %v", err))
		}
		return current()
	}
	return im
}

// Of returns the implementation in use for T.
func Of[T Float]() *Table[T] {
	im := current()
	if t, ok := any(im.float32).(*Table[T]); ok {
		return t
	}
	return any(im.float64).(*Table[T])
}
