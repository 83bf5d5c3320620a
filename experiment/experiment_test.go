package experiment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"glassnet/dataset"
	"glassnet/dataset/drawn"
	"glassnet/internal/numpyrand"
	"glassnet/internal/usererr"
	"glassnet/modelfile"
	"glassnet/nn"
	"glassnet/studies"
	"glassnet/train"
)

// digits draws a small data set.
func digits(t *testing.T, trainSize, testSize int) *dataset.Data {
	t.Helper()
	set := func(first, n int) *dataset.Set {
		pixels, labels, err := drawn.Draw(context.Background(), 7, first, n, nil)
		if err != nil {
			t.Fatal(err)
		}
		return &dataset.Set{Width: drawn.Width, Height: drawn.Height, Classes: 10, Pixels: pixels, Labels: labels}
	}
	return &dataset.Data{Name: "handful", Origin: "drawn for a test", Train: set(0, trainSize), Test: set(trainSize, testSize)}
}

const small = `
name = "small"
title = "Small"
question = "?"
seeds = [1, 2, 3]
target_accuracy = 0.2
timing_repeats = 2
[common]
hidden = [8]
learning_rate = 0.1
batch = 32
epochs = 4
[[experiment]]
name = "plain"
[[experiment]]
name = "bn"
normalisation = "batch"
[[comparison]]
a = "plain"
b = "bn"
primary = true
`

func parse(t *testing.T, text string) *Study {
	t.Helper()
	s, err := Parse("test.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBuiltInStudies(t *testing.T) {
	BuiltIn()[0] = "changed by a caller"
	for _, name := range BuiltIn() {
		s, err := Load(name)
		if err != nil {
			t.Errorf("Load(%s): %v", name, err)
			continue
		}
		if s.Name != name || s.Title == "" || s.Question == "" {
			t.Errorf("study %s: name %q, title %q, question %q", name, s.Name, s.Title, s.Question)
		}
	}
}

func TestExperimentsStartFromCommonSettings(t *testing.T) {
	s := parse(t, `
seeds = [1]
[common]
hidden = [9, 4]
epochs = 7
l2 = 0.5
[[experiment]]
name = "a"
[[experiment]]
name = "b"
hidden = []
l2 = 0.0
shuffle = false
`)
	a, b := s.Experiments[0], s.Experiments[1]
	if !slices.Equal(a.Hidden, []int{9, 4}) || a.Epochs != 7 || a.L2 != 0.5 || !a.Shuffle || a.Batch != 128 {
		t.Errorf("experiment a = %+v, want the common settings over the defaults", a)
	}
	if len(b.Hidden) != 0 || b.Epochs != 7 || b.L2 != 0 || b.Shuffle {
		t.Errorf("experiment b = %+v, want its own hidden = [], l2 = 0, shuffle = false", b)
	}
}

func TestStudyErrors(t *testing.T) {
	const head = "seeds = [1]\n"
	const one = "[[experiment]]\nname = \"a\"\n"
	const two = one + "[[experiment]]\nname = \"b\"\n"
	for name, test := range map[string]struct{ text, want string }{
		"unknown key":          {head + "colour = 1\n" + one, `test.toml:2:1: unknown key "colour", want name, title, question,`},
		"unknown key within":   {head + one + "hiden = [1]\n", `test.toml:4:1: unknown key "experiment.hiden", want name, hidden, activation,`},
		"key in capitals":      {head + one + "Epochs = 1\n", `unknown key "experiment.Epochs", want name, hidden,`},
		"table in capitals":    {head + "[Common]\nepochs = 1\n" + one, `unknown key "Common", want name,`},
		"seed beyond TOML":     {"seeds = [9223372036854775808]\n" + one, "test.toml:1:"},
		"unknown table":        {head + "[colour.red]\nx = 1\n" + one, `test.toml:2:2: unknown key "colour", want name, title,`},
		"comparison's key":     {head + two + "[[comparison]]\nc = \"a\"\n", `unknown key "comparison.c", want a, b or primary`},
		"wrong type":           {head + one + "epochs = \"many\"\n", "test.toml:4:10: experiment.epochs: got a TOML string, want a whole number"},
		"wrong table":          {head + "experiment = 3\n", "experiment: got a TOML integer, want tables, [[experiment]]"},
		"syntax":               {"seeds = [1\n", "test.toml:1:"},
		"duplicate key":        {head + head + one, "test.toml:"},
		"bad UTF-8":            {"title = \"\xff\"\n", "test.toml:1:"},
		"NUL":                  {"title = \"\x00\"\n", "test.toml:1:"},
		"huge integer":         {head + one + "epochs = 99999999999999999999\n", "test.toml:4:"},
		"negative seed":        {"seeds = [-1]\n" + one, "test.toml:1:10: seeds: got -1, want a whole number from 0 on"},
		"no experiments":       {head, "0 experiments, want 1 to 40"},
		"no seeds":             {one, "0 seeds, want 1 to 1000"},
		"seed twice":           {"seeds = [3, 3]\n" + one, "seeds has 3 twice"},
		"name is a path":       {head + "name = \"../x\"\n" + one, `name = "../x", want`},
		"precision":            {head + "precision = \"float16\"\n" + one, `precision = "float16"`},
		"dataset":              {head + "dataset = \"\"\n" + one, "dataset is empty"},
		"primary metric":       {head + "primary_metric = \"beauty\"\n" + one, `primary_metric = "beauty", want test_accuracy, val_accuracy`},
		"target":               {head + "target_accuracy = 1.0\n" + one, "target_accuracy = 1, want"},
		"timing repeats":       {head + "timing_repeats = -1\n" + one, "timing_repeats = -1, want 0 to 1000"},
		"no name":              {head + "[[experiment]]\nepochs = 1\n", `experiment 1: name = ""`},
		"name is no word":      {head + "[[experiment]]\nname = \"../x\"\n", `experiment 1: name = "../x"`},
		"name twice":           {head + one + one, `experiment 2: the name "a" is taken`},
		"name in another case": {head + one + "[[experiment]]\nname = \"A\"\n", `experiment 2: the name "A" is taken`},
		"comparison":           {head + two + "[[comparison]]\na = \"a\"\nb = \"c\"\n", `comparison 1: a = "a", b = "c", want two of`},
		"compared with itself": {head + two + "[[comparison]]\na = \"a\"\nb = \"a\"\n", "comparison 1"},
		"stream order":         {head + "stream_order = [\"a\"]\n" + two, "stream_order"},
		"batch too large":      {head + one + "batch = 65536\nhidden = [65536]\n", "numbers, want at most"},
		"unlike splits":        {head + two + "validation = 0.5\n[[comparison]]\na = \"a\"\nb = \"b\"\n", "runs are paired by their split"},
		"numpy without order":  {head + one + "random = \"numpy-legacy\"\n", "stream_order"},
		"numpy seed":           {"seeds = [4294967296]\nstream_order = [\"a\"]\n" + one + "random = \"numpy-legacy\"\n", "want at most 4294967295"},
		"published names":      {head + "shows_published_table = true\n" + two, "want exp1, exp2, exp3"},
		"hidden layers":        {head + one + "hidden = [" + strings.Repeat("1,", 65) + "]\n", "hidden has 65 layers"},
		"hidden units":         {head + one + "hidden = [0]\n", "hidden[0] = 0 units"},
		"activation":           {head + one + "activation = \"gelu\"\n", `activation = "gelu", want relu, sigmoid or tanh`},
		"normalisation":        {head + one + "normalisation = \"layer\"\n", `normalisation = "layer"`},
		"place":                {head + one + "place = \"beside\"\n", `place = "beside"`},
		"init":                 {head + one + "init = \"ones\"\n", `init = "ones"`},
		"loss":                 {head + one + "loss = \"hinge\"\n", `loss = "hinge"`},
		"l2 form":              {head + one + "l2_form = \"l1\"\n", `l2_form = "l1"`},
		"rule":                 {head + one + "rule = \"magic\"\n", `rule = "magic"`},
		"stop":                 {head + one + "stop = \"soon\"\n", `stop = "soon"`},
		"random":               {head + one + "random = \"dice\"\n", `random = "dice"`},
		"l2":                   {head + one + "l2 = -1.0\n", "l2 = -1, want"},
		"l2 NaN":               {head + one + "l2 = nan\n", "l2 = NaN, want"},
		"rate 0":               {head + one + "learning_rate = 0.0\n", "learning_rate = 0, want a number from 1e-30"},
		"rate huge":            {head + one + "learning_rate = 1e9\n", "learning_rate = 1e+09, want"},
		"rate inf":             {head + one + "learning_rate = inf\n", "learning_rate = +Inf, want"},
		"batch":                {head + one + "batch = 0\n", "batch = 0, want 1 to"},
		"epochs":               {head + one + "epochs = -1\n", "epochs = -1, want 1 to"},
		"epochs max":           {head + one + "epochs = 9223372036854775807\n", "epochs = 9.223372036854776e+18, want 1 to"},
		"validation":           {head + one + "validation = 1.0\n", "validation = 1, want a share"},
		"look every":           {head + one + "look_every = -1\n", "look_every = -1, want"},
		"patience":             {head + one + "patience = -1\n", "patience = -1, want"},
		"min improvement":      {head + one + "min_improvement = -1.0\n", "min_improvement = -1, want"},
		"criterion":            {head + one + "criterion = -1.0\n", "criterion = -1, want"},
		"batch norm of one":    {head + one + "normalisation = \"batch\"\nbatch = 1\n", "has no variance"},
		"stop unvalidated":     {head + one + "stop = \"patience\"\nvalidation = 0.0\n", "looks at the validation cost"},
		"patience 0":           {head + one + "stop = \"patience\"\npatience = 0\n", "patience = 0 with stop"},
		"criterion 0":          {head + one + "stop = \"published-criterion\"\ncriterion = 0.0\n", "criterion = 0 with stop"},
		"numpy init":           {head + "stream_order = [\"a\"]\n" + one + "random = \"numpy-legacy\"\ninit = \"zeros\"\n", `init = "zeros" with random`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("test.toml", []byte(test.text))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("Parse = %v, want an error with %q", err, test.want)
			}
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("the error has several lines: %v", err)
			}
			if _, ok := usererr.Find(err); !ok {
				t.Errorf("%v is not a user error", err)
			}
			if !strings.HasPrefix(err.Error(), "test.toml") {
				t.Errorf("%v does not name the file", err)
			}
		})
	}
}

func TestLoadErrors(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big.toml")
	if err := os.WriteFile(big, make([]byte, maxStudyBytes+1), 0o666); err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, "folder.toml")
	if err := os.Mkdir(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"nothing":                          `unknown study "nothing"`,
		filepath.Join(dir, "missing.toml"): "no such file",
		folder:                             "is a folder, want a file",
		big:                                "more than 1048576 bytes",
		"/dev/zero.toml":                   "no such file",
	} {
		if _, err := Load(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load(%s) = %v, want an error with %q", path, err, want)
		} else if _, ok := usererr.Find(err); !ok {
			t.Errorf("Load(%s): %v is not a user error", path, err)
		}
	}
}

func TestLoadSettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.toml")
	for text, want := range map[string]string{
		"epochs = 3\nseed = 9\n": "",
		"epochs = 0\n":           "epochs = 0, want",
		"precision = \"half\"\n": `precision = "half"`,
		"who = 1\n":              "config.toml:1:1: unknown key",
		"random = \"numpy-legacy\"\nseed = 4294967296\n": "want at most 4294967295",
	} {
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		s := Settings{Precision: "float32", Seed: 1, Config: Default()}
		err := LoadSettings(path, &s)
		if want == "" {
			if err != nil || s.Epochs != 3 || s.Seed != 9 || s.Batch != 128 {
				t.Errorf("LoadSettings(%q) = %+v, %v", text, s, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("LoadSettings(%q) = %v, want an error with %q", text, err, want)
		}
	}
	if err := LoadSettings(path+"x", &Settings{}); err == nil {
		t.Error("LoadSettings of no file = nil, want an error")
	}
}

// Runs side by side leave the same files as runs one after the other, and every
// number of results.json but times is the same.
func TestStudySideBySide(t *testing.T) {
	data := digits(t, 300, 100)
	s := parse(t, small)
	dirs := [2]string{t.TempDir(), t.TempDir()}
	var results [2]*Results
	for i, threads := range []int{1, 3} {
		var err error
		if results[i], err = s.Run(context.Background(), dirs[i], data, RunOptions{Threads: threads}); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range results[0].Experiments {
		for _, run := range e.Runs {
			for _, name := range []string{"model.safetensors", "history.csv", "config.toml", "evaluation.json"} {
				a, err := os.ReadFile(filepath.Join(dirs[0], run.Dir, name))
				if err != nil {
					t.Fatal(err)
				}
				b, err := os.ReadFile(filepath.Join(dirs[1], run.Dir, name))
				if err != nil {
					t.Fatal(err)
				}
				if string(a) != string(b) {
					t.Errorf("%s/%s differs between 1 and 3 threads", run.Dir, name)
				}
			}
		}
	}
	r := results[0]
	if got := r.Dataset.Examples; got != (Examples{240, 60, 100}) {
		t.Errorf("examples = %+v, want 240, 60, 100", got)
	}
	e := r.Experiments[1]
	if e.Timing == nil || e.Timing.MicrosPerStep <= 0 || len(e.Timing.Samples) != 2 || e.Timing.MicrosPerLook <= 0 {
		t.Errorf("timing = %+v, want 2 positive samples", e.Timing)
	}
	if s := e.Summary["test_accuracy"]; s.N != 3 || s.Mean == nil || s.SD == nil || *s.CI95[0] > *s.Mean {
		t.Errorf("summary of test accuracy = %+v, want 3 runs with mean, sd and interval", s)
	}
	if run := e.Runs[0]; run.StepsToTarget == nil || run.SecondsToTarget == nil || *run.StepsToTarget > float64(run.Steps) {
		t.Errorf("steps to a validation accuracy of 0.2 = %v, seconds %v", run.StepsToTarget, run.SecondsToTarget)
	}

	// Seeds 1 and 3 take the first of two timings, seed 2 the second.
	perLook := func(k int) float64 { return *e.Runs[k].SecondsToTarget / float64(e.Runs[k].looksToTarget) }
	if first, second, third := perLook(0), perLook(1), perLook(2); math.Abs(first-third) > 1e-12 || first == second {
		t.Errorf("seconds to the target are %v, %v, %v a look, want the first and third of one timing", first, second, third)
	}

	// results.json reads back to what Run returned.
	text, err := os.ReadFile(filepath.Join(dirs[0], "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	var back Results
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	again, err := json.MarshalIndent(back, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if string(again)+"\n" != string(text) {
		t.Error("results.json does not read back to the same text")
	}

	// Every number but times is the same on any number of threads.
	for i := range results {
		results[i] = timeless(t, results[i])
	}
	if !reflect.DeepEqual(results[0], results[1]) {
		t.Errorf("results differ between 1 and 3 threads:\n%+v\n%+v", results[0], results[1])
	}
}

// timeless returns a copy without what depends on the clock or the threads.
func timeless(t *testing.T, r *Results) *Results {
	t.Helper()
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var c Results
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	c.Threads, c.Seconds, c.Started = 0, 0, time.Time{}
	for i := range c.Experiments {
		e := &c.Experiments[i]
		e.Timing = nil
		for _, m := range metrics {
			if m.timed || m.shared || m.name == "us_per_step" {
				delete(e.Summary, m.name)
			}
		}
		for k := range e.Runs {
			e.Runs[k].Seconds, e.Runs[k].MicrosPerStep, e.Runs[k].SecondsToTarget = 0, nil, nil
		}
	}
	c.Comparisons = slices.DeleteFunc(c.Comparisons, func(c Comparison) bool { return metricOf(&c).timed })
	return &c
}

// The same seed starts every experiment from the same split and weights.
func TestSeedsArePaired(t *testing.T) {
	data := digits(t, 100, 10)
	s := parse(t, small)
	jobs, err := s.jobs(data)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := prepare[float32](data, jobs[0].settings, jobs[0].drawn(data), 1)
	if err != nil {
		t.Fatal(err)
	}
	bn, err := prepare[float32](data, jobs[3].settings, jobs[3].drawn(data), 1)
	if err != nil {
		t.Fatal(err)
	}
	if jobs[0].settings.Seed != jobs[3].settings.Seed || !slices.Equal(plain.Fit.Index, bn.Fit.Index) {
		t.Error("experiments of one seed have other splits")
	}
	if a, b := plain.Net.Params()[0], bn.Net.Params()[0]; a.Role != nn.Weight || !slices.Equal(a.Value, b.Value) {
		t.Error("experiments of one seed have other first weights")
	}
}

// Experiments that share numpy's stream draw from it in the study's order.
func TestStreamOrder(t *testing.T) {
	s, err := Load("published")
	if err != nil {
		t.Fatal(err)
	}
	data := digits(t, 50, 5)
	jobs, err := s.jobs(data)
	if err != nil {
		t.Fatal(err)
	}
	stream := numpyrand.New(42)
	for _, i := range []int{1, 2, 0} { // exp2, exp3, exp1
		a := s.Experiments[i].Architecture(784, 10)
		want := numpyDraw(stream, 50, a)
		if !reflect.DeepEqual(jobs[i].drawn(data), want) {
			t.Errorf("%s does not draw in its turn", jobs[i].name)
		}
		if w := want.weights[0]; len(want.weights) != 4 || len(w) != 784*20 {
			t.Errorf("%s: %d weight matrices, the first of %d numbers", jobs[i].name, len(want.weights), len(w))
		}
	}
}

func TestConfusionHasLabelsInRows(t *testing.T) {
	data := digits(t, 10, 60)
	net, err := nn.Build[float32](Default().Architecture(784, 10))
	if err != nil {
		t.Fatal(err)
	}
	// All weights 0: every example is taken for class 0.
	e := Evaluate(net, nn.Loss[float32](nn.CrossEntropy[float32]{}), "handful", data.Test, 1, 5)
	right := 0
	for class, want := range dataset.All(data.Test).PerClass() {
		if got := e.Confusion[class][0]; got != want {
			t.Errorf("confusion[%d][0] = %d, want the %d examples of that label", class, got, want)
		}
		if class == 0 {
			right = want
		}
	}
	if *e.Accuracy != float64(right)/60 || math.Abs(*e.Cost-math.Log(10)) > 1e-6 {
		t.Errorf("accuracy %v, cost %v; want %d of 60 and ln 10", *e.Accuracy, *e.Cost, right)
	}
	if len(e.Mistakes) != 5 || e.Mistakes[0].Label == 0 || *e.Mistakes[0].Predicted != 0 {
		t.Errorf("mistakes = %d, the first %+v", len(e.Mistakes), e.Mistakes[0])
	}
}

func TestInterruptedStudyIsSummarised(t *testing.T) {
	data := digits(t, 300, 100)
	s := parse(t, strings.Replace(small, "epochs = 4", "epochs = 100000", 1))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	dir := t.TempDir()
	var looks atomic.Int32
	r, err := s.Run(ctx, dir, data, RunOptions{Threads: 2, Progress: func(Progress) {
		if looks.Add(1) == 4 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) || r == nil || !r.Interrupted {
		t.Fatalf("Run = %v, %v; want results marked as interrupted and context.Canceled", r, err)
	}
	begun := 0
	for _, e := range r.Experiments {
		for _, run := range e.Runs {
			begun++
			if run.Stopped != train.StoppedInterrupted {
				t.Errorf("run %s: stopped %q, want interrupted", run.Dir, run.Stopped)
			}
			if _, err := os.Stat(filepath.Join(dir, run.Dir, "model.safetensors")); err != nil {
				t.Error(err)
			}
		}
		if n := e.Summary["test_accuracy"].N; n != 0 {
			t.Errorf("%s: %d interrupted runs counted in the summary", e.Name, n)
		}
	}
	if begun == 0 || begun > 2 {
		t.Errorf("%d runs begun, want the 1 or 2 that were running", begun)
	}
	if _, err := os.Stat(filepath.Join(dir, "results.json")); err != nil {
		t.Error(err)
	}
}

func TestDivergedRunIsInTheTable(t *testing.T) {
	data := digits(t, 100, 20)
	s := parse(t, strings.NewReplacer("learning_rate = 0.1", "learning_rate = 1000.0\nactivation = \"tanh\"\nl2 = 900.0", "timing_repeats = 2", "timing_repeats = 1").Replace(small))
	r, err := s.Run(context.Background(), t.TempDir(), data, RunOptions{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range r.Experiments[0].Runs {
		if run.Stopped != train.StoppedDiverged || !strings.Contains(run.Diverged, "learning rate 1000") {
			t.Errorf("run stopped %q (%q), want diverged with its rate", run.Stopped, run.Diverged)
		}
	}
	for _, run := range r.Experiments[0].Runs {
		if run.TestAccuracy != nil || run.TestCost != nil || run.SumOfWeights != nil {
			t.Errorf("a network that is not finite has figures: %+v", run)
		}
	}
	if timing := r.Experiments[0].Timing; timing != nil {
		t.Errorf("timing of an experiment that diverges at once = %+v, want none", timing)
	}
	if c := r.Comparisons[0]; c.N != 0 || !strings.Contains(c.Finding, "no seed has a figure") {
		t.Errorf("comparison of diverged runs = %+v", c)
	}
}

// Outputs may overflow while all weights are finite numbers: such a run has diverged, and
// the study goes on.
func TestOverflowingOutputs(t *testing.T) {
	data := digits(t, 100, 20)
	dir := t.TempDir()
	const steep = "name = \"plain\"\nlearning_rate = 1000.0\nhidden = [64, 64, 64, 64]"
	r, err := parse(t, strings.Replace(small, "name = \"plain\"", steep, 1)).Run(context.Background(), dir, data, RunOptions{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	finiteWeights := 0
	for _, run := range r.Experiments[0].Runs {
		if run.Stopped != train.StoppedDiverged || run.TestAccuracy != nil || run.TestCost != nil {
			t.Errorf("run stopped %q with accuracy %v, cost %v, want it diverged without figures", run.Stopped, run.TestAccuracy, run.TestCost)
		}
		if run.SumOfWeights == nil {
			continue
		}
		finiteWeights++
		text, err := os.ReadFile(filepath.Join(dir, run.Dir, "evaluation.json"))
		var e Evaluation
		if err != nil || json.Unmarshal(text, &e) != nil || e.Accuracy != nil || e.Cost != nil || len(e.Mistakes)+len(e.Confusion)+len(e.PerClass) > 0 {
			t.Errorf("evaluation of outputs that overflow (%v): %.200s, want no figures", err, text)
		}
	}
	if finiteWeights == 0 {
		t.Error("all weights overflowed too: this shows nothing")
	}
	if r.Experiments[1].Runs[0].TestAccuracy == nil {
		t.Error("the other experiment has no figures")
	}
}

// A study that runs out of time is summarised as an interrupted one is.
func TestDeadline(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	r, err := parse(t, strings.Replace(small, "epochs = 4", "epochs = 100000", 1)).Run(ctx, dir, digits(t, 100, 20), RunOptions{Threads: 2})
	if !errors.Is(err, context.DeadlineExceeded) || r == nil || !r.Interrupted {
		t.Fatalf("Run = %v, %v, want interrupted results and the deadline", r, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "results.json")); err != nil {
		t.Error(err)
	}
}

func TestUntested(t *testing.T) {
	steps := func(reached int) *Experiment {
		e := &Experiment{Name: fmt.Sprint("r", reached), Timing: &Timing{Repeats: 3}}
		for k := range 4 {
			r := Run{Seed: uint64(k)}
			if k < reached {
				r.StepsToTarget, r.SecondsToTarget = new(float64(100+k)), new(float64(k+1))
			}
			e.Runs = append(e.Runs, r)
		}
		return e
	}
	accuracy, toTarget, seconds := metrics[0], metrics[7], metrics[8]
	for _, test := range []struct {
		a, b *Experiment
		m    metric
		want string
	}{
		{steps(4), steps(4), toTarget, ""},
		{steps(4), steps(3), toTarget, "r4 never reached the target in 0 of 4 runs, r3 in 1 of 4, and the mean leaves them out"},
		{steps(4), steps(3), accuracy, ""},
		{steps(4), steps(4), seconds, "there are fewer timings than seeds, so the spread lacks the error of a timing"},
	} {
		if got := untested(test.a, test.b, test.m); got != test.want {
			t.Errorf("untested(%s, %s, %s) = %q, want %q", test.a.Name, test.b.Name, test.m.name, got, test.want)
		}
	}
	r := &Results{Experiments: []Experiment{*steps(4), *steps(3)}}
	r.Experiments[0].Name, r.Experiments[1].Name = "a", "b"
	summarise(r, &Study{Seeds: []uint64{0, 1, 2, 3}, Primary: "test_accuracy", Comparisons: []Pair{{A: "a", B: "b"}}})
	for _, c := range r.Comparisons {
		if c.Metric == "steps_to_target" && (c.P != nil || c.PHolm != nil || c.N != 3 || !strings.Contains(c.Finding, "not tested")) {
			t.Errorf("comparison of steps with a run that never got there = %+v, want it untested", c)
		}
	}
	// Costs beyond what a difference can hold are no reason to panic.
	huge := func(name string, v ...float64) *Experiment {
		e := &Experiment{Name: name}
		for k := range v {
			e.Runs = append(e.Runs, Run{Seed: uint64(k), TestCost: &v[k]})
		}
		return e
	}
	c := compare(huge("a", 1e308, 1e308), huge("b", -1e308, 1e300), metrics[3])
	if got := finding(&c, metrics[3], ""); c.P != nil || !strings.Contains(got, "beyond what a number holds") {
		t.Errorf("differences that overflow: %+v, %q", c, got)
	}
}

// A panic in the goroutine of a run ends the study, not the program.
func TestPanicOfARunFailsTheStudy(t *testing.T) {
	_, err := parse(t, small).Run(context.Background(), t.TempDir(), digits(t, 100, 20), RunOptions{Threads: 2, Progress: func(Progress) { panic("in a run") }})
	var fault *FaultError
	if !errors.As(err, &fault) || fault.Value != "in a run" || len(fault.Stack) == 0 {
		t.Errorf("error %v, want the panic", err)
	}
}

// What fails while the study is interrupted is told all the same.
func TestPanicAfterAnInterruptionFailsTheStudy(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	_, err := parse(t, small).Run(ctx, t.TempDir(), digits(t, 100, 20), RunOptions{Threads: 2, Progress: func(Progress) {
		cancel()
		panic("after the interruption")
	}})
	var fault *FaultError
	if !errors.As(err, &fault) {
		t.Errorf("error %v, want the panic", err)
	}
}

func TestRunFailsWhereItCannotWrite(t *testing.T) {
	data := digits(t, 100, 20)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := parse(t, small).Run(context.Background(), file, data, RunOptions{Threads: 1}); err == nil {
		t.Error("Run into a file = nil, want an error")
	}
	if _, err := Train(context.Background(), file, data, Settings{Precision: "float32", Config: Default()}, TrainOptions{}); err == nil {
		t.Error("Train into a file = nil, want an error")
	}
	if _, err := Train(context.Background(), t.TempDir(), data, Settings{Precision: "half", Config: Default()}, TrainOptions{}); err == nil {
		t.Error("Train with precision half = nil, want an error")
	}
}

// A run whose files cannot be written fails the study with that error, not with
// one about what is missing later.
func TestFailedWriteFailsTheStudy(t *testing.T) {
	data := digits(t, 100, 20)
	dir := t.TempDir()
	inTheWay := filepath.Join(dir, "runs", "bn-seed2", "model.safetensors")
	if err := os.MkdirAll(filepath.Join(inTheWay, "full"), 0o777); err != nil {
		t.Fatal(err)
	}
	_, err := parse(t, small).Run(context.Background(), dir, data, RunOptions{Threads: 1})
	if err == nil || !strings.Contains(err.Error(), "bn-seed2") || !strings.Contains(err.Error(), "model.safetensors") {
		t.Errorf("Run = %v, want an error that names bn-seed2 and model.safetensors", err)
	}
	if _, ok := usererr.Find(err); ok {
		t.Errorf("%v is a user error, want the program's own", err)
	}
}

// Sets that are too small are refused before anything is written; the smallest
// that can be trained on is.
func TestTinyData(t *testing.T) {
	for name, test := range map[string]struct {
		text     string
		examples int
		want     string
	}{
		"no validation example": {small, 4, "is no example"},
		"looks never come":      {strings.Replace(small, "epochs = 4", "epochs = 4\nlook_every = 100", 1), 100, "never comes"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "out")
			_, err := parse(t, test.text).Run(context.Background(), dir, digits(t, test.examples, 5), RunOptions{Threads: 1})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("Run = %v, want an error with %q", err, test.want)
			}
			if _, ok := usererr.Find(err); !ok {
				t.Errorf("%v is not a user error", err)
			}
			if _, err := os.Stat(dir); err == nil {
				t.Errorf("%s was made", dir)
			}
		})
	}
	c := Default()
	c.Normalisation, c.Place, c.Validation, c.Epochs = NormalisationPublished, PlaceAfter, 0, 1
	dir := t.TempDir()
	if _, err := Train(context.Background(), dir, digits(t, 1, 5), Settings{Precision: "float64", Seed: 1, Config: c}, TrainOptions{Threads: 1}); err != nil {
		t.Errorf("Train on one example: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "evidence.json")); err == nil {
		t.Error("evidence from one example, whose twin has no variance")
	}
}

// A network that is too large is refused before its weights are drawn, and a folder that
// holds a run before anything is written.
func TestRefusedBeforehand(t *testing.T) {
	data := digits(t, 100, 20)
	c := Default()
	c.Random, c.Hidden, c.Batch = RandomNumpy, []int{1 << 16, 1 << 16}, 1
	large := Settings{Precision: "float32", Seed: 42, Config: c}
	const want = "parameters, want at most"
	if _, err := Prepare[float32](data, large, 1); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Prepare: %v, want %q", err, want)
	}
	dir := t.TempDir()
	if _, err := Train(context.Background(), dir, data, large, TrainOptions{}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Train: %v, want %q", err, want)
	}
	s := parse(t, strings.NewReplacer("hidden = [8]", "hidden = [65536, 65536]", "batch = 32", "batch = 2").Replace(small))
	if _, err := s.Run(context.Background(), dir, data, RunOptions{Threads: 1}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("Run: %v, want %q", err, want)
	}
	if _, err := parse(t, small).Run(context.Background(), dir, data, RunOptions{}); err == nil || !strings.Contains(err.Error(), "on 0 threads") {
		t.Errorf("Run on 0 threads: %v", err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
		t.Errorf("%v was written (%v)", names, err)
	}
	few := Settings{Precision: "float32", Seed: 1, Config: Default()}
	few.Epochs = 1
	if _, err := Train(context.Background(), dir, data, few, TrainOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := Train(context.Background(), dir, data, few, TrainOptions{}); err == nil || !strings.Contains(err.Error(), "of another run") {
		t.Errorf("Train into the folder of another run: %v", err)
	}
	// The model says how many examples its steps had: here all 80 that there are, not 128.
	m, err := modelfile.Load[float32](filepath.Join(dir, "model.safetensors"))
	if err != nil || m.Facts.Batch != 80 {
		t.Errorf("the model says steps of %+v (%v), want 80 examples", m, err)
	}
}

func TestTrainWithNumpyNumbers(t *testing.T) {
	data := digits(t, 100, 20)
	c := Default()
	c.Random, c.Epochs = RandomNumpy, 1
	for _, precision := range []string{"float32", "float64"} {
		dir := t.TempDir()
		run, err := Train(context.Background(), dir, data, Settings{Precision: precision, Seed: 42, Config: c}, TrainOptions{Threads: 1})
		if err != nil || run.Steps != 1 {
			t.Errorf("Train = %+v, %v; want 1 step", run, err)
		}
	}
}

// The gradient check of the published normalisation fails, that of batch
// normalisation in its place passes: what the report shows is measured.
func TestEvidence(t *testing.T) {
	for _, place := range []string{PlaceBefore, PlaceAfter} {
		t.Run(place, func(t *testing.T) { testEvidence(t, place) })
	}
}

func testEvidence(t *testing.T, place string) {
	data := digits(t, 400, 50)
	c := Default()
	c.Normalisation, c.Place, c.Epochs, c.Batch = NormalisationPublished, place, 3, 20
	dir := t.TempDir()
	if _, err := Train(context.Background(), dir, data, Settings{Precision: "float64", Seed: 3, Config: c}, TrainOptions{Threads: 1}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "evidence.json"))
	if err != nil {
		t.Fatal(err)
	}
	var e Evidence
	if err := json.Unmarshal(text, &e); err != nil {
		t.Fatal(err)
	}
	if len(e.Checks) < 30 || e.Failed < len(e.Checks)/2 {
		t.Errorf("published normalisation: %d of %d gradient checks fail, want most", e.Failed, len(e.Checks))
	}
	if len(e.TwinChecks) < 30 || e.TwinFailed != 0 {
		t.Errorf("batch normalisation: %d of %d gradient checks fail (worst %v), want none", e.TwinFailed, len(e.TwinChecks), e.TwinWorst)
	}
	zeros := 0
	for _, check := range e.TwinChecks {
		if *check.Analytic == 0 {
			zeros++
		}
	}
	if zeros > 0 {
		t.Errorf("batch normalisation: %d of %d gradients are 0, so their checks show nothing", zeros, len(e.TwinChecks))
	}
}

func TestScores(t *testing.T) {
	got := scores([][]int{{3, 1, 0}, {2, 4, 0}, {0, 0, 0}})
	want := []struct{ precision, recall, f1 float64 }{{3.0 / 5, 3.0 / 4, 6.0 / 9}, {4.0 / 5, 4.0 / 6, 8.0 / 11}}
	for c, w := range want {
		if *got[c].Precision != w.precision || *got[c].Recall != w.recall || *got[c].F1 != w.f1 {
			t.Errorf("class %d: %v %v %v, want %+v", c, *got[c].Precision, *got[c].Recall, *got[c].F1, w)
		}
	}
	if got[2].Precision != nil || got[2].Recall != nil || got[2].F1 != nil {
		t.Error("a class without examples has scores, want undefined")
	}
}

// The figures of R's t.test(c(1,2,4), paired with c(2,4,5)): difference 1.333,
// sd 0.577, t = 4, p = 0.0572, interval -0.1009 to 2.7676.
func TestPairedComparison(t *testing.T) {
	experiment := func(values ...float64) *Experiment {
		e := &Experiment{Name: "e"}
		for i := range values {
			e.Runs = append(e.Runs, Run{Seed: uint64(i), TestAccuracy: &values[i]})
		}
		return e
	}
	a, b := experiment(1, 2, 4), experiment(2, 4, 5)
	slices.Reverse(b.Runs) // pairs go by seed, not by place
	c := compare(a, b, metrics[0])
	for what, pair := range map[string][2]float64{
		"difference": {*c.Difference, 4.0 / 3}, "p": {*c.P, 0.05719}, "low": {*c.CI95[0], -0.1009}, "high": {*c.CI95[1], 2.7676},
	} {
		if math.Abs(pair[0]-pair[1]) > 1e-4 {
			t.Errorf("%s = %v, want %v", what, pair[0], pair[1])
		}
	}
	if c := compare(a, a, metrics[0]); *c.P != 1 {
		t.Errorf("an experiment against itself: p = %v, want 1", *c.P)
	}
	shifted := compare(experiment(1, 2), experiment(2, 3), metrics[0])
	if shifted.P != nil {
		t.Errorf("a constant difference: p = %v, want undefined", *shifted.P)
	}
}

func TestHolm(t *testing.T) {
	var family []*Comparison
	for _, p := range []float64{0.04, 0.01, 0.03} {
		family = append(family, &Comparison{P: &p})
	}
	undefined := &Comparison{}
	holm(append(slices.Clone(family), undefined))
	for i, want := range []float64{0.06, 0.03, 0.06} {
		if math.Abs(*family[i].PHolm-want) > 1e-12 {
			t.Errorf("corrected p %d = %v, want %v", i, *family[i].PHolm, want)
		}
	}
	if undefined.PHolm != nil {
		t.Error("a comparison without p has a corrected one")
	}
}

func TestFindingsFollowFromTheNumbers(t *testing.T) {
	m := metrics[0]
	p, low, high, difference, lower, none := 0.01, 0.002, 0.02, 0.011, -0.011, 0.0
	for name, test := range map[string]struct {
		c    Comparison
		p    float64
		want string
	}{
		"higher":        {Comparison{A: "x", B: "y", N: 5, Difference: &difference}, 0.01, "Test accuracy is higher for y than for x"},
		"lower":         {Comparison{A: "x", B: "y", N: 5, Difference: &lower}, 0.00001, "Test accuracy is lower for y than for x"},
		"no difference": {Comparison{A: "x", B: "y", N: 5, Difference: &difference}, 0.05, "no difference between x and y that 5 seeds can show"},
		"one pair":      {Comparison{A: "x", B: "y", N: 1}, 0, "one pair shows nothing"},
		"none":          {Comparison{A: "x", B: "y"}, 0, "no seed has a figure"},
	} {
		if test.c.N > 1 {
			test.c.P, test.c.PHolm, test.c.CI95 = &p, &test.p, [2]*float64{&low, &high}
		}
		if got := finding(&test.c, m, ""); !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q in it", name, got, test.want)
		}
	}
	for _, test := range []struct {
		c              Comparison
		untested, want string
	}{
		{Comparison{N: 3, Difference: &difference, CI95: [2]*float64{&low, &high}}, "",
			"Test accuracy: y differs from x by the same amount with every one of 3 seeds, +0.011: there is no spread to test it against."},
		{Comparison{N: 5, Difference: &lower, CI95: [2]*float64{&low, &high}, P: &p, PHolm: new(1e-5)}, "",
			"Test accuracy is lower for y than for x (mean difference -0.0110, 95 % interval +0.0020 to +0.0200 before correction, p < 0.0001 after it, 5 seeds)."},
		{Comparison{N: 5, Difference: &difference, CI95: [2]*float64{&low, &high}, P: &p, PHolm: new(0.3)}, "",
			"Test accuracy: no difference between x and y that 5 seeds can show (mean difference +0.0110, 95 % interval +0.0020 to +0.0200 before correction, p = 0.3000 after it)."},
		{Comparison{N: 5, Difference: &none, CI95: [2]*float64{&none, &none}, P: new(1.0), PHolm: new(1.0)}, "",
			"Test accuracy: the same for x and y with every one of 5 seeds."},
		{Comparison{N: 5}, "", "Test accuracy: the difference between x and y is beyond what a number holds."},
		{Comparison{N: 5, Difference: &difference, CI95: [2]*float64{&low, &high}}, "they failed", "Test accuracy: mean difference +0.0110 between y and x, not tested: they failed."},
	} {
		test.c.A, test.c.B = "x", "y"
		if got := finding(&test.c, m, test.untested); got != test.want {
			t.Errorf("finding = %q, want %q", got, test.want)
		}
	}
}

func TestDifferencesInSentences(t *testing.T) {
	for _, test := range []struct {
		v      float64
		digits int
		want   string
	}{
		{25049.6, 0, "+25,050"}, {-9450, 0, "-9,450"}, {-999.4, 0, "-999"}, {1234567, 0, "+1,234,567"}, {-0.4, 0, "0"}, {2.5, 0, "+2"},
		{1e300, 0, fmt.Sprintf("%+.0f", 1e300)}, {-12345.678, 3, "-12345.678"}, {0.00004, 4, "0.0000"},
	} {
		if got := number(test.v, metric{digits: test.digits}); got != test.want {
			t.Errorf("number(%v) with %d digits = %s, want %s", test.v, test.digits, got, test.want)
		}
	}
}

func TestPublishedFiguresAreCutOffAndRounded(t *testing.T) {
	v := 0.07489
	if got := cutOff(&v); got != "0.074" {
		t.Errorf("cutOff(%v) = %s, want 0.074", v, got)
	}
	if got := rounded(&v); got != "0.075" {
		t.Errorf("rounded(%v) = %s, want 0.075", v, got)
	}
	even := 0.9285 // times 1000 a tie exactly: to even
	if got := rounded(&even); got != "0.928" {
		t.Errorf("rounded(%v) = %s, want 0.928", even, got)
	}
	tie := 0.9295 // 11154 of 12000, as in the published table's first row
	if got := rounded(&tie); got != "0.930" {
		t.Errorf("rounded(%v) = %s, want 0.930", tie, got)
	}
	for n, want := range map[int]string{5: "5", 999: "999", 1000: "1,000", 91425: "91,425", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("thousands(%d) = %s, want %s", n, got, want)
		}
	}
	if cutOff(nil) != "" || rounded(nil) != "" {
		t.Error("an undefined figure prints something")
	}
	if rows := comparePublished(make([]Experiment, 3)); rows[0].AllEqual {
		t.Error("no runs at all are equal to the published ones")
	}
}

func TestMedian(t *testing.T) {
	if got := median([]float64{3, 1, 2}); got != 2 {
		t.Errorf("median of 3 = %v, want 2", got)
	}
	if got := median([]float64{4, 1, 2, 3}); got != 2.5 {
		t.Errorf("median of 4 = %v, want 2.5", got)
	}
}

func TestShapes(t *testing.T) {
	c := Default()
	c.Normalisation = NormalisationBatch
	got := shapes(c, 784, 10)
	if len(got) != 10 {
		t.Fatalf("%d layers, want 10", len(got))
	}
	if d := got[0]; !slices.Equal(d.Weight, []int{784, 20}) || d.Bias != nil || d.Parameters != 784*20 {
		t.Errorf("first layer = %+v, want a dense layer without bias", d)
	}
	if last := got[9]; !slices.Equal(last.Bias, []int{10}) || !slices.Equal(last.Activation, []int{128, 10}) {
		t.Errorf("last layer = %+v", last)
	}
}

// Whatever a study file holds, it is a study or a user error.
func FuzzParse(f *testing.F) {
	f.Add(small)
	for _, name := range BuiltIn() {
		text, err := studies.Read(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Add("seeds = [1]\n[[experiment]]\nname = 1979-05-27T07:32:00Z\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse("fuzz.toml", []byte(text))
		if err != nil {
			if _, ok := usererr.Find(err); !ok || strings.Contains(err.Error(), "\n") {
				t.Errorf("Parse(%q): %q, want a user error on one line", text, err)
			}
			return
		}
		if err := s.Validate(); err != nil {
			t.Errorf("Parse(%q) gives a study that is not valid: %v", text, err)
		}
	})
}

// A difference that is printed as 0 has no sign: its words may say higher or lower.
func TestNumber(t *testing.T) {
	two := metric{digits: 2}
	for v, want := range map[float64]string{-0.004: "0.00", 0.004: "0.00", 0: "0.00", -0.006: "-0.01", 0.006: "+0.01", -10: "-10.00"} {
		if got := number(v, two); got != want {
			t.Errorf("number(%v) = %q, want %q", v, got, want)
		}
	}
}
