package studio

import (
	"cmp"
	"context"
	"math"
	"slices"

	"glassnet/dataset"
	"glassnet/explain"
	"glassnet/internal/usererr"
	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/train"
)

// network is a copy of a training's network as it was at some step, at either number
// type, with what trains it. It does not change.
type network interface {
	record(dataset.View) (explained, error)
	classify(image []byte) (logits, probabilities []float64)
	evaluate(name string, set *dataset.Set) *evaluated
	salient(ctx context.Context, image []byte, width, class int) (*explain.Saliency, error)
	activating(ctx context.Context, set *dataset.Set, layer, unit int) ([]explain.Activating, error)
	features() int
	classes() int
}

type typedNetwork[T matrix.Float] struct {
	net     *nn.Network[T]
	options explain.Options[T]
	steps   int // that have made it
}

// record makes the training's next step on any examples.
func (n typedNetwork[T]) record(view dataset.View) (explained, error) {
	s, err := explain.Record(n.net, view, n.options)
	if err != nil {
		return nil, err
	}
	return typedStep[T]{s, n.steps}, nil
}

func (n typedNetwork[T]) classify(image []byte) (logits, probabilities []float64) {
	trace := n.net.NewTrace(nn.TraceOptions{Batch: 1})
	z := n.net.ForwardPixels(trace, matrix.Pixels{Cols: len(image), Data: image, Index: []int32{0}}, nn.Eval).Row(0)
	p := make([]T, len(z))
	nn.Softmax(p, z)
	return matrix.Convert[float64](z), matrix.Convert[float64](p)
}

func (n typedNetwork[T]) features() int {
	in, _ := n.net.Widths()
	return in
}

func (n typedNetwork[T]) classes() int {
	_, out := n.net.Widths()
	return out
}

// guess is what a network takes an example for.
type guess struct {
	Example    int     `json:"example"`
	Label      int     `json:"label"`
	Predicted  int     `json:"predicted"`
	Confidence float64 `json:"confidence"` // probability of Predicted
}

// evaluated is how a network does on a set: the guesses in the order of the set.
type evaluated struct {
	steps     int
	cost      *float64 // nil when it is not finite
	accuracy  *float64
	confusion [][]int // [label][predicted]
	guesses   []guess
}

func (n typedNetwork[T]) evaluate(name string, set *dataset.Set) *evaluated {
	e := &evaluated{steps: n.steps, guesses: make([]guess, 0, set.Len())}
	e.confusion = make([][]int, n.classes())
	for c := range e.confusion {
		e.confusion[c] = make([]int, n.classes())
	}
	m := train.NewEvaluator(n.net, n.options.Loss, 1).Evaluate(dataset.All(set), func(i int, probabilities []T) {
		label, predicted := int(set.Labels[i]), nn.Argmax(probabilities)
		e.confusion[label][predicted]++
		e.guesses = append(e.guesses, guess{i, label, predicted, float64(probabilities[predicted])})
	})
	e.cost, e.accuracy = finite(m.Cost), finite(m.Accuracy)
	return e
}

// finite returns nil for what JSON has no number for.
func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// occlusionPatch is the side of the square that occlusion blanks.
const occlusionPatch = 4

func (n typedNetwork[T]) salient(ctx context.Context, image []byte, width, class int) (*explain.Saliency, error) {
	return explain.Salient(ctx, n.net, image, width, class, min(occlusionPatch, width), 1)
}

// mostActivating is how many examples are named for which a unit's output is largest.
const mostActivating = 12

func (n typedNetwork[T]) activating(ctx context.Context, set *dataset.Set, layer, unit int) ([]explain.Activating, error) {
	return explain.MaximallyActivating(ctx, n.net, dataset.All(set), layer, unit, mostActivating, 1)
}

// histogram counts values in equal parts of [Lo, Hi].
type histogram struct {
	Lo     float64 `json:"lo"`
	Hi     float64 `json:"hi"`
	Counts []int   `json:"counts"`
}

const bins = 32

func histogramOf[T matrix.Float](values []T) histogram {
	h := histogram{Counts: make([]int, bins)}
	if len(values) == 0 {
		return h
	}
	h.Lo, h.Hi = float64(slices.Min(values)), float64(slices.Max(values))
	for _, v := range values {
		i := 0
		if h.Hi > h.Lo {
			i = min(int((float64(v)-h.Lo)/(h.Hi-h.Lo)*bins), bins-1)
		}
		h.Counts[i]++
	}
	return h
}

// look is how a network fares on a batch of training examples.
type look struct {
	Training int               `json:"training"`
	Branch   int               `json:"branch"`
	Step     int               `json:"step"`
	Examples int               `json:"examples"`
	Cost     float64           `json:"cost"`
	Penalty  float64           `json:"penalty"`
	Accuracy float64           `json:"accuracy"`
	First    *firstWeights     `json:"first"` // nil when the first layer is not dense
	Layers   []layerLook       `json:"layers"`
	Findings []explain.Finding `json:"findings"`
}

// firstWeights are the incoming weights of some units of the first layer as images,
// one after the other: signed bytes, of which 127 is Largest.
type firstWeights struct {
	Units   []int   `json:"units"`
	Of      int     `json:"of"`
	Width   int     `json:"width"`
	Height  int     `json:"height"`
	Largest float64 `json:"largest"`
	Weights []byte  `json:"weights"`
}

type layerLook struct {
	Layer        int        `json:"layer"` // from 1
	Kind         string     `json:"kind"`
	Units        int        `json:"units"`
	Output       histogram  `json:"output"`
	Gradient     histogram  `json:"gradient"`      // dTotal/dOutput
	GradientNorm float64    `json:"gradient_norm"` // of the layer's parameters
	Weights      *histogram `json:"weights"`
	Update       *float64   `json:"update_over_weight"`
	Dead         int        `json:"dead"`
	Saturated    int        `json:"saturated"`
}

// mostImages is how many units' weights a look shows.
const mostImages = 64

func (s typedStep[T]) look() look {
	health := s.Health()
	l := look{
		Step: s.steps, Examples: s.Rows(), Cost: s.Cost.Data, Penalty: s.Cost.Penalty,
		Accuracy: float64(s.Cost.Correct) / float64(s.Rows()), Layers: []layerLook{}, Findings: health.Findings,
	}
	if l.Findings == nil {
		l.Findings = []explain.Finding{}
	}
	for i, cache := range s.Trace.Caches {
		h := health.Layers[i]
		one := layerLook{
			Layer: h.Layer, Kind: h.Kind, Units: h.Units, Output: histogramOf(cache.Out.Data), Gradient: histogramOf(cache.GradOut.Data),
			Update: finite(h.Update), Dead: len(h.Dead), Saturated: len(h.Saturated),
		}
		var squares float64
		for _, p := range s.Net.Layers()[i].Params() {
			if p.Role == nn.Statistic {
				continue
			}
			for _, g := range p.Grad {
				squares += float64(g) * float64(g)
			}
			if p.Role == nn.Weight {
				w := histogramOf(s.before(p))
				one.Weights = &w
				if i == 0 {
					l.First = imagesOf(s.before(p), p.Shape[1], s.Batch.Set)
				}
			}
		}
		one.GradientNorm = math.Sqrt(squares)
		l.Layers = append(l.Layers, one)
	}
	return l
}

// before returns the numbers of a parameter of s.Net before the update.
func (s typedStep[T]) before(p *nn.Param[T]) []T {
	return s.Before[slices.Index(s.Net.Params(), p)]
}

// imagesOf turns the columns of a weight [in, out] into images.
func imagesOf[T matrix.Float](w []T, out int, set *dataset.Set) *firstWeights {
	f := &firstWeights{Of: out, Width: set.Width, Height: set.Height}
	for _, v := range w {
		f.Largest = max(f.Largest, math.Abs(float64(v)))
	}
	for unit := range min(out, mostImages) {
		f.Units = append(f.Units, unit)
		for pixel := range set.Features() {
			level := 0.0
			if f.Largest > 0 {
				level = math.Round(127 * float64(w[pixel*out+unit]) / f.Largest)
			}
			f.Weights = append(f.Weights, byte(int8(level)))
		}
	}
	return f
}

// param are a parameter's numbers around a step: all of it, or those of one unit, which
// of a weight [in, out] is a column.
type param struct {
	Name     string    `json:"name"`
	Shape    []int     `json:"shape"`
	Unit     *int      `json:"unit"`
	Before   []float64 `json:"before"`
	Gradient []float64 `json:"gradient"`
	After    []float64 `json:"after"`
}

// mostOfParam is how many numbers of a parameter are sent at once.
const mostOfParam = 20_000

func (s typedStep[T]) param(name string, unit *int) (param, error) {
	i := slices.IndexFunc(s.Net.Params(), func(p *nn.Param[T]) bool { return p.Name == name })
	if i < 0 {
		return param{}, usererr.New("no parameter %.100q in this network", name)
	}
	p := s.Net.Params()[i]
	out := p.Shape[len(p.Shape)-1]
	switch {
	case unit == nil && len(p.Value) > mostOfParam:
		return param{}, usererr.New("%s has %d numbers: ask for those of one unit", name, len(p.Value))
	case unit != nil && (*unit < 0 || *unit >= out):
		return param{}, usererr.New("unit %d of %s, want 0 to %d", *unit, name, out-1)
	}
	first, stride := 0, 1
	if unit != nil {
		first, stride = *unit, out
	}
	pick := func(values []T) (picked []float64) {
		for i := first; i < len(values); i += stride {
			picked = append(picked, float64(values[i]))
		}
		return picked
	}
	answer := param{Name: name, Shape: p.Shape, Unit: unit, Before: pick(s.before(p)), After: pick(p.Value), Gradient: []float64{}}
	if p.Role != nn.Statistic {
		answer.Gradient = pick(p.Grad)
	}
	return answer, nil
}

// choose returns the guesses of a cell of the confusion matrix, a nil row or column being
// any, or with mistaken of the mistakes; by confidence, the most or the least sure first.
func (e *evaluated) choose(label, predicted *int, mistaken, leastFirst bool) []guess {
	chosen := []guess{}
	for _, g := range e.guesses {
		if (label == nil || g.Label == *label) && (predicted == nil || g.Predicted == *predicted) && (!mistaken || g.Label != g.Predicted) {
			chosen = append(chosen, g)
		}
	}
	slices.SortStableFunc(chosen, func(a, b guess) int {
		if leastFirst {
			a, b = b, a
		}
		return cmp.Compare(b.Confidence, a.Confidence)
	})
	return chosen
}
