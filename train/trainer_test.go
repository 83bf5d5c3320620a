package train_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"glassnet/dataset"
	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/optim"
	"glassnet/random"
	"glassnet/train"
)

// A network with many outputs is evaluated few examples at a time, with the same bits.
func TestEvaluateWideNetworks(t *testing.T) {
	all := dataset.All(images(200, 5, 4, 1))
	net := network[float32](t, describe(false, 25, 70000, 4), 1)
	if n := net.Together(256); n >= 128 || n < 100 {
		t.Fatalf("%d examples together in a network of 140004 outputs", n)
	}
	evaluator := train.NewEvaluator(net, nn.Loss[float32](nn.CrossEntropy[float32]{}), 1)
	var probabilities [][]float32
	whole := evaluator.Evaluate(all, func(_ int, p []float32) { probabilities = append(probabilities, slices.Clone(p)) })
	right := 0.0
	for i := range all.Len() {
		one := evaluator.Evaluate(all.Slice(i, i+1), func(_ int, p []float32) {
			if !slices.Equal(p, probabilities[i]) {
				t.Errorf("example %d has other probabilities alone", i)
			}
		})
		right += one.Accuracy
	}
	if len(probabilities) != 200 || whole.Accuracy != right/200 {
		t.Errorf("%d examples, accuracy %v, one by one %v", len(probabilities), whole.Accuracy, right/200)
	}
}

func TestNewRefuses(t *testing.T) {
	plain, normed := network[float32](t, describe(false, 4, 3, 2), 1), network[float32](t, describe(true, 4, 3, 2), 1)
	tests := []struct {
		name   string
		net    *nn.Network[float32]
		change func(o *train.Options[float32])
		want   string
	}{
		{"rate 0", plain, func(o *train.Options[float32]) { o.Rate = 0 }, "learning rate 0, want a finite number > 0"},
		{"negative rate", plain, func(o *train.Options[float32]) { o.Rate = -1 }, "learning rate -1"},
		{"rate NaN", plain, func(o *train.Options[float32]) { o.Rate = math.NaN() }, "learning rate NaN"},
		{"infinite rate", plain, func(o *train.Options[float32]) { o.Rate = math.Inf(1) }, "learning rate +Inf"},
		{"rate 0 in float32", plain, func(o *train.Options[float32]) { o.Rate = 1e-50 }, "learning rate 1e-50, want a finite number > 0, as float32 too"},
		{"rate infinite in float32", plain, func(o *train.Options[float32]) { o.Rate = 1e39 }, "learning rate 1e+39"},
		{"huge batch", plain, func(o *train.Options[float32]) { o.Batch = math.MaxInt }, "examples, want 1 to 16777216"},
		{"batch 0", plain, func(o *train.Options[float32]) { o.Batch = 0 }, "batch of 0 examples, want 1 to 16777216"},
		{"batch 1 with batch norm", normed, func(o *train.Options[float32]) { o.Batch = 1 }, "batch of 1 example has no variance to normalise with, want 2 or more with batch normalisation"},
		{"looks", plain, func(o *train.Options[float32]) { o.LookEvery = -1 }, "a look every -1 steps, want 0 or more"},
		{"threads", plain, func(o *train.Options[float32]) { o.Threads = -1 }, "-1 threads, want 0 or more"},
	}
	for _, test := range tests {
		o := options[float32](0.1, 2)
		test.change(&o)
		_, err := train.New(test.net, o)
		wantUserError(t, test.name, err, test.want)
	}
	for i := range 3 {
		o := options[float32](0.1, 2)
		switch i {
		case 0:
			o.Loss = nil
		case 1:
			o.Penalty = nil
		case 2:
			o.Rule = nil
		}
		if _, err := train.New(plain, o); err == nil || err.Error() != "train.New: Loss, Penalty and Rule must all be given" {
			t.Errorf("New without one of the three: error %v", err)
		}
	}
	o := options[float32](0.1, 1)
	if _, err := train.New(plain, o); err != nil {
		t.Errorf("New with batch 1 and no batch norm: %v", err)
	}
}

// A step is forward, backward, penalty and update, and returns the cost before it.
func TestStep(t *testing.T) {
	set := images(6, 3, 3, 1)
	view := dataset.All(set).Slice(1, 5)
	net, twin := network[float64](t, describe(false, 9, 5, 3), 1), network[float64](t, describe(false, 9, 5, 3), 1)
	o := options[float64](0.5, 4)
	o.Penalty = optim.L2[float64]{Lambda: 0.1}
	tr := newTrainer(t, net, o)
	got, err := tr.Step(view)
	if err != nil {
		t.Fatal(err)
	}

	x := matrix.Unpack(matrix.New[float64](4, 9), view.Pixels())
	labels := view.CopyLabels(make([]uint8, 4))
	trace, cache := twin.NewTrace(nn.TraceOptions{Batch: 4, Backward: true}), nn.NewLossCache[float64](4, 3)
	loss := nn.CrossEntropy[float64]{}
	want := train.Cost{Data: loss.Forward(cache, twin.Forward(trace, x, nn.Train), labels), Correct: cache.Correct()}
	twin.Backward(trace, loss.Backward(cache))
	var squares float64
	for _, p := range twin.Params() {
		for i, w := range p.Value {
			if p.Role == nn.Weight {
				squares += w * w
				p.Grad[i] += 0.1 * w
			}
			p.Value[i] = w - 0.5*p.Grad[i]
		}
	}
	want.Penalty = 0.05 * squares
	if got.Data != want.Data || got.Correct != want.Correct || !near(got.Penalty, want.Penalty, 1e-15) {
		t.Errorf("Step gives %+v, want %+v", got, want)
	}
	for i, v := range values(twin) {
		if w := values(net)[i]; !near(w, v, 1e-15) {
			t.Fatalf("parameter %d is %v after the step, want %v", i, w, v)
		}
	}
	if c := tr.Trace().Caches[0]; !slices.Equal(c.Pixels.Index, view.Index) || c.Out.Rows != 4 {
		t.Errorf("the trace's first cache holds images %v and %v, want the batch", c.Pixels.Index, c.Out)
	}
}

// A step allocates nothing: the batch gathered from bytes, every layer, the loss,
// the penalty and the update, on one thread and on two, for full and short
// batches.
func TestStepAllocatesNothing(t *testing.T) {
	t.Run("float32", testStepAllocatesNothing[float32])
	t.Run("float64", testStepAllocatesNothing[float64])
}

func testStepAllocatesNothing[T matrix.Float](t *testing.T) {
	view := dataset.All(images(16+7, 28, 10, 1))
	for _, test := range []struct {
		name   string
		net    nn.Architecture
		lambda float64
	}{
		{"784-20-7-5-10", describe(false, 784, 20, 7, 5, 10), 0},
		{"784-512-256-10", describe(false, 784, 512, 256, 10), 0},
		{"784-64-32-10 with batch norm and L2", describe(true, 784, 64, 32, 10), 1e-3},
	} {
		for threads := 1; threads <= 2; threads++ {
			o := options[T](0.001, 16)
			o.Penalty, o.Threads = optim.L2[T]{Lambda: test.lambda}, threads
			tr := newTrainer(t, network[T](t, test.net, 1), o)
			for range train.PacedAfter { // by all threads and by one: the scratch memory of both grows
				if _, err := tr.Step(view.Slice(0, 16)); err != nil {
					t.Fatal(err)
				}
			}
			tries := 1
			if threads > 1 { // what a late thread needs grows the first time that it comes to the work
				tries = 100
			}
			n := 1.0
			for ; n != 0 && tries > 0; tries-- {
				n = testing.AllocsPerRun(1, func() { // of one run all are counted, of several the whole part of their mean
					for range 10 {
						for _, batch := range []dataset.View{view.Slice(0, 16), view.Slice(16, 23)} {
							if _, err := tr.Step(batch); err != nil {
								t.Fatal(err)
							}
						}
					}
				})
			}
			if n != 0 {
				t.Errorf("%s on %d threads: ten full and short steps make %v allocations, want 0", test.name, threads, n)
			}
		}
	}
}

// The number of threads does not change a bit, nor does running twice.
func TestSameBitsOnAnyNumberOfThreads(t *testing.T) {
	t.Run("float32", testSameBits[float32])
	t.Run("float64", testSameBits[float64])
}

func testSameBits[T matrix.Float](t *testing.T) {
	all := dataset.All(images(400, 28, 10, 1))
	after := func(threads int) ([]T, train.Look) {
		net := network[T](t, describe(true, 784, 32, 16, 10), 1)
		o := options[T](0.1, 32)
		o.Penalty, o.Threads, o.Shuffle = optim.L2[T]{Lambda: 1e-3}, threads, random.New(1, random.Shuffle)
		tr := newTrainer(t, net, o)
		var last train.Look
		for look, err := range tr.Epochs(context.Background(), 3, all.Slice(0, 310), all.Slice(310, 400)) {
			if err != nil {
				t.Fatal(err)
			}
			last = look
		}
		return values(net), last
	}
	want, wantLook := after(1)
	if wantLook.Step != 30 {
		t.Fatalf("%d steps, want 30", wantLook.Step)
	}
	for _, threads := range []int{1, 2, 3} {
		got, look := after(threads)
		if !slices.Equal(got, want) {
			t.Errorf("after 30 steps on %d threads the parameters differ from those on 1", threads)
		}
		if look != wantLook {
			t.Errorf("on %d threads the last look is %+v, want %+v", threads, look, wantLook)
		}
	}
}

// One cost of an epoch is the mean over its examples, whatever the size of the
// last batch.
func TestEpochCostIsTheMeanOverExamples(t *testing.T) {
	set := images(37, 5, 4, 1)
	net := network[float64](t, describe(false, 25, 8, 4), 1)
	want := train.NewEvaluator(net, nn.Loss[float64](nn.CrossEntropy[float64]{}), 1).Evaluate(dataset.All(set), nil)
	before := values(net, nn.Weight)
	for _, batch := range []int{1, 5, 36, 37, 100} {
		tr := newTrainer(t, net, options[float64](still, batch))
		for look, err := range tr.Epochs(context.Background(), 1, dataset.All(set), dataset.View{}) {
			if err != nil {
				t.Fatal(err)
			}
			if !near(look.TrainCost, want.Cost, 1e-12) || look.TrainAccuracy != want.Accuracy {
				t.Errorf("batch of %d: cost and accuracy of the epoch %v, %v; want the mean over the examples %v, %v",
					batch, look.TrainCost, look.TrainAccuracy, want.Cost, want.Accuracy)
			}
			if steps := (37 + batch - 1) / batch; look.Step != steps {
				t.Errorf("batch of %d: %d steps, want %d", batch, look.Step, steps)
			}
			if !math.IsNaN(look.Validation.Cost) || !math.IsNaN(look.Validation.Accuracy) {
				t.Errorf("validation %+v without a validation set, want NaN", look.Validation)
			}
		}
	}
	if !slices.Equal(values(net, nn.Weight), before) {
		t.Fatal("the weights moved: the test is void")
	}
}

// With batch normalisation a last batch of one example is left out; without, it
// is trained.
func TestLastBatchOfOne(t *testing.T) {
	for _, test := range []struct {
		batchNorm       bool
		examples, batch int
		steps           int
	}{
		{true, 65, 64, 1}, {true, 129, 64, 2}, {true, 66, 64, 2}, {true, 64, 64, 1}, {true, 3, 2, 1}, {true, 2, 64, 1},
		{false, 65, 64, 2}, {false, 3, 2, 2}, {false, 1, 64, 1}, {false, 3, 1, 3},
	} {
		net := network[float32](t, describe(test.batchNorm, 9, 5, 3), 1)
		tr := newTrainer(t, net, options[float32](0.1, test.batch))
		steps := 0
		for look, err := range tr.Epochs(context.Background(), 1, dataset.All(images(test.examples, 3, 3, 1)), dataset.View{}) {
			if err != nil {
				t.Fatalf("%+v: %v", test, err)
			}
			steps = look.Step
		}
		if steps != test.steps {
			t.Errorf("batch norm %v, %d examples in batches of %d: %d steps, want %d", test.batchNorm, test.examples, test.batch, steps, test.steps)
		}
	}
	net := network[float32](t, describe(true, 9, 5, 3), 1)
	m := train.NewEvaluator(net, nn.Loss[float32](nn.CrossEntropy[float32]{}), 1).Evaluate(dataset.All(images(1, 3, 3, 1)), nil)
	if math.IsNaN(m.Cost) {
		t.Errorf("evaluating one example with batch norm: %+v", m)
	}
}

// A learning rate of a million does not last long. The step that fails leaves all
// that is trained as it was; the running statistics have seen its batch.
func TestDivergence(t *testing.T) {
	set := images(64, 5, 4, 1)
	for _, batchNorm := range []bool{false, true} {
		net := network[float32](t, describe(batchNorm, 25, 16, 16, 4), 1)
		o := options[float32](1e6, 16)
		o.Penalty = optim.L2[float32]{Lambda: 1e-3}
		tr := newTrainer(t, net, o)
		var before []float32
		var err error
		step := 0
		for err == nil && step < 1000 {
			before = values(net, trained...)
			step++
			_, err = tr.Step(dataset.All(set).Slice(step%4*16, step%4*16+16))
		}
		var diverged *train.DivergedError
		if !errors.As(err, &diverged) {
			t.Fatalf("batch norm %v: no divergence after %d steps, error %v", batchNorm, step, err)
		}
		if diverged.Rate != 1e6 || diverged.Step != step {
			t.Errorf("batch norm %v: %+v, want step %d and rate 1e6", batchNorm, diverged, step)
		}
		if strings.Contains(err.Error(), "the cost of the batch") && !slices.Equal(values(net, trained...), before) {
			t.Errorf("batch norm %v: the step that failed (%v) changed parameters", batchNorm, err)
		}
		t.Logf("batch norm %v: %v", batchNorm, err)
	}
}

// A step whose cost is finite may lead to parameters that are not. The error names the first,
// on the first step, which updates behind all gradients, and on those after it.
func TestDivergenceOfParameters(t *testing.T) {
	set := images(64, 5, 4, 1)
	for _, first := range []bool{true, false} {
		for _, threads := range []int{1, 2} {
			net := network[float32](t, describe(false, 25, 16, 4), 1)
			o := options[float32](0.1, 64)
			o.Threads = threads
			tr := newTrainer(t, net, o)
			step := 1
			if !first {
				if _, err := tr.Step(dataset.All(set)); err != nil {
					t.Fatal(err)
				}
				step++
			}
			for i := range net.Params()[1].Value {
				net.Params()[1].Value[i] = 1000 // bias of the hidden units, whose weights then have large gradients
			}
			tr.SetRate(3e38)
			_, err := tr.Step(dataset.All(set))
			var diverged *train.DivergedError
			if !errors.As(err, &diverged) || diverged.Step != step {
				t.Fatalf("first %v, %d threads: error %v, want divergence at step %d", first, threads, err, step)
			}
			for _, p := range net.Params() {
				if !matrix.Finite(p.Value) {
					if want := p.Name + " is not finite after the update"; diverged.What != want {
						t.Errorf("first %v, %d threads: %q, want %q", first, threads, diverged.What, want)
					}
					break
				}
			}
		}
	}
}

// darken makes the first two pixels of all images 0: a pair, whose weights no batch moves.
func darken(set *dataset.Set) {
	for i := 0; i < len(set.Pixels); i += set.Width * set.Height {
		set.Pixels[i], set.Pixels[i+1] = 0, 0
	}
}

// A parameter of -0 becomes +0 in the first step, and in the next one after somebody has
// written it, also where no pixel is lit; one that is not finite is seen there.
func TestParametersWritten(t *testing.T) {
	set := images(64, 5, 4, 1)
	darken(set)
	net := network[float32](t, describe(false, 25, 16, 4), 1)
	tr := newTrainer(t, net, options[float32](0.1, 64))
	dark := &net.Params()[0].Value[0]
	for _, when := range []string{"before the first step", "between steps"} {
		*dark = float32(math.Copysign(0, -1))
		tr.ParametersWritten()
		if _, err := tr.Step(dataset.All(set)); err != nil {
			t.Fatal(err)
		}
		if bits := math.Float32bits(*dark); bits != 0 {
			t.Errorf("%s: -0 has bits %#x after the step, want those of +0", when, bits)
		}
		if _, err := tr.Step(dataset.All(set)); err != nil {
			t.Fatal(err)
		}
	}
	*dark = float32(math.NaN())
	tr.ParametersWritten()
	if _, err := tr.Step(dataset.All(set)); err == nil || !strings.Contains(err.Error(), "1.dense.weight is not finite") {
		t.Errorf("a weight that is no number: error %v", err)
	}
}

// A Trainer that nobody told makes its first step as if somebody had written.
func TestFirstStepLooksAtAllParameters(t *testing.T) {
	set := images(64, 5, 4, 1)
	darken(set)
	net := network[float32](t, describe(false, 25, 16, 4), 1)
	net.Params()[0].Value[0] = float32(math.Copysign(0, -1))
	if _, err := newTrainer(t, net, options[float32](0.1, 64)).Step(dataset.All(set)); err != nil {
		t.Fatal(err)
	}
	if bits := math.Float32bits(net.Params()[0].Value[0]); bits != 0 {
		t.Errorf("-0 has bits %#x after the first step, want those of +0", bits)
	}
}

func TestStepRefuses(t *testing.T) {
	all := dataset.All(images(20, 5, 4, 1))
	for _, test := range []struct {
		batchNorm bool
		examples  int
		want      string
	}{
		{false, 0, "a batch of no examples"},
		{false, 11, "a batch of 11 examples, want at most 10"},
		{true, 1, "a batch of 1 example has no variance"},
	} {
		tr := newTrainer(t, network[float32](t, describe(test.batchNorm, 25, 6, 4), 1), options[float32](0.1, 10))
		_, err := tr.Step(all.Slice(3, 3+test.examples))
		wantUserError(t, "Step", err, test.want)
	}
}

// The cost that is not finite is seen before the update.
func TestDivergedStepChangesNothing(t *testing.T) {
	set := images(8, 5, 4, 1)
	for _, huge := range []float32{3e38, float32(math.Inf(1)), float32(math.NaN())} {
		net := network[float32](t, describe(false, 25, 6, 4), 1)
		copy(net.Params()[3].Value, []float32{huge, -huge, huge, -huge}) // the difference overflows
		before := values(net)
		tr := newTrainer(t, net, options[float32](0.1, 8))
		_, err := tr.Step(dataset.All(set))
		var diverged *train.DivergedError
		if !errors.As(err, &diverged) || !strings.HasPrefix(diverged.What, "the cost of the batch is ") {
			t.Errorf("biases of ±%v: error %v, want one of the cost", huge, err)
			continue
		}
		for i, v := range values(net) {
			if v != before[i] && v == v {
				t.Errorf("biases of ±%v: parameter %d became %v, was %v", huge, i, v, before[i])
			}
		}
	}
}

// wild is a rule that makes a parameter infinite.
type wild struct{ optim.SGD[float32] }

func (wild) Update(value, _ []float32, _ [][]float32, _ float64, _ int) bool {
	value[0] = float32(math.Inf(-1))
	return false
}

// An update that leaves the finite numbers is seen at once and names the parameter.
func TestDivergedUpdate(t *testing.T) {
	o := options[float32](0.1, 8)
	o.Rule = wild{}
	tr := newTrainer(t, network[float32](t, describe(false, 25, 6, 4), 1), o)
	_, err := tr.Step(dataset.All(images(8, 5, 4, 1)))
	var diverged *train.DivergedError
	if !errors.As(err, &diverged) || diverged.What != "1.dense.weight is not finite after the update" || diverged.Step != 1 {
		t.Errorf("error %v, want one of step 1 that names the first parameter", err)
	}
}

func TestDivergedErrorText(t *testing.T) {
	set := images(64, 5, 4, 1)
	tr := newTrainer(t, network[float32](t, describe(false, 25, 16, 4), 1), options[float32](1e38, 16))
	var looks int
	for look, err := range tr.Epochs(context.Background(), 5, dataset.All(set), dataset.View{}) {
		looks++
		var diverged *train.DivergedError
		if !errors.As(err, &diverged) {
			t.Fatalf("look %+v, error %v; want divergence", look, err)
		}
		want := fmt.Sprintf("training diverged in epoch %d at step %d (learning rate 1e+38): %s", look.Epoch, look.Step+1, diverged.What)
		if err.Error() != want || look.Epoch != 1 || look.Step != diverged.Step-1 {
			t.Errorf("error %q after %d steps of epoch %d, want %q", err, look.Step, look.Epoch, want)
		}
		if !strings.Contains(diverged.What, "is not finite after the update") && !strings.Contains(diverged.What, "the cost of the batch is") {
			t.Errorf("error %q does not say what diverged", err)
		}
	}
	if looks != 1 {
		t.Errorf("%d looks, want the error alone", looks)
	}
}

// Training reads the caller's data and order, and writes neither.
func TestCallersDataIsLeftAlone(t *testing.T) {
	set := images(50, 5, 4, 1)
	fit := dataset.View{Set: set, Index: random.New(5, "test").Permutation(50)}
	order, pixels, labels := slices.Clone(fit.Index), bytes.Clone(set.Pixels), bytes.Clone(set.Labels)
	o := options[float32](0.1, 8)
	o.Shuffle = random.New(1, random.Shuffle)
	tr := newTrainer(t, network[float32](t, describe(false, 25, 8, 4), 1), o)
	for _, err := range tr.Epochs(context.Background(), 3, fit, fit.Slice(0, 10)) {
		if err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(fit.Index, order) {
		t.Errorf("the order became %v, was %v", fit.Index, order)
	}
	if !bytes.Equal(set.Pixels, pixels) || !bytes.Equal(set.Labels, labels) {
		t.Error("pixels or labels changed")
	}
}

// spy notes the labels of each batch.
type spy struct {
	nn.CrossEntropy[float64]
	batches *[]string
}

func (s spy) Forward(c *nn.LossCache[float64], logits matrix.Matrix[float64], labels []uint8) float64 {
	*s.batches = append(*s.batches, fmt.Sprint(labels))
	return s.CrossEntropy.Forward(c, logits, labels)
}

// Each epoch visits every example once, in an order of its own; without Shuffle
// in the caller's.
func TestOrderOfExamples(t *testing.T) {
	set := images(10, 3, 10, 1)
	for i := range set.Labels {
		set.Labels[i] = uint8(i)
	}
	run := func(shuffle *random.Stream) []string {
		var batches []string
		o := options[float64](0.1, 4)
		o.Loss, o.Shuffle = spy{batches: &batches}, shuffle
		for _, err := range newTrainer(t, network[float64](t, describe(false, 9, 10), 1), o).Epochs(context.Background(), 2, dataset.All(set), dataset.View{}) {
			if err != nil {
				t.Fatal(err)
			}
		}
		return batches
	}
	if got, want := run(nil), []string{"[0 1 2 3]", "[4 5 6 7]", "[8 9]", "[0 1 2 3]", "[4 5 6 7]", "[8 9]"}; !slices.Equal(got, want) {
		t.Errorf("without Shuffle the batches are %v, want %v", got, want)
	}
	shuffled := run(random.New(1, random.Shuffle))
	if slices.Equal(shuffled[:3], shuffled[3:]) {
		t.Errorf("both epochs have the order %v", shuffled[:3])
	}
	for epoch := range 2 {
		seen := strings.Fields(strings.NewReplacer("[", "", "]", "").Replace(strings.Join(shuffled[3*epoch:3*epoch+3], " ")))
		slices.Sort(seen)
		if got := strings.Join(seen, ""); got != "0123456789" {
			t.Errorf("epoch %d visits %v, want each example once", epoch+1, shuffled[3*epoch:3*epoch+3])
		}
	}
	if again := run(random.New(1, random.Shuffle)); !slices.Equal(again, shuffled) {
		t.Errorf("the same seed gives the orders %v and %v", shuffled, again)
	}
	if other := run(random.New(2, random.Shuffle)); slices.Equal(other, shuffled) {
		t.Errorf("seeds 1 and 2 give the same order %v", shuffled)
	}
}

func TestEvaluate(t *testing.T) {
	set := images(700, 5, 4, 1) // more than are evaluated together
	net := network[float64](t, describe(true, 25, 8, 4), 1)
	loss := nn.Loss[float64](nn.CrossEntropy[float64]{})
	e := train.NewEvaluator(net, loss, 1)
	var indices []int
	var cost, correct float64
	got := e.Evaluate(dataset.All(set), func(i int, p []float64) {
		indices = append(indices, i)
		var sum float64
		for _, v := range p {
			sum += v
		}
		if len(p) != 4 || !near(sum, 1, 1e-12) {
			t.Fatalf("probabilities of example %d are %v", i, p)
		}
		cost -= math.Log(p[set.Labels[i]])
		if nn.Argmax(p) == int(set.Labels[i]) {
			correct++
		}
	})
	if !near(got.Cost, cost/700, 1e-12) || got.Accuracy != correct/700 {
		t.Errorf("Evaluate = %+v, want cost %v and accuracy %v", got, cost/700, correct/700)
	}
	for i, index := range indices {
		if index != i {
			t.Fatalf("call %d is for example %d", i, index)
		}
	}
	if len(indices) != 700 {
		t.Errorf("called for %d examples, want 700", len(indices))
	}
	if again := e.Evaluate(dataset.All(set), nil); again != got {
		t.Errorf("Evaluate again = %+v, want %+v", again, got)
	}
	if threaded := train.NewEvaluator(net, loss, 2).Evaluate(dataset.All(set), nil); threaded != got {
		t.Errorf("on 2 threads %+v, want %+v", threaded, got)
	}
	view := dataset.All(set)
	if n := testing.AllocsPerRun(5, func() { e.Evaluate(view, nil) }); n != 0 {
		t.Errorf("Evaluate makes %v allocations, want 0 after the first call", n)
	}
	if empty := e.Evaluate(dataset.View{}, nil); !math.IsNaN(empty.Cost) || !math.IsNaN(empty.Accuracy) {
		t.Errorf("Evaluate of an empty view = %+v, want NaN", empty)
	}
}
