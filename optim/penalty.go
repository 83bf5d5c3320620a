package optim

import (
	"math"

	"glassnet/internal/kernel"
	"glassnet/internal/usererr"
	"glassnet/matrix"
	"glassnet/nn"
)

// Penalty is a cost on the weights themselves. One function gives both the cost
// and its gradient, so the two cannot drift apart.
type Penalty[T matrix.Float] interface {
	// Apply returns the penalty of params; in Train mode it also adds its
	// gradient to theirs. Only parameters of role Weight count.
	Apply(params []*nn.Param[T], mode nn.Mode) (penalty float64)
}

// L2 is the penalty of ridge regression, half the squared weights, independent of
// the batch size:
//
//	penalty    = λ/2 · Σ w²
//	dCost/dw  += λ·w
//
// Biases, scales and shifts are left out. The published study calls it "L2
// normalization". Lambda is 0 or more; 0 costs nothing and changes nothing.
type L2[T matrix.Float] struct{ Lambda float64 }

// Apply implements Penalty.
func (l L2[T]) Apply(params []*nn.Param[T], mode nn.Mode) float64 {
	if l.Lambda == 0 {
		return 0
	}
	var squares float64
	for _, p := range params {
		if p.Role == nn.Weight {
			squares += kernel.Of[T]().SumSquares(p.Value)
			addGradient(p, l.Lambda, mode)
		}
	}
	return l.Lambda / 2 * squares
}

func addGradient[T matrix.Float](p *nn.Param[T], lambda float64, mode nn.Mode) {
	if mode == nn.Train {
		kernel.Of[T]().AddScaled(p.Grad, p.Value, T(lambda))
	}
}

// PublishedL2 is the penalty of the published study, kept as it was so that its
// table can be replayed. Its cost is not the integral of its gradient:
//
//	penalty    = λ · Σ of all entries of W·Wᵀ   (W [in, out]; the trace was meant)
//	dCost/dw  += λ·w
//
// All entries of W·Wᵀ, [in, in], sum to Σ_j (Σ_p W[p, j])²: the squares of the
// column sums. (The study writes WᵀW for its W [out, in].)
type PublishedL2[T matrix.Float] struct{ Lambda float64 }

// Apply implements Penalty.
func (l PublishedL2[T]) Apply(params []*nn.Param[T], mode nn.Mode) float64 {
	if l.Lambda == 0 {
		return 0
	}
	var entries float64
	for _, p := range params {
		if p.Role == nn.Weight {
			out := p.Shape[1]
			const some = 8 // columns at a time: they lie side by side
			for first := 0; first < out; first += some {
				var columns [some]float64
				n := min(some, out-first)
				for at := first; at < len(p.Value); at += out {
					for j, w := range p.Value[at : at+n] {
						columns[j] += float64(w)
					}
				}
				for _, column := range columns[:n] {
					entries += float64(column * column)
				}
			}
			addGradient(p, l.Lambda, mode)
		}
	}
	return l.Lambda * entries
}

// The forms of the L2 penalty, as files name them.
const (
	FormL2        = "l2"        // L2
	FormPublished = "published" // PublishedL2
)

// NewPenalty returns the penalty of that form, FormL2 or FormPublished. It is an error when
// lambda is not a finite number of 0 or more.
func NewPenalty[T matrix.Float](form string, lambda float64) (Penalty[T], error) {
	if !(lambda >= 0) || math.IsInf(lambda, 0) {
		return nil, usererr.New("lambda %v of the L2 penalty, want a finite number of 0 or more", lambda)
	}
	switch form {
	case FormL2:
		return L2[T]{lambda}, nil
	case FormPublished:
		return PublishedL2[T]{lambda}, nil
	}
	return nil, usererr.New("unknown form of L2 penalty %q, want %q or %q", form, FormL2, FormPublished)
}
