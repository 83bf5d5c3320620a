package report

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"glassnet/experiment"
)

// columns are the published table's, in its words.
var columns = [...]string{"Exp. #", "Batch Norm", "L2 Norm", "# of Epochs", "# of Iterations",
	"Train Accuracy", "Val Accuracy", "Test Accuracy", "Train Cost", "Val Cost", "Time (sec)"}

// columnKeys are the keys of the columns' figures in Experiment.Summary.
var columnKeys = [len(columns)]string{3: "epochs", 4: "steps", 5: "train_accuracy", 6: "val_accuracy",
	7: "test_accuracy", 8: "train_cost", 9: "val_cost", 10: "seconds"}

const (
	colBatchNorm = 1
	colL2        = 2
	colTime      = len(columns) - 1
)

// figureCell is one field of the table: a figure, half of its 95 % interval when
// there are several seeds, and whether it equals the published one above.
type figureCell struct{ text, half, mark string }

// resultRow is one row of the table: an experiment, or the published figures
// under it.
type resultRow struct {
	cells     [len(columns)]figureCell
	published bool
	unequal   []string // published: columns whose figures differ, or, marked (interrupted), could not be compared
}

// severalSeeds says whether some experiment ran more than once, so that its
// figures are means.
func severalSeeds(r *experiment.Results) bool {
	return slices.ContainsFunc(r.Experiments, func(e experiment.Experiment) bool { return len(e.Runs) > 1 })
}

// meanOver is how many runs the means of an experiment are taken over: those that
// diverged or were interrupted are left out.
func meanOver(e *experiment.Experiment) int { return e.Summary["steps"].N }

// oneSplit says whether all experiments set aside the same share of the examples
// for validation.
func oneSplit(r *experiment.Results) bool {
	return !slices.ContainsFunc(r.Experiments, func(e experiment.Experiment) bool {
		return e.Config.Validation != r.Experiments[0].Config.Validation
	})
}

// dataLine names the data of a study and counts its parts.
func dataLine(r *experiment.Results) string {
	text := "Data: " + clean(r.Dataset.Name)
	if r.Dataset.Fallback {
		text += ", which this program draws itself, in place of MNIST"
	}
	n := r.Dataset.Examples
	train, validation, test := fixed(float64(n.Train), 0), fixed(float64(n.Validation), 0), fixed(float64(n.Test), 0)
	if !oneSplit(r) {
		return fmt.Sprintf("%s; %s training examples, of which experiments set aside different shares for validation, %s test examples",
			text, fixed(float64(n.Train+n.Validation), 0), test)
	}
	return fmt.Sprintf("%s; %s training, %s validation, %s test examples", text, train, validation, test)
}

// resultRows is the table of a study.
func resultRows(r *experiment.Results) []resultRow {
	var rows []resultRow
	for i := range r.Experiments {
		e := &r.Experiments[i]
		p := publishedRow(r, e.Name)
		rows = append(rows, ourRow(r, e, p))
		if p != nil {
			rows = append(rows, theirRow(e, p))
		}
	}
	return rows
}

// publishedRow is the published row of an experiment, nil if there is none.
func publishedRow(r *experiment.Results, name string) *experiment.PublishedRow {
	for i := range r.Published {
		if r.Published[i].Experiment == name {
			return &r.Published[i]
		}
	}
	return nil
}

func ourRow(r *experiment.Results, e *experiment.Experiment, p *experiment.PublishedRow) resultRow {
	var row resultRow
	row.cells[0].text = clean(e.Name)
	row.cells[colBatchNorm].text = batchNormText(r, e)
	row.cells[colL2].text = l2Text(r, e)
	for c, key := range columnKeys {
		if key == "" {
			continue
		}
		switch {
		case severalSeeds(r):
			row.cells[c] = meanCell(key, e.Summary[key])
		case len(e.Runs) == 1:
			row.cells[c].text = runFigure(&e.Runs[0], key)
		default:
			row.cells[c].text = missing
		}
	}
	if p != nil && !severalSeeds(r) {
		for _, f := range p.Figures {
			if c := slices.Index(columns[:], f.Column); c > colL2 {
				row.cells[c].text = orMissing(clean(f.Ours))
			}
		}
	}
	return row
}

func theirRow(e *experiment.Experiment, p *experiment.PublishedRow) resultRow {
	row := resultRow{published: true}
	for c := range row.cells {
		row.cells[c].text = missing
	}
	row.cells[0].text = "published"
	row.cells[colBatchNorm].text = titleBool(e.Normalisation != experiment.NormalisationNone)
	row.cells[colL2].text = titleBool(e.L2 != 0)
	for _, f := range p.Figures {
		c := slices.Index(columns[:], f.Column)
		if c < 0 {
			continue
		}
		row.cells[c] = figureCell{text: clean(f.Published)}
		switch {
		case !ended(e):
			row.unequal = append(row.unequal, f.Column+" (interrupted)")
		case f.Equal:
			row.cells[c].mark = "="
		default:
			row.cells[c].mark = "≠"
			row.unequal = append(row.unequal, f.Column)
		}
	}
	if p.Seconds > 0 {
		row.cells[colTime].text = fixed(p.Seconds, 0)
	}
	return row
}

// batchNormText fills the column "Batch Norm". The published study calls its
// normalisation per example so; elsewhere that has its honest name.
func batchNormText(r *experiment.Results, e *experiment.Experiment) string {
	if e.Normalisation == experiment.NormalisationPublished && len(r.Published) == 0 {
		return "per ex."
	}
	return titleBool(e.Normalisation != experiment.NormalisationNone)
}

// l2Text fills the column "L2 Norm": in a study with strengths of its own lambda
// is given too.
func l2Text(r *experiment.Results, e *experiment.Experiment) string {
	if e.L2 == 0 || len(r.Published) > 0 {
		return titleBool(e.L2 != 0)
	}
	return "True " + lambdaText(e.L2)
}

func titleBool(b bool) string {
	if b {
		return "True"
	}
	return "False"
}

// runFigure prints a figure of a single run, accuracies and costs rounded to three
// decimals.
func runFigure(run *experiment.Run, key string) string {
	switch key {
	case "epochs":
		return fixed(float64(run.Epochs), 0)
	case "steps":
		return fixed(float64(run.Steps), 0)
	case "seconds":
		return secondsText(run.Seconds)
	}
	v, ok := number(map[string]*float64{
		"train_accuracy": run.TrainAccuracy, "val_accuracy": run.ValAccuracy, "test_accuracy": run.TestAccuracy,
		"train_cost": run.TrainCost, "val_cost": run.ValCost}[key])
	if !ok {
		return missing
	}
	// Halves go to the even digit, as numpy rounds: 0.9295 is 0.930.
	return fixed(math.RoundToEven(v*1000)/1000, 3)
}

// meanCell prints a mean over seeds and half of its interval: four decimals,
// since differences between means are small.
func meanCell(key string, s experiment.Summary) figureCell {
	mean, ok := number(s.Mean)
	if !ok {
		return figureCell{text: missing}
	}
	m := metricOf(key)
	cell := figureCell{text: m.print(mean)}
	if lo, hi, ok := interval(s.CI95); ok {
		cell.half = m.print((hi - lo) / 2)
	}
	return cell
}

// tableNotes says what a reader of the table must know.
func tableNotes(r *experiment.Results) []string {
	var notes []string
	if r.ShortenedTo > 0 {
		notes = append(notes, cutShort(r))
	}
	if len(r.Published) > 0 {
		notes = append(notes, "= equal to the published figure, ≠ not. The published seconds are from another machine.",
			"Accuracies are rounded, costs are cut off after three decimals, as in the published table.")
		if severalSeeds(r) {
			notes[len(notes)-1] = "The marks are of the first seed alone, its accuracies rounded and its costs cut off after three decimals."
		}
	}
	if severalSeeds(r) {
		notes = append(notes, meanNote(r))
	}
	note := "Time: wall time of a run."
	if sharedCores(r) {
		note = "Time: wall time of a run while other runs shared the cores."
		if anyTiming(r) {
			note = "Time: wall time of a run while other runs shared the cores; what was timed alone is in the report's table of seconds."
		}
	}
	notes = append(notes, note)
	for i := range r.Experiments {
		e := &r.Experiments[i]
		atLimit := 0
		for _, run := range e.Runs {
			switch run.Stopped {
			case "max_epochs":
				if e.Config.Stop != experiment.StopNone {
					atLimit++
				}
			case "diverged":
				notes = append(notes, fmt.Sprintf("%s, seed %d, diverged: %s", clean(e.Name), run.Seed, sentence(run.Diverged)))
			case "interrupted":
				notes = append(notes, fmt.Sprintf("%s, seed %d, was interrupted after %s.", clean(e.Name), run.Seed, plural(run.Steps, "step")))
			}
		}
		if len(e.Runs) == 0 {
			notes = append(notes, fmt.Sprintf("%s has no finished run.", clean(e.Name)))
		}
		if atLimit > 0 {
			runs := "the run"
			if len(e.Runs) > 1 {
				runs = fmt.Sprintf("%d of %d runs", atLimit, len(e.Runs))
			}
			notes = append(notes, fmt.Sprintf("%s: %s met the limit of %s before the rule that ends training was satisfied.", clean(e.Name), runs, plural(e.Config.Epochs, "epoch")))
		}
	}
	return notes
}

// meanNote says over how many seeds means are taken, and of which experiments over
// fewer.
func meanNote(r *experiment.Results) string {
	most := 0
	for i := range r.Experiments {
		most = max(most, meanOver(&r.Experiments[i]))
	}
	if most == 0 {
		return "No run came to its end, so there are no means."
	}
	text := "Mean over " + plural(most, "seed")
	for i := range r.Experiments {
		if n := meanOver(&r.Experiments[i]); n < most {
			text += fmt.Sprintf(", of %s over %d", clean(r.Experiments[i].Name), n)
		}
	}
	return text + "; ± is half of the 95 % interval of the mean (Student's t)."
}

// sentence cleans a text from a file and ends it with a full stop.
func sentence(s string) string {
	s = strings.TrimSpace(clean(s))
	if s == "" {
		return missing
	}
	if !strings.HasSuffix(s, ".") {
		s += "."
	}
	return s
}

// TableText renders a study's table for a terminal: a line on the data, then the
// published table's columns, aligned, at most 120 characters wide while names are
// short, with the published figures and marks of equality under ours, or with half of the 95 %
// interval under each mean, and the notes a reader needs.
func TableText(r *experiment.Results) string {
	var lines [][len(columns)]string
	var head [2][len(columns)]string
	for c, name := range columns {
		first, second, found := cutLast(name)
		if !found || c == 0 {
			first, second = "", name
		}
		head[0][c], head[1][c] = first, second
	}
	for _, row := range resultRows(r) {
		var line, below [len(columns)]string
		hasHalf := false
		for c, cell := range row.cells {
			line[c] = cell.text
			switch {
			case cell.mark != "":
				line[c] += " " + cell.mark
			case c > colL2 && len(r.Published) > 0:
				line[c] += "  " // keeps ours above the published figure
			}
			if cell.half != "" {
				below[c], hasHalf = "±"+cell.half, true
			}
		}
		if row.published {
			line[0] = "  " + line[0]
		}
		lines = append(lines, line)
		if hasHalf {
			lines = append(lines, below)
		}
	}
	var width [len(columns)]int
	for _, line := range append(head[:], lines...) {
		for c, s := range line {
			width[c] = max(width[c], utf8.RuneCountInString(s))
		}
	}
	var b strings.Builder
	b.WriteString(wrap(dataLine(r), 100, "  "))
	write := func(line [len(columns)]string) {
		var text strings.Builder
		for c, s := range line {
			pad := strings.Repeat(" ", width[c]-utf8.RuneCountInString(s))
			switch {
			case c == 0:
				text.WriteString(s + pad)
			case c <= colL2:
				text.WriteString("  " + s + pad)
			default:
				text.WriteString("  " + pad + s)
			}
		}
		b.WriteString(strings.TrimRight(text.String(), " ") + "\n")
	}
	write(head[0])
	write(head[1])
	total := 2 * (len(columns) - 1)
	for _, w := range width {
		total += w
	}
	b.WriteString(strings.Repeat("-", total) + "\n")
	for _, line := range lines {
		write(line)
	}
	for _, note := range tableNotes(r) {
		b.WriteString(wrap(note, 100, "  "))
	}
	return b.String()
}

// cutLast cuts s round its last space.
func cutLast(s string) (before, after string, found bool) {
	i := strings.LastIndex(s, " ")
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// wrap breaks text into lines of about width characters; lines after the first
// begin with indent.
func wrap(text string, width int, indent string) string {
	var b strings.Builder
	used := 0
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case used+1+n > width:
			b.WriteString("\n" + indent)
			used = utf8.RuneCountInString(indent)
		default:
			b.WriteByte(' ')
			used++
		}
		b.WriteString(word)
		used += n
	}
	return b.String() + "\n"
}

// TableCSV renders a study's table as CSV: the published table's columns without
// thousands separators, then whose figures they are and which of them differ from the
// published ones (marked where an interrupted run has none to compare), or, for several seeds, half of each 95 % interval in
// a column of its own.
func TableCSV(r *experiment.Results) []byte {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	several, published := severalSeeds(r), len(r.Published) > 0
	head := slices.Clone(columns[:])
	if several {
		for _, name := range columns[colL2+1:] {
			head = append(head, name+" ±")
		}
		head = append(head, "Runs")
	}
	if published {
		head = append(head, "Figures Of", "Not Equal To Published")
	}
	w.Write(head) // a bytes.Buffer takes everything
	runs := 0
	for _, row := range resultRows(r) {
		var record []string
		for _, cell := range row.cells {
			record = append(record, plainNumber(cell.text))
		}
		if several {
			for _, cell := range row.cells[colL2+1:] {
				record = append(record, plainNumber(cell.half))
			}
			count := ""
			if !row.published {
				count = strconv.Itoa(meanOver(&r.Experiments[runs]))
				runs++
			}
			record = append(record, count)
		}
		if published {
			of := "glassnet"
			if row.published {
				of = "published"
			}
			record = append(record, of, strings.Join(row.unequal, "; "))
		}
		w.Write(record)
	}
	w.Flush()
	return b.Bytes()
}

// plainNumber takes the thousands separators from a printed figure; what is
// undefined becomes empty.
func plainNumber(s string) string {
	if s == missing {
		return ""
	}
	if bare := strings.ReplaceAll(s, ",", ""); bare != s {
		if _, err := strconv.ParseFloat(bare, 64); err == nil {
			return bare
		}
	}
	return s
}

// TableLaTeX renders a study's table as a tabular to be included in a document
// that uses the package booktabs.
func TableLaTeX(r *experiment.Results) []byte {
	var b bytes.Buffer
	b.WriteString(`% In the preamble: \usepackage{booktabs}, \usepackage{graphicx}. In the text: \input{results.tex}
\resizebox{\linewidth}{!}{%
\begin{tabular}{lll` + strings.Repeat("r", len(columns)-colL2-1) + "}\n\\toprule\n")
	var head []string
	for _, name := range columns {
		head = append(head, latexEscape(name))
	}
	b.WriteString(strings.Join(head, " & ") + " \\\\\n\\midrule\n")
	for _, row := range resultRows(r) {
		var cells []string
		for c, cell := range row.cells {
			s := latexEscape(cell.text)
			switch {
			case cell.half != "":
				s += ` $\pm$ ` + latexEscape(cell.half)
			case cell.mark == "=":
				s += ` $=$`
			case cell.mark != "":
				s += ` $\neq$`
			case c > colL2 && len(r.Published) > 0:
				s += ` $\phantom{=}$`
			}
			if row.published && c == 0 {
				s = `\quad\emph{` + s + `}`
			}
			cells = append(cells, s)
		}
		b.WriteString(strings.Join(cells, " & ") + " \\\\\n")
	}
	b.WriteString("\\bottomrule\n\\end{tabular}}\n")
	return b.Bytes()
}

var latexReplacer = strings.NewReplacer(
	`\`, `\textbackslash{}`, `{`, `\{`, `}`, `\}`, `&`, `\&`, `%`, `\%`, `$`, `\$`, `#`, `\#`, `_`, `\_`,
	`~`, `\textasciitilde{}`, `^`, `\textasciicircum{}`, `<`, `\textless{}`, `>`, `\textgreater{}`,
	`"`, `\textquotedbl{}`, missing, `--`, "±", `$\pm$`, "µ", `$\mu$`, "λ", `$\lambda$`)

func latexEscape(s string) string { return latexReplacer.Replace(s) }

// SummaryText is what is printed after the table: how many published figures are
// equal, that single runs have nothing to compare, and the paired comparisons in the primary measure with difference, 95 %
// interval, p and p after Holm's correction; under those that are the study's main
// question, the finding in words.
func SummaryText(r *experiment.Results) string {
	var b strings.Builder
	switch {
	case len(r.Published) > 0:
		b.WriteString(wrap(replaySentence(r), 100, "  "))
	case len(r.Experiments) > 1 && !severalSeeds(r):
		b.WriteString(wrap(anecdote, 100, "  "))
	}
	var shown []experiment.Comparison
	rest := 0
	for _, primary := range []bool{true, false} {
		for _, c := range withFigures(r) {
			switch {
			case c.Primary != primary:
			case c.Primary || c.Metric == r.Primary:
				shown = append(shown, c)
			default:
				rest++
			}
		}
	}
	if len(shown) > 0 {
		fmt.Fprintf(&b, "Paired by seed, difference B - A in %s:\n", metricOf(r.Primary).name)
		if shown[0].Primary && !shown[len(shown)-1].Primary {
			b.WriteString("Holm: p corrected among the comparisons of the main question, which come first, or among all others.\n")
		}
	}
	var lines [][]string
	var width [6]int
	for _, c := range shown {
		line := append([]string{clean(c.B) + " - " + clean(c.A)}, comparisonFigures(&c)...)
		for i, s := range line {
			width[i] = max(width[i], utf8.RuneCountInString(s))
		}
		lines = append(lines, line)
	}
	for i, c := range shown {
		l := lines[i]
		fmt.Fprintf(&b, "  %-*s  %*s  [%*s]  n %*s  p %*s  Holm %*s\n",
			width[0], l[0], width[1], l[1], width[2], l[2], width[3], l[3], width[4], l[4], width[5], l[5])
		if c.Primary && c.Finding != "" {
			b.WriteString("    " + wrap(sentence(c.Finding), 96, "    "))
		}
	}
	if rest > 0 {
		fmt.Fprintf(&b, "%s, of other measures: in the report.\n", plural(rest, "more comparison"))
	}
	if text := unreached(r); text != "" {
		b.WriteString(text + "\n")
	}
	return b.String()
}

// comparisonFigures prints a comparison: difference, interval, n, p, p after
// Holm's correction.
func comparisonFigures(c *experiment.Comparison) []string {
	m := metricOf(c.Metric)
	difference, ci := missing, missing
	if v, ok := number(c.Difference); ok {
		difference = m.signed(v)
	}
	if lo, hi, ok := interval(c.CI95); ok {
		ci = m.signed(lo) + ", " + m.signed(hi)
	}
	return []string{difference, ci, strconv.Itoa(c.N), pText(c.P), pText(c.PHolm)}
}

// sharedCores reports whether runs of the study went side by side.
func sharedCores(r *experiment.Results) bool {
	runs := 0
	for i := range r.Experiments {
		runs += len(r.Experiments[i].Runs)
	}
	return r.Threads > 1 && runs > 1
}
