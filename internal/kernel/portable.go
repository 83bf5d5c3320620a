package kernel

import (
	"math"
	"unsafe"

	"glassnet/internal/elementary"
	"glassnet/matrix"
)

// The portable tables: plain Go for every CPU, and the reference that all other
// implementations are compared with bit for bit. The products are written once,
// over the inner loops of their number type.
var (
	portable32 = portable(inner[float32]{addScaled32, addScaledAt32})
	portable64 = portable(inner[float64]{addScaled64, nil})
)

// inner holds the inner loops of the products.
type inner[T Float] struct {
	// addScaled computes y[j] = fma(a, x[j], y[j]) for every j.
	addScaled func(y, x []T, a T)
	// addScaledAt computes y[at[t]] = fma(a, x[t], y[at[t]]) for every t. It is
	// nil where leaving out zeros does not pay.
	addScaledAt func(y []T, at []int32, x []T, a T)
}

func portable[T Float](in inner[T]) Table[T] {
	return Table[T]{in.addScaled, in.multiply, shareRows, peak[T], nil, nil, false, plain[T]()}
}

// shareRows returns the rows that multiply takes of a product that is not a gradient.
func shareRows(rows, cols, part, parts int) span {
	return span{rows * part / parts, rows * (part + 1) / parts, 0, cols}
}

const (
	// blockRows is how many rows of y are built together when w is too large for
	// the second-level cache: few enough to stay in the first, enough to reuse
	// each row of w.
	blockRows = 8
	// cached is the number of elements that the second-level cache surely holds.
	cached = 1 << 15
	// blockElements is how much of d is built together.
	blockElements = 1 << 14
)

// multiply splits the rows of the result.
func (in inner[T]) multiply(s *Scratch[T], p *product[T], part, parts int) {
	if p.kind == listing {
		return // it needs none
	}
	to := shareRows(p.m, p.n, part, parts)
	lo, hi := to.top, to.bottom
	if p.kind == forGradWeight || p.kind == pairsForWeight {
		lo, hi = p.rows(part, parts)
	}
	switch p.kind {
	case forward:
		in.product(p.y, p.x, p.w, p.b, p.k, p.n, lo, hi)
	case forGradWeight:
		in.transposedProduct(s, p.y, p.x, p.w, p.m, p.k, p.n, lo, hi)
	case forGradIn:
		grow(&s.panel, p.k*p.n)
		transpose(s.panel, p.w, p.k, p.n)
		in.product(p.y, p.x, s.panel, nil, p.n, p.k, lo, hi)
	case pairsForward:
		lo, hi = p.pairs.Rows(part, parts)
		in.pixelProduct(s, p, lo, hi, firstHalf[T](p.k))
	case pixelsForward:
		in.pixelProduct(s, p, lo, hi, 0)
	case pairsForWeight:
		in.transposedPixelProduct(s, p, lo, hi)
	}
}

// transpose writes the [k, n] matrix w into t as [n, k].
func transpose[T Float](t, w []T, k, n int) {
	for p := range k {
		for j, v := range w[p*n : p*n+n] {
			t[j*k+p] = v
		}
	}
}

// product adds one scaled row of w after the other to each row of y:
// y[i, :] = Σ_p x[i, p]·w[p, :], so every element is summed in increasing p.
// Zero inputs (about half of a ReLU's outputs) are skipped.
func (in inner[T]) product(y, x, w, b []T, k, n, lo, hi int) {
	rows := blockRows
	if k*n <= cached {
		rows = 1
	}
	for first := lo; first < hi; first += rows {
		last := min(first+rows, hi)
		clear(y[first*n : last*n])
		for p := range k {
			for i := first; i < last; i++ {
				if a := x[i*k+p]; a != 0 {
					in.addScaled(y[i*n:i*n+n], w[p*n:p*n+n], a)
				}
			}
		}
		for i := first; i < last; i++ {
			addBias(y[i*n:i*n+n], b)
		}
	}
}

// transposedProduct adds one scaled row of g after the other to each row of d:
// d[p, :] = Σ_i x[i, p]·g[i, :], so every element is summed in increasing i.
// Zero inputs are skipped, and zeros of g (the gradient of a unit that its ReLU
// has switched off) where addScaledAt makes that pay.
func (in inner[T]) transposedProduct(s *Scratch[T], d, x, g []T, m, k, n, lo, hi int) {
	clear(d[lo*n : hi*n])
	rows := max(blockRows, blockElements/max(n, 1))
	for first := lo; first < hi; first += rows {
		last := min(first+rows, hi)
		for left := 0; left < n; left += blockColumns {
			right := min(left+blockColumns, n)
			for i := range m {
				row := g[i*n+left : i*n+right]
				at, value, some := in.nonzeros(s, row)
				for p := first; p < last; p++ {
					if a := x[i*k+p]; a != 0 {
						in.addNonzeros(d[p*n+left:p*n+right], row, at, value, some, a)
					}
				}
			}
		}
	}
	addBias(d[lo*n:hi*n], nil)
}

// pixelProduct is product with the pixels that are not 0 listed first. If half > 0, the
// first half pixels of an image have a sum of their own, added before the bias.
func (in inner[T]) pixelProduct(s *Scratch[T], p *product[T], lo, hi, half int) {
	clear(p.y[lo*p.n : hi*p.n])
	grow(&s.entries, p.k)
	grow(&s.sums, p.n)
	for i := lo; i < hi; i++ {
		y, pixels := p.y[i*p.n:i*p.n+p.n], p.pixels.Row(i)
		in.addPixels(s, y, p.w, pixels[half:], half)
		if half > 0 {
			first := s.sums[:p.n]
			clear(first)
			in.addPixels(s, first, p.w, pixels[:half], 0)
			addBias(first, nil)
			addBias(y, first)
		}
		addBias(y, p.b)
	}
}

// addPixels adds one scaled row of w after the other to y, from row first on.
func (in inner[T]) addPixels(s *Scratch[T], y, w []T, pixels []byte, first int) {
	for _, e := range appendNonzeros(s.entries[:0], pixels, first) {
		at := int(e>>placeShift) * len(y)
		in.addScaled(y, w[at:at+len(y)], T(matrix.Intensity(byte(e))))
	}
}

// transposedPixelProduct is transposedProduct with the pixels that are not 0
// listed first.
func (in inner[T]) transposedPixelProduct(s *Scratch[T], p *product[T], lo, hi int) {
	clear(p.y[lo*p.n : hi*p.n])
	grow(&s.entries, p.k)
	for left := 0; left < p.n; left += blockColumns {
		right := min(left+blockColumns, p.n)
		for i := range p.m {
			row := p.w[i*p.n+left : i*p.n+right]
			at, value, some := in.nonzeros(s, row)
			for _, e := range appendNonzeros(s.entries[:0], p.pixels.Row(i)[lo:hi], lo) {
				d := p.y[int(e>>placeShift)*p.n:]
				in.addNonzeros(d[left:right], row, at, value, some, T(matrix.Intensity(byte(e))))
			}
		}
	}
	addBias(p.y[lo*p.n:hi*p.n], nil)
}

// blockColumns is how many columns of d are built together.
const blockColumns = 256

// nonzeros lists the values of row that are not 0, and where they are; some is
// false when none is 0, or when leaving them out does not pay.
func (in inner[T]) nonzeros(s *Scratch[T], row []T) (at []int32, value []T, some bool) {
	if in.addScaledAt == nil {
		return nil, nil, false
	}
	grow(&s.at, blockColumns)
	grow(&s.value, blockColumns)
	count := 0
	for j, v := range row {
		if v != 0 {
			s.at[count], s.value[count] = int32(j), v
			count++
		}
	}
	return s.at[:count], s.value[:count], count < len(row)
}

// addNonzeros adds row, of which at and value list what is not 0, scaled by a.
func (in inner[T]) addNonzeros(y, row []T, at []int32, value []T, some bool, a T) {
	if some {
		in.addScaledAt(y, at, value, a)
	} else {
		in.addScaled(y, row, a)
	}
}

// addBias adds b, or +0 when b is nil, once; either turns a sum of -0 into +0.
func addBias[T Float](y, b []T) {
	if b == nil {
		for j := range y {
			y[j] += 0
		}
		return
	}
	for j, v := range b {
		y[j] += v
	}
}

// addScaled64 computes y[j] = fma(a, x[j], y[j]).
func addScaled64(y, x []float64, a float64) {
	x = x[:len(y)]
	for j := range y {
		y[j] = math.FMA(a, x[j], y[j])
	}
}

// addScaled32 computes y[j] = fma(a, x[j], y[j]). The standard library has no
// fused multiply-add of float32, and rounding math.FMA's result is wrong.
func addScaled32(y, x []float32, a float32) {
	x = x[:len(y)]
	for j := range y {
		y[j] = elementary.FMA32(a, x[j], y[j])
	}
}

// addScaledAt32 computes y[at[t]] = fma(a, x[t], y[at[t]]). A sum with a zero
// product is exact, which FMA32 has to find out the long way: leaving those out
// makes a step on ReLU networks about twice as fast.
func addScaledAt32(y []float32, at []int32, x []float32, a float32) {
	x = x[:len(at)]
	for t, j := range at {
		y[j] = elementary.FMA32(a, x[t], y[j])
	}
}

// FMA returns a·b + c, rounded once.
func FMA[T Float](a, b, c T) T {
	if unsafe.Sizeof(a) == 4 {
		return T(elementary.FMA32(float32(a), float32(b), float32(c)))
	}
	return T(math.FMA(float64(a), float64(b), float64(c)))
}

// peak makes n rounds of independent fused multiply-adds.
func peak[T Float](n int) (flops int) {
	var a, b, c, d, one T
	for range n {
		a, b, c, d = FMA(one, one, a), FMA(one, one, b), FMA(one, one, c), FMA(one, one, d)
	}
	if a+b+c+d != 0 {
		panic("kernel: a sum of zeros is not 0")
	}
	return 4 * 2
}
