package report

import (
	"encoding/csv"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"glassnet/experiment"
)

// oddResults has what tables seldom meet.
func oddResults() *experiment.Results {
	f := correctedFixture()
	r := &f.results
	r.Experiments[0].Name = "50%_of\x1b&more"
	r.Experiments[0].Runs[1].Stopped, r.Experiments[0].Runs[1].Diverged = "diverged", "cost is not finite in epoch 2, step 400, rate 3"
	r.Experiments[0].Summary = summaries(r.Experiments[0].Runs)
	r.Experiments[1].Summary["val_cost"] = experiment.Summary{}
	r.Experiments[2].Summary["seconds"] = experiment.Summary{Mean: ptr(3), N: 1}
	r.Experiments[3].Normalisation = "published-per-example"
	r.Experiments[3].Runs, r.Experiments[3].Summary = nil, nil
	r.Comparisons[0].P, r.Comparisons[0].CI95 = ptr(0.00001), [2]*float64{}
	return r
}

func TestTables(t *testing.T) {
	for name, r := range map[string]*experiment.Results{"published": &publishedFixture().results, "corrected": &correctedFixture().results, "odd": oddResults()} {
		t.Run(name, func(t *testing.T) {
			text := TableText(r)
			golden(t, "table-"+name+".txt", []byte(text+SummaryText(r)))
			golden(t, "table-"+name+".csv", TableCSV(r))
			golden(t, "table-"+name+".tex", TableLaTeX(r))
			for _, line := range strings.Split(text, "\n") {
				if n := utf8.RuneCountInString(line); n > 120 {
					t.Errorf("line of %d characters, want at most 120: %s", n, line)
				}
			}
			records, err := csv.NewReader(strings.NewReader(string(TableCSV(r)))).ReadAll()
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(records[0][:len(columns)], "|"); got != strings.Join(columns[:], "|") {
				t.Errorf("CSV columns %s", got)
			}
			for _, record := range records[1:] {
				if strings.Contains(record[4], ",") {
					t.Errorf("CSV steps %q have a separator", record[4])
				}
			}
		})
	}
}

// The published figures are quoted as they were printed, whatever the run holds.
func TestTableQuotesPublishedFigures(t *testing.T) {
	r := &publishedFixture().results
	f := &r.Published[0].Figures[4]
	f.Ours, f.Equal = "0.935", false
	text := TableText(r)
	want(t, "TableText", text, "0.935", "0.934 ≠", "91,425 =")
	want(t, "SummaryText", strings.Join(strings.Fields(SummaryText(r)), " "), "20 of 21", "exp1 Test Accuracy: published 0.934, ours 0.935")
	want(t, "TableLaTeX", string(TableLaTeX(r)), `0.934 $\neq$`)
	want(t, "TableCSV", string(TableCSV(r)), "published,Test Accuracy")
	r.Experiments[0].Runs = append(r.Experiments[0].Runs, r.Experiments[0].Runs[0])
	want(t, "TableText of two seeds", TableText(r), "The marks are of the first seed alone")
	r.Published[0].Figures[0].Column = "unknown"
	want(t, "TableText", TableText(r), "exp1")
}

// Single runs are not passed off as comparable, nor nothing as a mean.
func TestTableSaysWhereNothingCanBeCompared(t *testing.T) {
	r := &correctedFixture().results
	for i := range r.Experiments {
		r.Experiments[i].Summary = nil
	}
	want(t, "TableText of no finished run", TableText(r), "No run came to its end, so there are no means.")
	r = &correctedFixture().results
	r.Comparisons = nil
	for i := range r.Experiments {
		r.Experiments[i].Runs = r.Experiments[i].Runs[:1]
	}
	want(t, "SummaryText of one seed", SummaryText(r), "Each experiment ran once.")
	r.Experiments = r.Experiments[:1]
	if text := SummaryText(r); strings.Contains(text, "ran once") {
		t.Errorf("SummaryText of one experiment = %q, want nothing on comparing", text)
	}
}

func TestTableNamesTheData(t *testing.T) {
	r := &correctedFixture().results
	want(t, "TableText", TableText(r), "Data: mnist; 48,000 training, 12,000 validation, 10,000 test examples\n")
	r.Dataset.Name, r.Dataset.Fallback = "drawn-digits", true
	want(t, "TableText", TableText(r), "Data: drawn-digits, which this program draws itself, in place of MNIST; 48,000 training")
	r.Experiments[2].Config.Validation = 0.1
	text := strings.Join(strings.Fields(TableText(r)), " ")
	want(t, "TableText", text, "60,000 training examples, of which experiments set aside different shares for validation, 10,000 test")
	wantNot(t, "TableText", text, "48,000")
}

// Comparisons that no seed has figures for are neither counted nor shown.
func TestEmptyComparisons(t *testing.T) {
	r := &correctedFixture().results
	for i := range r.Comparisons {
		if c := &r.Comparisons[i]; strings.HasSuffix(c.Metric, "_to_target") {
			*c = experiment.Comparison{Metric: c.Metric, A: c.A, B: c.B}
		}
	}
	for i := range r.Experiments {
		for k := range r.Experiments[i].Runs {
			run := &r.Experiments[i].Runs[k]
			run.StepsToTarget, run.SecondsToTarget = nil, nil
		}
	}
	want(t, "SummaryText", SummaryText(r), "10 more comparisons, of other measures", "No run reached the target, validation accuracy 0.93: ")
	r.Target = nil
	wantNot(t, "SummaryText", SummaryText(r), "target")
	c := &r.Comparisons[0] // the main question stays
	*c = experiment.Comparison{Metric: c.Metric, A: c.A, B: c.B, Primary: true, Finding: "No seed has a figure for both."}
	want(t, "SummaryText", SummaryText(r), "n 0", "No seed has a figure for both.")
}

// Runs that diverged have no dot.
func TestDotsOfCompletedRuns(t *testing.T) {
	r := &correctedFixture().results
	r.Experiments[0].Runs[1].Stopped = "diverged"
	for i, want := range []int{4, 5} {
		if got := len(dotsOf(&study{Results: r}, "steps").rows[i].singles); got != want {
			t.Errorf("dotsOf(steps): experiment %d has %d dots, want %d", i, got, want)
		}
	}
}

func TestSingleRunFigures(t *testing.T) {
	run := &experiment.Run{Epochs: 1234, Steps: 91425, TrainAccuracy: ptr(0.97356), ValAccuracy: ptr(0.9295), TrainCost: ptr(0.0748), ValCost: nil, TestAccuracy: ptr(math.NaN()), Seconds: 3.14159}
	tests := []struct{ key, want string }{
		{"epochs", "1,234"}, {"steps", "91,425"}, {"train_accuracy", "0.974"}, {"val_accuracy", "0.930"}, {"train_cost", "0.075"},
		{"val_cost", missing}, {"test_accuracy", missing}, {"seconds", "3.14"},
	}
	for _, test := range tests {
		if got := runFigure(run, test.key); got != test.want {
			t.Errorf("runFigure(%q) = %q, want %q", test.key, got, test.want)
		}
	}
}

func TestNumbers(t *testing.T) {
	tests := []struct{ call, got, want string }{
		{"fixed(1234567.891, 2)", fixed(1234567.891, 2), "1,234,567.89"},
		{"fixed(-0.0001, 3)", fixed(-0.0001, 3), "0.000"},
		{"fixed(-1234, 0)", fixed(-1234, 0), "-1,234"},
		{"fixed(1e20, 3)", fixed(1e20, 3), "1.00e+20"},
		{"scientific(0, 3)", scientific(0, 3), "0.00"},
		{"scientific(3.2e-9, 2)", scientific(3.2e-9, 2), "3.2e-09"},
		{"scientific(517531.2, 6)", scientific(517531.2, 6), "517,531"},
		{"scientific(0.0999, 2)", scientific(0.0999, 2), "0.10"},
		{"about(22613)", about(22613), "23,000"},
		{"about(Inf)", about(math.Inf(1)), "+Inf"},
		{"lambdaText(1e-3)", lambdaText(1e-3), "1e-3"},
		{"lambdaText(1e-8)", lambdaText(1e-8), "1e-8"},
		{"lambdaText(0.009)", lambdaText(0.009), "0.009"},
		{"lambdaText(0.3)", lambdaText(0.3), "0.3"},
		{"secondsText(257.4)", secondsText(257.4), "257"},
		{"secondsText(25.74)", secondsText(25.74), "25.7"},
		{"pText(nil)", pText(nil), missing},
		{"pText(1e-6)", pText(ptr(1e-6)), "<0.0001"},
		{"pText(0.0321)", pText(ptr(0.0321)), "0.0321"},
		{"plural(1)", plural(1, "run"), "1 run"},
		{"plural(2000)", plural(2000, "run"), "2,000 runs"},
		{"clean", clean("a\x1b[0m\n\u202e\xff ü"), "a\\x1b[0m\\n\\u202e\uFFFD ü"},
		{"shorten", shorten("abcdef", 4), "abc…"},
		{"slug", slug("  A b/../C_"), "a-b-c"},
		{"slug of nothing", slug("…"), "unnamed"},
		{"slug of much", slug(strings.Repeat("ab", 90)), strings.Repeat("ab", 32)},
		{"distinct", strings.Join(distinct([]string{"A", "a", "a-2"}), " "), "a a-2 a-2-2"},
		{"wrap", wrap("aa bb cc dd", 5, "  "), "aa bb\n  cc\n  dd\n"},
		{"join", join([]string{"a", "b", "c"}), "a, b and c"},
		{"sentence", sentence(" "), missing},
		{"plainNumber", plainNumber("a,b"), "a,b"},
		{"stopText", stopText(&experiment.Config{Stop: "none"}), "after the last epoch"},
	}
	for _, test := range tests {
		if test.got != test.want {
			t.Errorf("%s = %q, want %q", test.call, test.got, test.want)
		}
	}
}

func TestMetricsAreDescribed(t *testing.T) {
	for _, key := range []string{"test_accuracy", "test_cost", "epochs", "steps", "steps_to_target", "seconds_to_target", "seconds", "us_per_step"} {
		if m := metricOf(key); m.better == "" || m.name == "" || m.key != key {
			t.Errorf("metricOf(%q) = %+v, want a name and a direction", key, m)
		}
	}
	if m := metricOf("some_thing"); m.name != "some thing" || m.signed(0.5) != "+0.5000" || m.signed(-0.5) != "-0.5000" || m.signed(-0.00001) != "0.0000" {
		t.Errorf("metricOf(some_thing) = %+v", m)
	}
	run := experiment.Run{}
	for _, key := range []string{"epochs", "steps", "seconds"} {
		if valueOf(&run, key) == nil {
			t.Errorf("valueOf(%q) is nil", key)
		}
	}
	for _, key := range []string{"train_accuracy", "val_accuracy", "test_accuracy", "train_cost", "val_cost", "test_cost", "penalty", "sum_of_weights", "steps_to_target", "seconds_to_target", "unknown"} {
		if valueOf(&run, key) != nil {
			t.Errorf("valueOf(%q) of an empty run is not nil", key)
		}
	}
}
