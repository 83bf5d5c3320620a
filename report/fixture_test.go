package report

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"glassnet/experiment"
)

// The fixtures are study folders with made-up figures, written by the tests: a
// replay of the published table, a study of four experiments with five seeds, and
// whatever a test changes in them.

// fixture is a study folder before it is written.
type fixture struct {
	results   experiment.Results
	histories map[string][][]string // by a run's Dir
	evals     map[string]*experiment.Evaluation
	evidence  map[string]*experiment.Evidence
}

func ptr(v float64) *float64 { return &v }

// noise is a small generator, so that fixtures are the same everywhere.
type noise uint64

func (n *noise) next() float64 { // in [-1, 1)
	*n = *n*6364136223846793005 + 1442695040888963407
	return float64(int64(*n)>>11) / (1 << 52)
}

// write makes the folder and returns it.
func (f *fixture) write(t testing.TB, dir string) string {
	t.Helper()
	save := func(path string, v any) {
		b, err := json.MarshalIndent(v, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	save(filepath.Join(dir, "results.json"), f.results)
	for run, rows := range f.histories {
		folder := filepath.Join(dir, run)
		if err := os.MkdirAll(folder, 0o777); err != nil {
			t.Fatal(err)
		}
		var b strings.Builder
		if err := csv.NewWriter(&b).WriteAll(rows); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "history.csv"), []byte(b.String()), 0o666); err != nil {
			t.Fatal(err)
		}
		if e := f.evals[run]; e != nil {
			save(filepath.Join(folder, "evaluation.json"), e)
		}
		if e := f.evidence[run]; e != nil {
			save(filepath.Join(folder, "evidence.json"), e)
		}
	}
	return dir
}

func newFixture() *fixture {
	return &fixture{histories: map[string][][]string{}, evals: map[string]*experiment.Evaluation{}, evidence: map[string]*experiment.Evidence{}}
}

// drawing is a made-up digit: a ring or bar that depends on the label.
func drawing(label, variant int) []byte {
	px := make([]byte, 28*28)
	for y := range 28 {
		for x := range 28 {
			dx, dy := float64(x-14)+float64(variant%3-1), float64(y-14)
			r := math.Sqrt(dx*dx + dy*dy*float64(1+label%3)*0.6)
			if math.Abs(r-float64(4+label%6)) < 1.6 || label%2 == 1 && math.Abs(dx) < 1.5 && math.Abs(dy) < 9 {
				px[y*28+x] = byte(150 + (x*7+y*13+variant*31)%106)
			}
		}
	}
	return px
}

func fixtureDataset() experiment.DatasetInfo {
	d := experiment.DatasetInfo{Name: "mnist", Origin: "found in data/mnist", SHA256: strings.Repeat("0123456789abcdef", 4),
		Examples: experiment.Examples{Train: 48000, Validation: 12000, Test: 10000}, Width: 28, Height: 28, Classes: 10}
	for c := range 10 {
		d.PerClass = append(d.PerClass, experiment.ClassCount{Class: c, Train: 4700 + 20*c, Validation: 1110 + 20*c, Test: 955 + 10*c})
		for k := range 6 {
			d.Samples = append(d.Samples, experiment.Digit{Index: 10*c + k, Label: c, Pixels: drawing(c, k)})
		}
	}
	return d
}

func fixtureLayers(normalisation string) []experiment.LayerShape {
	var layers []experiment.LayerShape
	add := func(l experiment.LayerShape) {
		l.Layer = len(layers) + 1
		layers = append(layers, l)
	}
	in := 784
	for i, out := range []int{20, 7, 5, 10} {
		add(experiment.LayerShape{Kind: "dense", Weight: []int{in, out}, Bias: []int{out}, Activation: []int{128, out}, Parameters: in*out + out})
		if i < 3 {
			if normalisation == "batch" {
				add(experiment.LayerShape{Kind: "batch_norm", Activation: []int{128, out}, Parameters: 2 * out})
			}
			add(experiment.LayerShape{Kind: "relu", Activation: []int{128, out}})
			if normalisation == "published-per-example" {
				add(experiment.LayerShape{Kind: "published_norm", Activation: []int{128, out}})
			}
		}
		in = out
	}
	return layers
}

func fixtureConfig(normalisation string, l2 float64) experiment.Config {
	return experiment.Config{Hidden: []int{20, 7, 5}, Activation: "relu", Normalisation: normalisation, Place: "before", Init: "he-normal",
		Loss: "cross_entropy", L2: l2, L2Form: "l2", Rule: "sgd", LearningRate: 0.009, Batch: 128, Epochs: 250, Validation: 0.2,
		Shuffle: true, Stop: "patience", Patience: 20, Random: "streams"}
}

var historyHead = []string{"epoch", "step", "train_cost", "train_accuracy", "val_cost", "val_accuracy", "penalty", "sum_of_weights",
	"norm_1.dense.weight", "norm_3.dense.weight", "norm_5.dense.weight", "norm_7.dense.weight"}

func fixtureEvaluation(accuracy float64, seed int) *experiment.Evaluation {
	n := noise(seed)
	e := &experiment.Evaluation{Dataset: "mnist", Examples: 10000, Cost: ptr(0.28), Accuracy: ptr(accuracy)}
	for c := range 10 {
		row := make([]int, 10)
		support := 955 + 10*c
		wrong := int(float64(support) * (1 - accuracy))
		for k := range 10 {
			if k != c {
				row[k] = int(float64(wrong) / 9 * (1 + n.next()))
				row[c] -= row[k]
			}
		}
		row[c] += support
		e.Confusion = append(e.Confusion, row)
		e.PerClass = append(e.PerClass, experiment.ClassScore{Class: c, Precision: ptr(accuracy - 0.01 + 0.002*float64(c)),
			Recall: ptr(float64(row[c]) / float64(support)), F1: ptr(accuracy), Support: support})
	}
	for k := range 24 {
		predicted := (k + 3) % 10
		e.Mistakes = append(e.Mistakes, experiment.Digit{Index: 100 + k, Label: k % 10, Predicted: &predicted,
			Probability: ptr(0.9999 - 0.002*float64(k)), Pixels: drawing(k%10, k)})
	}
	return e
}

// addRun adds a run with curves that fall from 2.3 towards floor.
func (f *fixture) addRun(e *experiment.Experiment, seed uint64, epochs, looks int, floor, accuracy float64) *experiment.Run {
	dir := fmt.Sprintf("runs/%s-seed%d", e.Name, seed)
	n := noise(seed*7919 + uint64(len(e.Name)))
	rows := [][]string{slices.Clone(historyHead)}
	runaway := e.Normalisation == "published-per-example"
	text := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	sum := 0.0
	for k := range epochs {
		for l := range looks {
			step := k*375 + (l+1)*375/looks
			x := float64(step) / 375
			fall := 2 / (1 + x/4)
			train := math.Max(floor*0.25+fall+floor*0.5*n.next(), 0.01)
			val := floor + fall + 0.0002*x + 0.004*n.next()
			sum = 20 + x/100
			norms := []string{text(39 + x/200), text(3.6 + x/300), text(2.8 + x/300), text(4.4 + x/300)}
			if runaway {
				sum = 20 + x*x*33
				norms = []string{text(39 + x), text(4 + x*x*1.2), text(3 + x*x*1.7), text(4.4 + x/3)}
				train, val = train+0.3+0.25*math.Abs(n.next()), val+0.05*math.Abs(n.next())
			}
			rows = append(rows, append([]string{strconv.Itoa(k + 1), strconv.Itoa(step), text(train), text(1 - train/4), text(val), text(accuracy - fall/4), text(e.L2 * 40), text(sum)}, norms...))
		}
	}
	if e.Config.Stop == "published-criterion" && epochs < e.Config.Epochs/4 {
		v, _ := strconv.ParseFloat(rows[len(rows)-2][4], 64)
		rows[len(rows)-1][4] = text(v + 7.5e-6)
	}
	f.histories[dir] = rows
	f.evals[dir] = fixtureEvaluation(accuracy, int(seed))
	e.Runs = append(e.Runs, experiment.Run{Seed: seed, Epochs: epochs, Steps: epochs * 375, TrainAccuracy: ptr(accuracy + 0.02), ValAccuracy: ptr(accuracy - 0.004),
		TestAccuracy: ptr(accuracy), TrainCost: ptr(floor / 4), ValCost: ptr(floor), TestCost: ptr(floor - 0.01), Penalty: ptr(e.L2 * 40),
		TrainCostOf: "training_set", Seconds: 0.11 * float64(epochs) * (1 + 0.1*n.next()), SumOfWeights: ptr(sum), Stopped: "patience", Dir: dir})
	return &e.Runs[len(e.Runs)-1]
}

func machine() experiment.Machine {
	return experiment.Machine{CPU: "Example CPU @ 2.50GHz", Cores: 2, OS: "linux/amd64", Kernel: "portable", Go: "go1.26.0"}
}

// publishedFixture is like the built-in study published, its figures all equal.
func publishedFixture() *fixture {
	f := newFixture()
	r := &f.results
	*r = experiment.Results{Study: "published", Title: "The published study, replayed", Question: "Does the published table come out again, and what does it show?",
		Dataset: fixtureDataset(), Precision: "float64", Threads: 2, Machine: machine(), Glassnet: "0.1.0", Command: "glassnet study published --out 'a b'",
		Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Seconds: 312.5, Seeds: []uint64{42}, Primary: "test_accuracy",
		Notes: []string{"The published study calls its normalisation batch norm; it is not."}}
	rows := []struct {
		name, normalisation string
		l2                  float64
		epochs, steps       int
		floor, accuracy     float64
		figures             []string
		seconds             float64
	}{
		{"exp1", "none", 0, 244, 91425, 0.2973, 0.934, []string{"244", "91,425", "0.973", "0.930", "0.934", "0.074", "0.297"}, 235},
		{"exp2", "published-per-example", 0, 124, 46325, 0.7151, 0.807, []string{"124", "46,325", "0.807", "0.808", "0.807", "0.622", "0.715"}, 158},
		{"exp3", "none", 1e-8, 250, 93750, 0.2889, 0.932, []string{"250", "93,750", "0.976", "0.935", "0.932", "0.034", "0.288"}, 257},
	}
	for _, row := range rows {
		c := fixtureConfig(row.normalisation, row.l2)
		c.Place, c.Loss, c.L2Form, c.Shuffle, c.LookEvery, c.Stop, c.Criterion, c.Random = "after", "published_cross_entropy", "published", false, 100, "published-criterion", 1e-5, "numpy-legacy"
		e := experiment.Experiment{Name: row.name, Normalisation: row.normalisation, L2: row.l2, Config: c, Layers: fixtureLayers(row.normalisation),
			Timing: &experiment.Timing{Repeats: 5, Threads: 2, MicrosPerStep: 640, MicrosPerLook: 41000, Samples: []float64{641, 640, 655, 638, 640}}}
		run := f.addRun(&e, 42, row.epochs/4, 3, row.floor, row.accuracy) // short histories keep the tests quick
		run.Epochs, run.Steps, run.TrainCostOf, run.Stopped, run.MicrosPerStep = row.epochs, row.steps, "last_batch", "criterion", &e.Timing.MicrosPerStep
		if row.epochs == 250 {
			run.Stopped = "max_epochs"
		}
		e.Summary = summaries(e.Runs)
		p := experiment.PublishedRow{Experiment: row.name, Seconds: row.seconds, AllEqual: true}
		for i, column := range columns[colL2+1 : colTime] {
			p.Figures = append(p.Figures, experiment.Figure{Column: column, Published: row.figures[i], Ours: row.figures[i], Equal: true})
		}
		r.Experiments, r.Published = append(r.Experiments, e), append(r.Published, p)
	}
	evidence := &experiment.Evidence{Layer: "published_norm", Twin: "batch_norm", Tolerance: "|analytic - numeric| <= 1e-08 + 1e-06 |numeric|",
		WorstRelative: ptr(1.73), Failed: 36, TwinWorst: ptr(3.2e-9)}
	n := noise(5)
	for i := range 36 {
		numeric := 0.02 * n.next()
		evidence.Checks = append(evidence.Checks, experiment.GradientCheck{Parameter: fmt.Sprintf("%d.dense.weight[%d, %d]", 1+i/12*3, 380+i, i%5), Analytic: ptr(0.3*numeric + 0.01*n.next()), Numeric: ptr(numeric)})
		evidence.TwinChecks = append(evidence.TwinChecks, experiment.GradientCheck{Parameter: "twin", Analytic: ptr(numeric), Numeric: ptr(numeric * (1 + 1e-9))})
	}
	f.evidence["runs/exp2-seed42"] = evidence
	return f
}

// summaries takes means and rough intervals over runs.
func summaries(runs []experiment.Run) map[string]experiment.Summary {
	all := map[string]experiment.Summary{}
	for _, key := range []string{"epochs", "steps", "train_accuracy", "val_accuracy", "test_accuracy", "train_cost", "val_cost", "test_cost", "seconds", "steps_to_target", "seconds_to_target"} {
		var s experiment.Summary
		var values []float64
		sum := 0.0
		for i := range runs {
			if v := valueOf(&runs[i], key); v != nil && completed(&runs[i]) {
				values, sum = append(values, *v), sum+*v
			}
		}
		s.N = len(values)
		if s.N > 0 {
			mean := sum / float64(s.N)
			s.Mean = ptr(mean)
			if s.N > 1 {
				squares := 0.0
				for _, v := range values {
					squares += (v - mean) * (v - mean)
				}
				sd := math.Sqrt(squares / float64(s.N-1))
				half := 2.776 * sd / math.Sqrt(float64(s.N))
				s.SD, s.CI95 = ptr(sd), [2]*float64{ptr(mean - half), ptr(mean + half)}
			}
		}
		all[key] = s
	}
	return all
}

// correctedFixture is like the built-in study corrected: four experiments, five
// seeds, comparisons.
func correctedFixture() *fixture {
	f := newFixture()
	r := &f.results
	*r = experiment.Results{Study: "corrected", Title: "Batch normalisation and the L2 penalty, asked properly",
		Question: "For this network, what do batch normalisation and an L2 penalty change in accuracy, runtime and training steps?",
		Dataset:  fixtureDataset(), Precision: "float32", Threads: 2, Machine: machine(), Glassnet: "0.1.0", Command: "glassnet study corrected",
		Started: time.Date(2026, 1, 2, 4, 0, 0, 0, time.UTC), Seconds: 1804, Seeds: []uint64{1, 2, 3, 4, 5}, Primary: "test_accuracy", Target: ptr(0.93),
		Notes: []string{"The learning rate was not tuned per arm."}}
	arms := []struct {
		name, normalisation string
		l2                  float64
		epochs              int
		floor, accuracy, us float64
	}{
		{"plain", "none", 0, 96, 0.251, 0.9372, 212}, {"batch-norm", "batch", 0, 61, 0.232, 0.9431, 251},
		{"l2", "none", 1e-3, 101, 0.249, 0.9378, 219}, {"batch-norm-l2", "batch", 1e-3, 64, 0.229, 0.9436, 260},
	}
	for a, arm := range arms {
		us := arm.us
		e := experiment.Experiment{Name: arm.name, Normalisation: arm.normalisation, L2: arm.l2, Config: fixtureConfig(arm.normalisation, arm.l2),
			Layers: fixtureLayers(arm.normalisation), Timing: &experiment.Timing{Repeats: 5, Threads: 2, MicrosPerStep: us, MicrosPerLook: 9000, Samples: []float64{us, us + 3, us - 2, us + 9, us + 1}}}
		for _, seed := range r.Seeds {
			n := noise(seed*31 + uint64(a))
			n.next()
			run := f.addRun(&e, seed, arm.epochs+int(15*n.next()), 1, arm.floor+0.006*n.next(), arm.accuracy+0.002*n.next())
			run.BestEpoch, run.BestStep = run.Epochs-20, (run.Epochs-20)*375
			run.MicrosPerStep, run.StepsToTarget = &us, ptr(float64(run.BestStep)/2)
			run.SecondsToTarget = ptr(*run.StepsToTarget * us / 1e6)
		}
		e.Summary = summaries(e.Runs)
		r.Experiments = append(r.Experiments, e)
	}
	for _, pair := range [][2]int{{0, 1}, {0, 2}, {0, 3}, {2, 3}, {1, 3}} {
		a, b := &r.Experiments[pair[0]], &r.Experiments[pair[1]]
		for _, key := range []string{"test_accuracy", "val_accuracy", "steps", "steps_to_target", "seconds_to_target"} {
			d := *b.Summary[key].Mean - *a.Summary[key].Mean
			spread := *a.Summary[key].CI95[1] - *a.Summary[key].Mean + 1e-9
			p := 1 / (1 + math.Abs(d/spread)*math.Abs(d/spread)*40)
			c := experiment.Comparison{Metric: key, A: a.Name, B: b.Name, Difference: ptr(d), CI95: [2]*float64{ptr(d - spread), ptr(d + spread)},
				N: 5, P: ptr(p), PHolm: ptr(math.Min(1, 2*p)), Primary: key == "test_accuracy" && pair[0] == 0 && pair[1] < 3}
			c.Finding = fmt.Sprintf("%s: made-up finding on %s and %s.", upperFirst(metricOf(key).name), a.Name, b.Name)
			r.Comparisons = append(r.Comparisons, c)
		}
	}
	return f
}
