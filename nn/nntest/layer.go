package nntest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/random"
)

// Layer is a kind of layer to be checked.
type Layer struct {
	// New returns a new layer, each time of the same widths.
	New func() nn.Layer[float64]
	// New32 returns the same layer in float32, whose gradients are compared with
	// those in float64; nil leaves that out.
	New32 func() nn.Layer[float32]
	// MinTrain is the smallest batch that the layer can be trained with; 0 means 1.
	MinTrain int
	// Redraw reports whether the pass that c remembers came too close to a point
	// where the layer has no derivative or a very steep one for a finite
	// difference to mean anything. Such draws are replaced; nil keeps all.
	Redraw func(c *nn.Cache[float64]) bool
}

// NearCorner is the Redraw of a layer with a corner at 0, such as ReLU: some
// pre-activation is within 1e-3 of it.
func NearCorner(c *nn.Cache[float64]) bool {
	for _, v := range c.In.Data {
		if math.Abs(v) < 1e-3 {
			return true
		}
	}
	return false
}

// NarrowColumn is the Redraw of a layer that divides by the standard deviation
// of each feature over the batch: in a batch of two or more, some variance is
// below 0.01.
func NarrowColumn(c *nn.Cache[float64]) bool {
	return c.In.Rows > 1 && narrowRow(c.In.Transposed())
}

// NarrowRow is NarrowColumn for a layer that divides by the standard deviation
// of each example over its features.
func NarrowRow(c *nn.Cache[float64]) bool { return narrowRow(c.In) }

func narrowRow(m matrix.Matrix[float64]) bool {
	for r := range m.Rows {
		var sum, squares float64
		for _, v := range m.Row(r) {
			sum += v
			squares += v * v
		}
		n := float64(m.Cols)
		if squares/n-sum/n*sum/n < 0.01 {
			return true
		}
	}
	return false
}

// TestLayer fails t for everything that CheckLayer finds wrong.
func TestLayer(t testing.TB, l Layer) {
	t.Helper()
	r := CheckLayer(l)
	r.report(t)
}

// CheckLayer runs the suite that every layer must pass:
//
//   - gradients of every parameter and every input, behind a Dense layer whose
//     own gradients need the input gradient of l, for a random gradient from
//     above, in both modes, for batches of 1, 2 and 5, Seeds draws each;
//   - gradients in float32 against those in float64;
//   - what a pass may write, and that it depends on nothing but its arguments:
//     see the list of checks below.
func CheckLayer(l Layer) Result {
	var r Result
	for _, mode := range modes {
		for _, batch := range l.batches(mode) {
			for seed := range uint64(Seeds) {
				r.join(l.gradients(seed, batch, mode), fmt.Sprintf("%s, batch of %d, seed %d", modeNames[mode], batch, seed))
			}
		}
	}
	r.judge()
	if l.New32 != nil {
		for seed := range uint64(Seeds) {
			r.Norm32 = max(r.Norm32, l.norm32(seed))
		}
		if !(r.Norm32 <= maxNorm32) {
			r.fail("float32", fmt.Errorf("gradients differ from those in float64 by a relative norm of %.2g, want at most %.2g", r.Norm32, maxNorm32))
		}
	}
	for _, c := range layerChecks {
		r.fail(c.name, c.check(l))
	}
	if len(r.Failures) == 0 { // a layer known to write in Eval mode would be a data race
		r.fail("goroutines", l.checkGoroutines())
	}
	return r
}

var (
	modes     = []nn.Mode{nn.Eval, nn.Train}
	modeNames = map[nn.Mode]string{nn.Eval: "eval", nn.Train: "train"}
)

func (l Layer) batches(mode nn.Mode) []int {
	var sizes []int
	for _, b := range batchSizes {
		if mode == nn.Eval || b >= l.MinTrain {
			sizes = append(sizes, b)
		}
	}
	return sizes
}

// inputWidth is the number of features in front of the Dense layer that goes
// before the layer under test.
const inputWidth = 3

// draw is a random network of a Dense layer and the layer under test, a random
// batch, and the gradient from above.
type draw struct {
	net        *nn.Network[float64]
	trace      *nn.Trace[float64]
	x, gradOut matrix.Matrix[float64]
}

func (l Layer) draw(seed uint64, batch int, mode nn.Mode) draw {
	s := random.New(seed, fmt.Sprintf("nntest layer, batch of %d, mode %d", batch, mode))
	layer := l.New()
	in, out := layer.Widths()
	net, err := nn.New(inputWidth, nn.Layer[float64](nn.NewDense[float64](inputWidth, in)), layer)
	if err != nil {
		panic(err)
	}
	d := draw{net: net, trace: net.NewTrace(nn.TraceOptions{Batch: batch, Backward: true, GradIn: true})}
	for range 10000 {
		Randomise(net.Params(), s)
		d.x, d.gradOut = normal(s, batch, inputWidth, 1), normal(s, batch, out, 1)
		net.Forward(d.trace, d.x, mode)
		if l.Redraw == nil || !l.Redraw(d.trace.Caches[1]) {
			return d
		}
	}
	panic("nntest: Redraw refuses every draw")
}

// gradients compares all gradients of one draw, for the cost Σ gradOut·out.
func (l Layer) gradients(seed uint64, batch int, mode nn.Mode) Result {
	d := l.draw(seed, batch, mode)
	gradIn := d.net.Backward(d.trace, d.gradOut)
	input := &nn.Param[float64]{Name: "input", Value: d.x.Data, Grad: gradIn.Clone().Data}
	return Gradients(append([]*nn.Param[float64]{input}, d.net.Params()...), func() float64 {
		return dot(d.gradOut.Data, d.net.Forward(d.trace, d.x, mode).Data)
	})
}

// norm32 returns ‖g32 - g64‖/‖g64‖ over all gradients of a draw whose parameters
// and examples have been rounded to float32.
func (l Layer) norm32(seed uint64) float64 {
	const batch = 5
	d := l.draw(seed, batch, nn.Train)
	layer := l.New32()
	in, _ := layer.Widths()
	net, err := nn.New(inputWidth, nn.Layer[float32](nn.NewDense[float32](inputWidth, in)), layer)
	if err != nil {
		panic(err)
	}
	for i, p := range net.Params() {
		copy(p.Value, convert[float32](d.net.Params()[i].Value))
		copy(d.net.Params()[i].Value, convert[float64](p.Value))
	}
	x, gradOut := convertMatrix[float32](d.x), convertMatrix[float32](d.gradOut)
	trace := net.NewTrace(nn.TraceOptions{Batch: batch, Backward: true, GradIn: true})
	net.Forward(trace, x, nn.Train)
	got := convert[float64](net.Backward(trace, gradOut).Data)

	d.net.Forward(d.trace, convertMatrix[float64](x), nn.Train)
	want := append([]float64(nil), d.net.Backward(d.trace, convertMatrix[float64](gradOut)).Data...)
	for i, p := range net.Params() {
		got = append(got, convert[float64](p.Grad)...)
		want = append(want, d.net.Params()[i].Grad...)
	}
	return RelativeNorm(got, want)
}

// RelativeNorm returns ‖got - want‖/‖want‖.
func RelativeNorm(got, want []float64) float64 {
	difference := make([]float64, len(want))
	for i := range want {
		difference[i] = got[i] - want[i]
	}
	return math.Sqrt(dot(difference, difference) / dot(want, want))
}

// layerChecks are the checks of a layer on its own, without a network.
var layerChecks = []struct {
	name  string
	check func(l Layer) error
}{
	{"writes", Layer.checkWrites},
	{"cache", Layer.checkCache},
	{"repeat", Layer.checkRepeat},
	{"overwrite", Layer.checkOverwrite},
	{"short batch", Layer.checkShortBatch},
	{"rows", Layer.checkRows},
	{"allocations", Layer.checkAllocations},
	{"no room", Layer.checkNoRoom},
	{"shapes", Layer.checkShapes},
	{"spec", Layer.checkSpec},
}

// alone returns a random layer and a random batch with its gradient from above.
func (l Layer) alone(batch int) (layer nn.Layer[float64], x, gradOut matrix.Matrix[float64]) {
	s := random.New(1, "nntest layer alone")
	layer = l.New()
	Randomise(layer.Params(), s)
	in, out := layer.Widths()
	return layer, normal(s, batch, in, 1), normal(s, batch, out, 1)
}

// pass is all that a Forward and a Backward left.
type pass struct {
	out, gradIn matrix.Matrix[float64]
	kept        []nn.Kept[float64]
	grads       [][]float64
}

// run makes a pass and copies what it left.
func run(layer nn.Layer[float64], c *nn.Cache[float64], x, gradOut matrix.Matrix[float64], mode nn.Mode) pass {
	p := pass{out: layer.Forward(c, x, mode).Clone()}
	p.gradIn = layer.Backward(c, gradOut).Clone()
	for _, k := range c.Kept {
		p.kept = append(p.kept, nn.Kept[float64]{Name: k.Name, Value: k.Value.Clone()})
	}
	for _, param := range layer.Params() {
		p.grads = append(p.grads, append([]float64(nil), param.Grad...))
	}
	return p
}

// same returns an error unless p and want have the same bits throughout.
func (p pass) same(layer nn.Layer[float64], want pass) error {
	if err := sameMatrix("output", p.out, want.out); err != nil {
		return err
	}
	if err := sameMatrix("input gradient", p.gradIn, want.gradIn); err != nil {
		return err
	}
	for i, k := range p.kept {
		if err := sameMatrix(k.Name, k.Value, want.kept[i].Value); err != nil {
			return err
		}
	}
	for i, param := range layer.Params() {
		if err := sameBits("gradient of "+param.Name, p.grads[i], want.grads[i]); err != nil {
			return err
		}
	}
	return nil
}

// full is room for a whole pass of up to batch examples.
func full(batch int) nn.CacheOptions {
	return nn.CacheOptions{Batch: batch, Backward: true, GradIn: true}
}

// inModes calls check in Eval and in Train mode.
func inModes(check func(mode nn.Mode) error) error {
	for _, mode := range modes {
		if err := check(mode); err != nil {
			return fmt.Errorf("%s: %w", modeNames[mode], err)
		}
	}
	return nil
}

// checkWrites: a pass leaves its inputs and the trained parameters alone, in Eval
// mode the statistics too.
func (l Layer) checkWrites() error {
	return inModes(func(mode nn.Mode) error {
		layer, x, gradOut := l.alone(5)
		xBefore, gradBefore := x.Clone(), gradOut.Clone()
		var before [][]float64
		for _, p := range layer.Params() {
			before = append(before, append([]float64(nil), p.Value...))
		}
		run(layer, layer.NewCache(full(5)), x, gradOut, mode)
		if err := sameMatrix("input after the pass", x, xBefore); err != nil {
			return err
		}
		if err := sameMatrix("output gradient after the pass", gradOut, gradBefore); err != nil {
			return err
		}
		for i, p := range layer.Params() {
			if mode == nn.Train && p.Role == nn.Statistic {
				continue
			}
			if err := sameBits(p.Name+" after the pass", p.Value, before[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// checkCache: what a pass took and gave can be read in the cache, and nothing of
// the pass before is left in it.
func (l Layer) checkCache() error {
	layer, x, gradOut := l.alone(5)
	c := layer.NewCache(full(5))
	for range 2 {
		out := layer.Forward(c, x, nn.Train)
		if c.GradOut.Data != nil || c.GradIn.Data != nil {
			return fmt.Errorf("after Forward it still holds the gradients %v and %v of the pass before", c.GradOut, c.GradIn)
		}
		gradIn := layer.Backward(c, gradOut)
		for _, m := range []struct {
			what      string
			got, want matrix.Matrix[float64]
		}{{"In", c.In, x}, {"Out", c.Out, out}, {"GradOut", c.GradOut, gradOut}, {"GradIn", c.GradIn, gradIn}} {
			if err := sameMatrix(m.what, m.got, m.want); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkRepeat: the same pass again, and through another cache, gives the same bits.
func (l Layer) checkRepeat() error {
	return inModes(func(mode nn.Mode) error {
		layer, x, gradOut := l.alone(5)
		c := layer.NewCache(full(5))
		first := run(layer, c, x, gradOut, mode)
		if err := run(layer, c, x, gradOut, mode).same(layer, first); err != nil {
			return fmt.Errorf("second pass: %w", err)
		}
		if err := run(layer, layer.NewCache(full(5)), x, gradOut, mode).same(layer, first); err != nil {
			return fmt.Errorf("another cache: %w", err)
		}
		return nil
	})
}

// checkOverwrite: Backward overwrites whatever the gradients were.
func (l Layer) checkOverwrite() error {
	layer, x, gradOut := l.alone(5)
	c := layer.NewCache(full(5))
	first := run(layer, c, x, gradOut, nn.Train)
	for _, p := range layer.Params() {
		for i := range p.Grad {
			p.Grad[i] = 1000
		}
	}
	return run(layer, c, x, gradOut, nn.Train).same(layer, first)
}

// checkShortBatch: a cache with room for 5 that has seen 5 examples passes 3 as a
// cache made for 3 does.
func (l Layer) checkShortBatch() error {
	return inModes(func(mode nn.Mode) error {
		layer, x, gradOut := l.alone(5)
		c := layer.NewCache(full(5))
		run(layer, c, x, gradOut, mode)
		want := run(layer, layer.NewCache(full(3)), x.Head(3), gradOut.Head(3), mode)
		return run(layer, c, x.Head(3), gradOut.Head(3), mode).same(layer, want)
	})
}

// checkRows: in Eval mode an example's output does not depend on those beside it.
func (l Layer) checkRows() error {
	layer, x, _ := l.alone(5)
	together := layer.Forward(layer.NewCache(full(5)), x, nn.Eval)
	c := layer.NewCache(full(1))
	for i := range x.Rows {
		one := matrix.Matrix[float64]{Rows: 1, Cols: x.Cols, Data: x.Row(i)}
		alone := layer.Forward(c, one, nn.Eval).Data
		if err := sameBits(fmt.Sprintf("output of example %d among others", i), together.Row(i), alone); err != nil {
			return err
		}
	}
	return nil
}

// checkGoroutines: Eval passes through caches of their own may run at once. Under
// the race detector this finds shared scratch memory.
func (l Layer) checkGoroutines() error {
	layer, x, _ := l.alone(5)
	want := layer.Forward(layer.NewCache(nn.CacheOptions{Batch: 5}), x, nn.Eval).Clone()
	var errs [2]error
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() {
			errs[i] = sameMatrix("output of a concurrent pass", layer.Forward(layer.NewCache(nn.CacheOptions{Batch: 5}), x, nn.Eval), want)
		})
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (l Layer) checkAllocations() error {
	return inModes(func(mode nn.Mode) error {
		layer, x, gradOut := l.alone(5)
		c := layer.NewCache(full(5))
		return allocations(func() {
			layer.Forward(c, x, mode)
			layer.Backward(c, gradOut)
			layer.Forward(c, x.Head(3), mode)
			layer.Backward(c, gradOut.Head(3))
		})
	})
}

// checkNoRoom: without room for the input gradient, Backward returns none and
// computes the others all the same.
func (l Layer) checkNoRoom() error {
	layer, x, gradOut := l.alone(5)
	want := run(layer, layer.NewCache(full(5)), x, gradOut, nn.Train)
	want.gradIn = matrix.Matrix[float64]{}
	return run(layer, layer.NewCache(nn.CacheOptions{Batch: 5, Backward: true}), x, gradOut, nn.Train).same(layer, want)
}

// checkShapes: a matrix that does not fit panics with a text that names its shape
// and the one wanted.
func (l Layer) checkShapes() error {
	layer, x, gradOut := l.alone(5)
	c := layer.NewCache(full(5))
	layer.Forward(c, x, nn.Eval)
	forward := func(rows, cols int) func() {
		return func() { layer.Forward(layer.NewCache(full(5)), matrix.New[float64](rows, cols), nn.Eval) }
	}
	backward := func(rows, cols int) func() {
		return func() { layer.Backward(c, matrix.New[float64](rows, cols)) }
	}
	tests := []struct {
		name      string
		call      func()
		got, want string
	}{
		{"Forward of a feature too many", forward(5, x.Cols+1), shape(5, x.Cols+1), shape(5, x.Cols)},
		{"Forward of an example too many", forward(6, x.Cols), shape(6, x.Cols), shape(5, x.Cols)},
		{"Backward of a feature too many", backward(5, gradOut.Cols+1), shape(5, gradOut.Cols+1), shape(5, gradOut.Cols)},
		{"Backward of an example too few", backward(4, gradOut.Cols), shape(4, gradOut.Cols), shape(5, gradOut.Cols)},
	}
	for _, test := range tests {
		text := panicText(test.call)
		if !strings.Contains(text, test.got) || !strings.Contains(text, test.want) {
			return fmt.Errorf("%s panics with %q, want the shapes %s and %s", test.name, text, test.got, test.want)
		}
	}
	return nil
}

func shape(rows, cols int) string { return fmt.Sprintf("[%d, %d]", rows, cols) }

// checkSpec: a twin built from the description of a layer of package nn has the same widths
// and parameters; another layer does not go by a name of those.
func (l Layer) checkSpec() error {
	layer := l.New()
	in, out := layer.Widths()
	own, err := nn.New(in, layer)
	if err != nil {
		return err
	}
	if own.Buildable() != nil {
		if kind := layer.Spec().Kind; kind == "" || slices.Contains(nn.Kinds(), kind) {
			return fmt.Errorf("kind %q, want a name that no layer of package nn has", kind)
		}
		return nil
	}
	twins, err := nn.Build[float64](nn.Architecture{Input: in, Layers: []nn.LayerSpec{layer.Spec()}})
	if err != nil {
		return err
	}
	twin := twins.Layers()[0]
	if twinIn, twinOut := twin.Widths(); twinIn != in || twinOut != out || twin.Spec() != layer.Spec() {
		return fmt.Errorf("built from %+v: widths %d and %d, want %d and %d", layer.Spec(), twinIn, twinOut, in, out)
	}
	if len(twin.Params()) != len(layer.Params()) {
		return fmt.Errorf("built from %+v: %d parameters, want %d", layer.Spec(), len(twin.Params()), len(layer.Params()))
	}
	for i, p := range layer.Params() {
		if t := twin.Params()[i]; t.Role != p.Role || fmt.Sprint(t.Shape) != fmt.Sprint(p.Shape) {
			return fmt.Errorf("built from %+v: parameter %s has shape %v, want %v", layer.Spec(), t.Name, t.Shape, p.Shape)
		}
	}
	return nil
}
