package experiment

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"glassnet/dataset"
	"glassnet/explain"
	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/optim"
	"glassnet/train"
)

// checkPublishedNorm compares gradients of the trained network before its
// published normalisation with finite differences, on one batch in float64, and
// does the same with batch normalisation in its place: the first must fail, for
// its derivative is left out, and the second pass.
func checkPublishedNorm[T matrix.Float](r *Ready[T], s Settings) (Evidence, error) {
	batch := r.Fit.Slice(0, min(32, r.Fit.Len()))
	in, classes := r.Net.Widths()
	e := Evidence{
		Layer: nn.KindPublishedNorm, Twin: nn.KindBatchNorm,
		Tolerance: fmt.Sprintf("|analytic - numeric| <= %g + %g |numeric|", explain.AbsoluteTolerance, explain.RelativeTolerance),
	}
	asPublished, err := twin(r.Net, s, in, classes, NormalisationPublished)
	if err != nil {
		return e, err
	}
	corrected, err := twin(r.Net, s, in, classes, NormalisationBatch)
	if err != nil {
		return e, err
	}
	published, err := checkGradients(asPublished, batch)
	if err != nil {
		return e, err
	}
	proper, err := checkGradients(corrected, batch)
	if err != nil {
		return e, err
	}
	e.Checks, e.WorstRelative, e.Failed = judge(published)
	e.TwinChecks, e.TwinWorst, e.TwinFailed = judge(proper)
	return e, nil
}

// twin copies the dense layers of net into a float64 network with the given
// normalisation. A bias that the twin has no room for is one that its batch
// normalisation subtracts again.
func twin[T matrix.Float](net *nn.Network[T], s Settings, in, classes int, normalisation string) (*nn.Network[float64], error) {
	c := s.Config
	c.Normalisation = normalisation
	t, err := nn.Build[float64](c.Architecture(in, classes))
	if err != nil {
		return nil, err
	}
	from := map[string][]T{} // by name, which says the layer's position and the part
	for _, p := range net.Params() {
		from[p.Name] = p.Value
	}
	for _, p := range t.Params() {
		if p.Role != nn.Weight && p.Role != nn.Bias {
			continue
		}
		values, ok := from[p.Name]
		if !ok || len(values) != len(p.Value) {
			panic(fmt.Sprintf("experiment: a network has %d values of %s, its twin %d", len(values), p.Name, len(p.Value)))
		}
		copy(p.Value, matrix.Convert[float64](values))
	}
	return t, nil
}

// checksPerLayer is how many weights of each layer are checked: those with the
// largest gradients, where a wrong one cannot hide in rounding.
const checksPerLayer = 12

// checkGradients compares gradients of one training step with finite differences (see
// explain.Check), for weights of every dense layer but the last, which no normalisation
// follows. The few at a corner of a ReLU, which have no gradient, are left out.
func checkGradients(net *nn.Network[float64], batch dataset.View) ([]explain.Check, error) {
	step, err := explain.Record(net, batch, explain.Options[float64]{
		Loss: nn.CrossEntropy[float64]{}, Penalty: optim.L2[float64]{}, Rule: optim.SGD[float64]{}, Rate: 1e-3,
	})
	var diverged *train.DivergedError
	if errors.As(err, &diverged) {
		return nil, nil // a network that can make no step has no gradients to check
	}
	if err != nil {
		return nil, err
	}
	var weights []*nn.Param[float64]
	for _, p := range step.Net.Params() {
		if p.Role == nn.Weight {
			weights = append(weights, p)
		}
	}
	var checks []explain.Check
	for _, p := range weights[:len(weights)-1] {
		for _, i := range largest(p.Grad, checksPerLayer) {
			c, err := step.Check(explain.ParameterRef(p.Name, i/p.Shape[1], i%p.Shape[1]))
			if err != nil {
				return nil, err
			}
			if !c.Kink {
				checks = append(checks, c)
			}
		}
	}
	return checks, nil
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

// judge returns the checks for the report, the largest relative difference and how many
// are off.
func judge(checks []explain.Check) (all []GradientCheck, worst *float64, failed int) {
	largest := 0.0
	all = []GradientCheck{}
	for _, c := range checks {
		name := fmt.Sprintf("%s[%d, %d]", c.Ref.Name, c.Ref.Index[0], c.Ref.Index[1])
		all = append(all, GradientCheck{Parameter: name, Analytic: finite(c.Analytic), Numeric: finite(c.Numeric)})
		largest = max(largest, c.Relative)
		if c.Off() {
			failed++
		}
	}
	if len(all) == 0 {
		return all, nil, 0
	}
	return all, finite(largest), failed
}
