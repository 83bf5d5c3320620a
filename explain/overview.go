package explain

import (
	"math"

	"glassnet/matrix"
)

// Overview are the numbers of one example of a step, layer by layer, as files and the
// page have them.
type Overview struct {
	Label         int             `json:"label"`
	Predicted     int             `json:"predicted"`
	Probabilities []float64       `json:"probabilities"`
	Loss          float64         `json:"loss"` // of the example, nats
	Cost          float64         `json:"cost"` // of the batch, before the update, and so the penalty
	Penalty       float64         `json:"penalty"`
	CostAfter     float64         `json:"cost_after"` // of the same batch after the update
	PenaltyAfter  float64         `json:"penalty_after"`
	Rule          string          `json:"rule"`
	Rate          float64         `json:"learning_rate"`
	Layers        []LayerOverview `json:"layers"`
	Findings      []Finding       `json:"findings"`
}

// LayerOverview is what one layer computed for the example.
type LayerOverview struct {
	Layer    int                  `json:"layer"` // from 1
	Kind     string               `json:"kind"`
	Law      string               `json:"law"` // formula of the forward pass
	Output   []float64            `json:"output"`
	Gradient []float64            `json:"gradient"`       // dTotal/dOutput
	Kept     map[string][]float64 `json:"kept,omitempty"` // mean, variance, inverse_std, x_hat
	Params   []ParamOverview      `json:"params,omitempty"`
	Update   *float64             `json:"update_over_weight,omitempty"` // see LayerHealth
}

// ParamOverview names an array of parameters; a dense weight is [in, out].
type ParamOverview struct {
	Name  string `json:"name"`
	Shape []int  `json:"shape"`
}

// Overview returns the numbers of the example in that row of the batch, formulas in the
// convention. It panics when there is no such row.
func (s *Step[T]) Overview(row int, c Convention) Overview {
	o := Overview{
		Label: int(s.Loss.Labels[row]), Predicted: int(s.Loss.Predicted[row]),
		Probabilities: matrix.Convert[float64](s.Loss.Probabilities.Row(row)), Loss: float64(s.Loss.Losses[row]),
		Cost: s.Cost.Data, Penalty: s.Cost.Penalty, CostAfter: s.After.Data, PenaltyAfter: s.After.Penalty,
		Rule: s.Rule.Name(), Rate: s.Rate, Findings: []Finding{},
	}
	health := s.Health()
	o.Findings = append(o.Findings, health.Findings...)
	for l, cache := range s.Trace.Caches {
		layer := s.Net.Layers()[l]
		one := LayerOverview{
			Layer: l + 1, Kind: layer.Spec().Kind, Law: c.layerLaw(layer.Spec()),
			Output: matrix.Convert[float64](cache.Out.Row(row)), Gradient: matrix.Convert[float64](cache.GradOut.Row(row)),
		}
		for _, k := range cache.Kept {
			if one.Kept == nil {
				one.Kept = map[string][]float64{}
			}
			one.Kept[k.Name] = matrix.Convert[float64](k.Value.Row(min(row, k.Value.Rows-1)))
		}
		for _, p := range layer.Params() {
			one.Params = append(one.Params, ParamOverview{p.Name, p.Shape})
		}
		if u := health.Layers[l].Update; !math.IsNaN(u) && !math.IsInf(u, 0) {
			one.Update = &u
		}
		o.Layers = append(o.Layers, one)
	}
	return o
}

// Opened is a Formula in words, as files and the page have it.
type Opened struct {
	Ref           string             `json:"ref"`
	What          string             `json:"what"`
	Value         float64            `json:"value"`
	Law           string             `json:"law"`
	Formula       string             `json:"formula"`
	Zeros         int                `json:"zeros,omitempty"` // terms that it leaves out because their pixel is 0
	Contributions []ContributionText `json:"contributions"`   // the largest first
	To            []string           `json:"to"`
}

// ContributionText is a Contribution in words, with what it is made of.
type ContributionText struct {
	Term  string   `json:"term"`
	Value float64  `json:"value"`
	Of    []string `json:"of"`
}

// Text puts the formula into words.
func (f Formula) Text(style Style) Opened {
	o := Opened{Ref: f.Ref.String(), What: f.What, Value: f.Value, Law: f.Law, Formula: f.Expr.Text(style), Zeros: f.Zeros, Contributions: []ContributionText{}, To: []string{}}
	for _, c := range f.Expr.Contributions() {
		one := ContributionText{Term: c.Term.Text(style), Value: c.Value, Of: []string{}}
		for _, r := range c.Term.Refs() {
			one.Of = append(one.Of, r.String())
		}
		o.Contributions = append(o.Contributions, one)
	}
	for _, r := range f.To {
		o.To = append(o.To, r.String())
	}
	return o
}
