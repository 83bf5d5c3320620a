package experiment

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// metric is a figure of a run that is summarised over seeds and compared.
type metric struct {
	name     string
	of       func(*Run) *float64
	words    string // for sentences
	unit     string
	digits   int
	shared   bool // wall time of runs that share the cores: summarised, not compared
	timed    bool // changes from one timing to the next
	toTarget bool // has no figure where the target was never reached
	derived  bool // follows from other figures, or is the same for all seeds: summarised, not compared
}

var metrics = []metric{
	{name: "test_accuracy", of: func(r *Run) *float64 { return r.TestAccuracy }, words: "test accuracy", digits: 4},
	{name: "val_accuracy", of: func(r *Run) *float64 { return r.ValAccuracy }, words: "validation accuracy", digits: 4},
	{name: "train_accuracy", of: func(r *Run) *float64 { return r.TrainAccuracy }, words: "training accuracy", digits: 4},
	{name: "test_cost", of: func(r *Run) *float64 { return r.TestCost }, words: "test cost", digits: 4},
	{name: "val_cost", of: func(r *Run) *float64 { return r.ValCost }, words: "validation cost", digits: 4},
	{name: "train_cost", of: func(r *Run) *float64 { return r.TrainCost }, words: "training cost", digits: 4},
	{name: "steps", of: func(r *Run) *float64 { return finite(float64(r.Steps)) }, words: "number of training steps", unit: " steps"},
	{name: "steps_to_target", of: func(r *Run) *float64 { return r.StepsToTarget }, words: "number of steps to the target accuracy", unit: " steps", toTarget: true},
	{name: "seconds_to_target", of: func(r *Run) *float64 { return r.SecondsToTarget }, words: "time to the target accuracy", unit: " s", digits: 3, timed: true, toTarget: true},
	{name: "epochs", of: func(r *Run) *float64 { return finite(float64(r.Epochs)) }, words: "number of epochs", derived: true},
	{name: "penalty", of: func(r *Run) *float64 { return r.Penalty }, words: "penalty", digits: 4, derived: true},
	{name: "sum_of_weights", of: func(r *Run) *float64 { return r.SumOfWeights }, words: "sum of weights", digits: 4, derived: true},
	{name: "us_per_step", of: func(r *Run) *float64 { return r.MicrosPerStep }, words: "time of a step", unit: " µs", derived: true},
	{name: "seconds", of: func(r *Run) *float64 { return &r.Seconds }, words: "wall time", unit: " s", digits: 1, shared: true},
}

func (m metric) compared() bool { return !m.shared && !m.derived }

func comparedMetrics() []string {
	var names []string
	for _, m := range metrics {
		if m.compared() {
			names = append(names, m.name)
		}
	}
	return names
}

// summarise fills the summaries of all experiments and the comparisons that the
// study asks for.
func summarise(r *Results, s *Study) {
	for i := range r.Experiments {
		e := &r.Experiments[i]
		e.Summary = map[string]Summary{}
		for _, m := range metrics {
			var values []float64
			for k := range e.Runs {
				if v := m.of(&e.Runs[k]); v != nil && completed(&e.Runs[k]) {
					values = append(values, *v)
				}
			}
			e.Summary[m.name] = summaryOf(values)
		}
	}
	if len(s.Seeds) < 2 {
		return // one run is an anecdote: nothing to compare
	}
	var reasons []string // why a comparison is not tested
	for _, pair := range s.Comparisons {
		a, b := find(r, pair.A), find(r, pair.B)
		for _, m := range metrics {
			if m.compared() {
				c := compare(a, b, m)
				c.Primary = pair.Primary && m.name == s.Primary
				why := untested(a, b, m)
				if why != "" {
					c.P = nil
				}
				r.Comparisons, reasons = append(r.Comparisons, c), append(reasons, why)
			}
		}
	}
	// Three families, so that the p values of times, which no two machines
	// share, change none of the others.
	var primary, secondary, timed []*Comparison
	for i := range r.Comparisons {
		switch c := &r.Comparisons[i]; {
		case c.Primary:
			primary = append(primary, c)
		case metricOf(c).timed:
			timed = append(timed, c)
		default:
			secondary = append(secondary, c)
		}
	}
	holm(primary)
	holm(secondary)
	holm(timed)
	for i := range r.Comparisons {
		c := &r.Comparisons[i]
		c.Finding = finding(c, metricOf(c), reasons[i])
	}
}

// completed reports whether a run came to an end of its own.
func completed(r *Run) bool { return r.Stopped != "diverged" && r.Stopped != "interrupted" }

func find(r *Results, name string) *Experiment {
	return &r.Experiments[slices.IndexFunc(r.Experiments, func(e Experiment) bool { return e.Name == name })]
}

// summaryOf returns mean, standard deviation (n - 1) and the 95 % interval of the
// mean, mean ± t(0.975, n - 1)·sd/√n.
func summaryOf(values []float64) Summary {
	s := Summary{N: len(values)}
	if len(values) == 0 {
		return s
	}
	mean, sd := stat.MeanStdDev(values, nil)
	s.Mean = finite(mean)
	if len(values) > 1 {
		half := interval(sd, len(values))
		s.SD, s.CI95 = finite(sd), [2]*float64{finite(mean - half), finite(mean + half)}
	}
	return s
}

// interval returns half the width of a 95 % interval of a mean of n values.
func interval(sd float64, n int) float64 {
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(n - 1)}
	return t.Quantile(0.975) * sd / math.Sqrt(float64(n))
}

// compare pairs the runs of two experiments by seed and tests the mean of the
// differences b - a with Student's paired t test, two-sided. Seeds for which
// either figure is missing are left out.
func compare(a, b *Experiment, m metric) Comparison {
	c := Comparison{Metric: m.name, A: a.Name, B: b.Name}
	var differences []float64
	for i := range a.Runs {
		k := slices.IndexFunc(b.Runs, func(r Run) bool { return r.Seed == a.Runs[i].Seed })
		if k < 0 || !completed(&a.Runs[i]) || !completed(&b.Runs[k]) {
			continue
		}
		if va, vb := m.of(&a.Runs[i]), m.of(&b.Runs[k]); va != nil && vb != nil {
			differences = append(differences, *vb-*va)
		}
	}
	s := summaryOf(differences)
	c.Difference, c.CI95, c.N = s.Mean, s.CI95, s.N
	if c.N < 2 || s.Mean == nil || s.SD == nil { // too few, or beyond what a number holds
		return c
	}
	if *s.SD <= 1e-12*math.Abs(*s.Mean) {
		// All pairs differ by the same amount, but for rounding: there is no
		// spread to test against.
		if *s.Mean == 0 {
			c.P = finite(1)
		}
		return c
	}
	t := *s.Mean / (*s.SD / math.Sqrt(float64(c.N)))
	c.P = finite(2 * distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(c.N - 1)}.CDF(-math.Abs(t)))
	return c
}

func metricOf(c *Comparison) metric {
	return metrics[slices.IndexFunc(metrics, func(m metric) bool { return m.name == c.Metric })]
}

// holm corrects the p values of one family of comparisons by Holm's step-down
// method (Holm 1979): the k-th smallest of n is multiplied by n-k+1, and none may
// be smaller than the one before it.
func holm(comparisons []*Comparison) {
	family := slices.DeleteFunc(comparisons, func(c *Comparison) bool { return c.P == nil })
	slices.SortStableFunc(family, func(a, b *Comparison) int {
		switch {
		case *a.P < *b.P:
			return -1
		case *a.P > *b.P:
			return 1
		}
		return 0
	})
	before := 0.0
	for k, c := range family {
		before = max(before, min(1, *c.P*float64(len(family)-k)))
		c.PHolm = finite(before)
	}
}

// untested says why a difference that could be tested is not, "" if it is.
func untested(a, b *Experiment, m metric) string {
	missed := func(e *Experiment) (n, of int) {
		for i := range e.Runs {
			if r := &e.Runs[i]; completed(r) {
				of++
				if r.StepsToTarget == nil {
					n++
				}
			}
		}
		return n, of
	}
	if m.toTarget {
		// Seeds without a figure are not like the others: over those that are left, an
		// experiment looks the faster the more often it fails.
		inA, ofA := missed(a)
		inB, ofB := missed(b)
		if inA+inB > 0 {
			return fmt.Sprintf("%s never reached the target in %d of %d runs, %s in %d of %d, and the mean leaves them out", a.Name, inA, ofA, b.Name, inB, ofB)
		}
	}
	if m.timed {
		for _, e := range []*Experiment{a, b} {
			if e.Timing != nil && e.Timing.Repeats < len(e.Runs) {
				return "there are fewer timings than seeds, so the spread lacks the error of a timing"
			}
		}
	}
	return ""
}

// finding says in one sentence what a comparison shows; significance is judged at
// 5 % on the corrected p value.
func finding(c *Comparison, m metric, untested string) string {
	what := upperFirst(m.words)
	switch {
	case c.N == 0:
		return fmt.Sprintf("%s: no seed has a figure for both %s and %s.", what, c.A, c.B)
	case c.N == 1:
		return fmt.Sprintf("%s: one seed alone has a figure for both %s and %s; one pair shows nothing.", what, c.A, c.B)
	case c.Difference == nil || c.CI95[0] == nil || c.CI95[1] == nil:
		return fmt.Sprintf("%s: the difference between %s and %s is beyond what a number holds.", what, c.A, c.B)
	case untested != "":
		return fmt.Sprintf("%s: mean difference %s%s between %s and %s, not tested: %s.", what, number(*c.Difference, m), m.unit, c.B, c.A, untested)
	case c.P == nil:
		return fmt.Sprintf("%s: %s differs from %s by the same amount with every one of %s, %+.4g%s: there is no spread to test it against.",
			what, c.B, c.A, seeds(c.N), *c.Difference, m.unit)
	}
	if *c.Difference == 0 && *c.CI95[0] == 0 && *c.CI95[1] == 0 {
		return fmt.Sprintf("%s: the same for %s and %s with every one of %s.", what, c.A, c.B, seeds(c.N))
	}
	figures := fmt.Sprintf("mean difference %s%s, 95 %% interval %s to %s before correction, p %s after it",
		number(*c.Difference, m), m.unit, number(*c.CI95[0], m), number(*c.CI95[1], m), pValue(*c.PHolm))
	if *c.PHolm >= 0.05 {
		return fmt.Sprintf("%s: no difference between %s and %s that %s can show (%s).", what, c.A, c.B, seeds(c.N), figures)
	}
	direction := "higher"
	if *c.Difference < 0 {
		direction = "lower"
	}
	return fmt.Sprintf("%s is %s for %s than for %s (%s, %s).", what, direction, c.B, c.A, figures, seeds(c.N))
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func seeds(n int) string { return fmt.Sprintf("%d seeds", n) }

// number prints a difference with its sign, but for one that is printed as 0.
func number(v float64, m metric) string {
	s := fmt.Sprintf("%+.*f", m.digits, v)
	if strings.Trim(s, "+-0.") == "" {
		return s[1:]
	}
	if whole := math.RoundToEven(v); m.digits == 0 && math.Abs(whole) <= math.MaxInt32 {
		return s[:1] + thousands(int(math.Abs(whole)))
	}
	return s
}

func pValue(p float64) string {
	if p < 0.0001 {
		return "< 0.0001"
	}
	return fmt.Sprintf("= %.4f", p)
}
