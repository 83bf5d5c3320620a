package explain

import (
	"math"
	"slices"
	"strings"

	"glassnet/internal/usererr"
	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/optim"
	"glassnet/random"
)

// Check compares a gradient with a finite difference of the cost, both in float64.
type Check struct {
	Ref      Ref     // grad(...)
	Analytic float64 // by the backward pass: the step's own, or that of its copy in float64
	Numeric  float64 // by differences of the cost in float64
	// Relative is |analytic - numeric| / max(|analytic|, |numeric|); 0 when both are 0.
	Relative float64
	Step     float64 // h: how far the number was moved to either side
	// Kink is true when some ReLU changed sides however little the number was moved: there
	// the cost has no derivative. It is true also where the cost bends so sharply that no
	// two distances measure the same slope, or is so large that its rounding is all that
	// the difference measures. Numeric then says nothing.
	Kink bool
}

// How far a gradient may be from its finite difference: AbsoluteTolerance, plus
// RelativeTolerance times the difference's magnitude.
const (
	AbsoluteTolerance = 1e-8
	RelativeTolerance = 1e-6
)

// Off reports whether the gradient is wrong: further from its finite difference than
// rounding explains, or compared with one that is not finite. Where Kink is true nothing can
// be said.
func (c Check) Off() bool {
	agrees := math.Abs(c.Analytic-c.Numeric) <= AbsoluteTolerance+RelativeTolerance*math.Abs(c.Numeric) // false of NaN
	return !c.Kink && (math.IsInf(c.Numeric, 0) || !agrees)
}

// sameSlope is how far, in parts of it, two measurements of one slope are from each other.
const sameSlope = 1e-3

// rounding is what the rounding of four costs can make of their difference, in parts of
// cost/h: each is off by a few units of its last place.
const rounding = 8 * 18.0 / 12 * 0x1p-53

// CheckText is a Check as files and the page have it.
type CheckText struct {
	Ref      string  `json:"ref"`
	Kind     string  `json:"kind"` // "dense.weight", "output of relu"
	Analytic float64 `json:"analytic"`
	Numeric  float64 `json:"numeric"`
	Relative float64 `json:"relative_difference"`
	Kink     bool    `json:"kink"`
	Off      bool    `json:"off"`
}

// CheckText puts a check of the step into words.
func (s *Step[T]) CheckText(c Check) CheckText {
	return CheckText{c.Ref.String(), s.KindOf(c.Ref), c.Analytic, c.Numeric, c.Relative, c.Kink, c.Off()}
}

// steps are the distances that are tried: a smaller one when a ReLU changes sides, and
// when what was measured is not the gradient, until two say the same.
var steps = []float64{1e-4, 1e-5, 1e-6, 1e-7}

// Check computes, for the number v that r names or of which it names the gradient,
// the difference of fourth order
//
//	dC/dv ≈ (8·(C(v+h) - C(v-h)) - (C(v+2h) - C(v-2h))) / 12h
//
// of C = cost + penalty, on a copy of the network in float64 with the parameters
// before the update, and compares it with the gradient of the backward pass: the step's
// in float64, else that of the copy, for the rounding of float32 would hide small
// faults. The parts that are kept as they were published have faulty gradients, and
// fail. It may be called from many goroutines.
func (s *Step[T]) Check(r Ref) (Check, error) {
	r = r.of(Gradient)
	if err := s.check(r); err != nil {
		return Check{}, err
	}
	if r.Kind != Output && r.Kind != Parameter {
		return Check{}, usererr.New("%s: want a parameter or an output of a layer", r)
	}
	s.checking.Lock()
	defer s.checking.Unlock()
	if s.checker == nil {
		var err error
		if s.checker, err = s.newChecker(); err != nil {
			return Check{}, err
		}
	}
	if own, double := any(s).(*Step[float64]); double {
		return s.checker.check(own.analytic(r), r), nil
	}
	return s.checker.check(s.checker.analytic(r), r), nil
}

func (s *Step[T]) analytic(r Ref) float64 {
	if r.Kind == Output {
		return s.gradOut(r.Layer, r.Example, r.Index[0]).Value
	}
	p := s.Net.Params()[s.params[r.Name]]
	return s.gradient(p, r.Index[:len(p.Shape)]...).Value
}

// checker computes the cost of a step's batch with one number moved.
type checker struct {
	net     *nn.Network[float64]
	trace   *nn.Trace[float64]
	loss    nn.Loss[float64]
	cache   *nn.LossCache[float64]
	penalty optim.Penalty[float64]
	pixels  matrix.Pixels
	labels  []uint8
	params  map[string]int
	gradOut []matrix.Matrix[float64] // by layer, of a step that is not in float64
}

func (s *Step[T]) newChecker() (*checker, error) {
	net, err := nn.Build[float64](s.Net.Architecture())
	if err != nil {
		return nil, err
	}
	for i, p := range net.Params() {
		copy(p.Value, matrix.Convert[float64](s.Before[i]))
	}
	loss, err := nn.NewLoss[float64](s.Options.Loss.Name())
	if err != nil {
		return nil, err
	}
	lambda, published := s.lambda()
	var penalty optim.Penalty[float64] = optim.L2[float64]{Lambda: lambda}
	if published {
		penalty = optim.PublishedL2[float64]{Lambda: lambda}
	}
	_, classes := net.Widths()
	c := &checker{
		net: net, loss: loss, penalty: penalty, params: s.params,
		trace:  net.NewTrace(nn.TraceOptions{Batch: s.Rows(), Threads: s.Threads}),
		cache:  nn.NewLossCache[float64](s.Rows(), classes),
		pixels: s.Batch.Pixels(), labels: s.Batch.CopyLabels(make([]uint8, s.Rows())),
	}
	if _, double := any(s).(*Step[float64]); !double {
		c.backward()
	}
	return c, nil
}

// backward makes the step's backward pass in float64.
func (c *checker) backward() {
	trace := c.net.NewTrace(nn.TraceOptions{Batch: len(c.labels), Backward: true})
	c.loss.Forward(c.cache, c.net.ForwardPixels(trace, c.pixels, nn.Train), c.labels)
	c.net.Backward(trace, c.loss.Backward(c.cache))
	c.penalty.Apply(c.net.Params(), nn.Train)
	for _, cache := range trace.Caches {
		c.gradOut = append(c.gradOut, cache.GradOut.Clone())
	}
}

func (c *checker) analytic(r Ref) float64 {
	if r.Kind == Output {
		return c.gradOut[r.Layer-1].At(r.Example, r.Index[0])
	}
	p := c.net.Params()[c.params[r.Name]]
	return p.Grad[offset(p, r.Index[:len(p.Shape)])]
}

func (c *checker) check(analytic float64, r Ref) Check {
	result := Check{Ref: r, Analytic: analytic, Kink: true}
	before := math.NaN() // what the larger distance measured
	for _, h := range steps {
		var sides [4][]bool
		var costs [4]float64
		for i, by := range []float64{h, -h, 2 * h, -2 * h} {
			costs[i], sides[i] = c.cost(r, by)
		}
		result.Step = h
		result.Numeric = (8*(costs[0]-costs[1]) - (costs[2] - costs[3])) / (12 * h)
		if equal(sides[2], sides[3]) && equal(sides[0], sides[2]) && equal(sides[1], sides[3]) {
			result.Kink = false
			if math.IsNaN(result.Numeric) || math.IsInf(result.Numeric, 0) {
				break
			}
			if noise := rounding * max(math.Abs(costs[0]), math.Abs(costs[1])) / h; result.Off() && math.Abs(result.Analytic-result.Numeric) <= noise {
				result.Kink = true
				break
			}
			same := math.Abs(result.Numeric-before) <= AbsoluteTolerance+sameSlope*math.Abs(result.Numeric)
			if !result.Off() || same {
				break
			}
			before, result.Kink = result.Numeric, true
		}
	}
	if size := max(math.Abs(result.Analytic), math.Abs(result.Numeric)); size > 0 {
		result.Relative = math.Abs(result.Analytic-result.Numeric) / size
	}
	return result
}

func equal(a, b []bool) bool {
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// cost returns cost and penalty with the number of r moved by h, and on which side of
// its corner each ReLU is.
func (c *checker) cost(r Ref, h float64) (cost float64, above []bool) {
	if r.Kind == Parameter {
		p := c.net.Params()[c.params[r.Name]]
		value := &p.Value[offset(p, r.Index[:len(p.Shape)])]
		was := *value
		*value += h
		defer func() { *value = was }()
	}
	var x matrix.Matrix[float64]
	for l, layer := range c.net.Layers() {
		cache := c.trace.Caches[l]
		if first, dense := layer.(*nn.Dense[float64]); dense && l == 0 {
			x = first.ForwardPixels(cache, c.pixels, nn.Train)
		} else {
			if l == 0 {
				x = matrix.Unpack(matrix.New[float64](c.pixels.Rows(), c.pixels.Cols), c.pixels)
			}
			if layer.Spec().Kind == nn.KindReLU {
				for _, v := range x.Data {
					above = append(above, v > 0)
				}
			}
			x = layer.Forward(cache, x, nn.Train)
		}
		if r.Kind == Output && r.Layer == l+1 {
			x.Row(r.Example)[r.Index[0]] += h
		}
	}
	return c.loss.Forward(c.cache, x, c.labels) + c.penalty.Apply(c.net.Params(), nn.Eval), above
}

// KindOf names what sort of gradient r is: "dense.weight", "output of relu".
func (s *Step[T]) KindOf(r Ref) string {
	if r.Kind == Output {
		layer, _ := s.layer(r.Layer)
		return "output of " + layer.Spec().Kind
	}
	_, kind, _ := strings.Cut(r.Name, ".")
	return kind
}

// SampleGradients draws up to perKind different gradients of each kind that the step
// has (see KindOf): kind after kind as they first occur in the network, at random
// within each.
func (s *Step[T]) SampleGradients(stream *random.Stream, perKind int) []Ref {
	all := map[string][]func(at int) Ref{} // by kind, one for each array of it
	size := map[string][]int{}
	var kinds []string
	add := func(r Ref, n int, ref func(at int) Ref) {
		kind := s.KindOf(r)
		if all[kind] == nil {
			kinds = append(kinds, kind)
		}
		all[kind], size[kind] = append(all[kind], ref), append(size[kind], n)
	}
	for l := range s.Net.Layers() {
		layer, _ := s.layer(l + 1)
		for _, p := range layer.Params() {
			if p.Role != nn.Statistic {
				ref := func(at int) Ref {
					if len(p.Shape) == 2 {
						return s.ref(p, []int{at / p.Shape[1], at % p.Shape[1]}).of(Gradient)
					}
					return s.ref(p, []int{at}).of(Gradient)
				}
				add(ref(0), len(p.Value), ref)
			}
		}
		_, width := layer.Widths()
		ref := func(at int) Ref {
			return Ref{Aspect: Gradient, Kind: Output, Layer: l + 1, Index: [2]int{at % width}, Example: at / width}
		}
		add(ref(0), width*s.Rows(), ref)
	}
	var refs []Ref
	for _, kind := range kinds {
		total := 0
		for _, n := range size[kind] {
			total += n
		}
		drawn := map[int]bool{}
		for len(drawn) < min(perKind, total) {
			at := stream.IntN(total)
			if drawn[at] {
				continue
			}
			drawn[at] = true
			i := 0
			for at >= size[kind][i] {
				at -= size[kind][i]
				i++
			}
			refs = append(refs, all[kind][i](at))
		}
	}
	return refs
}

// KnownFaults says in sentences which gradients of the step are wrong by themselves: those
// of the published normalisation and of the published penalty.
func (s *Step[T]) KnownFaults() (faults []string) {
	if leavesOut(s.Net) {
		faults = append(faults, "The published normalisation leaves its own derivative out.")
	}
	if lambda, published := s.lambda(); published && lambda > 0 {
		faults = append(faults, "The published L2 penalty, λ times the sum of all entries of WᵀW, changes gradients by λ·w, which is not its derivative.")
	}
	return faults
}

// leavesOut says whether a network has the published normalisation.
func leavesOut[T matrix.Float](net *nn.Network[T]) bool {
	return slices.ContainsFunc(net.Layers(), func(l nn.Layer[T]) bool { return l.Spec().Kind == nn.KindPublishedNorm })
}
