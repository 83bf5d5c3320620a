package report

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"glassnet/experiment"
)

// loaded writes the fixture and reads it as a report does.
func loaded(t *testing.T, f *fixture) *study {
	t.Helper()
	s, err := load(f.write(t, filepath.Join(t.TempDir(), "study")))
	if err != nil {
		t.Fatal(err)
	}
	nameStudies([]*study{s})
	return s
}

// costs is a run whose looks have these validation costs, and half of each in training.
func costs(values ...float64) (r run) {
	for i, v := range values {
		r.epochs = append(r.epochs, look{epoch: i + 1, step: 10 * (i + 1), valCost: v, trainCost: v / 2})
	}
	return r
}

// Runs over each other are told apart by set: each overlay shows its own costs.
func TestOverlaysShowTheirCosts(t *testing.T) {
	f := correctedFixture()
	for _, rows := range f.histories {
		for _, row := range rows[1:] {
			row[2], row[4] = "3", "8" // training, validation
		}
	}
	b := &builder{}
	b.curves(loaded(t, f))
	if b.err != nil {
		t.Fatal(b.err)
	}
	for name, ticks := range map[string]struct{ has, lacks string }{"validation": {">8<", ">3<"}, "training": {">3<", ">8<"}} {
		found := false
		for _, file := range b.doc.Files {
			if file.path != "plots/corrected-overlay-"+name+".svg" {
				continue
			}
			found = true
			var svg bytes.Buffer
			if err := file.write(&svg); err != nil {
				t.Fatal(err)
			}
			want(t, file.path, svg.String(), ticks.has, strings.ToUpper(name[:1])+name[1:]+" cost of all experiments")
			wantNot(t, file.path, svg.String(), ticks.lacks)
		}
		if !found {
			t.Errorf("no overlay of the %s costs", name)
		}
	}
}

// A mean curve is the mean over the runs at each epoch, as far as all of them go.
func TestMeanByEpoch(t *testing.T) {
	runs := []run{costs(1, 2, 3, 9), costs(2, 4, 6), costs(6, 3, 6, 9, 9)}
	for of, want := range map[string][]float64{"validation": {3, 3, 5}, "training": {1.5, 1.5, 2.5}} {
		measure := validationCost
		if of == "training" {
			measure = trainingCost
		}
		mean := meanByEpoch(runs, measure)
		if len(mean) != len(want) {
			t.Fatalf("%s: %d points, want %d", of, len(mean), len(want))
		}
		for i, p := range mean {
			if p.X != float64(i+1) || math.Abs(p.Y-want[i]) > 1e-12 {
				t.Errorf("%s: point %d at (%v, %v), want (%d, %v)", of, i, p.X, p.Y, i+1, want[i])
			}
		}
	}
	if mean := meanByEpoch(nil, validationCost); len(mean) != 0 {
		t.Errorf("of no run: %v", mean)
	}
}

// Curves are thinned, but not of their last epoch.
func TestCurvesKeepTheLastEpoch(t *testing.T) {
	for _, epochs := range []int{1, 2, maxPoints, maxPoints + 1, 2500} {
		values := make([]float64, epochs)
		for i := range values {
			values[i] = float64(i)
		}
		r := costs(values...)
		for name, xys := range map[string][]xy{"single": byEpoch(&r, validationCost), "mean": meanByEpoch([]run{r, r}, validationCost)} {
			if len(xys) == 0 {
				t.Fatalf("%s curve of %d epochs: no point", name, epochs)
			}
			last := xys[len(xys)-1]
			if last.X != float64(epochs) || last.Y != float64(epochs-1) || len(xys) > maxPoints+1 || len(xys) < min(epochs, maxPoints/2) {
				t.Errorf("%s curve of %d epochs: %d points, the last at (%v, %v)", name, epochs, len(xys), last.X, last.Y)
			}
		}
	}
}

// Runs that diverged or were interrupted are not in a mean, unless there are no others.
func TestMeansAreOverFinishedRuns(t *testing.T) {
	f := correctedFixture()
	runs := f.results.Experiments[0].Runs
	runs[1].Stopped, runs[3].Stopped = "diverged", "interrupted"
	for k := range runs {
		for _, row := range f.histories[runs[k].Dir][1:] {
			row[4] = fmt.Sprint([]int{1, 100, 3, 100, 5}[k])
		}
	}
	s := loaded(t, f)
	left := finished(s, 0)
	if len(left) != 3 {
		t.Fatalf("%d finished runs, want 3", len(left))
	}
	for _, p := range meanByEpoch(left, validationCost) {
		if p.Y != 3 {
			t.Fatalf("epoch %v: mean %v, want 3", p.X, p.Y)
		}
	}
	for k := range s.Experiments[0].Runs {
		s.Experiments[0].Runs[k].Stopped = "diverged"
	}
	if left := finished(s, 0); len(left) != 5 {
		t.Errorf("none came to its end: %d runs, want all 5", len(left))
	}
}

// The plot of differences is of the primary measure, each B − A with its own figures.
func TestDifferences(t *testing.T) {
	r := &correctedFixture().results
	for _, primary := range []string{"test_accuracy", "val_accuracy"} {
		r.Primary = primary
		c := differences(&study{Results: r})
		if c == nil || !c.zero || c.title != "Paired differences in "+metricOf(primary).name || !strings.HasPrefix(c.xLabel, "B − A") {
			t.Fatalf("%s: %+v", primary, c)
		}
		at := 0
		for _, one := range r.Comparisons {
			if one.Metric != primary {
				continue
			}
			row := c.rows[at]
			if row.label != one.B+" − "+one.A || row.value != *one.Difference || row.lo != *one.CI95[0] || row.hi != *one.CI95[1] {
				t.Errorf("%s: row %q at %v, want %s − %s at %v", primary, row.label, row.value, one.B, one.A, *one.Difference)
			}
			at++
		}
		if at != 5 || len(c.rows) != at {
			t.Errorf("%s: %d rows, want %d", primary, len(c.rows), at)
		}
	}
	r.Primary = "epochs"
	if c := differences(&study{Results: r}); c != nil {
		t.Errorf("a measure that was not compared: %+v", c)
	}
}

// The lowest and the highest accuracy are named where they differ.
func TestBestSentence(t *testing.T) {
	tests := []struct {
		name   string
		values []float64 // NaN: none
		want   string
	}{
		{"rising", []float64{0.91, 0.92, 0.93}, "Test accuracy goes from 0.9100 (a) to 0.9300 (c)."},
		{"falling", []float64{0.93, 0.92, 0.91}, "Test accuracy goes from 0.9100 (c) to 0.9300 (a)."},
		{"the best in the middle", []float64{0.92, 0.93, 0.91}, "Test accuracy goes from 0.9100 (c) to 0.9300 (b)."},
		{"one without a figure", []float64{math.NaN(), 0.92, 0.91}, "Test accuracy goes from 0.9100 (c) to 0.9200 (b)."},
		{"one alone", []float64{0.93}, "a reaches a test accuracy of 0.9300."},
		{"one with a figure", []float64{math.NaN(), 0.93}, "b reaches a test accuracy of 0.9300."},
		{"none", []float64{math.NaN(), math.NaN()}, "No run was finished, so there is no answer yet."},
	}
	sentenceOf := func(values []float64) string {
		r := &experiment.Results{}
		for i, v := range values {
			r.Experiments = append(r.Experiments, experiment.Experiment{Name: string(rune('a' + i)), Summary: map[string]experiment.Summary{"test_accuracy": {Mean: ptr(v)}}})
		}
		return bestSentence(&study{Results: r})
	}
	for _, test := range tests {
		if got := sentenceOf(test.values); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
	// Equal figures, also those that only print so, go nowhere.
	for _, equal := range [][]float64{{0.93, 0.93}, {0.93, 0.93, 0.93}, {0.93, 0.930001}} {
		if got := sentenceOf(equal); got != "Every experiment that has a finished run reaches a test accuracy of 0.9300." {
			t.Errorf("the sentence on %v: %q", equal, got)
		}
	}
}

// A replay that was cut short says so only where figures are missing.
func TestReplaySentence(t *testing.T) {
	tests := []struct {
		name      string
		shortened int
		differ    int
		want      string
	}{
		{"whole", 0, 0, "All 21 published figures come out again, digit for digit (the seconds aside: another machine)."},
		{"whole, others", 0, 2, "19 of 21 published figures come out again. Different: exp1 # of Epochs: published 244, ours 7; exp1 # of Iterations: published 91,425, ours 7."},
		{"shortened, all equal", 300, 0, "All 21 published figures come out again, digit for digit (the seconds aside: another machine)."},
		{"shortened, others", 3, 2, "Runs were cut short after epoch 3, so the published figures cannot come out again; 19 of 21 are equal."},
	}
	for _, test := range tests {
		r := &publishedFixture().results
		r.ShortenedTo = test.shortened
		for i := range test.differ {
			f := &r.Published[0].Figures[i]
			f.Ours, f.Equal = "7", false
		}
		if got := replaySentence(r); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

// The norm that grows most is named, from the first epoch's end to the last.
func TestGrowthProse(t *testing.T) {
	tests := []struct {
		name        string
		norms       [][]float64 // of three layers, by epoch
		want, never string
	}{
		{"the middle one grows most", [][]float64{{10, 1, 2}, {90, 90, 90}, {30, 8, 10}}, "The norm of w2 grows to 8.0 times", "w1"},
		{"the first one", [][]float64{{1, 10, 2}, {1, 1, 1}, {5, 30, 4}}, "The norm of w1 grows to 5.0 times", "w2"},
		{"the last one", [][]float64{{10, 10, 1}, {1, 1, 1}, {30, 1, 4}}, "The norm of w3 grows to 4.0 times", "w1"},
		{"just twice", [][]float64{{1, 1, 1}, {1, 2, 1}}, "The norm of w2 grows to 2.0 times", "No layer"},
		{"none", [][]float64{{1, 1, 1}, {9, 9, 9}, {1.9, 0.5, 1}}, "No layer's norm doubles after the first epoch.", "grows"},
		{"from nothing", [][]float64{{0, 0, 1}, {5, 5, 1}}, "No layer's norm doubles after the first epoch.", "grows"},
		{"beyond numbers", [][]float64{{1, 1, 1}, {math.Inf(1), math.NaN(), 3}}, "The norm of w3 grows to 3.0 times", "w1"},
	}
	for _, test := range tests {
		r := run{norms: []string{"w1", "w2", "w3"}}
		for i, norms := range test.norms {
			r.epochs = append(r.epochs, look{epoch: i + 1, step: i + 1, sumOfW: 5, norms: norms})
		}
		s := &study{Results: &experiment.Results{Experiments: []experiment.Experiment{{Name: "e", Runs: []experiment.Run{{}}}}}, files: [][]run{{r}}}
		got := growthProse(s, 0, -1)
		want(t, test.name, got, "The sum of all weights of e ends at 5.00000.", test.want)
		wantNot(t, test.name, got, test.never)
	}
}

// The sum of weights is set beside the plain experiment's: many times as much, or not.
func TestGrowthBesideAnother(t *testing.T) {
	for sum, text := range map[float64]string{200: ", beside 20.0 in plain: 10 times as much.", -4000: ", beside 20.0 in plain: 200 times as much.", 199: ", beside 20.0 in plain: here the weights did not run away."} {
		s := &study{Results: &experiment.Results{Experiments: []experiment.Experiment{
			{Name: "plain", Runs: []experiment.Run{{SumOfWeights: ptr(20)}}}, {Name: "e", Runs: []experiment.Run{{SumOfWeights: ptr(sum)}}}}},
			files: [][]run{{costs(1)}, {costs(1)}}}
		want(t, fmt.Sprint(sum), growthProse(s, 1, 0), text)
	}
}

// Runs meet the limit of epochs only where a rule would have ended them before.
func TestLimitOfEpochs(t *testing.T) {
	met := "met the limit of 250 epochs before the rule that ends training was satisfied."
	r := &correctedFixture().results
	for k, stop := range []string{experiment.StopNone, experiment.StopPatience, experiment.StopPublished} {
		e := &r.Experiments[k]
		e.Config.Stop = stop
		e.Runs[0].Stopped, e.Runs[2].Stopped = "max_epochs", "max_epochs"
	}
	e := &r.Experiments[3]
	e.Runs = e.Runs[:1]
	e.Runs[0].Stopped = "max_epochs"
	text := strings.Join(tableNotes(r), "\n")
	want(t, "notes", text, "batch-norm: 2 of 5 runs "+met, "l2: 2 of 5 runs "+met, "batch-norm-l2: the run "+met)
	wantNot(t, "notes", text, "plain: ")
}

// Only runs that went side by side shared the cores: one has them for itself.
func TestSharedCores(t *testing.T) {
	for _, test := range []struct {
		threads, experiments, seeds int
		want                        bool
	}{{1, 1, 1, false}, {2, 1, 1, false}, {8, 1, 1, false}, {1, 2, 2, false}, {2, 1, 2, true}, {2, 2, 1, true}} {
		r := &correctedFixture().results
		r.Threads, r.Experiments = test.threads, r.Experiments[:test.experiments]
		for i := range r.Experiments {
			r.Experiments[i].Runs = r.Experiments[i].Runs[:test.seeds]
		}
		note := strings.Contains(strings.Join(tableNotes(r), "\n"), "shared the cores")
		prose := strings.Contains(timeProse(&study{Results: r}), "shared the cores")
		if sharedCores(r) != test.want || note != test.want || prose != test.want {
			t.Errorf("%+v: shared %v, note %v, prose %v", test, sharedCores(r), note, prose)
		}
	}
}

// Of equal validation costs the first is the lowest; what is no number is none.
func TestLowestLookIsTheFirst(t *testing.T) {
	head := strings.Join(historyHead[:8], ",") + "\n"
	tests := []struct {
		name   string
		costs  []string // two looks an epoch
		lowest int      // step; 0: none
	}{
		{"falling", []string{"3", "2", "1"}, 3},
		{"equal minima", []string{"3", "1", "2", "1", "1", "2"}, 2},
		{"all equal", []string{"2", "2", "2"}, 1},
		{"not finite", []string{"", "NaN", "2", "2", "-Inf", "3"}, 3},
		{"none", []string{"", "NaN"}, 0},
	}
	for _, test := range tests {
		text := head
		for i, c := range test.costs {
			text += fmt.Sprintf("%d,%d,1,0.5,%s,0.5,0,1\n", i/2+1, i+1, c)
		}
		path := filepath.Join(t.TempDir(), "history.csv")
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
		var r run
		if err := loadHistory(&r, path); err != nil {
			t.Fatal(err)
		}
		if r.lowest.step != test.lowest || r.last().step != len(test.costs) || r.beforeLast.step != len(test.costs)-1 {
			t.Errorf("%s: lowest at step %d, last %d, before it %d, want %d, %d, %d", test.name, r.lowest.step, r.last().step, r.beforeLast.step, test.lowest, len(test.costs), len(test.costs)-1)
		}
	}
}
