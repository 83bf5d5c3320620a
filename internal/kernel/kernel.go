// Package kernel holds the hot loops of glassnet behind one table of functions
// per number type, so that every implementation (today the portable Go
// reference; assembly per instruction set beside it) can be chosen, tested and
// compared by name.
//
// # The arithmetic contract
//
// All implementations give the same bits, on any number of threads:
//
//   - An element of a product is summed from +0 in increasing inner index by
//     fused multiply-add, one rounding per term. The sum is never split across
//     lanes, threads or cache blocks.
//   - A bias is added once, after the sum.
//   - Zero inputs may be skipped: for finite weights fma(0, w, acc) = acc.
//   - A result of -0 is stored as +0, which is what adding +0 does.
//   - A full reduction to one number uses 64 interleaved partial sums, combined
//     in a fixed order (see Sum).
package kernel

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"sync"

	"glassnet/internal/usererr"
)

// Float is the number type of a kernel.
type Float interface{ float32 | float64 }

// Table is one implementation of the hot loops for one number type. Matrices are
// row-major slices; the functions check nothing, Engine does.
type Table[T Float] struct {
	// AddScaled computes y[j] = fma(a, x[j], y[j]) for every j < len(y).
	// It is the update rule of plain gradient descent, the gradient of an L2
	// penalty, and the inner loop of the portable products.
	AddScaled func(y, x []T, a T)

	// Product computes rows [lo, hi) of y = x·w + b, for x [m, k], w [k, n],
	// b [n] or nil, y [m, n]:
	//
	//	y[i, j] = Σ_p x[i, p]·w[p, j] + b[j]
	Product func(y, x, w, b []T, k, n, lo, hi int)

	// TransposedProduct computes rows [lo, hi) of d = xᵀ·g, for x [m, k],
	// g [m, n], d [k, n]:
	//
	//	d[p, j] = Σ_i x[i, p]·g[i, j]
	TransposedProduct func(s *Scratch[T], d, x, g []T, m, k, n, lo, hi int)
}

// implementation is what one name stands for.
type implementation struct {
	name      string
	available bool // this CPU and operating system can run it
	float32   *Table[float32]
	float64   *Table[float64]
}

// implementations lists the fastest first; the portable reference ends it.
var implementations = []implementation{
	{name: "portable", available: true, float32: &portable32, float64: &portable64},
}

// known names every implementation that any machine may have.
var known = []string{"portable", "avx2", "avx512", "neon"}

// EnvVar names the environment variable that chooses the implementation.
const EnvVar = "GLASSNET_KERNEL"

var (
	chosenMu sync.Mutex
	chosen   *implementation // nil until first use
)

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
	name = cmp.Or(name, os.Getenv(EnvVar), Names()[0])
	for i := range implementations {
		if im := &implementations[i]; im.name == name && im.available {
			chosenMu.Lock()
			defer chosenMu.Unlock()
			chosen = im
			return nil
		}
	}
	if slices.Contains(known, name) {
		return usererr.New("kernel %q cannot run on this machine, which has: %v", name, Names())
	}
	return usererr.New("unknown kernel %q, want one of %v", name, known)
}

// Name returns the implementation in use.
func Name() string { return current().name }

func current() *implementation {
	chosenMu.Lock()
	im := chosen
	chosenMu.Unlock()
	if im == nil {
		if err := Use(""); err != nil {
			// A program that takes user input has called Use before and
			// reported the error; a library user learns of a bad variable here.
			panic(fmt.Sprintf("%s: %v", EnvVar, err))
		}
		return current()
	}
	return im
}

// tableFor returns the implementation in use for T.
func tableFor[T Float]() *Table[T] {
	im := current()
	if t, ok := any(im.float32).(*Table[T]); ok {
		return t
	}
	return any(im.float64).(*Table[T])
}
