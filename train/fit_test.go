package train_test

import (
	"context"
	"errors"
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

func looksAt(t *testing.T, lookEvery, epochs, examples, batch int) (epochsSeen, steps []int) {
	t.Helper()
	o := options[float32](0.01, batch)
	o.LookEvery = lookEvery
	tr := newTrainer(t, network[float32](t, describe(false, 9, 3), 1), o)
	for look, err := range tr.Epochs(context.Background(), epochs, dataset.All(images(examples, 3, 3, 1)), dataset.View{}) {
		if err != nil {
			t.Fatal(err)
		}
		epochsSeen, steps = append(epochsSeen, look.Epoch), append(steps, look.Step)
	}
	return epochsSeen, steps
}

// Looks are counted within each epoch; what remains of it has none.
func TestLookEvery(t *testing.T) {
	for _, test := range []struct {
		every         int
		epochs, steps []int
	}{
		{0, []int{1, 2}, []int{10, 20}},
		{10, []int{1, 2}, []int{10, 20}},
		{3, []int{1, 1, 1, 2, 2, 2}, []int{3, 6, 9, 13, 16, 19}},
		{6, []int{1, 2}, []int{6, 16}},
	} {
		epochs, steps := looksAt(t, test.every, 2, 40, 4)
		if !slices.Equal(epochs, test.epochs) || !slices.Equal(steps, test.steps) {
			t.Errorf("LookEvery %d, 10 steps per epoch: looks in epochs %v at steps %v, want %v at %v", test.every, epochs, steps, test.epochs, test.steps)
		}
	}
}

func TestLook(t *testing.T) {
	all := dataset.All(images(60, 5, 4, 1))
	net := network[float64](t, describe(false, 25, 8, 4), 1)
	twin := network[float64](t, describe(false, 25, 8, 4), 1)
	o := options[float64](0.5, 10)
	o.Penalty, o.LookEvery = optim.L2[float64]{Lambda: 0.01}, 2
	tr, other := newTrainer(t, net, o), newTrainer(t, twin, o)
	fit, validation := all.Slice(0, 40), all.Slice(40, 60)

	var sum float64
	correct, steps := 0, 0
	for look, err := range tr.Epochs(context.Background(), 1, fit, validation) {
		if err != nil {
			t.Fatal(err)
		}
		var cost train.Cost
		for range 2 {
			if cost, err = other.Step(fit.Slice(10*steps, 10*steps+10)); err != nil {
				t.Fatal(err)
			}
			steps++
			sum += cost.Data * 10
			correct += cost.Correct
		}
		want := train.Look{
			Epoch: 1, Step: steps, Batch: cost,
			TrainCost: sum / float64(10*steps), TrainAccuracy: float64(correct) / float64(10*steps),
			Validation: train.NewEvaluator(twin, o.Loss, 1).Evaluate(validation, nil),
			Penalty:    o.Penalty.Apply(twin.Params(), nn.Eval),
		}
		if look != want {
			t.Errorf("look %+v, want %+v", look, want)
		}
	}
	if steps != 4 {
		t.Errorf("%d steps, want 4", steps)
	}
}

func TestEpochsRefuses(t *testing.T) {
	good := dataset.All(images(20, 3, 3, 1))
	mislabelled := images(20, 3, 3, 1)
	mislabelled.Labels[7] = 3
	for _, test := range []struct {
		name            string
		fit, validation dataset.View
		lookEvery       int
		batchNorm       bool
		want            string
	}{
		{"features", dataset.All(images(20, 4, 3, 1)), good, 0, false, "examples have 16 features, but the network takes 9"},
		{"classes", dataset.All(images(20, 3, 4, 1)), good, 0, false, "examples have 4 classes, but the network tells 3 apart"},
		{"no examples", good.Slice(0, 0), good, 0, false, "0 training examples make no batch"},
		{"one example with batch norm", good.Slice(0, 1), good, 0, true, "1 training examples make no batch"},
		{"look never comes", good, good, 6, false, "a look every 6 steps never comes: an epoch has 5"},
		{"validation features", good, dataset.All(images(20, 4, 3, 1)), 0, false, "validation examples have 16 features, but the network takes 9"},
		{"a label that is no class", dataset.All(mislabelled), good, 0, false, "training examples: example 7 has the label 3, want one below 3"},
		{"validation label", good, dataset.All(mislabelled), 0, false, "validation examples: example 7 has the label 3"},
		{"an example that is not there", dataset.View{Set: good.Set, Index: []int32{0, 20}}, good, 0, false, "training examples: example 1 of the view is number 20 of a set of 20"},
		{"validation examples of no set", good, dataset.View{Index: []int32{0}}, 0, false, "validation examples: 1 examples of no set"},
		{"validation classes", good, dataset.All(images(20, 3, 4, 1)), 0, false, "validation examples have 4 classes, but the network tells 3 apart"},
	} {
		o := options[float32](0.1, 4)
		o.LookEvery = test.lookEvery
		net := network[float32](t, describe(test.batchNorm, 9, 5, 3), 1)
		before := values(net)
		looks := 0
		for look, err := range newTrainer(t, net, o).Epochs(context.Background(), 1, test.fit, test.validation) {
			looks++
			wantUserError(t, test.name, err, test.want)
			if look != (train.Look{}) {
				t.Errorf("%s: look %+v beside the error", test.name, look)
			}
		}
		if looks != 1 || !slices.Equal(values(net), before) {
			t.Errorf("%s: %d looks, want the error alone and no step", test.name, looks)
		}
	}
}

func TestFitRefuses(t *testing.T) {
	all := dataset.All(images(20, 3, 3, 1))
	for _, test := range []struct {
		name string
		o    train.FitOptions
		want string
	}{
		{"no epochs", train.FitOptions{}, "0 epochs, want 1 or more"},
		{"negative epochs", train.FitOptions{Epochs: -1}, "-1 epochs, want 1 or more"},
		{"stop rule without validation set", train.FitOptions{Epochs: 1, Stop: &train.Patience{Epochs: 1}}, "a stop rule and the best weights need a validation set, but it is empty"},
		{"best weights without validation set", train.FitOptions{Epochs: 1, KeepBest: true}, "need a validation set"},
	} {
		tr := newTrainer(t, network[float32](t, describe(false, 9, 3), 1), options[float32](0.1, 4))
		result, err := tr.Fit(context.Background(), all, dataset.View{}, test.o)
		wantUserError(t, test.name, err, test.want)
		if result != (train.Result{}) {
			t.Errorf("%s: result %+v beside the error", test.name, result)
		}
	}
	tr := newTrainer(t, network[float32](t, describe(false, 16, 3), 1), options[float32](0.1, 4))
	result, err := tr.Fit(context.Background(), all, all, train.FitOptions{Epochs: 1})
	wantUserError(t, "wrong features", err, "examples have 9 features")
	if result.Stopped != "" {
		t.Errorf("a training that did not begin stopped by %q", result.Stopped)
	}
}

// observe feeds validation costs, epoch by epoch, and returns the number of looks
// after which the rule stopped, or 0.
func observe(rule train.StopRule, costs ...float64) int {
	for i, cost := range costs {
		if rule.Observe(train.Look{Epoch: i + 1, Step: 10 * (i + 1), Validation: train.Metrics{Cost: cost}}) {
			return i + 1
		}
	}
	return 0
}

func TestPatience(t *testing.T) {
	for _, test := range []struct {
		name    string
		epochs  int
		min     float64
		costs   []float64
		stopped int
	}{
		{"never better than the first", 3, 0, []float64{1, 1, 1, 1, 1}, 4},
		{"patience of one", 1, 0, []float64{1, .9, .8, .8, .7}, 4},
		{"always better", 1, 0, []float64{5, 4, 3, 2, 1}, 0},
		{"better on the last chance", 2, 0, []float64{1, 1.1, .9, 1, 1}, 5},
		{"worse, then not as good as the best", 3, 0, []float64{1, .5, .9, .8, .7, .4}, 5},
		{"improvement of exactly the minimum does not count", 2, .5, []float64{2, 1.5, 1.5, 1}, 3},
		{"improvement above the minimum counts", 2, .5, []float64{2, 1.4, 1.3, .8, .8, .8}, 6},
		{"many small improvements add up", 3, .5, []float64{2, 1.8, 1.6, 1.4, 1.2, 1}, 0},
		{"better than no number", 1, .5, []float64{math.NaN(), 1, .4, .4}, 4},
		{"many small improvements do not add up in time", 2, .5, []float64{2, 1.8, 1.6, 1.4}, 3},
	} {
		rule := &train.Patience{Epochs: test.epochs, MinImprovement: test.min}
		if got := observe(rule, test.costs...); got != test.stopped {
			t.Errorf("%s: stops after epoch %d, want %d", test.name, got, test.stopped)
		}
	}
	// With several looks an epoch, an epoch without improvement is over at the look that
	// has the best one's place.
	rule := &train.Patience{Epochs: 1}
	for i, cost := range []float64{1, .9, .95, 1.2, .89, .89, .8, .9, .9, .9} {
		if rule.Observe(train.Look{Epoch: i/3 + 1, Step: 10 * (i + 1), Validation: train.Metrics{Cost: cost}}) != (i == 9) {
			t.Errorf("three looks an epoch, patience of one: look %d decides wrongly", i+1)
		}
	}
	if name := (&train.Patience{}).Name(); name != "patience" {
		t.Errorf("name %q", name)
	}
}

func TestPublishedCriterion(t *testing.T) {
	for _, test := range []struct {
		name    string
		costs   []float64
		stopped int
	}{
		{"falls by less", []float64{2, 1, .95}, 3},
		{"rises by less", []float64{2, 1, 1.05}, 3},
		{"the same", []float64{1, 1}, 2},
		{"exactly the difference", []float64{1, .875, 1}, 0},
		{"one look", []float64{1}, 0},
		{"compares with the look before only", []float64{1, 2, 1, 2, 1}, 0},
	} {
		if got := observe(&train.PublishedCriterion{Difference: 0.125}, test.costs...); got != test.stopped {
			t.Errorf("%s: %v stops after look %d, want %d", test.name, test.costs, got, test.stopped)
		}
	}
	// The penalty counts: 1 + 0.5 and 0.5 + 1 are the same cost.
	rule := &train.PublishedCriterion{Difference: 0.125}
	rule.Observe(train.Look{Validation: train.Metrics{Cost: 1}, Penalty: .5})
	if !rule.Observe(train.Look{Validation: train.Metrics{Cost: .5}, Penalty: 1}) {
		t.Error("the criterion leaves out the penalty")
	}
	if name := rule.Name(); name != "criterion" {
		t.Errorf("name %q", name)
	}
}

// Fit asks the rule at looks: with a cost that does not move, the published
// criterion fires at the second look, patience after its epochs.
func TestFitStops(t *testing.T) {
	all := dataset.All(images(60, 5, 4, 1))
	for _, test := range []struct {
		name      string
		stop      train.StopRule
		lookEvery int
		epochs    int
		want      train.Result
	}{
		{"no rule", nil, 0, 3, train.Result{Epochs: 3, Steps: 30, Stopped: "max_epochs"}},
		{"criterion", &train.PublishedCriterion{Difference: 1e-9}, 3, 5, train.Result{Epochs: 1, Steps: 6, Stopped: "criterion"}},
		{"criterion across epochs", &train.PublishedCriterion{Difference: 1e-9}, 6, 5, train.Result{Epochs: 2, Steps: 16, Stopped: "criterion"}},
		{"patience", &train.Patience{Epochs: 4}, 0, 9, train.Result{Epochs: 5, Steps: 50, Stopped: "patience"}},
		{"patience that outlasts the epochs", &train.Patience{Epochs: 4}, 0, 4, train.Result{Epochs: 4, Steps: 40, Stopped: "max_epochs"}},
	} {
		o := options[float64](still, 4)
		o.LookEvery = test.lookEvery
		tr := newTrainer(t, network[float64](t, describe(false, 25, 4), 1), o)
		watched := 0
		got, err := tr.Fit(context.Background(), all.Slice(0, 40), all.Slice(40, 60), train.FitOptions{
			Epochs: test.epochs, Stop: test.stop, Watch: func(train.Look) { watched++ }})
		if err != nil {
			t.Fatal(err)
		}
		if got.Epochs != test.want.Epochs || got.Steps != test.want.Steps || got.Stopped != test.want.Stopped {
			t.Errorf("%s: %d epochs, %d steps, stopped by %q; want %d, %d, %q", test.name,
				got.Epochs, got.Steps, got.Stopped, test.want.Epochs, test.want.Steps, test.want.Stopped)
		}
		if got.Last.Step != got.Steps || watched == 0 {
			t.Errorf("%s: last look at step %d of %d, %d looks watched", test.name, got.Last.Step, got.Steps, watched)
		}
		if got.Best.Step != watchedFirst(test.lookEvery) {
			t.Errorf("%s: best look at step %d; of equal costs the first, at %d, is best", test.name, got.Best.Step, watchedFirst(test.lookEvery))
		}
	}
}

// watchedFirst is the step of the first look of epochs of ten steps.
func watchedFirst(lookEvery int) int {
	if lookEvery == 0 {
		return 10
	}
	return lookEvery
}

// restless is a rate that makes the validation cost go up and down.
const restless = 2

func TestKeepBest(t *testing.T) {
	all := dataset.All(images(90, 5, 4, 1))
	for _, keep := range []bool{false, true} {
		net := network[float32](t, describe(true, 25, 8, 4), 1)
		o := options[float32](restless, 8)
		o.Shuffle = random.New(1, random.Shuffle)
		tr := newTrainer(t, net, o)
		type moment struct {
			look   train.Look
			values []float32
		}
		var moments []moment
		result, err := tr.Fit(context.Background(), all.Slice(0, 50), all.Slice(50, 90), train.FitOptions{Epochs: 8, KeepBest: keep,
			Watch: func(l train.Look) { moments = append(moments, moment{l, values(net)}) }})
		if err != nil {
			t.Fatal(err)
		}
		best := moments[0]
		for _, m := range moments {
			if m.look.Validation.Cost < best.look.Validation.Cost {
				best = m
			}
		}
		last := moments[len(moments)-1]
		if best.look.Step == last.look.Step || best.look.Step == moments[0].look.Step {
			t.Fatalf("the best look, at step %d, is the first or the last: the test is void", best.look.Step)
		}
		if result.Best != best.look || result.Last != last.look {
			t.Errorf("KeepBest %v: best %+v and last %+v, want %+v and %+v", keep, result.Best, result.Last, best.look, last.look)
		}
		want := last
		if keep {
			want = best
		}
		if !slices.Equal(values(net), want.values) {
			t.Errorf("KeepBest %v: the network does not have the weights of step %d", keep, want.look.Step)
		}
		if got := train.NewEvaluator(net, o.Loss, 1).Evaluate(all.Slice(50, 90), nil); got != want.look.Validation {
			t.Errorf("KeepBest %v: validation of the network left is %+v, want %+v", keep, got, want.look.Validation)
		}
	}
}

func TestCancel(t *testing.T) {
	all := dataset.All(images(90, 5, 4, 1))
	net := network[float32](t, describe(true, 25, 8, 4), 1)
	o := options[float32](restless, 5)
	o.LookEvery = 2
	tr := newTrainer(t, net, o)
	ctx, cancel := context.WithCancel(context.Background())
	var best []float32
	lowest, looks := math.Inf(1), 0
	result, err := tr.Fit(ctx, all.Slice(0, 50), all.Slice(50, 90), train.FitOptions{Epochs: 100, KeepBest: true, Watch: func(l train.Look) {
		if l.Validation.Cost < lowest {
			lowest, best = l.Validation.Cost, values(net)
		}
		if looks++; looks == 8 { // in the middle of the second epoch
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
	if result.Stopped != "interrupted" || result.Epochs != 2 || result.Steps != 16 || result.Last.Step != 16 {
		t.Errorf("result %+v, want it interrupted in epoch 2 after step 16", result)
	}
	if !slices.Equal(values(net), best) || result.Best.Validation.Cost != lowest {
		t.Error("the best weights were not restored")
	}

	// Cancelled before it began, training makes no step and leaves the weights.
	before := values(net)
	result, err = newTrainer(t, net, o).Fit(ctx, all.Slice(0, 50), all.Slice(50, 90), train.FitOptions{Epochs: 100, KeepBest: true})
	if !errors.Is(err, context.Canceled) || result.Stopped != "interrupted" || result.Steps != 0 || !slices.Equal(values(net), before) {
		t.Errorf("cancelled beforehand: result %+v, error %v", result, err)
	}
}

func TestFitDiverged(t *testing.T) {
	all := dataset.All(images(90, 5, 4, 1))
	net := network[float32](t, describe(false, 25, 16, 16, 4), 1)
	tr := newTrainer(t, net, options[float32](0.1, 10))
	var diverged *train.DivergedError
	best := math.Inf(1)
	looks := 0
	result, err := tr.Fit(context.Background(), all.Slice(0, 50), all.Slice(50, 90), train.FitOptions{Epochs: 50, KeepBest: true, Watch: func(l train.Look) {
		best = min(best, l.Validation.Cost)
		if looks++; looks == 5 {
			net.Params()[0].Value[0] = float32(math.NaN()) // as a rate too high would
		}
	}})
	if !errors.As(err, &diverged) || diverged.Epoch != 6 || diverged.Step != 26 {
		t.Errorf("error %v, want divergence in epoch 6 at step 26", err)
	}
	if result.Stopped != "diverged" || result.Steps != 25 || result.Best.Validation.Cost != best {
		t.Errorf("result %+v, want it diverged after step 25, best cost %v", result, best)
	}
	if got := train.NewEvaluator(net, nn.Loss[float32](nn.CrossEntropy[float32]{}), 1).Evaluate(all.Slice(50, 90), nil); got != result.Best.Validation {
		t.Errorf("validation of the network left is %+v, want the best, %+v", got, result.Best.Validation)
	}
}

// Outputs that overflow behind the last step are seen by its look.
func TestFitEndsWithOverflowingOutputs(t *testing.T) {
	all := dataset.All(images(90, 5, 4, 1))
	for _, keep := range []bool{false, true} {
		net := network[float32](t, describe(false, 25, 16, 16, 4), 1)
		o := options[float32](1e30, 50)
		result, err := newTrainer(t, net, o).Fit(context.Background(), all.Slice(0, 50), all.Slice(50, 90), train.FitOptions{Epochs: 1, KeepBest: keep})
		var diverged *train.DivergedError
		if !errors.As(err, &diverged) || result.Steps != 1 || !strings.Contains(diverged.What, "the validation cost is NaN") || result.Stopped != "diverged" || !math.IsNaN(result.Last.Validation.Accuracy) {
			t.Errorf("best kept %v: result %+v, error %v, want divergence behind step 1", keep, result, err)
		}
	}
}

// spoilt is cross entropy but for looks at 40 examples, the n-th of which, from 1, costs
// what spoils says.
type spoilt struct {
	nn.CrossEntropy[float32]
	spoils map[int]float64
	looks  *int
}

func (s spoilt) Forward(c *nn.LossCache[float32], logits matrix.Matrix[float32], labels []uint8) float64 {
	cost := s.CrossEntropy.Forward(c, logits, labels)
	if len(labels) != 40 {
		return cost
	}
	*s.looks++
	if v, ok := s.spoils[*s.looks]; ok {
		c.Losses[3] = float32(v)
	}
	return cost
}

// A look that shows nothing is neither the best, once there is another, nor, where the best
// weights are kept, what a training ends with.
func TestFitWithLooksThatShowNothing(t *testing.T) {
	all := dataset.All(images(90, 5, 4, 1))
	nan, inf := math.NaN(), math.Inf(1)
	for _, test := range []struct {
		name   string
		spoils map[int]float64
		keep   bool
		best   func(epoch int) bool
		what   string // of the divergence
	}{
		{"the first is NaN", map[int]float64{1: nan}, true, func(e int) bool { return e > 1 }, ""},
		{"the last is NaN, the best is kept", map[int]float64{4: nan}, true, func(e int) bool { return e < 4 }, ""},
		{"the last is NaN", map[int]float64{4: nan}, false, func(e int) bool { return e < 4 }, "the validation cost is NaN"},
		{"the last is infinite", map[int]float64{4: inf}, false, func(e int) bool { return e < 4 }, "the validation cost is +Inf"},
		{"all are infinite", map[int]float64{1: inf, 2: inf, 3: inf, 4: inf}, true, func(e int) bool { return e == 1 }, "the validation cost is +Inf"},
	} {
		net := network[float32](t, describe(false, 25, 8, 4), 1)
		o := options[float32](0.1, 10)
		o.Loss = spoilt{spoils: test.spoils, looks: new(int)}
		result, err := newTrainer(t, net, o).Fit(context.Background(), all.Slice(0, 50), all.Slice(50, 90), train.FitOptions{Epochs: 4, KeepBest: test.keep})
		var diverged *train.DivergedError
		if !test.best(result.Best.Epoch) || errors.As(err, &diverged) != (test.what != "") || diverged != nil && diverged.What != test.what {
			t.Errorf("%s: best in epoch %d, error %v, want divergence %q", test.name, result.Best.Epoch, err, test.what)
		}
	}
}

// Running statistics are no part of a step's check: a training that ends with one that is
// not finite has diverged, too.
func TestFitEndsWithInfiniteStatistics(t *testing.T) {
	all := dataset.All(images(90, 5, 4, 1))
	net := network[float32](t, describe(true, 25, 16, 4), 1)
	tr := newTrainer(t, net, options[float32](0.1, 10))
	result, err := tr.Fit(context.Background(), all.Slice(0, 50), all.Slice(50, 90), train.FitOptions{Epochs: 2, Watch: func(l train.Look) {
		for _, p := range net.Params() {
			if p.Role == nn.Statistic {
				p.Value[0] = float32(math.Inf(1))
			}
		}
	}})
	var diverged *train.DivergedError
	if !errors.As(err, &diverged) || diverged.Epoch != 2 || diverged.Step != 10 || !strings.Contains(diverged.What, "running_mean is not finite") || result.Stopped != "diverged" {
		t.Errorf("result %+v, error %v, want divergence in epoch 2 at step 10", result, err)
	}
}

// A caller may leave the loop at any look and go on later; epochs one at a time
// are the same as all at once.
func TestEpochsCanBeSplit(t *testing.T) {
	all := dataset.All(images(37, 5, 4, 1))
	once, split := network[float64](t, describe(false, 25, 8, 4), 1), network[float64](t, describe(false, 25, 8, 4), 1)
	for _, err := range newTrainer(t, once, options[float64](0.1, 8)).Epochs(context.Background(), 6, all, dataset.View{}) {
		if err != nil {
			t.Fatal(err)
		}
	}
	tr := newTrainer(t, split, options[float64](0.1, 8))
	var epochs []int
	for range 2 {
		for look, err := range tr.Epochs(context.Background(), 1, all, dataset.View{}) {
			if err != nil {
				t.Fatal(err)
			}
			epochs = append(epochs, look.Epoch)
		}
	}
	for look, err := range tr.Epochs(context.Background(), 0, all, dataset.View{}) { // without end
		if err != nil {
			t.Fatal(err)
		}
		epochs = append(epochs, look.Epoch)
		if look.Epoch == 6 {
			break
		}
	}
	if want := []int{1, 2, 3, 4, 5, 6}; !slices.Equal(epochs, want) {
		t.Errorf("epochs %v, want %v", epochs, want)
	}
	if !slices.Equal(values(once), values(split)) {
		t.Error("six epochs at once and one by one give different weights")
	}
}
