package experiment

import (
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"glassnet/dataset"
	"glassnet/explain"
	"glassnet/matrix"
	"glassnet/modelfile"
	"glassnet/nn"
	"glassnet/random"
)

// near reports whether two figures are the same but for rounding; NaN is undefined.
func near(got, want float64) bool {
	return math.IsNaN(got) && math.IsNaN(want) || math.Abs(got-want) <= 1e-9*max(1, math.Abs(want))
}

// figure returns what v points to, NaN for an undefined one.
func figure(v *float64) float64 {
	if v == nil {
		return math.NaN()
	}
	return *v
}

func checkFigure(t *testing.T, what string, got *float64, want float64) {
	t.Helper()
	if !near(figure(got), want) {
		t.Errorf("%s: got %v, want %v", what, figure(got), want)
	}
}

func readJSON(t *testing.T, path string, v any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// chances returns the softmax of logits.
func chances(logits []float64) []float64 {
	top, sum := slices.Max(logits), 0.0
	p := make([]float64, len(logits))
	for j, z := range logits {
		p[j] = math.Exp(z - top)
		sum += p[j]
	}
	for j := range p {
		p[j] /= sum
	}
	return p
}

// scored returns the mean loss of logits and how many rows are right.
func scored(logits matrix.Matrix[float64], view dataset.View, loss string) (cost float64, right int) {
	for i := range view.Len() {
		row, label := logits.Row(i), int(view.Label(i))
		p := chances(row)[label]
		if loss == nn.LossPublishedCrossEntropy {
			p += 1e-8
		}
		cost -= math.Log(p) / float64(view.Len())
		if slices.Index(row, slices.Max(row)) == label {
			right++
		}
	}
	return cost, right
}

func outputs(net *nn.Network[float64], view dataset.View) matrix.Matrix[float64] {
	in, _ := net.Widths()
	x := matrix.New[float64](view.Len(), in)
	for i := range view.Len() {
		for p, b := range view.Set.Image(int(view.Index[i])) {
			x.Row(i)[p] = float64(matrix.Intensity(b))
		}
	}
	return net.Forward(net.NewTrace(nn.TraceOptions{Batch: max(1, view.Len())}), x, nn.Eval)
}

// measured returns cost and accuracy of a network, NaN for a view of nothing.
func measured(net *nn.Network[float64], view dataset.View, loss string) (cost, accuracy float64) {
	if view.Len() == 0 {
		return math.NaN(), math.NaN()
	}
	cost, right := scored(outputs(net, view), view, loss)
	return cost, float64(right) / float64(view.Len())
}

// weighed returns penalty, sum and Euclidean norms of the weights of a network.
func weighed(net *nn.Network[float64], form string, lambda float64) (penalty, sum float64, norms []float64) {
	for _, p := range net.Params() {
		if p.Role != nn.Weight {
			continue
		}
		squares, columns := 0.0, make([]float64, p.Shape[1])
		for i, w := range p.Value {
			sum += w
			squares += w * w
			columns[i%len(columns)] += w
		}
		norms = append(norms, math.Sqrt(squares))
		if form == "l2" {
			penalty += lambda / 2 * squares
			continue
		}
		for _, c := range columns {
			penalty += lambda * c * c
		}
	}
	return penalty, sum, norms
}

// looked is a row of history.csv, without the published way of costs.
type looked struct {
	epoch, step         int
	trainCost, trainAcc float64
	valCost, valAcc     float64
	penalty, sum        float64
	norms               []float64
	batch               float64 // cost of the last batch, its penalty included
}

// byHand is a training written out: no trainer, no stop rule of package train.
type byHand struct {
	fit, validation dataset.View
	looks           []looked
	best            int // place of the look with the lowest validation cost
	steps           int
	stopped         string
	weights         [][]float64 // that are left
}

func trainByHand(t *testing.T, data *dataset.Data, s Settings) byHand {
	t.Helper()
	var h byHand
	var err error
	if h.fit, h.validation, err = dataset.Split(data.Train, random.New(s.Seed, random.Split).Permutation(data.Train.Len()), s.Validation); err != nil {
		t.Fatal(err)
	}
	net, err := nn.Build[float64](s.Architecture(data.Train.Features(), data.Train.Classes))
	if err != nil {
		t.Fatal(err)
	}
	rule, err := nn.FindInitialiser(s.Init)
	if err != nil {
		t.Fatal(err)
	}
	nn.Initialise(net, rule, random.New(s.Seed, random.Init))
	shuffle := random.New(s.Seed, random.Shuffle)
	order := dataset.View{Set: h.fit.Set, Index: slices.Clone(h.fit.Index)}
	trace := net.NewTrace(nn.TraceOptions{Batch: s.Batch, Backward: true})
	cache := nn.NewLossCache[float64](s.Batch, data.Train.Classes)
	steps := (order.Len() + s.Batch - 1) / s.Batch
	lowest, lowestEpoch := math.Inf(1), 0 // as patience counts them
	keep := func() {
		h.weights = nil
		for _, p := range net.Params() {
			h.weights = append(h.weights, slices.Clone(p.Value))
		}
	}
	h.stopped = "max_epochs"
epochs:
	for epoch := 1; epoch <= s.Epochs; epoch++ {
		if s.Shuffle {
			shuffle.Shuffle(order.Index)
		}
		sum, right, seen := 0.0, 0, 0
		for step := 1; step <= steps; step++ {
			batch := order.Slice((step-1)*s.Batch, min(step*s.Batch, order.Len()))
			net.Gradients(trace, nn.CrossEntropy[float64]{}, cache, batch.Pixels(), batch.CopyLabels(make([]uint8, batch.Len())))
			cost, correct := scored(cache.Logits, batch, s.Loss)
			before, _, _ := weighed(net, s.L2Form, s.L2)
			for _, p := range net.Params() {
				for i := range p.Grad {
					grad := p.Grad[i]
					if p.Role == nn.Weight {
						grad += s.L2 * p.Value[i]
					}
					p.Value[i] -= s.LearningRate * grad
				}
			}
			h.steps++
			sum, right, seen = sum+cost*float64(batch.Len()), right+correct, seen+batch.Len()
			if s.LookEvery == 0 && step < steps || s.LookEvery > 0 && step%s.LookEvery != 0 {
				continue
			}
			l := looked{epoch: epoch, step: h.steps, trainCost: sum / float64(seen), trainAcc: float64(right) / float64(seen), batch: cost + before}
			l.valCost, l.valAcc = measured(net, h.validation, s.Loss)
			l.penalty, l.sum, l.norms = weighed(net, s.L2Form, s.L2)
			h.looks = append(h.looks, l)
			if len(h.looks) == 1 || l.valCost < h.looks[h.best].valCost {
				h.best = len(h.looks) - 1
				if s.Stop == StopPatience {
					keep()
				}
			}
			if l.valCost < lowest-s.MinImprovement {
				lowest, lowestEpoch = l.valCost, epoch
			}
			if s.Stop == StopPatience && epoch-lowestEpoch >= s.Patience {
				h.stopped = "patience"
				break epochs
			}
			if n := len(h.looks); s.Stop == StopPublished && n > 1 {
				last := h.looks[n-2]
				if math.Abs(l.valCost+l.penalty-last.valCost-last.penalty) < s.Criterion {
					h.stopped = "criterion"
					break epochs
				}
			}
		}
	}
	if s.Stop != StopPatience {
		keep()
	}
	return h
}

func smallRun(change func(*Settings)) Settings {
	s := Settings{Dataset: "handful", Precision: "float64", Seed: 5, Config: Default()}
	s.Hidden, s.LearningRate, s.Batch, s.Epochs = []int{8, 6}, 0.1, 32, 6
	change(&s)
	return s
}

// Every figure of a run is that of the same training written out.
func TestFiguresOfARun(t *testing.T) {
	data := digits(t, 190, 60)
	data.SHA256, data.Fallback = strings.Repeat("5a", 32), true
	for name, test := range map[string]struct {
		change  func(*Settings)
		stopped string
	}{
		"plain":          {func(s *Settings) {}, "max_epochs"},
		"init":           {func(s *Settings) { s.Init, s.Activation = "glorot-uniform", nn.KindTanh }, "max_epochs"},
		"in order":       {func(s *Settings) { s.Shuffle = false }, "max_epochs"},
		"l2":             {func(s *Settings) { s.L2 = 0.05 }, "max_epochs"},
		"published l2":   {func(s *Settings) { s.L2, s.L2Form = 0.05, "published" }, "max_epochs"},
		"steps after":    {func(s *Settings) { s.L2, s.LookEvery = 0.05, 2 }, "max_epochs"},
		"no validation":  {func(s *Settings) { s.Validation = 0 }, "max_epochs"},
		"batch":          {func(s *Settings) { s.Normalisation = NormalisationBatch }, "max_epochs"},
		"batch after":    {func(s *Settings) { s.Normalisation, s.Place = NormalisationBatch, PlaceAfter }, "max_epochs"},
		"published norm": {func(s *Settings) { s.Normalisation = NormalisationPublished }, "max_epochs"},
		"published loss": {func(s *Settings) {
			s.Loss, s.LearningRate, s.Epochs = nn.LossPublishedCrossEntropy, 0.5, 12
		}, "max_epochs"},
		"patience": {func(s *Settings) {
			s.Stop, s.Patience, s.Epochs, s.LearningRate, s.L2 = StopPatience, 3, 60, 0.5, 0.001
		}, "patience"},
		"min improvement": {func(s *Settings) {
			s.Stop, s.Patience, s.MinImprovement, s.Epochs, s.L2 = StopPatience, 2, 0.1, 30, 0.01
		}, "patience"},
		"criterion": {func(s *Settings) {
			s.Stop, s.Criterion, s.Epochs, s.L2, s.LookEvery = StopPublished, 0.01, 40, 0.01, 2
		}, "criterion"},
		"no criterion": {func(s *Settings) {
			s.Stop, s.Criterion, s.Epochs, s.L2, s.L2Form, s.LookEvery = StopPublished, 1e-12, 3, 0.01, "published", 2
		}, "max_epochs"},
	} {
		t.Run(name, func(t *testing.T) {
			s := smallRun(test.change)
			dir := t.TempDir()
			run, err := Train(context.Background(), dir, data, s, TrainOptions{Threads: 1})
			if err != nil {
				t.Fatal(err)
			}
			h := trainByHand(t, data, s)
			last, best := h.looks[len(h.looks)-1], h.looks[h.best]
			if run.Stopped != h.stopped || run.Stopped != test.stopped || run.Steps != h.steps || run.Epochs != last.epoch {
				t.Fatalf("got %q after %d epochs and %d steps, want %q, %q by hand after %d and %d",
					run.Stopped, run.Epochs, run.Steps, test.stopped, h.stopped, last.epoch, h.steps)
			}
			model, err := modelfile.Load[float64](filepath.Join(dir, "model.safetensors"))
			if err != nil {
				t.Fatal(err)
			}
			for i, p := range model.Net.Params() {
				if p.Role != nn.Statistic && !slices.EqualFunc(p.Value, h.weights[i], near) {
					t.Errorf("%s is not what training by hand comes to", p.Name)
				}
			}
			checkRun(t, run, model.Net, data, s, h)
			if s.Stop == StopPatience {
				if run.BestEpoch != best.epoch || run.BestStep != best.step {
					t.Errorf("best epoch and step: got %d and %d, want %d and %d", run.BestEpoch, run.BestStep, best.epoch, best.step)
				}
				if name == "patience" && best.step == last.step {
					t.Error("the best look is the last: this shows nothing")
				}
			} else if run.BestEpoch != 0 || run.BestStep != 0 {
				t.Errorf("best epoch and step: got %d and %d, want none", run.BestEpoch, run.BestStep)
			}
			facts := modelfile.Facts{
				Dataset: "handful", DatasetSHA256: data.SHA256, Width: 28, Height: 28, Classes: 10,
				Loss: s.Loss, L2: s.L2, L2Form: s.L2Form, Rule: "sgd", LearningRate: s.LearningRate,
				Batch: 32, Epochs: last.epoch, Steps: h.steps, Seed: 5, Random: "streams", Init: s.Init,
			}
			if model.Facts != facts {
				t.Errorf("facts: got %+v, want %+v", model.Facts, facts)
			}
			checkHistory(t, filepath.Join(dir, "history.csv"), h, s.Stop == StopPublished)
			checkEvaluation(t, filepath.Join(dir, "evaluation.json"), model.Net, data.Test, s.Loss)

			var stored Run
			readJSON(t, filepath.Join(dir, "result.json"), &stored)
			if run.looksToTarget = 0; !reflect.DeepEqual(stored, run) {
				t.Errorf("result.json: got %+v, want %+v", stored, run)
			}
			if run.Dataset != "handful" || !run.Fallback || run.Seed != 5 || run.Dir != dir {
				t.Errorf("got data set %q, fallback %v, seed %d, folder %q", run.Dataset, run.Fallback, run.Seed, run.Dir)
			}
			back := Settings{}
			if err := LoadSettings(filepath.Join(dir, "config.toml"), &back); err != nil || !reflect.DeepEqual(back, s) {
				t.Errorf("config.toml: got %+v (%v), want %+v", back, err, s)
			}
		})
	}
}

func checkRun(t *testing.T, run Run, net *nn.Network[float64], data *dataset.Data, s Settings, h byHand) {
	t.Helper()
	trainCost, trainAcc := measured(net, h.fit, s.Loss)
	valCost, valAcc := measured(net, h.validation, s.Loss)
	testCost, testAcc := measured(net, dataset.All(data.Test), s.Loss)
	penalty, sum, _ := weighed(net, s.L2Form, s.L2)
	costOf := "training_set"
	if s.Stop == StopPublished {
		last := h.looks[len(h.looks)-1]
		trainCost, valCost, costOf = last.batch, last.valCost+last.penalty, "last_batch"
	}
	checkFigure(t, "train accuracy", run.TrainAccuracy, trainAcc)
	checkFigure(t, "validation accuracy", run.ValAccuracy, valAcc)
	checkFigure(t, "test accuracy", run.TestAccuracy, testAcc)
	checkFigure(t, "train cost", run.TrainCost, trainCost)
	checkFigure(t, "validation cost", run.ValCost, valCost)
	checkFigure(t, "test cost", run.TestCost, testCost)
	checkFigure(t, "penalty", run.Penalty, penalty)
	checkFigure(t, "sum of weights", run.SumOfWeights, sum)
	if run.TrainCostOf != costOf {
		t.Errorf("train cost of: got %q, want %q", run.TrainCostOf, costOf)
	}
}

func checkHistory(t *testing.T, path string, h byHand, published bool) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	const columns = "epoch,step,train_cost,train_accuracy,val_cost,val_accuracy,penalty,sum_of_weights,norm_1."
	if got := strings.Join(rows[0], ","); !strings.HasPrefix(got, columns) {
		t.Errorf("history: got the columns %s, want %s", got, columns)
	}
	if len(rows) != 1+len(h.looks) {
		t.Fatalf("history: got %d rows, want %d", len(rows)-1, len(h.looks))
	}
	for i, l := range h.looks {
		trainCost, valCost := l.trainCost, l.valCost
		if published {
			trainCost, valCost = l.batch, l.valCost+l.penalty
		}
		want := append([]float64{float64(l.epoch), float64(l.step), trainCost, l.trainAcc, valCost, l.valAcc, l.penalty, l.sum}, l.norms...)
		if len(rows[1+i]) != len(want) {
			t.Fatalf("history: got %d columns, want %d", len(rows[1+i]), len(want))
		}
		for k, text := range rows[1+i] {
			got := math.NaN()
			if text != "" {
				if got, err = strconv.ParseFloat(text, 64); err != nil {
					t.Fatal(err)
				}
			}
			if !near(got, want[k]) {
				t.Errorf("history, step %d, %s: got %v, want %v", l.step, rows[0][k], got, want[k])
			}
		}
	}
}

func checkEvaluation(t *testing.T, path string, net *nn.Network[float64], test *dataset.Set, loss string) {
	t.Helper()
	var e Evaluation
	readJSON(t, path, &e)
	view := dataset.All(test)
	cost, accuracy := measured(net, view, loss)
	checkFigure(t, "evaluation's cost", e.Cost, cost)
	checkFigure(t, "evaluation's accuracy", e.Accuracy, accuracy)
	confusion := make([][]int, test.Classes)
	for c := range confusion {
		confusion[c] = make([]int, test.Classes)
	}
	type wrong struct {
		index, predicted int
		p                float64
	}
	var mistakes []wrong
	logits := outputs(net, view)
	for i := range test.Len() {
		p := chances(logits.Row(i))
		predicted := slices.Index(p, slices.Max(p))
		confusion[test.Labels[i]][predicted]++
		if predicted != int(test.Labels[i]) {
			mistakes = append(mistakes, wrong{i, predicted, p[predicted]})
		}
	}
	if e.Dataset != "handful" || e.Examples != test.Len() || !reflect.DeepEqual(e.Confusion, confusion) {
		t.Errorf("evaluation of %q: got %d examples, %v, want %d, %v", e.Dataset, e.Examples, e.Confusion, test.Len(), confusion)
	}
	for c, n := range view.PerClass() {
		if got := e.PerClass[c]; got.Class != c || got.Support != n {
			t.Errorf("class %d: got class %d with %d examples, want %d", c, got.Class, got.Support, n)
		}
	}
	slices.SortStableFunc(mistakes, func(a, b wrong) int { return cmp.Compare(b.p, a.p) })
	mistakes = mistakes[:min(40, len(mistakes))]
	if len(mistakes) < 2 || len(e.Mistakes) != len(mistakes) {
		t.Fatalf("got %d mistakes, want %d, at least 2", len(e.Mistakes), len(mistakes))
	}
	for i, w := range mistakes {
		got := e.Mistakes[i]
		if got.Index != w.index || got.Label != int(test.Labels[w.index]) || *got.Predicted != w.predicted || !slices.Equal(got.Pixels, test.Image(w.index)) {
			t.Errorf("mistake %d: got example %d, %d taken for %d, want example %d, %d for %d",
				i, got.Index, got.Label, *got.Predicted, w.index, test.Labels[w.index], w.predicted)
		}
		checkFigure(t, fmt.Sprint("probability of mistake ", i), got.Probability, w.p)
	}
}

// Only what holds handwritten digits says so, and precision is that of the file.
func TestFactsOfData(t *testing.T) {
	data := digits(t, 40, 10)
	for _, test := range []struct {
		dataset, precision string
		digits             bool
	}{{"handful", "float64", false}, {"mnist", "float32", true}, {"drawn-digits", "float32", true}} {
		data.Name = test.dataset
		s := smallRun(func(s *Settings) { s.Dataset, s.Precision, s.Epochs = test.dataset, test.precision, 1 })
		dir := t.TempDir()
		run, err := Train(context.Background(), dir, data, s, TrainOptions{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		precision, _, facts, err := modelfile.Inspect(filepath.Join(dir, "model.safetensors"))
		if err != nil || precision != test.precision || facts.Digits != test.digits || facts.Dataset != test.dataset || run.Dataset != test.dataset {
			t.Errorf("%s: got a model of %s in %s, digits %v (%v), want digits %v in %s",
				test.dataset, facts.Dataset, precision, facts.Digits, err, test.digits, test.precision)
		}
	}
}

// The target is the first look whose validation accuracy is no smaller.
func TestStepsToTarget(t *testing.T) {
	data := digits(t, 190, 20)
	s := smallRun(func(s *Settings) { s.LookEvery = 2 })
	looks := trainByHand(t, data, s).looks
	top := 0
	for i, l := range looks {
		if l.valAcc > looks[top].valAcc {
			top = i
		}
	}
	target := looks[top].valAcc
	byTrain := slices.IndexFunc(looks, func(l looked) bool { return l.trainAcc >= target })
	if top == 0 || byTrain == top {
		t.Fatalf("the target is reached at look %d, in training at %d: this shows nothing", top, byTrain)
	}
	for _, test := range []struct{ target, steps float64 }{
		{target, float64(looks[top].step)}, {target + 1e-9, math.NaN()}, {0, math.NaN()},
	} {
		run, err := runOne(context.Background(), t.TempDir(), data, s, drawOf(data, s), test.target, TrainOptions{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		checkFigure(t, fmt.Sprint("steps to ", test.target), run.StepsToTarget, test.steps)
		if test.target == target && run.looksToTarget != top+1 {
			t.Errorf("looks to %v: got %d, want %d", target, run.looksToTarget, top+1)
		}
	}
}

// A run's seconds lie between its first and last look and the whole call.
func TestSecondsOfARun(t *testing.T) {
	var looks []time.Time
	began := time.Now()
	run, err := Train(context.Background(), t.TempDir(), digits(t, 100, 10), smallRun(func(s *Settings) { s.Epochs = 20 }), TrainOptions{
		Threads: 1, Progress: func(p Progress) {
			if !p.Done {
				looks = append(looks, time.Now())
			}
		},
	})
	whole := time.Since(began).Seconds()
	if err != nil || len(looks) != 20 {
		t.Fatalf("%d looks, %v", len(looks), err)
	}
	if least := looks[19].Sub(looks[0]).Seconds(); run.Seconds < least || run.Seconds > whole {
		t.Errorf("got %v seconds, want %v to %v", run.Seconds, least, whole)
	}
}

// What Progress is told is what history.csv says, and at the end how it ended.
func TestProgress(t *testing.T) {
	data := digits(t, 100, 10)
	for _, share := range []float64{0, 0.2} {
		s := smallRun(func(s *Settings) { s.Validation, s.Epochs, s.LookEvery = share, 3, 2 })
		var got []Progress
		_, err := Train(context.Background(), t.TempDir(), data, s, TrainOptions{Threads: 1, Name: "a-run", Progress: func(p Progress) { got = append(got, p) }})
		if err != nil {
			t.Fatal(err)
		}
		h := trainByHand(t, data, s)
		if len(got) != len(h.looks)+1 {
			t.Fatalf("validation %v: got %d calls, want %d", share, len(got), len(h.looks)+1)
		}
		for i, p := range got {
			l := h.looks[min(i, len(h.looks)-1)]
			cost, accuracy := l.valCost, l.valAcc
			if share == 0 {
				cost, accuracy = l.trainCost, l.trainAcc
			}
			want := Progress{Run: "a-run", Epoch: l.epoch, MaxEpochs: 3, Step: l.step, Cost: p.Cost, Accuracy: p.Accuracy}
			if i == len(h.looks) {
				want.Step, want.Done, want.Stopped = h.steps, true, "max_epochs"
			}
			if p != want || !near(p.Cost, cost) || !near(p.Accuracy, accuracy) {
				t.Errorf("validation %v: got %+v, want %+v with cost %v, accuracy %v", share, p, want, cost, accuracy)
			}
		}
	}
}

// A run that ends before its first look has the figures of its first weights, but none of
// a look.
func TestFiguresBeforeTheFirstLook(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	data := digits(t, 50, 10)
	s := smallRun(func(s *Settings) { s.Stop = StopPublished })
	var last Progress
	dir := t.TempDir()
	run, err := Train(ctx, dir, data, s, TrainOptions{Threads: 1, Progress: func(p Progress) { last = p }})
	if !errors.Is(err, context.Canceled) || run.Stopped != "interrupted" || run.Steps != 0 {
		t.Fatalf("got %+v, %v, want no steps and %v", run, err, context.Canceled)
	}
	if !last.Done || last.Stopped != "interrupted" || !math.IsNaN(last.Cost) || !math.IsNaN(last.Accuracy) {
		t.Errorf("progress: got %+v, want the end without cost and accuracy", last)
	}
	model, err := modelfile.Load[float64](filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	cost, accuracy := measured(model.Net, dataset.All(data.Test), s.Loss)
	checkFigure(t, "test cost", run.TestCost, cost)
	checkFigure(t, "test accuracy", run.TestAccuracy, accuracy)
	checkFigure(t, "train cost", run.TrainCost, math.NaN())
	checkFigure(t, "validation cost", run.ValCost, math.NaN())
}

func TestArchitecture(t *testing.T) {
	for _, test := range []struct{ normalisation, place, want string }{
		{NormalisationNone, PlaceBefore, "dense 8+b, tanh, dense 6+b, tanh, dense 10+b"},
		{NormalisationNone, PlaceAfter, "dense 8+b, tanh, dense 6+b, tanh, dense 10+b"},
		{NormalisationBatch, PlaceBefore, "dense 8, batch_norm, tanh, dense 6, batch_norm, tanh, dense 10+b"},
		{NormalisationBatch, PlaceAfter, "dense 8+b, tanh, batch_norm, dense 6+b, tanh, batch_norm, dense 10+b"},
		{NormalisationPublished, PlaceBefore, "dense 8+b, NORM, tanh, dense 6+b, NORM, tanh, dense 10+b"},
		{NormalisationPublished, PlaceAfter, "dense 8+b, tanh, NORM, dense 6+b, tanh, NORM, dense 10+b"},
	} {
		c := Default()
		c.Hidden, c.Activation, c.Normalisation, c.Place = []int{8, 6}, nn.KindTanh, test.normalisation, test.place
		a := c.Architecture(12, 10)
		var got []string
		for _, l := range a.Layers {
			word := l.Kind
			if l.Kind == nn.KindDense {
				word += fmt.Sprint(" ", l.Units)
				if !l.NoBias {
					word += "+b"
				}
			}
			got = append(got, word)
			if l.Kind == nn.KindBatchNorm && (l.Epsilon != 1e-5 || l.Decay != 0.9) {
				t.Errorf("batch norm: got epsilon %v, decay %v, want 1e-5, 0.9", l.Epsilon, l.Decay)
			}
		}
		if want := strings.ReplaceAll(test.want, "NORM", nn.KindPublishedNorm); a.Input != 12 || strings.Join(got, ", ") != want {
			t.Errorf("%s, %s: got %d in, %s, want 12 in, %s", test.normalisation, test.place, a.Input, strings.Join(got, ", "), want)
		}
	}
}

// A study's results say what was run: its runs are those that Train makes, its counts
// those of the split, its layers those of the models.
func TestFiguresOfAStudy(t *testing.T) {
	data := digits(t, 150, 40)
	data.SHA256, data.Fallback = strings.Repeat("5a", 32), true
	s := parse(t, strings.NewReplacer("timing_repeats = 2", "timing_repeats = 1", "name = \"plain\"", "name = \"plain\"\nl2 = 0.25").Replace(small))
	if err := s.Shorten(3); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r, err := s.Run(context.Background(), dir, data, RunOptions{Threads: 1, Command: "glassnet"})
	if err != nil {
		t.Fatal(err)
	}
	if r.ShortenedTo != 3 || !reflect.DeepEqual(r.Notes, s.Notes) || len(r.Notes) != 1 {
		t.Errorf("got shortened to %d, notes %q, want 3 and one note", r.ShortenedTo, r.Notes)
	}
	if r.Study != "small" || r.Title != "Small" || r.Question != "?" || r.Command != "glassnet" || figure(r.Target) != 0.2 || r.Primary != "test_accuracy" {
		t.Errorf("got %q, %q, %q, %q, target %v, primary metric %q", r.Study, r.Title, r.Question, r.Command, figure(r.Target), r.Primary)
	}
	if d := r.Dataset; d.Name != "handful" || d.Origin != data.Origin || !d.Fallback || d.SHA256 != data.SHA256 || d.Width != 28 || d.Height != 28 || d.Classes != 10 {
		t.Errorf("data set: got %+v, want that of %+v", d, data)
	}
	order := random.New(1, random.Split).Permutation(150)
	counts := make([]ClassCount, 10)
	for c := range counts {
		counts[c].Class = c
	}
	for i, example := range order {
		if c := &counts[data.Train.Labels[example]]; i < 30 {
			c.Validation++
		} else {
			c.Train++
		}
	}
	for _, label := range data.Test.Labels {
		counts[label].Test++
	}
	if !slices.Equal(r.Dataset.PerClass, counts) || r.Dataset.Examples != (Examples{120, 30, 40}) {
		t.Errorf("got %+v, %+v, want %+v", r.Dataset.Examples, r.Dataset.PerClass, counts)
	}
	for i, e := range r.Experiments {
		d := s.Experiments[i]
		if e.Name != d.Name || e.L2 != d.L2 || e.Normalisation != d.Normalisation || !reflect.DeepEqual(e.Config, d.Config) {
			t.Errorf("experiment: got %+v, want %+v", e, d)
		}
		for k, run := range e.Runs {
			if run.Seed != s.Seeds[k] || run.Dir != fmt.Sprintf("runs/%s-seed%d", e.Name, k+1) {
				t.Errorf("run %d of %s: got seed %d in %s", k, e.Name, run.Seed, run.Dir)
			}
			alone := t.TempDir()
			settings := Settings{Dataset: "handful", Precision: "float32", Seed: s.Seeds[k], Config: d.Config}
			if _, err := Train(context.Background(), alone, data, settings, TrainOptions{Threads: 1}); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"model.safetensors", "history.csv", "config.toml"} {
				got, err := os.ReadFile(filepath.Join(dir, run.Dir, name))
				if err != nil {
					t.Fatal(err)
				}
				want, err := os.ReadFile(filepath.Join(alone, name))
				if err != nil {
					t.Fatal(err)
				}
				if string(got) != string(want) {
					t.Errorf("%s of %s is not that of the run alone", name, run.Dir)
				}
			}
			want := math.NaN()
			if run.StepsToTarget != nil {
				want = (*run.StepsToTarget*e.Timing.Samples[0] + float64(run.looksToTarget)*e.Timing.MicrosPerLook) / 1e6
			}
			if checkFigure(t, run.Dir+": seconds to the target", run.SecondsToTarget, want); run.StepsToTarget == nil && i == 1 {
				t.Errorf("%s never reached the target", run.Dir)
			}
			checkFigure(t, run.Dir+": time of a step", run.MicrosPerStep, e.Timing.Samples[0])
		}
		model, err := modelfile.Load[float64](filepath.Join(dir, e.Runs[0].Dir, "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		for l, layer := range model.Net.Layers() {
			want := LayerShape{Layer: l + 1, Kind: layer.Spec().Kind}
			_, out := layer.Widths()
			want.Activation = []int{32, out}
			for _, p := range layer.Params() {
				if p.Role == nn.Statistic {
					continue
				}
				want.Parameters += len(p.Value)
				switch {
				case p.Role == nn.Weight:
					want.Weight = p.Shape
				case p.Role == nn.Bias && want.Kind == nn.KindDense:
					want.Bias = []int{out}
				}
			}
			if !reflect.DeepEqual(e.Layers[l], want) {
				t.Errorf("%s: got the layer %+v, want %+v", e.Name, e.Layers[l], want)
			}
		}
	}
}

func TestMicroseconds(t *testing.T) {
	if got := microseconds(time.Now().Add(-time.Hour)); got < 3600e6 || got > 7200e6 {
		t.Errorf("an hour: got %v µs, want 3.6e9", got)
	}
	data := digits(t, 150, 10)
	j := job{settings: smallRun(func(*Settings) {}), study: &Study{}}
	began := time.Now()
	m, err := timeOne(data, j, 1)
	whole := float64(time.Since(began).Nanoseconds()) / 1e3
	if err != nil || !(m.step > 0) || !(m.look > 0) || m.step*60+m.look > whole {
		t.Errorf("got %v µs for a step, %v for a look, %v, want 60 and one within %v", m.step, m.look, err, whole)
	}
}

// Behind a run that fails no other begins.
func TestFailureStopsTheStudy(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "runs", "plain-seed1", "history.csv"), 0o777); err != nil {
		t.Fatal(err)
	}
	r, err := parse(t, small).Run(context.Background(), dir, digits(t, 50, 10), RunOptions{Threads: 1})
	if err == nil || errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "plain-seed1") || r != nil {
		t.Errorf("got %v, %v, want the error of plain-seed1", r, err)
	}
	begun, err := os.ReadDir(filepath.Join(dir, "runs"))
	if err != nil || len(begun) != 1 {
		t.Errorf("got %d runs begun (%v), want 1", len(begun), err)
	}
}

// Each metric is the figure of a run that has its name.
func TestMetricsOfARun(t *testing.T) {
	run := Run{Epochs: 2, Steps: 3, Seconds: 4.5}
	next := 10.5
	for _, field := range []**float64{
		&run.TrainAccuracy, &run.ValAccuracy, &run.TestAccuracy, &run.TrainCost, &run.ValCost, &run.TestCost,
		&run.Penalty, &run.MicrosPerStep, &run.SumOfWeights, &run.StepsToTarget, &run.SecondsToTarget,
	} {
		*field = new(next)
		next++
	}
	text, err := json.Marshal(run)
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	for _, m := range metrics {
		if got := figure(m.of(&run)); got != want[m.name] {
			t.Errorf("%s: got %v, want %v", m.name, got, want[m.name])
		}
	}
	if len(metrics) != 14 {
		t.Errorf("got %d metrics, want 14", len(metrics))
	}
}

// drawnRuns makes runs whose figures are drawn around a level of their own.
func drawnRuns(name string, level float64, seeds int) Experiment {
	stream := random.New(3, name)
	e := Experiment{Name: name, Timing: &Timing{Repeats: seeds}}
	for k := range seeds {
		around := func() *float64 { return new(level + stream.Normal()) }
		e.Runs = append(e.Runs, Run{
			Seed: uint64(k), Steps: 100 + stream.IntN(50), Stopped: "max_epochs",
			TrainAccuracy: around(), ValAccuracy: around(), TestAccuracy: around(),
			TrainCost: around(), ValCost: around(), TestCost: around(),
			StepsToTarget: around(), SecondsToTarget: around(),
		})
	}
	return e
}

// Primary comparisons, those of times and all others are three families of Holm's
// correction.
func TestHolmFamilies(t *testing.T) {
	r := &Results{Experiments: []Experiment{drawnRuns("a", 0, 6), drawnRuns("b", 1.5, 6), drawnRuns("c", 2, 6)}}
	summarise(r, &Study{Seeds: []uint64{0, 1, 2, 3, 4, 5}, Primary: "val_cost", Comparisons: []Pair{
		{A: "a", B: "b", Primary: true}, {A: "a", B: "c", Primary: true}, {A: "b", B: "c"},
	}})
	families := map[string][]Comparison{}
	for _, c := range r.Comparisons {
		family := "others"
		switch {
		case c.Metric == "val_cost" && c.A == "a":
			family = "primary"
		case c.Metric == "seconds_to_target":
			family = "times"
		}
		if c.P == nil || c.PHolm == nil {
			t.Fatalf("%s of %s and %s: got p %v, corrected %v", c.Metric, c.A, c.B, c.P, c.PHolm)
		}
		if c.Primary != (family == "primary") {
			t.Errorf("%s of %s and %s: got primary %v", c.Metric, c.A, c.B, c.Primary)
		}
		families[family] = append(families[family], c)
	}
	for name, n := range map[string]int{"primary": 2, "times": 3, "others": 22} {
		family := families[name]
		if len(family) != n {
			t.Errorf("%s: got %d comparisons, want %d", name, len(family), n)
		}
		slices.SortFunc(family, func(a, b Comparison) int { return cmp.Compare(*a.P, *b.P) })
		want := 0.0
		for k, c := range family {
			want = max(want, min(1, *c.P*float64(len(family)-k)))
			if !near(*c.PHolm, want) {
				t.Errorf("%s, %s of %s and %s: got p %v corrected to %v, want %v", name, c.Metric, c.A, c.B, *c.P, *c.PHolm, want)
			}
		}
	}
}

// Runs that diverged or were interrupted are neither summarised nor compared.
func TestUnfinishedRunsAreLeftOut(t *testing.T) {
	for _, stopped := range []string{"diverged", "interrupted"} {
		for side := range 2 {
			r := &Results{Experiments: []Experiment{drawnRuns("a", 0, 4), drawnRuns("b", 1, 4)}}
			r.Experiments[side].Runs[2].Stopped = stopped
			summarise(r, &Study{Seeds: []uint64{0, 1, 2, 3}, Primary: "test_cost", Comparisons: []Pair{{A: "a", B: "b"}}})
			for _, c := range r.Comparisons {
				if c.N != 3 {
					t.Errorf("%s: got %d pairs of %s, want 3", stopped, c.N, c.Metric)
				}
			}
			for i := range 2 {
				want, sum := 4, 0.0
				if i == side {
					want = 3
				}
				for k, run := range r.Experiments[i].Runs {
					if i != side || k != 2 {
						sum += *run.TestCost
					}
				}
				got := r.Experiments[i].Summary["test_cost"]
				if got.N != want {
					t.Errorf("%s: got %d runs of %s, want %d", stopped, got.N, r.Experiments[i].Name, want)
				}
				checkFigure(t, stopped+": mean", got.Mean, sum/float64(want))
			}
		}
	}
}

// Differences that are close to each other are tested; those that differ by rounding
// alone are not.
func TestSmallSpread(t *testing.T) {
	of := func(name string, values ...float64) *Experiment {
		e := &Experiment{Name: name}
		for k := range values {
			e.Runs = append(e.Runs, Run{Seed: uint64(k), TestAccuracy: &values[k]})
		}
		return e
	}
	a := of("a", 0, 0)
	// Mean 1, standard deviation √2·s: t = 1/s with one degree of freedom.
	for _, s := range []float64{0.05, 1e-3, 1e-9} {
		c := compare(a, of("b", 1-s, 1+s), metrics[0])
		if want := 2 / math.Pi * math.Atan(s); c.P == nil || math.Abs(*c.P-want) > 1e-3*want {
			t.Errorf("spread %v: got p %v, want %v", s, figure(c.P), want)
		}
	}
	if c := compare(a, of("b", 1, 1+1e-15), metrics[0]); c.P != nil {
		t.Errorf("a spread of rounding: got p %v, want none", *c.P)
	}
}

func TestShorten(t *testing.T) {
	for _, test := range []struct {
		limit, first, second, shortened int
	}{{2, 2, 1, 2}, {1, 1, 1, 1}, {4, 4, 1, 0}, {9, 4, 1, 0}} {
		s := parse(t, strings.Replace(small, "normalisation = \"batch\"", "epochs = 1", 1))
		if err := s.Shorten(test.limit); err != nil {
			t.Fatal(err)
		}
		notes := 0
		if test.shortened > 0 {
			notes = 1
		}
		a, b := s.Experiments[0].Epochs, s.Experiments[1].Epochs
		if a != test.first || b != test.second || s.shortenedTo != test.shortened || len(s.Notes) != notes {
			t.Errorf("Shorten(%d): got %d and %d epochs, shortened to %d, notes %q, want %d, %d, %d",
				test.limit, a, b, s.shortenedTo, s.Notes, test.first, test.second, test.shortened)
		}
	}
	if err := parse(t, small).Shorten(0); err == nil {
		t.Error("Shorten(0): got nil, want an error")
	}
}

// The last layer, which no normalisation follows, is not checked, nor are corners of a
// ReLU.
func TestCheckedGradients(t *testing.T) {
	set := &dataset.Set{Width: 2, Height: 2, Classes: 3, Labels: []uint8{0, 1, 2, 1}}
	for i := range 16 {
		set.Pixels = append(set.Pixels, byte(50+13*i))
	}
	c := Default()
	c.Hidden = []int{5}
	for _, test := range []struct {
		activation string
		zero       bool
		want       int
	}{{nn.KindReLU, true, 0}, {nn.KindTanh, true, 12}, {nn.KindTanh, false, 12}} {
		c.Activation = test.activation
		net, err := nn.Build[float64](c.Architecture(4, 3))
		if err != nil {
			t.Fatal(err)
		}
		rule, err := nn.FindInitialiser("he-normal")
		if err != nil {
			t.Fatal(err)
		}
		nn.Initialise(net, rule, random.New(1, random.Init))
		if test.zero {
			clear(net.Params()[0].Value)
		}
		checks, err := checkGradients(net, dataset.All(set))
		if err != nil || len(checks) != test.want {
			t.Errorf("%s, first layer zero %v: got %d checks, %v, want %d", test.activation, test.zero, len(checks), err, test.want)
		}
		for _, check := range checks {
			if check.Ref.Name != "1.dense.weight" || check.Kink || check.Off() {
				t.Errorf("got the check %+v, want one of the first layer that is right", check)
			}
		}
	}
}

func TestJudge(t *testing.T) {
	check := func(column int, analytic, numeric, relative float64) explain.Check {
		return explain.Check{Ref: explain.ParameterRef("1.dense.weight", 4, column), Analytic: analytic, Numeric: numeric, Relative: relative}
	}
	all, worst, failed := judge([]explain.Check{check(0, 1, 1, 0.25), check(1, 1, 2, 0.5), check(2, 3, 4, 0.3)})
	if len(all) != 3 || figure(worst) != 0.5 || failed != 2 {
		t.Fatalf("got %d checks, worst %v, %d failed, want 3, 0.5, 2", len(all), figure(worst), failed)
	}
	if got := all[2]; got.Parameter != "1.dense.weight[4, 2]" || *got.Analytic != 3 || *got.Numeric != 4 {
		t.Errorf("got %s, %v, %v, want 1.dense.weight[4, 2], 3, 4", got.Parameter, *got.Analytic, *got.Numeric)
	}
	if all, worst, failed := judge(nil); all == nil || len(all) != 0 || worst != nil || failed != 0 {
		t.Errorf("no checks: got %v, %v, %d", all, worst, failed)
	}
}

func TestLargest(t *testing.T) {
	v := []float64{1, -5, 3, 0, -4, 3}
	for n, want := range map[int][]int{1: {1}, 3: {1, 2, 4}, 9: {0, 1, 2, 3, 4, 5}} {
		if got := largest(v, n); !slices.Equal(got, want) {
			t.Errorf("largest %d of %v: got %v, want %v", n, v, got, want)
		}
	}
}
