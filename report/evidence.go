package report

import (
	"fmt"
	"math"
	"slices"

	"glassnet/experiment"
)

// subject is the first experiment with the published normalisation, and the one
// without normalisation to set beside it; -1 where there is none.
func subject(s *study) (published, beside int) {
	find := func(normalisation string) int {
		return slices.IndexFunc(s.Experiments, func(e experiment.Experiment) bool { return e.Normalisation == normalisation })
	}
	return find(experiment.NormalisationPublished), find(experiment.NormalisationNone)
}

func evidenceTitle(s *study) string {
	if len(s.Published) > 0 {
		return "What the published second row really shows"
	}
	return "What the published normalisation does"
}

// evidence shows that the published normalisation is no batch normalisation:
// weights that grow, and a gradient that is wrong.
func (b *builder) evidence(s *study) []block {
	at, beside := subject(s)
	if at < 0 || len(s.files[at]) == 0 {
		return nil
	}
	name := clean(s.Experiments[at].Name)
	first := &s.files[at][0]
	faults := evidenceFaults(s, at)
	blocks := []block{{Text: evidenceIntro(s, name, len(faults))}, {List: faults}}

	blocks = append(blocks, block{Text: growthProse(s, at, beside)})
	var sums, norms []curve
	for i := range s.Experiments {
		if s.Experiments[i].Normalisation == experiment.NormalisationPublished || i == beside || len(s.Published) > 0 {
			for k := range min(len(s.files[i]), maxSingles) {
				full, _, dashes := stroke(i)
				c := curve{xys: byEpoch(&s.files[i][k], func(l look) float64 { return math.Abs(l.sumOfW) }), paint: full, width: 1.8, dashes: dashes}
				if k == 0 {
					c.label = clean(s.Experiments[i].Name)
				}
				sums = append(sums, c)
			}
		}
	}
	for i, n := range first.norms {
		full, _, dashes := stroke(i)
		norms = append(norms, curve{label: clean(n), xys: byEpoch(first, func(l look) float64 { return l.norms[i] }), paint: full, width: 1.8, dashes: dashes})
	}
	if beside >= 0 && len(s.files[beside]) > 0 {
		other := &s.files[beside][0]
		for i := range other.norms {
			_, tint, _ := stroke(i)
			c := curve{xys: byEpoch(other, func(l look) float64 { return l.norms[i] }), paint: tint, width: 1.2}
			if i == 0 {
				c.label = "the same layers in " + clean(s.Experiments[beside].Name)
			}
			norms = append(norms, c)
		}
	}
	var figures []figure
	if anyDrawable(sums, true) {
		figures = append(figures, b.figure(s.slug+"-sum-of-weights",
			&chart{title: "Sum of all weights", yLabel: "absolute value, logarithmic", xLabel: "epoch", curves: sums, logY: true, wholeX: true},
			fmt.Sprintf("Absolute value of the sum of all weights by epoch, %s beside the other experiments", name),
			"Absolute value of the sum of all weights at the last look of each epoch. Equal distances up the axis are equal factors."))
	}
	if anyDrawable(norms, true) {
		figures = append(figures, b.figure(fmt.Sprintf("%s-weight-norms-%s", s.slug, slugOf(s, at)),
			&chart{title: "Norm of each layer's weights in " + name, yLabel: "Euclidean norm, logarithmic", xLabel: "epoch", curves: norms, logY: true, wholeX: true},
			fmt.Sprintf("Euclidean norm of each weight matrix of %s by epoch", name),
			fmt.Sprintf("Euclidean norm of each weight matrix of %s, at the last look of each epoch.", name)))
	}
	if len(figures) > 0 {
		blocks = append(blocks, block{Figures: figures})
	}
	if first.evidence != nil && len(first.evidence.Checks) > 0 {
		blocks = append(blocks, b.gradients(s, at, first.evidence)...)
	}
	if s.Experiments[at].Config.Stop == experiment.StopPublished {
		blocks = append(blocks, block{Text: stopProse(s)})
	}
	if isReplay(s) {
		blocks = append(blocks, block{List: smallPrint(s)})
	}
	return blocks
}

// gradients shows the check of gradients against finite differences.
func (b *builder) gradients(s *study, at int, e *experiment.Evidence) []block {
	points := func(checks []experiment.GradientCheck) (xys []xy) {
		for _, c := range checks {
			x, okX := number(c.Numeric)
			y, okY := number(c.Analytic)
			if x, y = math.Abs(x), math.Abs(y); okX && okY && drawable(x, true) && drawable(y, true) {
				xys = append(xys, xy{X: x, Y: y})
			}
		}
		return xys
	}
	curves := []curve{{label: kindText(e.Layer), xys: points(e.Checks), paint: series[1], points: true}}
	if len(e.TwinChecks) > 0 {
		curves = append(curves, curve{label: kindText(e.Twin), xys: points(e.TwinChecks), paint: series[0], points: true})
	}
	name := clean(s.Experiments[at].Name)
	t := &table{Caption: fmt.Sprintf("Gradients of %s: what Backward says against the slope that is measured. Tolerance: %s.", name, clean(e.Tolerance)),
		Head: []string{"Parameter", "Backward", "Measured slope", "Relative difference"}, Numeric: []bool{false, true, true, true}}
	for _, c := range e.Checks {
		relative := distance(c)
		if !math.IsInf(relative, 1) {
			if scale := max(math.Abs(*c.Analytic), math.Abs(*c.Numeric)); scale > 0 {
				relative /= scale
			}
		}
		t.Rows = append(t.Rows, cells(clean(c.Parameter), scientificOr(c.Analytic, 4), scientificOr(c.Numeric, 4), scientificOr(&relative, 2)))
	}
	blocks := []block{{Text: gradientProse(name, e)}}
	if anyDrawable(curves, true) {
		blocks = append(blocks, block{Figures: []figure{b.figure(fmt.Sprintf("%s-gradients-%s", s.slug, slugOf(s, at)),
			&chart{title: "Gradients: Backward against finite differences", yLabel: "|dCost/dw| by Backward, logarithmic", xLabel: "|dCost/dw| measured by finite differences, logarithmic", curves: curves, logY: true, square: true},
			fmt.Sprintf("Scatter plot of analytic against numeric gradients of %s and of %s in its place", kindText(e.Layer), kindText(e.Twin)),
			"Each dot is one weight; magnitudes, both axes logarithmic. A right gradient lies on the dashed line.")}})
	}
	const most = 8
	if n := len(t.Rows); n > most {
		rest := *t
		t.Rows = nil
		for i := range most {
			t.Rows = append(t.Rows, rest.Rows[i*n/most])
		}
		t.Caption += fmt.Sprintf(" %d of %d.", most, n)
		return append(blocks, block{Table: t}, block{Details: &details{Summary: fmt.Sprintf("All %d gradients", n), Blocks: []block{{Table: &rest}}}})
	}
	return append(blocks, block{Table: t})
}
