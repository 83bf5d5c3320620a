package main

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"os"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"

	"glassnet/explain"
	"glassnet/nn"
)

// explainPrinter prints an explanation for people: 80 columns or as wide as the
// terminal is, with colours on a terminal only.
type explainPrinter struct {
	w          *bufio.Writer
	columns    int
	colours    bool
	style      explain.Style
	convention explain.Convention
}

func newExplainPrinter(w io.Writer, style explain.Style, convention explain.Convention) *explainPrinter {
	p := &explainPrinter{w: bufio.NewWriter(w), columns: 80, style: style, convention: convention}
	if f := terminal(w); f != nil {
		if columns, _, err := term.GetSize(int(f.Fd())); err == nil {
			p.columns = min(max(columns, 80), 160)
		}
		p.colours = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	return p
}

// Colours of sign, the same everywhere: orange is above 0, blue below. People who do
// not tell red from green tell these.
const (
	above = "\x1b[38;5;208m"
	below = "\x1b[38;5;33m"
	bold  = "\x1b[1m"
	reset = "\x1b[0m"
)

func (p *explainPrinter) paint(text, colour string) string {
	if !p.colours {
		return text
	}
	return colour + text + reset
}

// signed paints text by the sign of v.
func (p *explainPrinter) signed(text string, v float64) string {
	switch {
	case v > 0:
		return p.paint(text, above)
	case v < 0:
		return p.paint(text, below)
	}
	return text
}

func (p *explainPrinter) line(format string, args ...any) { fmt.Fprintf(p.w, format+"\n", args...) }

func (p *explainPrinter) title(format string, args ...any) {
	p.line("\n%s", p.paint(fmt.Sprintf(format, args...), bold))
}

func (p *explainPrinter) print(e *explained) error {
	p.header(e)
	if len(e.Opened) == 0 && len(e.Checks) == 0 && e.Saliency == nil {
		p.forward(e)
		p.backward(e)
		p.update(e)
		p.findings(e)
		p.line("")
		last := e.Layers[len(e.Layers)-1]
		p.wrapped("", fmt.Sprintf("Layers count from 1 and units from 0; the number before each line is its first unit. Open any number: --unit %d:0, --param %s:0,0, --open loss. Its gradient against finite differences: --check. All terms and digits: --full.",
			last.Layer, last.Params[0].Name))
	}
	for _, o := range e.Opened {
		p.opened(o, e)
	}
	if len(e.Checks) > 0 {
		p.checks(e)
	}
	if e.Saliency != nil {
		p.saliency(e)
	}
	return p.w.Flush()
}

// header shows the image with the probabilities beside it.
func (p *explainPrinter) header(e *explained) {
	p.line("Example %d of the %s set of %s: label %d, predicted %d", e.Example, e.Set, e.Dataset, e.Label, e.Predicted)
	if e.Batch > 1 {
		p.line("in a batch of %d: this one and those after it", e.Batch)
	}
	if slices.ContainsFunc(e.Layers, func(l explain.LayerOverview) bool { return l.Kind == nn.KindBatchNorm }) {
		p.line("as in training, with mean and variance of this batch; predict takes running ones")
	}
	beside := []string{"", "probabilities"}
	for class, v := range e.Probabilities {
		mark := ""
		if class == e.Label {
			mark = " label"
		}
		beside = append(beside, fmt.Sprintf("%3d %6.4f %-20s%s", class, v, strings.Repeat("█", int(math.Round(20*v))), mark))
	}
	picture := p.picture(len(e.image), e.width, func(i int) float64 { return float64(e.image[i]) / 255 })
	for len(picture) > len(beside) && strings.TrimSpace(picture[len(picture)-1]) == "" {
		picture = picture[:len(picture)-1]
	}
	for i := range max(len(picture), len(beside)) {
		left, right := strings.Repeat(" ", e.width), ""
		if i < len(picture) {
			left = picture[i]
		}
		if i < len(beside) {
			right = beside[i]
		}
		p.line("%s", strings.TrimRight("  "+left+"   "+right, " "))
	}
}

// picture draws numbers in [-1, 1] as an image, two rows of pixels to a line: those
// above 0 in shades, those below as letters where there are no colours.
func (p *explainPrinter) picture(n, width int, value func(i int) float64) (lines []string) {
	const shades = " ░▒▓█"
	const negative = " .:=#"
	for y := 0; y*width < n; y += 2 {
		var b strings.Builder
		for x := range width {
			v, rows := value(y*width+x), 1.0
			if (y+1)*width < n {
				v += value((y+1)*width + x)
				rows = 2
			}
			v /= rows
			level := min(4, int(math.Ceil(math.Abs(v)*4)))
			switch mark := string([]rune(shades)[level]); {
			case v < 0 && !p.colours:
				b.WriteByte(negative[level])
			case v < 0:
				b.WriteString(p.paint(mark, below))
			default:
				b.WriteString(mark)
			}
		}
		lines = append(lines, b.String())
	}
	return lines
}

// numbers prints the numbers of a layer's units, as many lines as it takes; before each
// line stands which unit is its first.
func (p *explainPrinter) numbers(values []float64) {
	const most = 64
	cell := p.cell()
	per := max(1, (p.columns-8)/cell)
	shown := values
	if len(shown) > most && p.style.Digits > 0 {
		shown = shown[:most]
	}
	for i := 0; i < len(shown); i += per {
		var b strings.Builder
		for _, v := range shown[i:min(i+per, len(shown))] {
			b.WriteString(p.signed(fmt.Sprintf("%*s", cell, p.format(v)), v))
		}
		p.line("  %5d:%s", i, b.String())
	}
	if len(shown) < len(values) {
		p.line("  %5d … %d more (--full)", len(shown), len(values)-len(shown))
	}
}

func (p *explainPrinter) cell() int {
	if p.style.Digits == 0 {
		return 24
	}
	return 11
}

func (p *explainPrinter) format(v float64) string {
	if p.style.Digits == 0 {
		return p.style.Format(v)
	}
	return fmt.Sprintf("%.4g", v)
}

// shape prints a shape in the chosen convention.
func (p *explainPrinter) shape(shape ...int) string {
	return strings.ReplaceAll(fmt.Sprint(p.convention.Shape(shape)), " ", ", ")
}

func (p *explainPrinter) forward(e *explained) {
	p.title("Forward")
	ink := 0
	for _, b := range e.image {
		if b != 0 {
			ink++
		}
	}
	p.line("  x %s: %d of %d pixels are not 0", p.shape(e.Batch, len(e.image)), ink, len(e.image))
	for _, l := range e.Layers {
		text := fmt.Sprintf("%d %s %s", l.Layer, l.Kind, p.shape(e.Batch, len(l.Output)))
		for _, param := range l.Params {
			if strings.HasSuffix(param.Name, ".weight") {
				text += ", weights " + p.shape(param.Shape...)
			}
		}
		p.line("\n  %s: %s", text, l.Law)
		p.numbers(l.Output)
	}
	p.line("\n  softmax: p[j] = exp(z[j]) / Σ_k exp(z[k])")
	p.numbers(e.Probabilities)
	law := fmt.Sprintf("-ln p[%d]", e.Label)
	if e.publishedLoss {
		law = fmt.Sprintf("-ln(p[%d] + %g)", e.Label, nn.PublishedLossEpsilon)
	}
	p.line("\n  loss = %s = %s", law, p.format(e.Loss))
	p.line("  cost of the batch, the mean loss: %s; penalty on the weights: %s", p.format(e.Cost), p.format(e.Penalty))
}

func (p *explainPrinter) backward(e *explained) {
	p.title("Backward: dC/d(output) of each layer, the last first; C = cost + penalty")
	for i := len(e.Layers) - 1; i >= 0; i-- {
		l := e.Layers[i]
		p.line("\n  %d %s", l.Layer, l.Kind)
		p.numbers(l.Gradient)
	}
}

func (p *explainPrinter) update(e *explained) {
	p.title("Update: %s, learning rate %v", e.Rule, e.Rate)
	for _, l := range e.Layers {
		if l.Update != nil {
			p.line("  weights of layer %d move by %.2g of their length", l.Layer, *l.Update)
		}
	}
	p.line("  cost + penalty of the same batch: %s before, %s after", p.format(e.Cost+e.Penalty), p.format(e.CostAfter+e.PenaltyAfter))
}

func (p *explainPrinter) findings(e *explained) {
	if len(e.Findings) == 0 {
		return
	}
	p.title("Health")
	for _, f := range e.Findings {
		p.wrapped("  - ", f.What+". "+f.Cause+" Try: "+strings.ToLower(f.Remedy[:1])+f.Remedy[1:])
	}
}

// wrapped prints text in lines of at most the terminal's columns.
func (p *explainPrinter) wrapped(first, text string) {
	width := utf8.RuneCountInString(colour.ReplaceAllString(first, ""))
	line, indent, at := first, strings.Repeat(" ", width), width
	for i, word := range strings.Fields(text) {
		parts := []string{word}
		if utf8.RuneCountInString(word) > p.columns-width { // a long product breaks behind a factor
			parts = strings.SplitAfter(word, "·")
		}
		for k, part := range parts {
			space := " "
			if i == 0 || k > 0 {
				space = ""
			}
			n := utf8.RuneCountInString(space + part)
			if at > width && at+n > p.columns {
				p.line("%s", line)
				line, at, part, n = indent, width, strings.TrimPrefix(part, " "), n-len(space)
				space = ""
			}
			line, at = line+space+part, at+n
		}
	}
	p.line("%s", strings.TrimRight(line, " "))
}

// colour matches what paint puts round a text.
var colour = regexp.MustCompile("\x1b\\[[0-9;]*m")

// opened prints one number: what it is, its formula, what contributes most.
func (p *explainPrinter) opened(o opened, e *explained) {
	p.title("%s = %s", o.Ref, p.style.Format(o.Value))
	p.wrapped("  ", o.What)
	p.wrapped("  ", o.Law)
	if e := o.formula.Expr; e.Op != explain.Number || e.Ref != nil {
		p.wrapped("  = ", o.Formula)
		p.line("  = %s", p.style.Format(o.Value))
	}
	switch o.Zeros {
	case 0:
	case 1:
		p.line("  1 term is left out: its pixel is 0")
	default:
		p.line("  %d terms are left out: their pixels are 0", o.Zeros)
	}
	if len(o.Contributions) > 1 {
		p.contributions(o)
	} else if len(o.Contributions) == 1 && len(o.Contributions[0].Of) > 0 {
		p.wrapped("  made of: ", strings.Join(o.Contributions[0].Of, "  "))
	}
	if pixels := p.contributionsOfPixels(o, len(e.image)); pixels != nil {
		p.line("  what each pixel adds%s:", map[bool]string{false: ", below 0 as . : = #"}[p.colours])
		largest := 0.0
		for _, v := range pixels {
			largest = max(largest, math.Abs(v))
		}
		for _, line := range p.picture(len(pixels), e.width, func(i int) float64 { return pixels[i] / max(largest, 1e-300) }) {
			p.line("%s", strings.TrimRight("    "+line, " "))
		}
	}
	if len(o.To) > 0 {
		const most = 8
		to := o.To
		more := ""
		if len(to) > most && p.style.Digits > 0 {
			to, more = to[:most], fmt.Sprintf(" … %d more", len(o.To)-most)
		}
		p.wrapped("  goes to: ", strings.Join(to, "  ")+more)
	}
	if len(o.Activating) > 0 {
		var examples []string
		for _, x := range o.Activating {
			examples = append(examples, fmt.Sprintf("example %d (label %d) with %s", x.Example, x.Label, p.format(x.Value)))
		}
		p.wrapped("  largest for: ", strings.Join(examples, ", "))
	}
}

func (p *explainPrinter) contributions(o opened) {
	most := 8
	if p.style.Digits == 0 {
		most = len(o.Contributions)
	}
	p.line("  largest contributions:")
	largest := math.Abs(o.Contributions[0].Value)
	for i, c := range o.Contributions {
		if i == most {
			p.line("    … %d more", len(o.Contributions)-most)
			break
		}
		bar := strings.Repeat("█", int(math.Round(8*math.Abs(c.Value)/max(largest, 1e-300))))
		value := fmt.Sprintf("%*s", p.cell(), p.style.Format(c.Value))
		first := fmt.Sprintf("  %s %-8s ", value, bar)
		term := cut(c.Term, 25)
		if p.style.Digits == 0 { // full: the formula has the terms
			term = ""
		} else {
			term = fmt.Sprintf("%-25s", term)
		}
		p.wrapped(strings.Replace(first, value, p.signed(value, c.Value), 1)+term+" ", strings.Join(c.Of, " "))
	}
}

// cut shortens text to n characters.
func cut(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return text
}

// contributionsOfPixels returns what each pixel adds to the number, nil when it is
// not made of pixels.
func (p *explainPrinter) contributionsOfPixels(o opened, n int) []float64 {
	if r := o.formula.Ref; r.Kind != explain.Output || r.Aspect != explain.Value || r.Layer != 1 {
		return nil
	}
	pixels := make([]float64, n)
	for _, c := range o.formula.Expr.Contributions() {
		for _, r := range c.Term.Refs() {
			if r.Kind == explain.Pixel {
				pixels[r.Index[0]] = c.Value
			}
		}
	}
	return pixels
}

// checks prints gradients beside finite differences: each, or of many the worst of
// each kind.
func (p *explainPrinter) checks(e *explained) {
	const each = 12
	p.title("Gradients beside finite differences of the cost, in float64")
	off, kinks := 0, 0
	for _, c := range e.Checks {
		if c.Off {
			off++
		}
		if c.Kink {
			kinks++
		}
	}
	if len(e.Checks) <= each {
		for _, c := range e.Checks {
			p.line("  %s", c.Ref)
			p.line("    analytic %.12g, numeric %.12g: %s", c.Analytic, c.Numeric, verdict(c))
		}
	} else {
		p.line("  %-34s %7s %5s  %s", "kind", "checked", "undec", "largest |analytic - numeric|")
		for i := 0; i < len(e.Checks); {
			worst, kinks, first := explain.CheckText{}, 0, i
			for ; i < len(e.Checks) && e.Checks[i].Kind == e.Checks[first].Kind; i++ {
				switch c := e.Checks[i]; {
				case c.Kink:
					kinks++
				case worst.Ref == "" || c.Off && !worst.Off || math.Abs(c.Analytic-c.Numeric) > math.Abs(worst.Analytic-worst.Numeric):
					worst = c
				}
			}
			text := ""
			if worst.Ref != "" {
				text = fmt.Sprintf("%.2g", math.Abs(worst.Analytic-worst.Numeric))
			}
			if worst.Off {
				text += " OFF, at"
			}
			p.line("  %-34s %7d %5d  %s", e.Checks[first].Kind, i-first, kinks, text)
			if worst.Off {
				p.line("    %s: analytic %.6g, numeric %.6g", worst.Ref, worst.Analytic, worst.Numeric)
			}
		}
	}
	agree := fmt.Sprintf("%d of %d gradients agree with their finite differences to %g + %g·|numeric|.", len(e.Checks)-off-kinks, len(e.Checks), explain.AbsoluteTolerance, explain.RelativeTolerance)
	if off > 0 {
		agree += fmt.Sprintf(" %d are OFF: the backward pass does not compute the derivative of the cost.", off)
		agree += " " + strings.Join(e.Known, " ")
	}
	if kinks > 0 {
		agree += fmt.Sprintf(" %d are undecided: at a kink, where a ReLU changes sides, or where the cost bends too sharply or is too large: there is nothing to compare with.", kinks)
	}
	p.wrapped("  ", agree)
}

func verdict(c explain.CheckText) string {
	switch {
	case c.Kink:
		return "undecided: a kink, a sharp bend or rounding"
	case c.Off:
		return "OFF"
	}
	return fmt.Sprintf("differ by %.2g of it", c.Relative)
}

func (p *explainPrinter) saliency(e *explained) {
	s := e.Saliency
	if s.LeavesOut {
		defer p.wrapped("  ", "The gradient is what the backward pass gives. It leaves out the derivative of the published normalisation, so it is not how the logit changes.")
	}
	below := ""
	if !p.colours {
		below = ", against it as . : = #"
	}
	p.title("Which pixels speak for class %d%s", s.Class, below)
	maps := []struct {
		name   string
		values []float64
	}{
		{"gradient", s.Gradient},
		{"gradient·input", s.GradientTimesInput},
		{fmt.Sprintf("occlusion %dx%d", s.Patch, s.Patch), s.Occlusion},
	}
	per := max(1, min(len(maps), (p.columns-2)/(e.width+2)))
	for i := 0; i < len(maps); i += per {
		row := maps[i:min(i+per, len(maps))]
		var pictures [][]string
		var names strings.Builder
		for _, m := range row {
			largest := 0.0
			for _, v := range m.values {
				largest = max(largest, math.Abs(v))
			}
			pictures = append(pictures, p.picture(len(m.values), e.width, func(i int) float64 { return m.values[i] / max(largest, 1e-300) }))
			fmt.Fprintf(&names, "  %-*s", e.width, m.name)
		}
		p.line("%s", strings.TrimRight(names.String(), " "))
		for y := range pictures[0] {
			var b strings.Builder
			for _, picture := range pictures {
				b.WriteString("  " + picture[y])
			}
			p.line("%s", strings.TrimRight(b.String(), " "))
		}
	}
}
