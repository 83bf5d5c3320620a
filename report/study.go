package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"glassnet/experiment"
)

// study is a study's own section.
func (b *builder) study(s *study) section {
	sec := section{ID: "study-" + s.slug, Title: clean(s.Title)}
	if sec.Title == "" {
		sec.Title = "Study " + clean(s.Study)
	}
	if s.Question != "" {
		sec.Blocks = append(sec.Blocks, block{Lead: clean(s.Question)})
	}
	if len(s.Notes) > 0 {
		var notes []string
		for _, n := range s.Notes {
			notes = append(notes, sentence(n))
		}
		sec.Blocks = append(sec.Blocks, block{Text: "To be known before reading:"}, block{List: notes})
	}
	part := func(id, title string, blocks []block) {
		if len(blocks) > 0 {
			sec.Parts = append(sec.Parts, section{ID: s.slug + "-" + id, Title: title, Blocks: blocks})
		}
	}
	part("results", "Results", resultBlocks(s))
	part("curves", "Cost by epoch", b.curves(s))
	part("comparison", "Accuracy, steps and runtime compared", b.comparison(s))
	part("time", "Seconds", timeBlocks(s))
	part("classes", "Confusion and classes", confusionBlocks(s))
	part("mistakes", "The most confident mistakes", b.mistakes(s))
	part("evidence", evidenceTitle(s), b.evidence(s))
	return sec
}

func resultBlocks(s *study) []block {
	t := &table{Class: "results", Caption: fmt.Sprintf("Results of %s, in the columns of the published table.", clean(s.Study)),
		Head: columns[:], Notes: tableNotes(s.Results)}
	for c := range columns {
		t.Numeric = append(t.Numeric, c > colL2)
	}
	if len(s.Published) > 0 {
		t.Class = "results marked"
	}
	for _, r := range resultRows(s.Results) {
		var line row
		if r.published {
			line.Class = "published"
		}
		for _, c := range r.cells {
			line.Cells = append(line.Cells, cell{Text: c.text, Half: c.half, Mark: c.mark})
		}
		t.Rows = append(t.Rows, line)
	}
	blocks := []block{}
	if len(s.Published) > 0 {
		blocks = append(blocks, block{Text: replaySentence(s.Results)})
	}
	return append(blocks, block{Table: t})
}

// What is drawn at most: more would only make the files larger.
const (
	maxPoints  = 1000 // of a curve
	maxSingles = 20   // curves of single seeds
	maxSamples = 2048
)

// byEpoch is a run's curve of a measure over its epochs, thinned to maxPoints.
func byEpoch(r *run, of func(look) float64) (xys []xy) {
	every := (len(r.epochs)-1)/maxPoints + 1
	for i, l := range r.epochs {
		if i%every == every-1 || i == len(r.epochs)-1 {
			xys = append(xys, xy{X: float64(l.epoch), Y: of(l)})
		}
	}
	return xys
}

func validationCost(l look) float64 { return l.valCost }
func trainingCost(l look) float64   { return l.trainCost }

// completed says whether a run came to an end of its own.
func completed(r *experiment.Run) bool { return r.Stopped != "interrupted" && r.Stopped != "diverged" }

// finished are an experiment's runs that came to an end of their own, or all if
// none did.
func finished(s *study, i int) (runs []run) {
	for k := range s.Experiments[i].Runs {
		if completed(&s.Experiments[i].Runs[k]) {
			runs = append(runs, s.files[i][k])
		}
	}
	if runs == nil {
		return s.files[i]
	}
	return runs
}

// meanByEpoch is the mean of several runs' curves, as far as all of them go.
func meanByEpoch(runs []run, of func(look) float64) (mean []xy) {
	shortest := 0
	for i, r := range runs {
		if i == 0 || len(r.epochs) < shortest {
			shortest = len(r.epochs)
		}
	}
	every := (shortest-1)/maxPoints + 1
	for k := range shortest {
		if k%every != every-1 && k != shortest-1 {
			continue
		}
		sum := 0.0
		for _, r := range runs {
			sum += of(r.epochs[k])
		}
		mean = append(mean, xy{X: float64(runs[0].epochs[k].epoch), Y: sum / float64(len(runs))})
	}
	return mean
}

// anyDrawable says whether a chart has something to show.
func anyDrawable(curves []curve, logarithmic bool) bool {
	return slices.ContainsFunc(curves, func(c curve) bool { return len(segments(c.xys, logarithmic)) > 0 })
}

// steep says whether costs range so widely that only a logarithmic axis shows them: over
// all curves the largest is more than eight times the smallest, or beyond 20.
func steep(curves []curve) bool {
	least, most := math.Inf(1), 0.0
	for _, c := range curves {
		for _, p := range c.xys {
			if drawable(p.Y, false) {
				least, most = min(least, p.Y), max(most, p.Y)
			}
		}
	}
	return most > 20 || least > 0 && most > 8*least
}

// curves shows training and validation cost by epoch, per experiment and all
// over each other.
func (b *builder) curves(s *study) []block {
	var figures, overlays []figure
	anyLogarithmic := false
	var validation, training []curve
	for i := range s.Experiments {
		e, runs := &s.Experiments[i], s.files[i]
		full, tint, dashes := stroke(i)
		var thin, thick []curve
		for k := range min(len(runs), maxSingles) {
			single := len(runs) == 1
			t := curve{xys: byEpoch(&runs[k], trainingCost), paint: plain, width: 1.1}
			v := curve{xys: byEpoch(&runs[k], validationCost), paint: full, width: 1.8}
			if single {
				t.label, v.label = "training", "validation"
				thick = append(thick, t, v)
			} else {
				t.paint, t.width, v.paint, v.width = faint, 0.7, tint, 0.7
				thin = append(thin, t, v)
			}
		}
		all := slices.Clone(thin)
		if len(runs) > 1 {
			thick = []curve{
				{label: "training, mean", xys: meanByEpoch(finished(s, i), trainingCost), paint: plain, width: 1.8},
				{label: "validation, mean", xys: meanByEpoch(finished(s, i), validationCost), paint: full, width: 2},
				{label: seedsLabel("training", len(runs)), paint: faint, width: 0.7},
				{label: seedsLabel("validation", len(runs)), paint: tint, width: 0.7},
			}
		}
		all = append(all, thick...)
		if !anyDrawable(all, false) {
			continue
		}
		logarithmic := steep(all)
		anyLogarithmic = anyLogarithmic || logarithmic
		figures = append(figures, b.figure(fmt.Sprintf("%s-cost-%s", s.slug, slugOf(s, i)),
			&chart{title: clean(e.Name), yLabel: costLabel(logarithmic), xLabel: "epoch", curves: all, logY: logarithmic, fromZero: true, wholeX: true},
			curveAlt(s, i), curveCaption(s, i)))
		for j, of := range []func(look) float64{validationCost, trainingCost} {
			c := curve{label: clean(e.Name), xys: meanByEpoch(finished(s, i), of), paint: full, width: 1.6, dashes: dashes}
			if j == 0 {
				validation = append(validation, c)
			} else {
				training = append(training, c)
			}
		}
	}
	if len(figures) == 0 {
		return nil
	}
	anyLogarithmic = anyLogarithmic || steep(validation) || steep(training)
	blocks := []block{{Text: curvesProse(s, anyLogarithmic)}, {Figures: figures}}
	for _, o := range []struct {
		id, name string
		curves   []curve
	}{{"validation", "Validation cost", validation}, {"training", "Training cost", training}} {
		if len(o.curves) < 2 || !anyDrawable(o.curves, false) {
			continue
		}
		logarithmic := steep(o.curves)
		overlays = append(overlays, b.figure(fmt.Sprintf("%s-overlay-%s", s.slug, o.id),
			&chart{title: o.name + " of all experiments", yLabel: costLabel(logarithmic), xLabel: "epoch", curves: o.curves, logY: logarithmic, fromZero: true, wholeX: true},
			fmt.Sprintf("%s by epoch of all experiments of %s over each other", o.name, clean(s.Study)), overlayCaption(s, o.name)))
	}
	if len(overlays) > 0 {
		blocks = append(blocks, block{Figures: overlays})
	}
	return blocks
}

// seedsLabel names the thin curves of an experiment with so many runs.
func seedsLabel(set string, runs int) string {
	if runs > maxSingles {
		return fmt.Sprintf("%s, first %d seeds", set, maxSingles)
	}
	return set + ", each seed"
}

func costLabel(logarithmic bool) string {
	if logarithmic {
		return "cost (nats), logarithmic"
	}
	return "cost (nats)"
}

// maxConfusion is how many classes a confusion matrix may have to be shown whole.
const maxConfusion = 26

// confusionBlocks shows each experiment's first run on the test set.
func confusionBlocks(s *study) []block {
	var blocks []block
	shown := 0
	for i := range s.Experiments {
		e := &s.Experiments[i]
		if len(s.files[i]) == 0 || s.files[i][0].evaluation == nil {
			continue
		}
		v := s.files[i][0].evaluation
		if len(v.Confusion)+len(v.PerClass) == 0 { // of outputs that overflow
			continue
		}
		name := fmt.Sprintf("%s, seed %d", clean(e.Name), e.Runs[0].Seed)
		var tables []table
		if n := len(v.Confusion); n > 0 && n <= maxConfusion {
			tables = append(tables, confusionTable(name, v))
		}
		scores := table{Caption: name + ": how well each class is told from the others on the test set.",
			Head: []string{"Class", "Precision", "Recall", "F1", "Examples"}, Numeric: []bool{false, true, true, true, true}}
		for _, c := range v.PerClass {
			scores.Rows = append(scores.Rows, cells(strconv.Itoa(c.Class), share(c.Precision), share(c.Recall), share(c.F1), fixed(float64(c.Support), 0)))
		}
		tables = append(tables, scores)
		var here []block
		if text := confusionProse(v); text != "" {
			here = append(here, block{Text: text})
		}
		here = append(here, block{Beside: tables})
		if shown == 0 {
			blocks = append(blocks, block{Text: "How the finished networks do on the test set, in the first run of each experiment. In the matrix a row is a label, a column what was predicted: right answers stand on the diagonal."},
				block{Lead: name})
			blocks = append(blocks, here...)
		} else {
			blocks = append(blocks, block{Details: &details{Summary: name, Blocks: here}})
		}
		shown++
	}
	return blocks
}

// confusionTable colours right answers by their share of the label's examples,
// mistakes by their share of the most frequent one.
func confusionTable(name string, v *experiment.Evaluation) table {
	t := table{Class: "confusion", Caption: name + ": labels (rows) against predictions (columns) on the test set.", Head: []string{"label"}, Numeric: []bool{false}}
	worst := 1
	for label, r := range v.Confusion {
		t.Head, t.Numeric = append(t.Head, strconv.Itoa(label)), append(t.Numeric, true)
		for predicted, n := range r {
			if label != predicted {
				worst = max(worst, n)
			}
		}
	}
	for label, r := range v.Confusion {
		line := cells(strconv.Itoa(label))
		all := 0
		for _, n := range r {
			all += max(n, 0)
		}
		for predicted, n := range r {
			kind, of := "miss", worst
			if predicted == label {
				kind, of = "hit", max(all, 1)
			}
			level := min(max((n*9+of-1)/of, 0), 9) // 0 only for none
			line.Cells = append(line.Cells, cell{Text: fixed(float64(n), 0), Class: fmt.Sprintf("%s%d", kind, level)})
		}
		t.Rows = append(t.Rows, line)
	}
	return t
}

func share(p *float64) string {
	if v, ok := number(p); ok {
		return fixed(v, 3)
	}
	return missing
}

// confidence prints a probability; what is nearly certain is not called certain.
func confidence(p float64) string {
	if p > 0.9995 {
		return "over 99.9 %"
	}
	return percent(p)
}

func percent(p float64) string { return fixed(100*p, 1) + " %" }

// mistakes shows what each experiment's first run is most confidently wrong about.
func (b *builder) mistakes(s *study) []block {
	const most = 24
	var blocks []block
	for i := range s.Experiments {
		e := &s.Experiments[i]
		if len(s.files[i]) == 0 || s.files[i][0].evaluation == nil {
			continue
		}
		all := s.files[i][0].evaluation.Mistakes
		all = all[:min(most, len(all))]
		if len(all) == 0 {
			continue
		}
		name := fmt.Sprintf("%s, seed %d", clean(e.Name), e.Runs[0].Seed)
		d := b.digits(fmt.Sprintf("%s-mistakes-%s", s.slug, slugOf(s, i)), all, &s.Dataset, 12,
			"The most confident mistakes of "+name, name+": label, what it was taken for, and the probability given to that.")
		if len(blocks) == 0 {
			blocks = append(blocks, block{Text: mistakesProse}, block{Digits: d})
		} else {
			blocks = append(blocks, block{Details: &details{Summary: name, Blocks: []block{{Digits: d}}}})
		}
	}
	return blocks
}
