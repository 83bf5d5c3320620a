package nn_test

import (
	"fmt"
	"log"
	"math"

	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/optim"
	"glassnet/random"
)

// prelu is a layer of one's own: y = x above 0 and slope·x below, with a slope for each
// feature that is trained (He, Zhang, Ren, Sun, "Delving Deep into Rectifiers", 2015).
type prelu[T matrix.Float] struct{ slope *nn.Param[T] }

func newPReLU[T matrix.Float](width int) *prelu[T] {
	p := &prelu[T]{nn.NewParam[T]("slope", nn.Scale, width)}
	for j := range p.slope.Value {
		p.slope.Value[j] = 0.25
	}
	return p
}

func (p *prelu[T]) Spec() nn.LayerSpec     { return nn.LayerSpec{Kind: "prelu"} }
func (p *prelu[T]) Params() []*nn.Param[T] { return []*nn.Param[T]{p.slope} }
func (p *prelu[T]) Widths() (in, out int)  { return len(p.slope.Value), len(p.slope.Value) }

func (p *prelu[T]) NewCache(o nn.CacheOptions) *nn.Cache[T] {
	in, out := p.Widths()
	return nn.NewCache[T](o, in, out)
}

func (p *prelu[T]) Forward(c *nn.Cache[T], x matrix.Matrix[T], mode nn.Mode) matrix.Matrix[T] {
	y := c.Begin(p, x, mode)
	for i := range x.Rows {
		for j, v := range x.Row(i) {
			y.Row(i)[j] = max(v, 0) + p.slope.Value[j]*min(v, 0)
		}
	}
	return y
}

// Backward computes dCost/dslope[j] = Σ_i g[i, j]·min(x[i, j], 0), and dCost/dx = g
// above 0 and slope·g below.
func (p *prelu[T]) Backward(c *nn.Cache[T], gradOut matrix.Matrix[T]) matrix.Matrix[T] {
	c.BeginBackward(p, gradOut)
	clear(p.slope.Grad)
	for i := range gradOut.Rows {
		for j, g := range gradOut.Row(i) {
			x := c.In.At(i, j)
			p.slope.Grad[j] += g * min(x, 0)
			if !c.WantsGradIn() {
				continue
			}
			if x <= 0 {
				g *= p.slope.Value[j]
			}
			c.GradIn.Row(i)[j] = g
		}
	}
	return c.GradIn
}

// smoothed is a loss of one's own: cross entropy with labels of which a share is spread
// over all classes (Szegedy et al., "Rethinking the Inception Architecture", 2016):
//
//	loss[i] = -Σ_j target[i, j]·ln p[i, j],  target = (1 - share)·[j = label] + share/classes
type smoothed[T matrix.Float] struct{ share T }

func (smoothed[T]) Name() string { return "smoothed_cross_entropy" }

func (s smoothed[T]) Forward(c *nn.LossCache[T], logits matrix.Matrix[T], labels []uint8) float64 {
	c.Begin(logits, labels)
	sums := c.Softmax()
	for i, label := range labels {
		z := logits.Row(i)
		top, mean := z[c.Predicted[i]], T(0) // mean of z - top
		for _, v := range z {
			mean += (v - top) / T(len(z))
		}
		c.Losses[i] = T(math.Log(float64(sums[i]))) - (1-s.share)*(z[label]-top) - s.share*mean
	}
	return c.Mean()
}

// Backward computes dCost/dz[i, j] = (p[i, j] - target[i, j]) / n.
func (s smoothed[T]) Backward(c *nn.LossCache[T]) matrix.Matrix[T] {
	g := c.BeginBackward()
	for i, label := range c.Labels {
		for j, p := range c.Probabilities.Row(i) {
			target := s.share / T(g.Cols)
			if j == int(label) {
				target += 1 - s.share
			}
			g.Row(i)[j] = (p - target) / T(g.Rows)
		}
	}
	return g
}

// A layer and a loss of one's own: "exclusive or" again. Both take part like those of this
// package; the methods of Cache and LossCache do what all have in common.
func Example_extended() {
	x := matrix.FromRows([]float64{0, 0}, []float64{0, 1}, []float64{1, 0}, []float64{1, 1})
	labels := []uint8{0, 1, 1, 0}

	net, err := nn.New(2, nn.Layer[float64](nn.NewDense[float64](2, 8)), newPReLU[float64](8), nn.NewDense[float64](8, 2))
	if err != nil {
		log.Fatal(err)
	}
	initialiser, err := nn.FindInitialiser("he-normal")
	if err != nil {
		log.Fatal(err)
	}
	nn.Initialise(net, initialiser, random.New(1, random.Init)) // leaves the slopes alone

	trace := net.NewTrace(nn.TraceOptions{Batch: 4, Backward: true})
	loss, cache := smoothed[float64]{0.1}, nn.NewLossCache[float64](4, 2)
	optimizer := optim.New(optim.SGD[float64]{}, net.Params(), 1)
	for step := range 401 {
		cost := loss.Forward(cache, net.Forward(trace, x, nn.Train), labels)
		net.Backward(trace, loss.Backward(cache))
		if step%200 == 0 {
			fmt.Printf("step %3d: cost %.4f, %d of 4 right\n", step, cost, cache.Correct())
		}
		if err := optimizer.Step(0.5); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Printf("%s is now %.2f\n", net.Params()[2].Name, net.Params()[2].Value[:4])
	// Output:
	// step   0: cost 0.6928, 3 of 4 right
	// step 200: cost 0.1985, 4 of 4 right
	// step 400: cost 0.1985, 4 of 4 right
	// 2.prelu.slope is now [0.12 0.06 0.24 -0.09]
}
