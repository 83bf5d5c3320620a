package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"glassnet/dataset"
	"glassnet/dataset/drawn"
	"glassnet/experiment"
	"glassnet/explain"
)

// fewDigits returns so many drawn digits, and so many others to test on.
func fewDigits(t *testing.T, name string, train, test int) *dataset.Data {
	t.Helper()
	pixels, labels, err := drawn.Draw(t.Context(), 7, 0, train+test, nil)
	if err != nil {
		t.Fatal(err)
	}
	const features = drawn.Width * drawn.Height
	set := func(first, n int) *dataset.Set {
		return &dataset.Set{Width: drawn.Width, Height: drawn.Height, Classes: 10, Pixels: pixels[first*features : (first+n)*features], Labels: labels[first : first+n]}
	}
	return &dataset.Data{Name: name, Origin: "drawn for a test", SHA256: strings.Repeat("0", 64), Train: set(0, train), Test: set(train, test)}
}

// folder writes the data as IDX files and returns where.
func folder(t *testing.T, data *dataset.Data) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), data.Name)
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for part, set := range map[string]*dataset.Set{"train": data.Train, "t10k": data.Test} {
		var images, labels bytes.Buffer
		err := errors.Join(dataset.WriteImages(&images, set.Width, set.Height, set.Pixels), dataset.WriteLabels(&labels, set.Labels),
			os.WriteFile(filepath.Join(dir, part+"-images-idx3-ubyte"), images.Bytes(), 0o666),
			os.WriteFile(filepath.Join(dir, part+"-labels-idx1-ubyte"), labels.Bytes(), 0o666))
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// output runs a command line that prints JSON.
func output(t *testing.T, to any, args ...string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(args, &stdout, &stderr); code != exitDone {
		t.Fatalf("glassnet %q: exit code %d, %s", args, code, stderr.String())
	}
	if err := json.Unmarshal(stdout.Bytes(), to); err != nil {
		t.Fatal(err)
	}
}

// Predictions, the evaluation and the explanation of one model say the same, and what an
// evaluation says follows from its confusion.
func TestFiguresOfAModel(t *testing.T) {
	data := fewDigits(t, "digits", 400, 150)
	dir := folder(t, data)
	out := filepath.Join(t.TempDir(), "run")
	model := filepath.Join(out, "model.safetensors")
	var trained experiment.Run
	output(t, &trained, "train", "--dataset", dir, "--hidden", "12", "--lr", "0.1", "--batch", "32", "--epochs", "3", "--l2", "0.001", "--out", out, "--json")
	var e experiment.Evaluation
	output(t, &e, "evaluate", model, "--dataset", dir, "--json")
	var predictions []prediction
	output(t, &predictions, "predict", model, filepath.Join(dir, "t10k-images-idx3-ubyte"), "--json")

	if e.Examples != 150 || len(predictions) != 150 {
		t.Fatalf("%d examples, %d predictions", e.Examples, len(predictions))
	}
	confusion, cost, right := [10][10]int{}, 0.0, 0
	for i, p := range predictions {
		label := int(data.Test.Labels[i])
		if p.Index != i || len(p.Probabilities) != 10 {
			t.Fatalf("prediction %d is of image %d and has %d probabilities", i, p.Index, len(p.Probabilities))
		}
		for class, v := range p.Probabilities {
			if v > p.Probabilities[p.Class] {
				t.Errorf("image %d: class %d, but %d is more probable", i, p.Class, class)
			}
		}
		confusion[label][p.Class]++
		cost -= math.Log(p.Probabilities[label])
		if p.Class == label {
			right++
		}
	}
	if math.Abs(cost/150-*e.Cost) > 1e-5 || math.Abs(float64(right)/150-*e.Accuracy) > 1e-12 {
		t.Errorf("cost %v, accuracy %v, but predictions give %v, %v", *e.Cost, *e.Accuracy, cost/150, float64(right)/150)
	}
	if *e.Cost != *trained.TestCost || *e.Accuracy != *trained.TestAccuracy {
		t.Errorf("cost %v, accuracy %v, but training gave %v, %v", *e.Cost, *e.Accuracy, *trained.TestCost, *trained.TestAccuracy)
	}
	swapped := false // would be seen
	for c, score := range e.PerClass {
		predicted, support := 0, 0
		for k := range 10 {
			if e.Confusion[c][k] != confusion[c][k] {
				t.Errorf("confusion %d, %d is %d, want %d", c, k, e.Confusion[c][k], confusion[c][k])
			}
			predicted, support = predicted+confusion[k][c], support+confusion[c][k]
		}
		hits := float64(confusion[c][c])
		same := func(what string, got *float64, of, all float64) {
			if (got == nil) != (all == 0) || got != nil && math.Abs(*got-of/all) > 1e-12 {
				t.Errorf("%s of class %d is %v, want %v", what, c, got, of/all)
			}
		}
		same("precision", score.Precision, hits, float64(predicted))
		same("recall", score.Recall, hits, float64(support))
		if score.Class != c || score.Support != support {
			t.Errorf("class %d with %d examples, want %d with %d", score.Class, score.Support, c, support)
		}
		swapped = swapped || predicted != support && hits > 0
	}
	if !swapped {
		t.Error("every class is predicted as often as it is there: this shows nothing")
	}

	var unit explained
	output(t, &unit, "explain", model, "--dataset", dir, "--unit", "3:2", "--json")
	for _, a := range unit.Opened[0].Activating {
		var one explained
		output(t, &one, "explain", model, "--dataset", dir, "--example", fmt.Sprint(a.Example), "--json")
		if a.Label != int(data.Test.Labels[a.Example]) || math.Abs(a.Value-one.Layers[2].Output[2]) > 1e-5 {
			t.Errorf("%+v, but example %d has the label %d and %v", a, a.Example, data.Test.Labels[a.Example], one.Layers[2].Output[2])
		}
	}
	if len(unit.Opened[0].Activating) != mostActivating {
		t.Errorf("%d activating examples", len(unit.Opened[0].Activating))
	}

	for i := range 12 {
		var step struct {
			Label         int       `json:"label"`
			Probabilities []float64 `json:"probabilities"`
			Loss          float64   `json:"loss"`
			Opened        []struct {
				Ref   string  `json:"ref"`
				Value float64 `json:"value"`
			} `json:"opened"`
		}
		output(t, &step, "explain", model, "--dataset", dir, "--example", fmt.Sprint(i), "--lr", "2", "--param", "3.dense.weight:4,3", "--json")
		if step.Label != int(data.Test.Labels[i]) || math.Abs(math.Log(step.Probabilities[step.Label])+step.Loss) > 1e-5 {
			t.Errorf("example %d: %+v", i, step)
		}
		for class, v := range step.Probabilities {
			if math.Abs(v-predictions[i].Probabilities[class]) > 1e-6 {
				t.Errorf("example %d: p[%d] = %v, predicted %v", i, class, v, predictions[i].Probabilities[class])
			}
		}
		before, gradient, after := step.Opened[0], step.Opened[1], step.Opened[2]
		if before.Ref != "3.dense.weight:4,3" || gradient.Ref != "grad(3.dense.weight:4,3)" || after.Ref != "after(3.dense.weight:4,3)" ||
			gradient.Value == 0 || math.Abs(before.Value-2*gradient.Value-after.Value) > 1e-6 {
			t.Errorf("example %d: %v - 2·%v = %v?", i, before, gradient, after)
		}
		output(t, &step, "explain", model, "--dataset", dir, "--set", "train", "--example", fmt.Sprint(i), "--json")
		if step.Label != int(data.Train.Labels[i]) {
			t.Errorf("example %d of the training set: label %d, want %d", i, step.Label, data.Train.Labels[i])
		}
	}
}

// An explanation begins with which example it is of, and tells the update with cost and
// penalty together, before first.
func TestStepIsTold(t *testing.T) {
	var b bytes.Buffer
	p := newExplainPrinter(&b, explain.Brief, explain.Rows)
	e := &explained{Example: 4, Set: "train", Dataset: "digits", Overview: explain.Overview{
		Label: 3, Predicted: 8, Rule: "sgd", Rate: 0.5, Cost: 1, Penalty: 0.25, CostAfter: 0.5, PenaltyAfter: 0.125,
	}}
	p.header(e)
	p.update(e)
	if err := p.w.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Example 4 of the train set of digits: label 3, predicted 8\n", "same batch: 1.25 before, 0.625 after\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s, want %q", b.String(), want)
		}
	}
}

func TestProgressIsTold(t *testing.T) {
	p := experiment.Progress{Run: "a-seed1", Epoch: 3, MaxEpochs: 20, Step: 75, Cost: 0.25, Accuracy: 0.875}
	done := p
	done.Done, done.Stopped = true, "patience"
	blank := done
	blank.Cost, blank.Accuracy = math.NaN(), math.NaN()
	for _, test := range []struct {
		p    experiment.Progress
		want string
	}{
		{p, "a-seed1: epoch 3/20  cost 0.2500  accuracy 0.8750\n"},
		{done, "a-seed1: done after 75 steps (patience): cost 0.2500, accuracy 0.8750\n"},
		{blank, "a-seed1: done after 75 steps (patience)\n"},
	} {
		for _, quiet := range []bool{false, true} {
			var b bytes.Buffer
			newMeter(&b, quiet).run(test.p)
			if want := map[bool]string{false: test.want}[quiet]; b.String() != want {
				t.Errorf("quiet %v: %q, want %q", quiet, b.String(), want)
			}
		}
	}
}

// On MNIST, as the study is, all published figures must come out equal.
func TestPublishedPromise(t *testing.T) {
	results := func(name string, equal ...bool) *experiment.Results {
		r := &experiment.Results{Dataset: experiment.DatasetInfo{Name: name}}
		for _, e := range equal {
			r.Published = append(r.Published, experiment.PublishedRow{Figures: []experiment.Figure{{Equal: e}, {Equal: true}}})
		}
		return r
	}
	kept, broken, other := results("mnist", true, true), results("mnist", true, false, false), results("drawn-digits", false)
	const told = "error: 4 of 6 published figures came out equal, want all\n"
	for _, test := range []struct {
		name    string
		c       studyCmd
		results []*experiment.Results
		told    string
	}{
		{"kept", studyCmd{}, []*experiment.Results{kept, results("mnist")}, ""},
		{"broken", studyCmd{}, []*experiment.Results{broken}, told},
		{"broken by the second", studyCmd{}, []*experiment.Results{kept, broken}, told},
		{"broken with its own seed", studyCmd{Seed: new(uint64(42))}, []*experiment.Results{broken}, told},
		{"other data", studyCmd{}, []*experiment.Results{other}, ""},
		{"another seed", studyCmd{Seed: new(uint64(43))}, []*experiment.Results{broken}, ""},
		{"another precision", studyCmd{Precision: "float32"}, []*experiment.Results{broken}, ""},
		{"a quick look", studyCmd{Epochs: new(300)}, []*experiment.Results{broken}, ""},
	} {
		var b bytes.Buffer
		err := test.c.checkPublished(&b, test.results)
		if errors.Is(err, errCheckFailed) != (test.told != "") || b.String() != test.told {
			t.Errorf("%s: %v, %q, want %q", test.name, err, b.String(), test.told)
		}
	}
	var b bytes.Buffer
	if code := fail(&b, errCheckFailed, "glassnet study --help"); code != exitFailed || exitFailed != 1 || b.Len() > 0 {
		t.Errorf("exit code %d, %q", code, b.String())
	}
}

const replay = `
name = "replay"
question = "?"
precision = "float64"
seeds = [42]
shows_published_table = true
[common]
hidden = [3]
batch = 32
epochs = 1
[[experiment]]
name = "exp1"
[[experiment]]
name = "exp2"
[[experiment]]
name = "exp3"
`

// runReplay runs that study, named so on the command line, and returns what its
// results.json says, what stderr, and the error.
func runReplay(ctx context.Context, t *testing.T, named string, data *dataset.Data) (r experiment.Results, stderr string, failure error) {
	t.Helper()
	study, err := experiment.Parse("replay.toml", []byte(replay))
	if err != nil {
		t.Fatal(err)
	}
	var to, beside bytes.Buffer
	s := &session{ctx: ctx, stdout: &to, stderr: &beside, args: []string{"study", named, "--seed", "42", "--threads", "2", "--out=x", "--quiet"}}
	seed, out := uint64(42), t.TempDir()
	c := studyCmd{Studies: []string{named}, Seed: &seed, Quiet: true}
	failure = c.runAll(s, []*experiment.Study{study}, data, out, 2)
	text, err := os.ReadFile(filepath.Join(out, "results.json"))
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		t.Fatalf("%v, after %v", err, failure)
	}
	if !strings.Contains(to.String(), "report: "+out) {
		t.Errorf("stdout %q", to.String())
	}
	return r, beside.String(), failure
}

// A study that breaks the promise is written and printed all the same. A file of the user's
// makes none.
func TestStudyThatBreaksThePromise(t *testing.T) {
	r, stderr, err := runReplay(t.Context(), t, "published", fewDigits(t, "mnist", 100, 50))
	if want := "error: 0 of 21 published figures came out equal, want all\n"; !errors.Is(err, errCheckFailed) || stderr != want {
		t.Errorf("%v, stderr %q, want %q", err, stderr, want)
	}
	if want := "glassnet study published --seed 42"; r.Command != want {
		t.Errorf("command %q, want %q", r.Command, want)
	}
	if _, stderr, err := runReplay(t.Context(), t, "replay.toml", fewDigits(t, "mnist", 100, 50)); err != nil || stderr != "" {
		t.Errorf("a file of one's own: %v, stderr %q", err, stderr)
	}
}

// A study whose report cannot be written prints what came out, and fails.
func TestStudyWithoutItsReport(t *testing.T) {
	study, err := experiment.Parse("replay.toml", []byte(replay))
	if err != nil {
		t.Fatal(err)
	}
	for _, inTheWay := range []string{"results.csv", "report.html"} {
		var to, beside bytes.Buffer
		s, out := &session{ctx: t.Context(), stdout: &to, stderr: &beside, args: []string{"study", "replay.toml"}}, t.TempDir()
		if err := os.Mkdir(filepath.Join(out, inTheWay), 0o777); err != nil {
			t.Fatal(err)
		}
		c := studyCmd{Studies: []string{"replay.toml"}, Quiet: true}
		err := c.runAll(s, []*experiment.Study{study}, fewDigits(t, "mnist", 100, 50), out, 2)
		if err == nil || !strings.Contains(err.Error(), inTheWay) || !strings.Contains(to.String(), "exp3") || strings.Contains(to.String(), "report: ") {
			t.Errorf("without %s: %v, printed %q", inTheWay, err, to.String())
		}
	}
}

// An argument that is not UTF-8 would name another file.
func TestArgumentsAreUTF8(t *testing.T) {
	var stdout, stderr bytes.Buffer
	code := run([]string{"evaluate", "a\xe9/model.safetensors"}, &stdout, &stderr)
	if code != exitUsage || !strings.Contains(stderr.String(), `the argument "a\xe9/model.safetensors" is not UTF-8`) {
		t.Errorf("exit code %d, %q", code, stderr.String())
	}
}

// An interrupted session says what of it is missing; one on digits that stand in for MNIST,
// how to have them again.
func TestUnfinishedIsTold(t *testing.T) {
	studies := []*experiment.Study{{Name: "a"}, {Name: "b"}, {Name: "c"}, {Name: "d"}}
	done := []*experiment.Results{{}, {Interrupted: true}}
	want := "study b is unfinished: runs or their timing are missing, study c was not begun, study d was not begun"
	if got := unfinished(studies, done); got != want {
		t.Errorf("%q, want %q", got, want)
	}

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	data := fewDigits(t, "drawn-digits", 100, 50)
	data.Fallback = true
	r, stderr, err := runReplay(ctx, t, "replay.toml", data)
	if told := "interrupted: study replay is unfinished: runs or their timing are missing\n"; !interrupted(err) || stderr != told {
		t.Errorf("%v, stderr %q, want %q", err, stderr, told)
	}
	if want := "glassnet study replay.toml --seed 42 --dataset drawn-digits"; r.Command != want {
		t.Errorf("command %q, want %q", r.Command, want)
	}
}

// The command that reproduces a result keeps what changes it.
func TestCommandLine(t *testing.T) {
	for typed, want := range map[string]string{
		"study a.toml --seed 7 --out x --json":                   "glassnet study a.toml --seed 7",
		"study a.toml --seed=7 --data=d --threads=3 --kernel=k":  "glassnet study a.toml --seed=7",
		"study --data=d --seed 7 --out=x a.toml b.toml":          "glassnet study --seed 7 a.toml b.toml",
		"study --threads 3 a.toml --data d --kernel k --quiet b": "glassnet study a.toml b",
		"study --precision float32 --epochs 3 --dataset d a":     "glassnet study --precision float32 --epochs 3 --dataset d a",
	} {
		s := &session{args: strings.Fields(typed)}
		if got := s.commandLine(); got != want {
			t.Errorf("%q is run again by %q, want %q", typed, got, want)
		}
	}
}

// fullDisk takes nothing.
type fullDisk struct{}

var errFull = errors.New("no space left")

func (fullDisk) Write([]byte) (int, error) { return 0, errFull }

// A result that could not be written is a failure.
func TestWriteErrors(t *testing.T) {
	for _, args := range []string{"version", "studies", "studies published", "--version", "--help", "train --help", "help study"} {
		var stderr bytes.Buffer
		code := run(strings.Fields(args), fullDisk{}, &stderr)
		if code != exitFailed || !strings.HasPrefix(stderr.String(), "error: ") || !strings.Contains(stderr.String(), "no space left") {
			t.Errorf("glassnet %s: exit code %d, %q", args, code, stderr.String())
		}
	}
}
