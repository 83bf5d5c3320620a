package explain

import (
	"fmt"
	"math"

	"glassnet/matrix"
	"glassnet/nn"
)

// Health is how the layers of a network fare in one step.
type Health struct {
	Layers   []LayerHealth
	Findings []Finding
}

// LayerHealth are the figures of one layer.
type LayerHealth struct {
	Layer     int // from 1
	Kind      string
	Units     int
	Dead      []int   // units of a ReLU that are 0 for every example
	Saturated []int   // units of a sigmoid or tanh that hardly pass a gradient for nearly all examples
	Gradient  float64 // root mean square of dC/d(pre-activation) of a dense layer
	// Update is the length of the update of the layer's weights over theirs; NaN for
	// layers without weights and where all are 0. About 1e-3 is usual.
	Update float64
}

// Finding is something that ails a network, in a sentence with its cause and one with
// a remedy.
type Finding struct {
	Layer  int    `json:"layer"` // from 1
	What   string `json:"what"`
	Cause  string `json:"cause"`
	Remedy string `json:"remedy"`
}

// What the figures are judged by.
const (
	enoughExamples = 32   // in the batch: fewer are not judged by
	passes         = 0.01 // share of the steepest slope below which a unit is saturated
	nearlyAll      = 0.95 // share of the examples for which it must be
	vanishing      = 1e-3 // of the last layer's gradient
	exploding      = 1e3
	slow, fast     = 1e-6, 3e-2 // update over weight
	strong         = 1e-3       // share of each weight that the penalty takes away in one update
	short          = 0.5        // of the length that glorot-normal gives a layer's weights
)

// Health judges the step by its batch: units and updates from 32 examples on.
func (s *Step[T]) Health() Health {
	var h Health
	find := func(layer int, what, cause, remedy string) {
		h.Findings = append(h.Findings, Finding{layer, what, cause, remedy})
	}
	var dense []LayerHealth
	lambda, _ := s.lambda()
	pulled := s.Rate*lambda > strong // to 0, in some hundred steps
	shortened := 0                   // layers whose weights are so short that this has been seen
	blocked := false                 // a ReLU passes nothing at all, and that has been found
	for l := 1; l <= len(s.Net.Layers()); l++ {
		layer, cache := s.layer(l)
		_, out := layer.Widths()
		lh := LayerHealth{Layer: l, Kind: layer.Spec().Kind, Units: out, Update: math.NaN()}
		switch lh.Kind {
		case nn.KindReLU:
			lh.Dead = unitsWhere(cache.Out, 1, func(a float64) bool { return a == 0 })
			if n := len(lh.Dead); n > 0 && s.Rows() >= enoughExamples {
				blocked = blocked || n == out
				cause := "A ReLU whose pre-activation is never above 0 passes no gradient, so the cost does not change the weights before it."
				if lambda > 0 {
					cause = "A ReLU whose pre-activation is never above 0 passes no gradient, so nothing but the penalty changes the weights before it, towards 0."
				}
				find(l, fmt.Sprintf("%d of %d units of layer %d are 0 for all %d examples", n, out, l, s.Rows()), cause,
					"Units that were 0 from the start: other initial weights (he-normal, another seed). Units that died in training: a smaller learning rate. Both: batch normalisation before it.")
			}
		case nn.KindSigmoid:
			lh.Saturated = unitsWhere(cache.Out, nearlyAll, func(a float64) bool { return 4*a*(1-a) < passes })
		case nn.KindTanh:
			lh.Saturated = unitsWhere(cache.Out, nearlyAll, func(a float64) bool { return 1-a*a < passes })
		case nn.KindDense:
			lh.Gradient = rootMeanSquare(cache.GradOut.Data)
			w := s.part(l, "weight")
			length := rootMeanSquare(s.Before[s.params[w.Name]])
			if length > 0 {
				lh.Update = s.Rate * rootMeanSquare(w.Grad) / length
			}
			shrunk := pulled && length < short*math.Sqrt(2/float64(w.Shape[0]+w.Shape[1]))
			if shrunk {
				shortened++
			}
			dense = append(dense, lh)
			switch {
			case s.Rows() < enoughExamples: // the gradient of a few is larger than the mean of many
			case lh.Update > fast && lambda*length > rootMeanSquare(w.Grad)/2:
				find(l, fmt.Sprintf("one update moves the weights of layer %d by %.2g of their length", l, lh.Update),
					fmt.Sprintf("The penalty's λ·w, with λ %v, is most of the gradient that arrives here: the weights are pulled to 0.", lambda), "A smaller λ.")
			case lh.Update > fast && shrunk:
				find(l, fmt.Sprintf("one update moves the weights of layer %d by %.2g of their length", l, lh.Update),
					fmt.Sprintf("The weights are short: with λ %v the penalty takes %.2g of each away in every update.", lambda, s.Rate*lambda), "A smaller λ.")
			case lh.Update > fast:
				find(l, fmt.Sprintf("one update moves the weights of layer %d by %.2g of their length", l, lh.Update),
					"The learning rate is large for the gradients that arrive here.", "A learning rate some ten times smaller.")
			case lh.Update < slow && lh.Update > 0:
				find(l, fmt.Sprintf("one update moves the weights of layer %d by %.2g of their length", l, lh.Update),
					fmt.Sprintf("Hardly any gradient arrives at its %d units, or the learning rate is small.", out),
					"A larger learning rate; if only this layer is slow, batch normalisation or ReLU after it.")
			}
		}
		if n := len(lh.Saturated); n > 0 && s.Rows() >= enoughExamples {
			find(l, fmt.Sprintf("%d of %d units of layer %d are saturated for nearly all examples", n, out, l),
				"At the flat ends of "+lh.Kind+" the slope is nearly 0, so hardly any gradient passes.",
				"Smaller initial weights (glorot-normal), a smaller learning rate, or batch normalisation before it.")
		}
		h.Layers = append(h.Layers, lh)
	}
	if len(dense) > 1 {
		first, last := dense[0], dense[len(dense)-1]
		switch ratio := first.Gradient / last.Gradient; {
		case ratio < vanishing && last.Gradient > 0 && !blocked && shortened > 0:
			find(first.Layer, fmt.Sprintf("the gradient at layer %d is %.2g of that at layer %d: it vanishes on its way", first.Layer, ratio, last.Layer),
				fmt.Sprintf("Each layer scales the gradient by its weights, and with λ %v the penalty takes %.2g of each away in every update.", lambda, s.Rate*lambda),
				"A smaller λ.")
		case ratio < vanishing && last.Gradient > 0 && !blocked:
			find(first.Layer, fmt.Sprintf("the gradient at layer %d is %.2g of that at layer %d: it vanishes on its way", first.Layer, ratio, last.Layer),
				"Each layer scales the gradient by its weights and its slope; below 1, many layers leave nothing.",
				"Where the activation is sigmoid or tanh, ReLU; he-normal initial weights, or batch normalisation.")
		case ratio > exploding:
			find(first.Layer, fmt.Sprintf("the gradient at layer %d is %.2g times that at layer %d: it explodes on its way", first.Layer, ratio, last.Layer),
				"Each layer scales the gradient by its weights; above 1, it grows with every layer.",
				"Smaller initial weights, a smaller learning rate, or batch normalisation.")
		}
	}
	return h
}

// unitsWhere lists the columns of which at least that share of the rows satisfies is.
func unitsWhere[T matrix.Float](m matrix.Matrix[T], share float64, is func(v float64) bool) (units []int) {
	for j := range m.Cols {
		n := 0
		for i := range m.Rows {
			if is(float64(m.At(i, j))) {
				n++
			}
		}
		if float64(n) >= share*float64(m.Rows) {
			units = append(units, j)
		}
	}
	return units
}

func rootMeanSquare[T matrix.Float](v []T) float64 {
	var sum float64
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	return math.Sqrt(sum / float64(max(len(v), 1)))
}
