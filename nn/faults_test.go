package nn_test

import (
	"math"
	"strings"
	"testing"

	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/nn/nntest"
	"glassnet/optim"
)

// A check that no fault can fail proves nothing. Each row of this table plants
// one fault in a right layer, loss, penalty or rule; the suite must catch it, by
// the check named, and must pass the twin without the fault.
func TestSuiteCatchesPlantedFaults(t *testing.T) {
	caught := 0
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			if r := f.check(false); len(r.Failures) != 0 {
				t.Errorf("the twin without the fault fails: %q", r.Failures)
			}
			for _, failure := range f.check(true).Failures {
				if strings.HasPrefix(failure, f.caughtBy+": ") {
					caught++
					t.Logf("%s", failure)
					return
				}
			}
			t.Errorf("not caught by %q; failures: %q", f.caughtBy, f.check(true).Failures)
		})
	}
	t.Logf("%d of %d caught", caught, len(faults))
}

var faults = []struct {
	name     string
	caughtBy string
	check    func(faulty bool) nntest.Result
}{
	{"dense: bias gradient dropped", "gradients", layerFault(dense(), fault{backward: func(d layer, c cache, g mat) mat {
		dx := d.Backward(c, g)
		clear(d.Params()[1].Grad)
		return dx
	}})},
	{"dense: bias gradient averaged once more", "gradients", layerFault(dense(), fault{backward: func(d layer, c cache, g mat) mat {
		dx := d.Backward(c, g)
		for j := range d.Params()[1].Grad {
			d.Params()[1].Grad[j] /= float64(g.Rows)
		}
		return dx
	}})},
	{"dense: input gradient by W instead of its transpose", "gradients", layerFault(squareDense(), fault{backward: func(d layer, c cache, g mat) mat {
		dx := d.Backward(c, g)
		w := d.Params()[0].Value
		for i := range dx.Rows {
			for p := range dx.Cols {
				dx.Row(i)[p] = 0
				for j, v := range g.Row(i) {
					dx.Row(i)[p] += v * w[j*dx.Cols+p]
				}
			}
		}
		return dx
	}})},
	{"dense: gradient added to the last one", "overwrite", layerFault(dense(), fault{backward: func(d layer, c cache, g mat) mat {
		var last [12]float64
		copy(last[:], d.Params()[0].Grad)
		dx := d.Backward(c, g)
		for i := range d.Params()[0].Grad {
			d.Params()[0].Grad[i] += last[i]
		}
		return dx
	}})},
	{"dense: a pass depends on the one before", "repeat", layerFault(dense(), fault{backward: func(d layer, c cache, g mat) mat {
		dx := d.Backward(c, g)
		for i := range dx.Data {
			dx.Data[i] += d.Params()[1].Value[0]
		}
		d.Params()[1].Value[0]++
		return dx
	}})},
	{"dense: Backward allocates", "allocations", layerFault(dense(), fault{backward: func(d layer, c cache, g mat) mat {
		return d.Backward(c, g.Clone())
	}})},
	{"dense: Forward writes to its input", "writes", layerFault(dense(), fault{forward: func(d layer, c cache, x mat, mode nn.Mode) mat {
		y := d.Forward(c, x, mode)
		x.Data[0] = 0
		return y
	}})},
	{"dense: gradient of the pass before left in the cache", "cache", layerFault(dense(), fault{forward: func(d layer, c cache, x mat, mode nn.Mode) mat {
		stale := c.GradIn
		y := d.Forward(c, x, mode)
		c.GradIn = stale
		return y
	}})},
	{"dense: the gradient from above returned where no input gradient is wanted", "no room", layerFault(dense(), fault{backward: func(d layer, c cache, g mat) mat {
		dx := d.Backward(c, g)
		if dx.Data == nil {
			return g
		}
		return dx
	}})},
	{"dense: shapes not checked", "shapes", layerFault(dense(), fault{forward: func(d layer, c cache, x mat, mode nn.Mode) mat {
		if x.Cols != 4 {
			panic("wrong shape")
		}
		return d.Forward(c, x, mode)
	}})},
	{"dense: gradients of float32 rounded to 12 bits", "float32", func(faulty bool) nntest.Result {
		l := dense()
		l.New32 = func() nn.Layer[float32] { return &coarse{nn.NewDense[float32](4, 3), faulty} }
		return nntest.CheckLayer(l)
	}},

	{"relu: mask on the gradient instead of the pre-activation", "gradients", layerFault(reLU(), fault{backward: func(a layer, c cache, g mat) mat {
		a.Backward(c, g)
		for i, v := range g.Data[:len(c.GradIn.Data)] {
			c.GradIn.Data[i] = max(v, 0)
		}
		return c.GradIn
	}})},
	{"relu: mask forgotten", "gradients", layerFault(reLU(), fault{backward: func(a layer, c cache, g mat) mat {
		a.Backward(c, g)
		copy(c.GradIn.Data, g.Data)
		return c.GradIn
	}})},
	{"tanh: 1 - x² instead of 1 - y²", "gradients", layerFault(tanh(), fault{backward: func(a layer, c cache, g mat) mat {
		a.Backward(c, g)
		for i := range c.GradIn.Data {
			c.GradIn.Data[i] = g.Data[i] * (1 - c.In.Data[i]*c.In.Data[i])
		}
		return c.GradIn
	}})},
	{"tanh: derivative at the activation instead of the pre-activation", "gradients", layerFault(tanh(), fault{backward: func(a layer, c cache, g mat) mat {
		a.Backward(c, g)
		for i := range c.GradIn.Data {
			y := math.Tanh(c.Out.Data[i])
			c.GradIn.Data[i] = g.Data[i] * (1 - y*y)
		}
		return c.GradIn
	}})},
	{"sigmoid: x(1 - x) instead of y(1 - y)", "gradients", layerFault(sigmoid(), fault{backward: func(a layer, c cache, g mat) mat {
		a.Backward(c, g)
		for i := range c.GradIn.Data {
			c.GradIn.Data[i] = g.Data[i] * c.In.Data[i] * (1 - c.In.Data[i])
		}
		return c.GradIn
	}})},
	{"sigmoid: reads what a longer batch left", "short batch", layerFault(sigmoid(), fault{forward: func(a layer, c cache, x mat, mode nn.Mode) mat {
		y := a.Forward(c, x, mode)
		if full := y.Data[:cap(y.Data)]; len(full) > len(y.Data) {
			y.Data[0] += full[len(y.Data)]
		}
		return y
	}})},

	{"batch norm: gradient without its mean term", "gradients", layerFault(batchNorm(), fault{backward: normGradient(false, true, true)})},
	{"batch norm: gradient without its variance term", "gradients", layerFault(batchNorm(), fault{backward: normGradient(true, false, true)})},
	{"batch norm: gradient without gamma", "gradients", layerFault(batchNorm(), fault{backward: normGradient(true, true, false)})},
	{"batch norm: unbiased variance normalises", "gradients", layerFault(batchNorm(), fault{forward: func(b layer, c cache, x mat, mode nn.Mode) mat {
		y := b.Forward(c, x, mode)
		if mode == nn.Eval {
			return y
		}
		unbiased := float64(x.Rows) / float64(x.Rows-1)
		gamma, beta := b.Params()[0].Value, b.Params()[1].Value
		variance, inverse, xHat := c.Kept[1].Value.Data, c.Kept[2].Value.Data, c.Kept[3].Value
		for j := range variance {
			inverse[j] = 1 / math.Sqrt(variance[j]*unbiased+1e-5)
			for i := range x.Rows {
				xHat.Row(i)[j] = (x.At(i, j) - c.Kept[0].Value.Data[j]) * inverse[j]
				y.Row(i)[j] = gamma[j]*xHat.At(i, j) + beta[j]
			}
		}
		return y
	}})},
	{"batch norm: batch statistics in evaluation", "rows", layerFault(batchNorm(), fault{forward: func(b layer, c cache, x mat, mode nn.Mode) mat {
		if mode == nn.Train || x.Rows == 1 {
			return b.Forward(c, x, mode)
		}
		mean, variance := b.Params()[2].Value, b.Params()[3].Value
		var keptMean, keptVariance [4]float64
		copy(keptMean[:], mean)
		copy(keptVariance[:], variance)
		y := b.Forward(c, x, nn.Train)
		copy(mean, keptMean[:])
		copy(variance, keptVariance[:])
		return y
	}})},
	{"batch norm: evaluation moves the running statistics", "writes", layerFault(batchNorm(), fault{forward: func(b layer, c cache, x mat, mode nn.Mode) mat {
		y := b.Forward(c, x, mode)
		b.Params()[2].Value[0] += 0.1
		return y
	}})},
	{"batch norm: gradient of training in evaluation", "gradients", layerFault(batchNorm(), fault{backward: func(b layer, c cache, g mat) mat {
		return normGradientIn(b, c, g, true, true, true, true)
	}})},
	{"the published normalisation: no derivative", "gradients", func(faulty bool) nntest.Result {
		l := publishedNorm()
		l.New32 = nil
		if !faulty {
			l.New = func() nn.Layer[float64] { return truePublishedNorm[float64]{nn.NewPublishedNorm[float64](4)} }
		}
		return nntest.CheckLayer(l)
	}},

	{"cross entropy: gradient without 1/N", "gradients", lossFault(lossTwin{backward: func(c lossCache, g mat) {
		for i := range g.Data {
			g.Data[i] *= float64(g.Rows)
		}
	}})},
	{"cross entropy: gradient of the softmax with the wrong sign", "gradients", lossFault(lossTwin{backward: func(c lossCache, g mat) {
		for i := range g.Data {
			g.Data[i] = -g.Data[i]
		}
	}})},
	{"cross entropy: gradient of the label's logit alone", "gradients", lossFault(lossTwin{backward: func(c lossCache, g mat) {
		for i, label := range c.Labels {
			for j := range g.Row(i) {
				if j != int(label) {
					g.Row(i)[j] = 0
				}
			}
		}
	}})},
	{"cross entropy: short batch divided by the full size", "short batch", lossFault(lossTwin{
		forward: func(c lossCache, cost float64) float64 {
			return cost * float64(len(c.Losses)) / float64(cap(c.Losses))
		},
		backward: func(c lossCache, g mat) {
			for i := range g.Data {
				g.Data[i] *= float64(len(c.Losses)) / float64(cap(c.Losses))
			}
		},
	})},
	{"cross entropy: sum instead of mean", "mean", lossFault(lossTwin{
		forward: func(c lossCache, cost float64) float64 { return cost * float64(len(c.Losses)) },
		backward: func(c lossCache, g mat) {
			for i := range g.Data {
				g.Data[i] *= float64(g.Rows)
			}
		},
	})},
	{"cross entropy: largest logit not subtracted", "large logits", lossFault(lossTwin{forward: func(c lossCache, cost float64) float64 {
		for i, label := range c.Labels {
			var sum float64
			for _, z := range c.Logits.Row(i) {
				sum += math.Exp(z)
			}
			if math.IsInf(sum, 0) || sum == 0 {
				c.Losses[i] = math.Log(sum) - c.Logits.At(i, int(label))
				return c.Losses[i]
			}
		}
		return cost
	}})},
	{"cross entropy: probabilities not divided by their sum", "probabilities", lossFault(lossTwin{forward: func(c lossCache, cost float64) float64 {
		for i := range c.Labels {
			p := c.Probabilities.Row(i)
			top := p[nn.Argmax(p)]
			for j := range p {
				p[j] /= top
			}
		}
		return cost
	}})},
	{"the published cross entropy: 1e-8 not in the gradient", "gradients", func(faulty bool) nntest.Result {
		if faulty {
			return nntest.CheckLoss(nntest.Loss{Loss: nn.PublishedCrossEntropy[float64]{}})
		}
		return nntest.CheckLoss(nntest.Loss{Loss: truePublishedCrossEntropy{}})
	}},

	{"L2: on biases too", "roles", penaltyFault(func(p *param, lambda float64, mode nn.Mode) float64 {
		if p.Role != nn.Bias {
			return 0
		}
		return addL2(p, lambda, lambda, mode)
	})},
	{"L2: gradient 2λw", "gradients", penaltyFault(func(p *param, lambda float64, mode nn.Mode) float64 {
		if p.Role == nn.Weight {
			addL2(p, lambda, lambda, mode)
		}
		return 0
	})},
	{"L2: gradient λw/N", "gradients", penaltyFault(func(p *param, lambda float64, mode nn.Mode) float64 {
		if p.Role == nn.Weight {
			addL2(p, lambda, lambda/5-lambda, mode)
		}
		return 0
	})},
	{"L2: gradient added in evaluation", "eval", penaltyFault(func(p *param, lambda float64, mode nn.Mode) float64 {
		if p.Role == nn.Weight && mode == nn.Eval {
			addL2(p, lambda, lambda, nn.Train)
		}
		return 0
	})},
	{"the published L2: sum of all entries of W·Wᵀ", "gradients", func(faulty bool) nntest.Result {
		if faulty {
			return nntest.CheckPenalty(optim.PublishedL2[float64]{Lambda: 0.1})
		}
		return nntest.CheckPenalty(optim.L2[float64]{Lambda: 0.1})
	}},

	{"a layer that goes by another's name", "spec", func(faulty bool) nntest.Result {
		l := dense()
		l.New32 = nil
		l.New = func() nn.Layer[float64] {
			if faulty {
				return alias{dense().New()}
			}
			return &layerTwin{layer: dense().New()}
		}
		return nntest.CheckLayer(l)
	}},

	{"sgd: wrong sign", "steps", ruleFault(func(value, grad []float64, rate float64, _ int) { step(value, grad, 2*rate) })},
	{"sgd: rate applied twice", "steps", ruleFault(func(value, grad []float64, rate float64, _ int) { step(value, grad, rate-rate*rate) })},
	{"sgd: step made twice", "steps", ruleFault(func(value, grad []float64, rate float64, _ int) { step(value, grad, -rate) })},
	{"sgd: rate falls with the step", "steps", ruleFault(func(value, grad []float64, rate float64, n int) { step(value, grad, rate-rate/float64(n)) })},
	{"sgd: gradient scaled by its norm", "elements", ruleFault(func(value, grad []float64, rate float64, _ int) {
		if len(grad) > 1 {
			step(value, grad, rate/2)
		}
	})},
	{"sgd: an overflow not told", "finite", ruleFault(func(value, _ []float64, _ float64, _ int) { value[0] = math.Inf(1) })},
	{"sgd: -0 stored", "zero", ruleFault(func(value, _ []float64, _ float64, _ int) {
		for i, v := range value {
			if v == 0 {
				value[i] = math.Copysign(0, -1)
			}
		}
	})},
	{"sgd: gradient cleared", "writes", ruleFault(func(_, grad []float64, _ float64, _ int) { clear(grad) })},
	{"sgd: state outside the slots", "state", ruleFault(func() func(value, grad []float64, rate float64, _ int) {
		var last float64
		return func(value, grad []float64, rate float64, n int) {
			if len(grad) > 1 && n > 1 && last == -3 {
				value[0] += last
			}
			last = grad[0]
		}
	}())},
}

type (
	layer     = nn.Layer[float64]
	cache     = *nn.Cache[float64]
	lossCache = *nn.LossCache[float64]
	mat       = matrix.Matrix[float64]
	param     = nn.Param[float64]
)

// fault replaces a layer's passes; nil leaves one as it is.
type fault struct {
	forward  func(l layer, c cache, x mat, mode nn.Mode) mat
	backward func(l layer, c cache, gradOut mat) mat
}

type layerTwin struct {
	layer
	fault
}

func (l *layerTwin) Spec() nn.LayerSpec { return nn.LayerSpec{Kind: "twin of " + l.layer.Spec().Kind} }

func (l *layerTwin) Forward(c cache, x mat, mode nn.Mode) mat {
	if l.forward != nil {
		return l.forward(l.layer, c, x, mode)
	}
	return l.layer.Forward(c, x, mode)
}

func (l *layerTwin) Backward(c cache, gradOut mat) mat {
	if l.backward != nil {
		return l.backward(l.layer, c, gradOut)
	}
	return l.layer.Backward(c, gradOut)
}

func layerFault(right nntest.Layer, f fault) func(faulty bool) nntest.Result {
	return func(faulty bool) nntest.Result {
		l := right
		l.New32 = nil
		l.New = func() nn.Layer[float64] {
			if faulty {
				return &layerTwin{right.New(), f}
			}
			return &layerTwin{layer: right.New()}
		}
		return nntest.CheckLayer(l)
	}
}

// alias is a layer of another package that goes by the name of one of nn's.
type alias struct{ layer }

func (alias) Spec() nn.LayerSpec { return nn.LayerSpec{Kind: nn.KindDense} } // Build would want units

func squareDense() nntest.Layer {
	return nntest.Layer{New: func() nn.Layer[float64] { return nn.NewDense[float64](4, 4) }}
}

// coarse keeps 12 bits of each gradient.
type coarse struct {
	nn.Layer[float32]
	faulty bool
}

func (l *coarse) Backward(c *nn.Cache[float32], gradOut matrix.Matrix[float32]) matrix.Matrix[float32] {
	dx := l.Layer.Backward(c, gradOut)
	if l.faulty {
		for i, v := range l.Params()[0].Grad {
			l.Params()[0].Grad[i] = math.Float32frombits(math.Float32bits(v) &^ (1<<12 - 1))
		}
	}
	return dx
}

// normGradient is batch normalisation's input gradient with terms left out.
func normGradient(mean, variance, gamma bool) func(b layer, c cache, g mat) mat {
	return func(b layer, c cache, g mat) mat {
		// Of a Train pass the batch mean of x̂ is 0; of an Eval pass it is not.
		var sum float64
		for i := range g.Rows {
			sum += c.Kept[3].Value.At(i, 0)
		}
		return normGradientIn(b, c, g, mean, variance, gamma, math.Abs(sum) < 1e-9)
	}
}

func normGradientIn(b layer, c cache, g mat, mean, variance, gamma, train bool) mat {
	dx := b.Backward(c, g)
	n := float64(g.Rows)
	inverse, xHat := c.Kept[2].Value.Data, c.Kept[3].Value
	for i := range dx.Rows {
		for j, d := range g.Row(i) {
			if train && mean {
				d -= b.Params()[1].Grad[j] / n
			}
			if train && variance {
				d -= xHat.At(i, j) * b.Params()[0].Grad[j] / n
			}
			if gamma {
				d *= b.Params()[0].Value[j]
			}
			dx.Row(i)[j] = d * inverse[j]
		}
	}
	return dx
}

// lossTwin spoils the cost and the gradient of CrossEntropy.
type lossTwin struct {
	nn.CrossEntropy[float64]
	forward  func(c lossCache, cost float64) float64
	backward func(c lossCache, g mat)
}

func (l lossTwin) Forward(c lossCache, logits mat, labels []uint8) float64 {
	cost := l.CrossEntropy.Forward(c, logits, labels)
	if l.forward != nil {
		cost = l.forward(c, cost)
	}
	return cost
}

func (l lossTwin) Backward(c lossCache) mat {
	g := l.CrossEntropy.Backward(c)
	if l.backward != nil {
		l.backward(c, g)
	}
	return g
}

func lossFault(twin lossTwin) func(faulty bool) nntest.Result {
	return func(faulty bool) nntest.Result {
		if faulty {
			return nntest.CheckLoss(nntest.Loss{Loss: twin})
		}
		return nntest.CheckLoss(nntest.Loss{Loss: lossTwin{}})
	}
}

// penaltyTwin adds something of its own to L2.
type penaltyTwin struct {
	optim.L2[float64]
	also func(p *param, lambda float64, mode nn.Mode) float64
}

func (l penaltyTwin) Apply(params []*param, mode nn.Mode) float64 {
	cost := l.L2.Apply(params, mode)
	if l.also != nil {
		for _, p := range params {
			cost += l.also(p, l.Lambda, mode)
		}
	}
	return cost
}

// addL2 returns lambda/2·Σ w² and adds slope·w to the gradient.
func addL2(p *param, lambda, slope float64, mode nn.Mode) float64 {
	var squares float64
	for i, w := range p.Value {
		squares += w * w
		if mode == nn.Train {
			p.Grad[i] += slope * w
		}
	}
	return lambda / 2 * squares
}

func penaltyFault(also func(p *param, lambda float64, mode nn.Mode) float64) func(faulty bool) nntest.Result {
	return func(faulty bool) nntest.Result {
		twin := penaltyTwin{L2: optim.L2[float64]{Lambda: 0.1}}
		if faulty {
			twin.also = also
		}
		return nntest.CheckPenalty(twin)
	}
}

// ruleTwin does something after the update of SGD.
type ruleTwin struct {
	optim.SGD[float64]
	also func(value, grad []float64, rate float64, step int)
}

func (r ruleTwin) Update(value, grad []float64, slots [][]float64, rate float64, step int) bool {
	finite := r.SGD.Update(value, grad, slots, rate, step)
	if r.also != nil {
		r.also(value, grad, rate, step)
	}
	return finite
}

func step(value, grad []float64, a float64) {
	for i, g := range grad {
		value[i] += a * g
	}
}

func ruleFault(also func(value, grad []float64, rate float64, step int)) func(faulty bool) nntest.Result {
	return func(faulty bool) nntest.Result {
		twin := ruleTwin{SGD: optim.SGD[float64]{}}
		if faulty {
			twin.also = also
		}
		return nntest.CheckRule(twin, []float64{0.9, 0.81, 0.729})
	}
}
