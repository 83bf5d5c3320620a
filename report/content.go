package report

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot/plotter"

	"glassnet/experiment"
)

type xy = plotter.XY

// builder collects a document and the files that its figures need.
type builder struct {
	doc document
	err error // the first failure to draw something
}

// build makes the document over the studies.
func build(studies []*study) (*document, error) {
	b := &builder{}
	b.doc.Title, b.doc.Subtitle = title(studies), subtitle(studies)
	b.doc.Notices = notices(studies)
	b.add(section{ID: "answer", Title: "The short answer", Blocks: shortAnswer(studies)})
	b.add(b.setting(studies))
	for _, s := range studies {
		b.add(b.study(s))
	}
	b.add(environment(studies))
	b.add(section{ID: "glossary", Title: "Words", Blocks: []block{{Terms: glossary}}})
	return &b.doc, b.err
}

func (b *builder) add(s section) { b.doc.Sections = append(b.doc.Sections, s) }

// drawn is anything that can be drawn.
type drawn interface {
	render() (svg, png []byte, err error)
}

// figure draws a chart and keeps its files.
func (b *builder) figure(name string, c drawn, alt, caption string) figure {
	svg, png, err := c.render()
	if err != nil {
		if b.err == nil {
			b.err = fmt.Errorf("draw plot %q: %w", name, err)
		}
		return figure{}
	}
	path := "plots/" + name
	b.doc.Files = append(b.doc.Files, file{path + ".svg", svg}, file{path + ".png", png})
	return figure{Path: path, Alt: alt, Caption: caption, Inline: inline(svg, alt)}
}

// digits puts examples on a sheet.
func (b *builder) digits(name string, all []experiment.Digit, d *experiment.DatasetInfo, columns int, alt, caption string) *digits {
	s := &digits{Path: "plots/" + name + ".png", Alt: alt, Caption: caption, Columns: columns}
	data, err := sheet(all, d.Width, d.Height, columns)
	for _, one := range all {
		image := digit{Alt: fmt.Sprintf("example %d, label %d", one.Index, one.Label)}
		if one.Predicted != nil {
			image.Alt += fmt.Sprintf(", predicted %d", *one.Predicted)
			image.Lines = []string{fmt.Sprintf("%d, taken for %d", one.Label, *one.Predicted)}
			if p, ok := number(one.Probability); ok {
				image.Lines = append(image.Lines, percent(p))
			}
		}
		var e error
		if image.Source, e = dataURI(one, d.Width, d.Height); e != nil {
			err = e
		}
		s.Images = append(s.Images, image)
	}
	if err != nil && b.err == nil {
		b.err = fmt.Errorf("draw digits %q: %w", name, err)
	}
	b.doc.Files = append(b.doc.Files, file{s.Path, data})
	return s
}

// setting says what was done: data, settings, shapes.
func (b *builder) setting(studies []*study) section {
	sec := section{ID: "setting", Title: "The setting", Blocks: []block{{Text: settingProse(studies)}}}
	sec.Parts = append(sec.Parts, section{ID: "settings", Title: "Settings", Blocks: []block{{Table: settingsTable(studies)}}})

	data := section{ID: "data", Title: "Data"}
	shapes := section{ID: "shapes", Title: "Shapes, layer by layer", Blocks: []block{{Text: shapesProse}}}
	var shownData []experiment.DatasetInfo
	var shownShapes [][]experiment.LayerShape
	for _, s := range studies {
		d := s.Dataset
		d.Samples, d.PerClass = nil, nil
		if !slices.ContainsFunc(shownData, func(o experiment.DatasetInfo) bool { return reflect.DeepEqual(o, d) }) {
			shownData = append(shownData, d)
			data.Blocks = append(data.Blocks, b.data(s)...)
		}
		for i := range s.Experiments {
			e := &s.Experiments[i]
			if len(e.Layers) == 0 || slices.ContainsFunc(shownShapes, func(o []experiment.LayerShape) bool { return reflect.DeepEqual(o, e.Layers) }) {
				continue
			}
			tables := shapeTables(s, e)
			if len(shownShapes) == 0 {
				shapes.Blocks = append(shapes.Blocks, block{Beside: tables})
			} else {
				shapes.Blocks = append(shapes.Blocks, block{Details: &details{
					Summary: fmt.Sprintf("The network of %s in %s", clean(e.Name), clean(s.Study)), Blocks: []block{{Beside: tables}}}})
			}
			shownShapes = append(shownShapes, e.Layers)
		}
	}
	sec.Parts = append(sec.Parts, data)
	if len(shownShapes) > 0 {
		sec.Parts = append(sec.Parts, shapes)
	}
	return sec
}

// settingsTable has a row per setting and a column per study; where experiments
// differ their values are listed.
func settingsTable(studies []*study) *table {
	t := &table{Caption: "Settings of each study. Where its experiments differ, all values are listed.", Head: []string{"Setting"}, Numeric: []bool{false}}
	for _, s := range studies {
		t.Head, t.Numeric = append(t.Head, clean(s.Study)), append(t.Numeric, false)
	}
	line := func(name string, of func(*study) string) {
		r := cells(name)
		for _, s := range studies {
			r.Cells = append(r.Cells, cell{Text: of(s)})
		}
		t.Rows = append(t.Rows, r)
	}
	each := func(name string, of func(*experiment.Config) string) {
		line(name, func(s *study) string {
			var values []string
			for i := range s.Experiments {
				if v := of(&s.Experiments[i].Config); !slices.Contains(values, v) {
					values = append(values, v)
				}
			}
			return clean(strings.Join(values, " / "))
		})
	}
	line("Experiments", func(s *study) string {
		var names []string
		for _, e := range s.Experiments {
			names = append(names, clean(e.Name))
		}
		return strings.Join(names, ", ")
	})
	line("Seeds", func(s *study) string {
		if len(s.Seeds) > 12 {
			return fmt.Sprintf("%d, from %d to %d", len(s.Seeds), slices.Min(s.Seeds), slices.Max(s.Seeds))
		}
		var seeds []string
		for _, seed := range s.Seeds {
			seeds = append(seeds, strconv.FormatUint(seed, 10))
		}
		return strings.Join(seeds, ", ")
	})
	line("Number type", func(s *study) string { return clean(s.Precision) })
	each("Hidden layers", func(c *experiment.Config) string { return listText(c.Hidden, "none") })
	each("Activation", func(c *experiment.Config) string { return c.Activation })
	each("Normalisation", func(c *experiment.Config) string {
		if c.Normalisation == "none" {
			return "none"
		}
		return c.Normalisation + ", " + c.Place + " the activation"
	})
	each("L2 penalty, lambda", func(c *experiment.Config) string { return lambdaText(c.L2) })
	each("Initial weights", func(c *experiment.Config) string { return c.Init })
	each("Cost", func(c *experiment.Config) string { return strings.ReplaceAll(c.Loss, "_", " ") })
	each("Update rule, learning rate", func(c *experiment.Config) string { return c.Rule + ", " + lambdaText(c.LearningRate) })
	each("Batch", func(c *experiment.Config) string { return plural(c.Batch, "example") })
	each("Epochs, at most", func(c *experiment.Config) string { return fixed(float64(c.Epochs), 0) })
	each("Order of the examples", func(c *experiment.Config) string {
		if c.Shuffle {
			return "new in each epoch"
		}
		return "the same in each epoch"
	})
	each("Looks at the validation set", func(c *experiment.Config) string {
		if c.LookEvery == 0 {
			return "at the end of each epoch"
		}
		return fmt.Sprintf("every %s of an epoch", plural(c.LookEvery, "step"))
	})
	each("Training stops", stopText)
	line("Primary measure, named in advance", func(s *study) string { return metricOf(s.Primary).name })
	line("Target validation accuracy", func(s *study) string {
		if v, ok := number(s.Target); ok {
			return lambdaText(v)
		}
		return missing
	})
	return t
}

func stopText(c *experiment.Config) string {
	switch c.Stop {
	case "none":
		return "after the last epoch"
	case "patience":
		return fmt.Sprintf("after %s without a better validation cost; the best weights are kept", plural(c.Patience, "epoch"))
	case "published-criterion":
		return fmt.Sprintf("when two looks in a row differ by less than %s in validation cost", lambdaText(c.Criterion))
	}
	return c.Stop
}

func listText(values []int, empty string) string {
	if len(values) == 0 {
		return empty
	}
	var s []string
	for _, v := range values {
		s = append(s, strconv.Itoa(v))
	}
	return strings.Join(s, ", ")
}

// data shows where a data set comes from, its parts and a few of its examples.
func (b *builder) data(s *study) []block {
	d := &s.Dataset
	blocks := []block{{Text: dataProse(d)}}
	blocks = append(blocks, classTable(d))
	if len(d.Samples) > 0 {
		columns := 12
		if d.Classes > 0 && len(d.Samples)%d.Classes == 0 {
			columns = len(d.Samples) / d.Classes // a row per class
			for columns < 10 {
				columns *= 2
			}
		}
		blocks = append(blocks, block{Digits: b.digits(s.slug+"-samples", d.Samples[:min(len(d.Samples), maxSamples)], d, columns,
			fmt.Sprintf("A few training examples of each class of %s", clean(d.Name)),
			fmt.Sprintf("A few training examples of each class of %s, dark on light.", clean(d.Name)))})
	}
	return blocks
}

// classTable counts the examples of each class in each part: few classes stand
// side by side, many below each other and folded.
func classTable(d *experiment.DatasetInfo) block {
	t := table{Caption: fmt.Sprintf("Examples of %s per part and class, in the split of the first run.", clean(d.Name)),
		Head: []string{"Class", "Training", "Validation", "Test"}, Numeric: []bool{false, true, true, true}}
	count := func(n int) string { return fixed(float64(n), 0) }
	for _, c := range d.PerClass {
		t.Rows = append(t.Rows, cells(strconv.Itoa(c.Class), count(c.Train), count(c.Validation), count(c.Test)))
	}
	t.Rows = append(t.Rows, cells("all", count(d.Examples.Train), count(d.Examples.Validation), count(d.Examples.Test)))
	if len(d.PerClass) > 12 {
		t.Rows[len(t.Rows)-1].Class = "total"
		return block{Details: &details{Summary: "Examples per part and class", Blocks: []block{{Table: &t}}}}
	}
	turned := table{Caption: t.Caption, Head: []string{t.Head[0]}, Numeric: []bool{false}}
	for part := 1; part < 4; part++ {
		r := cells(t.Head[part])
		for _, c := range t.Rows {
			r.Cells = append(r.Cells, c.Cells[part])
		}
		turned.Rows = append(turned.Rows, r)
	}
	for _, c := range t.Rows {
		turned.Head, turned.Numeric = append(turned.Head, c.Cells[0].Text), append(turned.Numeric, true)
	}
	return block{Table: &turned}
}

// shapeTables gives a network's shapes twice: as this program stores them, rows
// being examples, and with the names and the column vectors of the published
// study.
func shapeTables(s *study, e *experiment.Experiment) []table {
	shape := func(v []int) string {
		if len(v) == 0 {
			return ""
		}
		return "[" + listText(v, "") + "]"
	}
	ours := table{Caption: fmt.Sprintf("%s of %s: rows are examples. W [in, out], b [out], activations [batch, out].", clean(e.Name), clean(s.Study)),
		Head: []string{"Layer", "Kind", "Weights W", "Biases b", "Activations", "Parameters"}, Numeric: []bool{false, false, true, true, true, true}}
	theirs := table{Caption: "The same with column vectors, in the names of the published study: W [out, in], B [out, 1], A [out, batch]. A is taken at the end of each group of layers.",
		Head: []string{"Layer", "Weights", "Biases", "Activations"}, Numeric: []bool{false, true, true, true}}
	parameters, group := 0, 0
	named := func(letter string, l int, rows, columns int) string {
		return fmt.Sprintf("%s_%d (%d, %d)", letter, l, rows, columns)
	}
	for i, l := range e.Layers {
		ours.Rows = append(ours.Rows, cells(strconv.Itoa(l.Layer), kindText(l.Kind), shape(l.Weight), shape(l.Bias), shape(l.Activation), fixed(float64(l.Parameters), 0)))
		parameters += l.Parameters
		if len(l.Weight) == 2 && len(l.Activation) == 2 {
			if group == 0 {
				theirs.Rows = append(theirs.Rows, cells("0, the images", "", "", named("A", 0, l.Weight[0], l.Activation[0])))
			}
			group++
			bias := ""
			if len(l.Bias) == 1 {
				bias = named("B", group, l.Bias[0], 1)
			}
			theirs.Rows = append(theirs.Rows, cells(strconv.Itoa(group), named("W", group, l.Weight[1], l.Weight[0]), bias, ""))
		}
		if group > 0 && len(l.Activation) == 2 {
			text := named("A", group, l.Activation[1], l.Activation[0])
			if !slices.ContainsFunc(e.Layers[i+1:], func(l experiment.LayerShape) bool { return len(l.Weight) == 2 }) {
				text = fmt.Sprintf("predictions (%d, %d)", l.Activation[1], l.Activation[0])
			}
			theirs.Rows[len(theirs.Rows)-1].Cells[3].Text = text
		}
	}
	total := cells("all", "", "", "", "", fixed(float64(parameters), 0))
	total.Class = "total"
	ours.Rows = append(ours.Rows, total)
	return []table{ours, theirs}
}

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

// finished are an experiment's runs that came to an end of their own, or all if
// none did.
func finished(s *study, i int) (runs []run) {
	for k, r := range s.Experiments[i].Runs {
		if r.Stopped != "interrupted" && r.Stopped != "diverged" {
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

// steep says whether costs range so widely that only a logarithmic axis shows
// them.
func steep(curves []curve) bool {
	return slices.ContainsFunc(curves, func(c curve) bool {
		return slices.ContainsFunc(c.xys, func(p xy) bool { return p.Y > 20 && drawable(p.Y, true) })
	})
}

// curves shows training and validation cost by epoch, per experiment and all
// over each other.
func (b *builder) curves(s *study) []block {
	var figures, overlays []figure
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
				{label: seedsLabel(len(runs)), paint: tint, width: 0.7},
			}
		}
		all = append(all, thick...)
		if !anyDrawable(all, false) {
			continue
		}
		logarithmic := steep(all)
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
	blocks := []block{{Text: curvesProse(s)}, {Figures: figures}}
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

func seedsLabel(runs int) string {
	if runs > maxSingles {
		return fmt.Sprintf("validation, first %d seeds", maxSingles)
	}
	return "validation, each seed"
}

func costLabel(logarithmic bool) string {
	if logarithmic {
		return "cost (nats), logarithmic"
	}
	return "cost (nats)"
}

// comparison sets accuracy, steps and runtime of the experiments side by side.
// A replay of single runs has nothing to compare.
func (b *builder) comparison(s *study) []block {
	if len(s.Experiments) < 2 || len(s.Published) > 0 && !severalSeeds(s.Results) {
		return nil
	}
	var blocks []block
	var findings []string
	primary, secondary := comparisonTable(), comparisonTable()
	primary.Caption = fmt.Sprintf("The main question: differences in %s, the primary measure.", metricOf(s.Primary).name)
	secondary.Caption = "All other comparisons. Their p values are corrected together by Holm's method."
	for _, c := range s.Comparisons {
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
		for _, c := range s.Comparisons {
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
					if v, ok := number(valueOf(&e.Runs[k], key)); ok {
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
	case "us_per_step":
		return r.MicrosPerStep
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
	t := &table{Caption: fmt.Sprintf("Seconds of %s.", clean(s.Study)),
		Head:    []string{"Experiment", "Steps", "Wall time, cores shared (s)", "Per step, timed alone (µs)", "Steps x time alone (s)"},
		Numeric: []bool{false, true, true, true, true}}
	if len(s.Published) > 0 {
		t.Head, t.Numeric = append(t.Head, "Published, another machine (s)"), append(t.Numeric, true)
	}
	for i := range s.Experiments {
		e := &s.Experiments[i]
		var steps, seconds float64
		for _, r := range e.Runs {
			steps += float64(r.Steps) / float64(len(e.Runs))
			seconds += r.Seconds / float64(len(e.Runs))
		}
		line := []string{clean(e.Name), missing, missing, missing, missing}
		if len(e.Runs) > 0 {
			line[1], line[2] = fixed(steps, 0), secondsText(seconds)
		}
		if e.Timing != nil {
			line[3] = fixed(e.Timing.MicrosPerStep, 1)
			if len(e.Runs) > 0 {
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

// subject is the first experiment with the published normalisation, and the one
// without normalisation to set beside it; -1 where there is none.
func subject(s *study) (published, beside int) {
	find := func(normalisation string) int {
		return slices.IndexFunc(s.Experiments, func(e experiment.Experiment) bool { return e.Normalisation == normalisation })
	}
	return find("published-per-example"), find("none")
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
	blocks := []block{{Text: evidenceIntro(s, name)}, {List: evidenceFaults(s, at)}}

	blocks = append(blocks, block{Text: growthProse(s, at, beside)})
	var sums, norms []curve
	for i := range s.Experiments {
		if s.Experiments[i].Normalisation == "published-per-example" || i == beside || len(s.Published) > 0 {
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
			"Absolute value of the sum of all weights at the last look of each epoch. Each step up of the axis is ten times as much."))
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
	return append(blocks, block{Text: stopProse(s)}, block{List: smallPrint(s)})
}

// gradients shows the check of gradients against finite differences.
func (b *builder) gradients(s *study, at int, e *experiment.Evidence) []block {
	points := func(checks []experiment.GradientCheck) (xys []xy) {
		for _, c := range checks {
			xys = append(xys, xy{X: c.Numeric, Y: c.Analytic})
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
		relative := 0.0
		if scale := max(math.Abs(c.Analytic), math.Abs(c.Numeric)); scale > 0 {
			relative = math.Abs(c.Analytic-c.Numeric) / scale
		}
		t.Rows = append(t.Rows, cells(clean(c.Parameter), scientific(c.Analytic, 4), scientific(c.Numeric, 4), scientific(relative, 2)))
	}
	blocks := []block{{Text: gradientProse(name, e)}}
	if anyDrawable(curves, false) {
		blocks = append(blocks, block{Figures: []figure{b.figure(fmt.Sprintf("%s-gradients-%s", s.slug, slugOf(s, at)),
			&chart{title: "Gradients: Backward against finite differences", yLabel: "dCost/dw by Backward", xLabel: "dCost/dw measured by finite differences", curves: curves, square: true},
			fmt.Sprintf("Scatter plot of analytic against numeric gradients of %s and of %s in its place", kindText(e.Layer), kindText(e.Twin)),
			"Each dot is one weight. A right gradient lies on the dashed line.")}})
	}
	if len(t.Rows) > 8 {
		rest := *t
		t.Rows = t.Rows[:8]
		t.Caption += fmt.Sprintf(" The first 8 of %d.", len(rest.Rows))
		return append(blocks, block{Table: t}, block{Details: &details{Summary: fmt.Sprintf("All %d gradients", len(rest.Rows)), Blocks: []block{{Table: &rest}}}})
	}
	return append(blocks, block{Table: t})
}

// environment says on what the studies ran and how to run them again.
func environment(studies []*study) section {
	t := &table{Caption: "Where and how the studies ran.", Head: []string{""}, Numeric: []bool{false}}
	line := func(name string, of func(*study) string) {
		r := cells(name)
		for _, s := range studies {
			r.Cells = append(r.Cells, cell{Text: of(s)})
		}
		t.Rows = append(t.Rows, r)
	}
	for _, s := range studies {
		t.Head, t.Numeric = append(t.Head, clean(s.Study)), append(t.Numeric, false)
	}
	line("glassnet", func(s *study) string { return clean(s.Glassnet) })
	line("Started", func(s *study) string { return s.Started.UTC().Format("2006-01-02 15:04:05") + " UTC" })
	line("Took", func(s *study) string { return secondsText(s.Seconds) + " s" })
	line("Processor", func(s *study) string { return clean(s.Machine.CPU) })
	line("Cores, threads used", func(s *study) string { return fmt.Sprintf("%d, %d", s.Machine.Cores, s.Threads) })
	line("System", func(s *study) string { return clean(s.Machine.OS) })
	line("Kernel of the hot loops", func(s *study) string { return clean(s.Machine.Kernel) })
	line("Go", func(s *study) string { return clean(s.Machine.Go) })
	line("Data", func(s *study) string { return clean(s.Dataset.Name) + ", " + clean(s.Dataset.Origin) })
	line("SHA-256 of the data", func(s *study) string { return clean(s.Dataset.SHA256) })

	var commands []string
	for _, s := range studies {
		if c := clean(s.Command); c != "" && !slices.Contains(commands, c) {
			commands = append(commands, c)
		}
	}
	blocks := []block{{Table: t}}
	if len(commands) > 0 {
		blocks = append(blocks, block{Text: reproduceProse}, block{Code: strings.Join(commands, "\n")})
	}
	return section{ID: "environment", Title: "Environment, and how to run it again", Blocks: blocks}
}
