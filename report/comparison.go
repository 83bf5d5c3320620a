package report

import (
	"fmt"
	"math"
	"slices"

	"glassnet/experiment"
)

// comparison sets accuracy, steps and runtime of the experiments side by side.
// A replay of single runs has nothing to compare.
func (b *builder) comparison(s *study) []block {
	if len(s.Experiments) < 2 || len(s.Published) > 0 && !severalSeeds(s.Results) {
		return nil
	}
	var blocks []block
	var findings []string
	primary, secondary := comparisonTable(), comparisonTable()
	primary.Caption = fmt.Sprintf("The main question: differences in %s, the primary measure. Their p values are corrected among themselves by Holm's method.", metricOf(s.Primary).name)
	secondary.Caption = "All other comparisons. Holm's method corrects the p values of the seconds to the target, which no two machines share, among themselves, and those of all other rows among themselves."
	comparisons := withFigures(s.Results)
	for _, c := range comparisons {
		line := append([]string{metricOf(c.Metric).name, clean(c.B) + " − " + clean(c.A)}, comparisonFigures(&c)...)
		line = append(line, metricOf(c.Metric).better)
		if c.Primary {
			primary.Rows = append(primary.Rows, cells(line...))
			if c.Finding != "" {
				findings = append(findings, sentence(c.Finding))
			}
		} else {
			secondary.Rows = append(secondary.Rows, cells(line...))
		}
	}
	if len(findings) > 0 {
		blocks = append(blocks, block{List: findings})
	}
	blocks = append(blocks, block{Text: comparisonProse(s)})
	if figures := b.dotFigures(s); len(figures) > 0 {
		blocks = append(blocks, block{Figures: figures})
	}
	if len(primary.Rows) > 0 {
		blocks = append(blocks, block{Table: primary})
	}
	if len(secondary.Rows) > 0 {
		var texts []string
		for _, c := range comparisons {
			if !c.Primary && c.Finding != "" {
				texts = append(texts, sentence(c.Finding))
			}
		}
		blocks = append(blocks, block{Text: secondaryProse(s)}, block{Details: &details{
			Summary: fmt.Sprintf("The other %s as a table", plural(len(secondary.Rows), "comparison")), Blocks: []block{{Table: secondary}}}})
		if len(texts) > 0 {
			blocks = append(blocks, block{Details: &details{Summary: "The same in words", Blocks: []block{{List: texts}}}})
		}
	}
	return blocks
}

// withFigures are a study's comparisons without those for which no seed has both
// figures, such as the steps to a target where there is none. The main question
// stays in any case: its finding says what is missing.
func withFigures(r *experiment.Results) (all []experiment.Comparison) {
	for _, c := range r.Comparisons {
		if c.N > 0 || c.Primary {
			all = append(all, c)
		}
	}
	return all
}

// dotFigures are the dot plots of a study: one per measure, and the paired
// differences of the primary one.
func (b *builder) dotFigures(s *study) []figure {
	var figures []figure
	keys := []string{s.Primary}
	for _, key := range []string{"test_accuracy", "steps", "steps_to_target", "us_per_step", "seconds_to_target"} {
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	for _, key := range keys {
		if c := dotsOf(s, key); c != nil {
			figures = append(figures, b.figure(fmt.Sprintf("%s-compare-%s", s.slug, slug(key)), c,
				fmt.Sprintf("%s of each experiment of %s", upperFirst(metricOf(key).name), clean(s.Study)), dotCaption(s, key)))
		}
	}
	if c := differences(s); c != nil {
		figures = append(figures, b.figure(s.slug+"-differences", c,
			fmt.Sprintf("Paired differences in %s with their 95 %% intervals", metricOf(s.Primary).name),
			fmt.Sprintf("Paired differences in %s, B − A, with 95 %% intervals (not corrected for how many there are). An interval across the dashed line at 0 leaves the direction open.", metricOf(s.Primary).name)))
	}
	return figures
}

func comparisonTable() *table {
	return &table{Head: []string{"Measure", "B − A", "Difference", "95 % interval", "Pairs", "p", "p, Holm", "Read"},
		Numeric: []bool{false, false, true, true, true, true, true, false}}
}

// dotsOf is the dot plot of a measure; nil when there is nothing to show.
func dotsOf(s *study, key string) *dotChart {
	m := metricOf(key)
	c := &dotChart{title: upperFirst(m.name), xLabel: m.better}
	if m.unit != "" {
		c.xLabel = m.unit + ", " + m.better
	}
	found := false
	for i := range s.Experiments {
		e := &s.Experiments[i]
		full, tint, _ := stroke(i)
		r := dotRow{label: clean(e.Name), value: math.NaN(), lo: math.NaN(), hi: math.NaN(), paint: full, tint: tint}
		if key == "us_per_step" {
			if e.Timing != nil {
				r.value, r.singles = e.Timing.MicrosPerStep, e.Timing.Samples
			}
		} else {
			summary := e.Summary[key]
			if v, ok := number(summary.Mean); ok {
				r.value = v
			}
			if lo, hi, ok := interval(summary.CI95); ok {
				r.lo, r.hi = lo, hi
			}
			if len(e.Runs) > 1 {
				for k := range e.Runs {
					if v, ok := number(valueOf(&e.Runs[k], key)); ok && completed(&e.Runs[k]) {
						r.singles = append(r.singles, v)
					}
				}
			}
		}
		found = found || drawable(r.value, false)
		c.rows = append(c.rows, r)
	}
	if !found {
		return nil
	}
	return c
}

// valueOf is a measure of one run, by its key.
func valueOf(r *experiment.Run, key string) *float64 {
	whole := func(n int) *float64 { v := float64(n); return &v }
	switch key {
	case "epochs":
		return whole(r.Epochs)
	case "steps":
		return whole(r.Steps)
	case "train_accuracy":
		return r.TrainAccuracy
	case "val_accuracy":
		return r.ValAccuracy
	case "test_accuracy":
		return r.TestAccuracy
	case "train_cost":
		return r.TrainCost
	case "val_cost":
		return r.ValCost
	case "test_cost":
		return r.TestCost
	case "penalty":
		return r.Penalty
	case "sum_of_weights":
		return r.SumOfWeights
	case "seconds":
		return &r.Seconds
	case "steps_to_target":
		return r.StepsToTarget
	case "seconds_to_target":
		return r.SecondsToTarget
	}
	return nil
}

// differences is the plot of all paired differences of the primary measure.
func differences(s *study) *dotChart {
	m := metricOf(s.Primary)
	c := &dotChart{title: "Paired differences in " + m.name, xLabel: "B − A; " + m.better, zero: true}
	for _, one := range s.Comparisons {
		if one.Metric != s.Primary {
			continue
		}
		r := dotRow{label: clean(one.B) + " − " + clean(one.A), value: math.NaN(), lo: math.NaN(), hi: math.NaN(), paint: ink, tint: plain}
		if v, ok := number(one.Difference); ok {
			r.value = v
		}
		if lo, hi, ok := interval(one.CI95); ok {
			r.lo, r.hi = lo, hi
		}
		if drawable(r.value, false) {
			c.rows = append(c.rows, r)
		}
	}
	if len(c.rows) == 0 {
		return nil
	}
	return c
}

// timeBlocks sets our seconds beside the published ones.
func timeBlocks(s *study) []block {
	wall := "Wall time (s)"
	if sharedCores(s.Results) {
		wall = "Wall time, cores shared (s)"
	}
	t := &table{Caption: fmt.Sprintf("Seconds of %s.", clean(s.Study)),
		Head:    []string{"Experiment", "Steps", wall, "Per step, timed alone (µs)", "Steps x time alone (s)"},
		Numeric: []bool{false, true, true, true, true}}
	if len(s.Published) > 0 {
		t.Head, t.Numeric = append(t.Head, "Published, another machine (s)"), append(t.Numeric, true)
	}
	for i := range s.Experiments {
		e := &s.Experiments[i]
		steps, okSteps := number(e.Summary["steps"].Mean)
		line := []string{clean(e.Name), missing, missing, missing, missing}
		if okSteps {
			line[1] = fixed(steps, 0)
		}
		if seconds, ok := number(e.Summary["seconds"].Mean); ok {
			line[2] = secondsText(seconds)
		}
		if e.Timing != nil {
			line[3] = fixed(e.Timing.MicrosPerStep, 1)
			if okSteps {
				line[4] = secondsText(steps * e.Timing.MicrosPerStep / 1e6)
			}
		}
		if p := publishedRow(s.Results, e.Name); p != nil {
			line = append(line, fixed(p.Seconds, 0))
		} else if len(s.Published) > 0 {
			line = append(line, missing)
		}
		t.Rows = append(t.Rows, cells(line...))
	}
	return []block{{Text: timeProse(s)}, {Table: t}}
}
