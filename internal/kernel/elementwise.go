package kernel

import (
	"math"
	"unsafe"

	"glassnet/internal/elementary"
)

// loops are the hot loops beside the products. Matrices are [rows, cols], with
// cols the length of the vectors that hold one number for each column; a column
// is summed row after row. The functions check nothing.
type loops[T Float] struct {
	// Update computes w[j] = fma(a, grad[j], w[j]) + 0, the step of gradient
	// descent for a = -rate, and reports whether all results are finite.
	Update func(w, grad []T, a T) (finite bool)

	// SumSquares returns Σ v², in the order of Sum.
	SumSquares func(v []T) float64

	// ReLU computes y[j] = x[j] where that is above 0 or no number, else 0;
	// ReLUSlope computes dx[j] = grad[j] where x[j] is, else 0.
	ReLU      func(y, x []T)
	ReLUSlope func(dx, grad, x []T)

	// AddColumns computes sum[j] += x[i, j].
	AddColumns func(sum, x []T)
	// AddSquares computes sum[j] = fma(d, d, sum[j]), d = x[i, j] - mean[j].
	AddSquares func(sum, mean, x []T)
	// AddProducts computes sum[j] = fma(x[i, j], y[i, j], sum[j]).
	AddProducts func(sum, x, y []T)

	// Normalise computes h[i, j] = (x[i, j] - mean[j])·inverse[j] and
	// y[i, j] = fma(gamma[j], h[i, j], beta[j]).
	Normalise func(h, y, x, mean, inverse, gamma, beta []T)
	// NormaliseSlope computes
	// dx[i, j] = factor[j]·((grad[i, j] - direct[j]) - h[i, j]·spread[j]).
	NormaliseSlope func(dx, grad, h, factor, direct, spread []T)

	// Softmax fills p [rows, cols] with the softmax of the rows of z, for rows the
	// length of sum: best[i] is where the largest of row i is, the first of equal
	// ones, and sum[i] = Σ_j elementary.Exp(z[i, j] - z[i, best[i]]), by which these
	// exponentials are divided. p and z must not overlap.
	Softmax func(p, z, sum []T, best []int32)

	// Divide computes y[j] = x[j]/d.
	Divide func(y, x []T, d T)
}

// plain are the loops in plain Go.
func plain[T Float]() loops[T] {
	return loops[T]{
		Update: update[T], SumSquares: sumSquares[T], ReLU: relu[T], ReLUSlope: reluSlope[T],
		AddColumns:  func(sum, x []T) { addColumns(sum, x, 0) },
		AddSquares:  func(sum, mean, x []T) { addSquares(sum, mean, x, 0) },
		AddProducts: func(sum, x, y []T) { addProducts(sum, x, y, 0) },
		Normalise: func(h, y, x, mean, inverse, gamma, beta []T) {
			normalise(h, y, x, mean, inverse, gamma, beta, 0)
		},
		NormaliseSlope: func(dx, grad, h, factor, direct, spread []T) {
			normaliseSlope(dx, grad, h, factor, direct, spread, 0)
		},
		Softmax: softmax[T],
		Divide:  divide[T],
	}
}

func update[T Float](w, grad []T, a T) bool {
	grad = grad[:len(w)]
	var rest T // of w - w, which is 0 for a finite number and NaN for others
	for j := range w {
		v := FMA(a, grad[j], w[j]) + 0 // -0 becomes +0
		w[j] = v
		rest += v - v
	}
	return rest == 0
}

func relu[T Float](y, x []T) {
	for j, v := range x {
		if v <= 0 {
			v = 0
		}
		y[j] = v
	}
}

func reluSlope[T Float](dx, grad, x []T) {
	for j, v := range x {
		d := grad[j]
		if v <= 0 {
			d = 0
		}
		dx[j] = d
	}
}

// The functions of columns leave out the columns before from.

func addColumns[T Float](sum, x []T, from int) {
	n := len(sum)
	for at := 0; at+n <= len(x) && from < n; at += n {
		for j := from; j < n; j++ {
			sum[j] += x[at+j]
		}
	}
}

func addSquares[T Float](sum, mean, x []T, from int) {
	n := len(sum)
	for at := 0; at+n <= len(x) && from < n; at += n {
		for j := from; j < n; j++ {
			d := x[at+j] - mean[j]
			sum[j] = FMA(d, d, sum[j])
		}
	}
}

func addProducts[T Float](sum, x, y []T, from int) {
	n := len(sum)
	for at := 0; at+n <= len(x) && from < n; at += n {
		for j := from; j < n; j++ {
			sum[j] = FMA(x[at+j], y[at+j], sum[j])
		}
	}
}

func normalise[T Float](h, y, x, mean, inverse, gamma, beta []T, from int) {
	n := len(mean)
	for at := 0; at+n <= len(x) && from < n; at += n {
		for j := from; j < n; j++ {
			v := T(x[at+j]-mean[j]) * inverse[j]
			h[at+j] = v
			y[at+j] = FMA(gamma[j], v, beta[j])
		}
	}
}

func normaliseSlope[T Float](dx, grad, h, factor, direct, spread []T, from int) {
	n := len(factor)
	for at := 0; at+n <= len(grad) && from < n; at += n {
		for j := from; j < n; j++ {
			v := T(grad[at+j] - direct[j])
			v -= T(h[at+j] * spread[j])
			dx[at+j] = factor[j] * v
		}
	}
}

func softmax[T Float](p, z, sum []T, best []int32) {
	softmaxBy(func(v []T) bool {
		for j, x := range v {
			v[j] = elementary.Exp(x)
		}
		return true
	}, p, z, sum, best)
}

// softmaxBy is the softmax by a function that replaces numbers by their
// exponentials, and says whether it could.
func softmaxBy[T Float](exponentials func(v []T) bool, p, z, sum []T, best []int32) bool {
	if len(z) == 0 {
		return true
	}
	cols := len(z) / len(sum)
	for i := range sum {
		row, logits := p[i*cols:(i+1)*cols], z[i*cols:(i+1)*cols]
		largest := 0
		for j, v := range logits {
			if v > logits[largest] {
				largest = j
			}
		}
		best[i] = int32(largest)
		for j, v := range logits {
			row[j] = v - logits[largest]
		}
	}
	if !exponentials(p[:len(z)]) {
		return false
	}
	for i := range sum {
		row, total := p[i*cols:(i+1)*cols], T(0)
		for _, v := range row {
			total += v
		}
		sum[i] = total
		divide(row, row, total)
	}
	return true
}

func divide[T Float](y, x []T, d T) {
	for j, v := range x {
		y[j] = v / d
	}
}

// assembly are the loops of an implementation on registers. Those without masks
// take whole registers only: n or cols must be a multiple of lanes.
type assembly[T Float] struct {
	update         func(w, grad *T, n int, a T) (bad int)
	sumSquares     func(v *T, n int) float64 // nil: in Go
	relu           func(y, x *T, n int)
	reluSlope      func(dx, grad, x *T, n int)
	addColumns     func(sum, x *T, rows, cols, stride int)
	addSquares     func(sum, mean, x *T, rows, cols, stride int)
	addProducts    func(sum, x, y *T, rows, cols, stride int)
	normalise      func(mean, inverse, gamma, beta, h, y, x *T, rows, cols, stride int)
	normaliseSlope func(factor, direct, spread, dx, grad, h *T, rows, cols, stride int)
	divide         func(y, x *T, n int, d T)
	// softmax returns not 0 when plain Go must do it again. nil: in Go
	softmax func(p, z, sum *T, best *int32, rows, cols int, powers *float64, constants *[12]float64) (low int)
	// exponentials returns not 0 when plain Go must do it again. nil: in Go
	exponentials func(y, x *T, n int, powers *float64, constants *[12][4]float64) (low int)
}

// worthTransposing is the number of rows from which the softmax of a register full of
// rows at once pays.
const worthTransposing = 4

// maxClasses is how many columns the assembly of the softmax has room for.
const maxClasses = 256

// loops adapts the assembly: plain Go does what is left of a register.
func (v *vectors[T]) loops() loops[T] {
	a := v.assembly
	if a == nil {
		return plain[T]()
	}
	whole := func(n int) int {
		if v.masked {
			return n
		}
		return n / v.lanes * v.lanes
	}
	all := plain[T]()
	all.Update = func(w, grad []T, factor T) bool {
		n := whole(len(w))
		finite := update(w[n:], grad[n:], factor)
		return (n == 0 || a.update(&w[0], &grad[0], n, factor) == 0) && finite
	}
	all.ReLU = func(y, x []T) {
		n := whole(len(x))
		if n > 0 {
			a.relu(&y[0], &x[0], n)
		}
		relu(y[n:], x[n:])
	}
	all.ReLUSlope = func(dx, grad, x []T) {
		n := whole(len(x))
		if n > 0 {
			a.reluSlope(&dx[0], &grad[0], &x[0], n)
		}
		reluSlope(dx[n:], grad[n:], x[n:])
	}
	all.AddColumns = func(sum, x []T) {
		n := whole(len(sum))
		if n > 0 && len(x) > 0 {
			a.addColumns(&sum[0], &x[0], len(x)/len(sum), n, len(sum))
		}
		addColumns(sum, x, n)
	}
	all.AddSquares = func(sum, mean, x []T) {
		n := whole(len(sum))
		if n > 0 && len(x) > 0 {
			a.addSquares(&sum[0], &mean[0], &x[0], len(x)/len(sum), n, len(sum))
		}
		addSquares(sum, mean, x, n)
	}
	all.AddProducts = func(sum, x, y []T) {
		n := whole(len(sum))
		if n > 0 && len(x) > 0 {
			a.addProducts(&sum[0], &x[0], &y[0], len(x)/len(sum), n, len(sum))
		}
		addProducts(sum, x, y, n)
	}
	all.Normalise = func(h, y, x, mean, inverse, gamma, beta []T) {
		n := whole(len(mean))
		if n > 0 && len(x) > 0 {
			a.normalise(&mean[0], &inverse[0], &gamma[0], &beta[0], &h[0], &y[0], &x[0], len(x)/len(mean), n, len(mean))
		}
		normalise(h, y, x, mean, inverse, gamma, beta, n)
	}
	all.NormaliseSlope = func(dx, grad, h, factor, direct, spread []T) {
		n := whole(len(factor))
		if n > 0 && len(grad) > 0 {
			a.normaliseSlope(&factor[0], &direct[0], &spread[0], &dx[0], &grad[0], &h[0], len(grad)/len(factor), n, len(factor))
		}
		normaliseSlope(dx, grad, h, factor, direct, spread, n)
	}
	if a.sumSquares != nil {
		all.SumSquares = func(v []T) float64 {
			if len(v) == 0 {
				return 0
			}
			return a.sumSquares(&v[0], len(v))
		}
	}
	all.Divide = func(y, x []T, d T) {
		n := whole(len(x))
		if n > 0 {
			a.divide(&y[0], &x[0], n, d)
		}
		divide(y[n:], x[n:], d)
	}
	if a.softmax != nil {
		powers, constants := expTables[T]()
		all.Softmax = func(p, z, sum []T, best []int32) {
			if len(sum) < worthTransposing || len(z)/len(sum) > maxClasses {
				softmax(p, z, sum, best)
				return
			}
			if len(z) > 0 && a.softmax(&p[0], &z[0], &sum[0], &best[0], len(sum), len(z)/len(sum), powers, constants) != 0 {
				softmax(p, z, sum, best)
			}
		}
	}
	if a.exponentials != nil {
		powers, once := expTables[T]()
		constants := fourTimes(once)
		exponentials := func(x []T) bool {
			n := whole(len(x))
			if n > 0 && a.exponentials(&x[0], &x[0], n, powers, constants) != 0 {
				return false
			}
			for i, v := range x[n:] {
				x[n+i] = elementary.Exp(v)
			}
			return true
		}
		all.Softmax = func(p, z, sum []T, best []int32) {
			if !softmaxBy(exponentials, p, z, sum, best) {
				softmax(p, z, sum, best)
			}
		}
	}
	return all
}

// expTables returns the powers and the constants for exponentials of T.
func expTables[T Float]() (powers *float64, constants *[12]float64) {
	if unsafe.Sizeof(T(0)) == 4 {
		p, c := elementary.Exp32Tables()
		return &p[0], c
	}
	p, c := elementary.Exp64Tables()
	return &p[0][0], c
}

// fourTimes repeats each number, for registers of four.
func fourTimes(numbers *[12]float64) *[12][4]float64 {
	var all [12][4]float64
	for i, v := range numbers {
		all[i] = [4]float64{v, v, v, v}
	}
	return &all
}

// sumSquares is SumSquares in plain Go.
func sumSquares[T Float](v []T) float64 {
	var partial [lanes]float64
	for i, x := range v {
		l := i % lanes
		partial[l] = math.FMA(float64(x), float64(x), partial[l])
	}
	return combine(&partial)
}
