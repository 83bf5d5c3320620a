package report

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"glassnet/experiment"
)

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
		if c.Normalisation == experiment.NormalisationNone {
			return "none"
		}
		return c.Normalisation + ", " + c.Place + " the activation"
	})
	each("L2 penalty, lambda", func(c *experiment.Config) string {
		if c.L2 > 0 && c.L2Form == experiment.L2Published {
			return lambdaText(c.L2) + ", in the published form"
		}
		return lambdaText(c.L2)
	})
	each("Initial weights", func(c *experiment.Config) string { return c.Init })
	each("Cost", func(c *experiment.Config) string { return strings.ReplaceAll(c.Loss, "_", " ") })
	each("Update rule, learning rate", func(c *experiment.Config) string { return c.Rule + ", " + lambdaText(c.LearningRate) })
	each("Batch", func(c *experiment.Config) string { return plural(c.Batch, "example") })
	each("Epochs, at most", func(c *experiment.Config) string { return fixed(float64(c.Epochs), 0) })
	each("Validation, share of the training examples", func(c *experiment.Config) string { return lambdaText(c.Validation) })
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
	case experiment.StopNone:
		return "after the last epoch"
	case experiment.StopPatience:
		return fmt.Sprintf("after %s without a better validation cost; the best weights are kept", plural(c.Patience, "epoch"))
	case experiment.StopPublished:
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
	blocks = append(blocks, classTable(s))
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
			fmt.Sprintf("A few training examples of each class of %s.", clean(d.Name)))})
	}
	return blocks
}

// classTable counts the examples of each class in each part: few classes stand
// side by side, many below each other and folded.
func classTable(s *study) block {
	d := &s.Dataset
	t := table{Caption: fmt.Sprintf("Examples of %s per part and class, in the split of the first run.", clean(d.Name)),
		Head: []string{"Class", "Training", "Validation", "Test"}, Numeric: []bool{false, true, true, true}}
	if !oneSplit(s.Results) {
		t.Caption += " Other experiments set aside other shares for validation: see the settings."
	}
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
	line("Data", func(s *study) string { return clean(s.Dataset.Name) + " (" + clean(s.Dataset.Origin) + ")" })
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
