package experiment

import (
	"fmt"
	"math"
	"slices"

	"glassnet/matrix"
	"glassnet/nn"
)

// Tolerance of a gradient check: |analytic - numeric| ≤ 1e-8 + 1e-6·|numeric|.
const (
	checkAbsolute = 1e-8
	checkRelative = 1e-6
	checkStep     = 1e-5
)

// checkPublishedNorm compares gradients of the trained network before its
// published normalisation with finite differences, on one batch in float64, and
// does the same with batch normalisation in its place: the first must fail, for
// its derivative is left out, and the second pass.
func checkPublishedNorm[T matrix.Float](r *Ready[T], s Settings) (Evidence, error) {
	batch := r.Fit.Slice(0, min(32, r.Fit.Len()))
	in, classes := r.Net.Widths()
	x := matrix.Unpack(matrix.New[float64](batch.Len(), in), batch.Pixels())
	labels := batch.CopyLabels(make([]uint8, batch.Len()))

	e := Evidence{
		Layer: nn.KindPublishedNorm, Twin: nn.KindBatchNorm,
		Tolerance: fmt.Sprintf("|analytic - numeric| <= %g + %g |numeric|", checkAbsolute, checkRelative),
	}
	asPublished, err := twin(r.Net, s, in, classes, NormalisationPublished)
	if err != nil {
		return e, err
	}
	corrected, err := twin(r.Net, s, in, classes, NormalisationBatch)
	if err != nil {
		return e, err
	}
	e.Checks = checkGradients(asPublished, x, labels)
	e.WorstRelative, e.Failed = judge(e.Checks)
	e.TwinChecks = checkGradients(corrected, x, labels)
	e.TwinWorst, e.TwinFailed = judge(e.TwinChecks)
	return e, nil
}

// twin copies the dense layers of net into a float64 network with the given
// normalisation.
func twin[T matrix.Float](net *nn.Network[T], s Settings, in, classes int, normalisation string) (*nn.Network[float64], error) {
	c := s.Config
	c.Normalisation = normalisation
	t, err := nn.Build[float64](c.Architecture(in, classes))
	if err != nil {
		return nil, err
	}
	from := dense(net.Params())
	for i, p := range dense(t.Params()) {
		copy(p.Value, matrix.Convert[float64](from[i].Value))
	}
	return t, nil
}

// dense returns the weights and biases among params.
func dense[T matrix.Float](params []*nn.Param[T]) []*nn.Param[T] {
	return slices.DeleteFunc(slices.Clone(params), func(p *nn.Param[T]) bool {
		return p.Role != nn.Weight && p.Role != nn.Bias
	})
}

// checksPerLayer is how many weights of each layer are checked: those with the
// largest gradients, where a wrong one cannot hide in rounding.
const checksPerLayer = 12

// checkGradients compares dCost/dw by Backward with the central difference
//
//	(cost(w + h) - cost(w - h)) / 2h,  h = 1e-5·max(1, |w|)
//
// for weights of every dense layer but the last, which no normalisation follows.
func checkGradients(net *nn.Network[float64], x matrix.Matrix[float64], labels []uint8) []GradientCheck {
	_, classes := net.Widths()
	trace := net.NewTrace(nn.TraceOptions{Batch: x.Rows, Backward: true})
	cache := nn.NewLossCache[float64](x.Rows, classes)
	loss := nn.CrossEntropy[float64]{}
	cost := func() float64 { return loss.Forward(cache, net.Forward(trace, x, nn.Train), labels) }
	cost()
	net.Backward(trace, loss.Backward(cache))

	var weights []*nn.Param[float64]
	for _, p := range net.Params() {
		if p.Role == nn.Weight {
			weights = append(weights, p)
		}
	}
	var checks []GradientCheck
	for _, p := range weights[:len(weights)-1] {
		for _, i := range largest(p.Grad, checksPerLayer) {
			analytic, w := p.Grad[i], p.Value[i]
			h := checkStep * max(1, math.Abs(w))
			p.Value[i] = w + h
			up := cost()
			p.Value[i] = w - h
			down := cost()
			p.Value[i] = w
			checks = append(checks, GradientCheck{
				Parameter: fmt.Sprintf("%s[%d, %d]", p.Name, i/p.Shape[1], i%p.Shape[1]),
				Analytic:  finite(analytic), Numeric: finite((up - down) / (2 * h)),
			})
		}
	}
	return checks
}

// largest returns the indices of the n largest magnitudes, in order of index.
func largest(v []float64, n int) []int {
	index := make([]int, len(v))
	for i := range index {
		index[i] = i
	}
	slices.SortStableFunc(index, func(a, b int) int {
		switch x, y := math.Abs(v[a]), math.Abs(v[b]); {
		case x > y:
			return -1
		case x < y:
			return 1
		}
		return 0
	})
	index = index[:min(n, len(index))]
	slices.Sort(index)
	return index
}

// judge returns the largest relative difference, |a - n| / max(|a|, |n|), and how
// many checks are outside the tolerance; one without a finite number is.
func judge(checks []GradientCheck) (worst *float64, failed int) {
	largest := 0.0
	for _, c := range checks {
		if c.Analytic == nil || c.Numeric == nil {
			failed++
			continue
		}
		difference := math.Abs(*c.Analytic - *c.Numeric)
		if scale := max(math.Abs(*c.Analytic), math.Abs(*c.Numeric)); scale > 0 {
			largest = max(largest, difference/scale)
		}
		if !(difference <= checkAbsolute+checkRelative*math.Abs(*c.Numeric)) {
			failed++
		}
	}
	return finite(largest), failed
}
