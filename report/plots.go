package report

import (
	"bytes"
	"fmt"
	"html"
	"html/template"
	"image/color"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgimg"
	"gonum.org/v1/plot/vg/vgsvg"
)

// The colours of all plots: Okabe and Ito's palette for all kinds of colour
// vision, less its yellow, which white paper swallows. In the copies inlined in
// the page each becomes the CSS variable beside it, so that a dark page can
// choose its own.
var (
	paper = paint{"#FFFFFF", "--paper"}
	ink   = paint{"#1F2429", "--ink"}
	muted = paint{"#626B74", "--muted"}
	grid  = paint{"#E4E7EB", "--grid"}
	plain = paint{"#8A929A", "--plain"} // what belongs to no experiment: training cost
	faint = paint{"#C6CCD2", "--faint"} // the same of single seeds

	series = []paint{
		{"#0072B2", "--s1"}, {"#D55E00", "--s2"}, {"#009E73", "--s3"}, {"#CC79A7", "--s4"},
		{"#E69F00", "--s5"}, {"#56B4E9", "--s6"}, {"#6B5B4B", "--s7"},
	}
	tints = []paint{
		{"#99C7E1", "--t1"}, {"#EEBF99", "--t2"}, {"#99D8C7", "--t3"}, {"#EBC9DC", "--t4"},
		{"#F5D999", "--t5"}, {"#BBE1F6", "--t6"}, {"#C4BDB7", "--t7"},
	}
)

// paint is a colour and the name of the CSS variable that stands for it.
type paint struct{ hex, variable string }

func (p paint) color() color.Color {
	v, err := strconv.ParseUint(p.hex[1:], 16, 24)
	if err != nil {
		panic("report: colour " + p.hex)
	}
	return color.NRGBA{uint8(v >> 16), uint8(v >> 8), uint8(v), 255}
}

// stroke is how the i-th experiment of a study is drawn, everywhere in a report:
// colours first, dashes once they are used up.
func stroke(i int) (full, tint paint, dashes []vg.Length) {
	patterns := [][]vg.Length{nil, {6, 3}, {2, 2}, {8, 2, 2, 2}, {12, 3}, {4, 4}}
	return series[i%len(series)], tints[i%len(tints)], patterns[i/len(series)%len(patterns)]
}

// chart is a plot of lines or points over a common x axis.
type chart struct {
	title, yLabel, xLabel string
	curves                []curve
	logY                  bool
	fromZero              bool // the y axis begins at 0
	square                bool // both axes have one range and scale, with the line x = y drawn
	wholeX                bool // ticks of x at whole numbers only
}

// curve is one line, or cloud of points, of a chart. NaN in y breaks the line.
type curve struct {
	label  string // "": not in the legend
	xys    plotter.XYs
	paint  paint
	width  vg.Length
	dashes []vg.Length
	points bool
}

// dotChart shows one value with its interval per row.
type dotChart struct {
	title, xLabel string
	rows          []dotRow // from top to bottom
	zero          bool     // draw a line at 0
}

type dotRow struct {
	label   string
	value   float64 // NaN: none
	lo, hi  float64 // NaN: none
	singles []float64
	paint   paint
	tint    paint
}

const (
	chartWidth  = vg.Length(440)
	chartHeight = vg.Length(270)
	margin      = vg.Length(6)
	textSize    = vg.Length(12.5)
)

func fontOf(size vg.Length, bold bool) font.Font {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
	if bold {
		f.Weight = 3 // WeightBold of golang.org/x/image/font
	}
	return f
}

func styleOf(size vg.Length, bold bool, p paint) text.Style {
	return text.Style{Color: p.color(), Font: fontOf(size, bold), Handler: plot.DefaultTextHandler}
}

// newPlot is an empty plot in the style of the house.
func newPlot() *plot.Plot {
	p := plot.New()
	p.BackgroundColor = nil
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Padding = 0
		a.LineStyle = draw.LineStyle{Color: muted.color(), Width: 0.8}
		a.Tick.LineStyle = draw.LineStyle{Color: muted.color(), Width: 0.8}
		a.Tick.Length = 4
		a.Tick.Label.Font, a.Tick.Label.Color = fontOf(textSize, false), muted.color()
	}
	p.Y.LineStyle.Width, p.Y.Tick.LineStyle.Width, p.Y.Tick.Length, p.Y.Padding = 0, 0, 0, 3
	g := plotter.NewGrid()
	g.Horizontal = draw.LineStyle{Color: grid.color(), Width: 0.8}
	g.Vertical.Width = 0
	p.Add(g)
	return p
}

// drawable keeps what axes can show.
func drawable(v float64, logarithmic bool) bool {
	return math.Abs(v) < 1e100 && (!logarithmic || v > 1e-100) // false for NaN too
}

// render draws the chart as SVG; png draws it as PNG.
func (c *chart) render() (svg []byte, png func(io.Writer) error, err error) {
	p := newPlot()
	var xs, ys []float64
	for _, curve := range c.curves {
		for _, segment := range segments(curve.xys, c.logY) {
			for _, xy := range segment {
				xs, ys = append(xs, xy.X), append(ys, xy.Y)
			}
			if curve.points || len(segment) == 1 {
				s, err := plotter.NewScatter(segment)
				if err != nil {
					return nil, nil, err
				}
				s.GlyphStyle = draw.GlyphStyle{Color: curve.paint.color(), Radius: 2.6, Shape: draw.CircleGlyph{}}
				p.Add(s)
				continue
			}
			l, err := plotter.NewLine(segment)
			if err != nil {
				return nil, nil, err
			}
			l.LineStyle = draw.LineStyle{Color: curve.paint.color(), Width: curve.width, Dashes: curve.dashes}
			p.Add(l)
		}
	}
	if c.fromZero && !c.logY {
		ys = append(ys, 0)
	}
	if c.square {
		xs = append(xs, ys...)
		ys = xs
	}
	p.X.Min, p.X.Max, p.X.Tick.Marker = linearAxis(xs, 6, c.wholeX)
	if c.square && c.logY {
		p.X.Min, p.X.Max, p.X.Tick.Marker = logAxis(xs)
		p.X.Scale = plot.LogScale{}
	}
	if c.logY {
		p.Y.Min, p.Y.Max, p.Y.Tick.Marker = logAxis(ys)
		p.Y.Scale = plot.LogScale{}
	} else {
		p.Y.Min, p.Y.Max, p.Y.Tick.Marker = linearAxis(ys, 5, false)
	}
	if c.square {
		diagonal, err := plotter.NewLine(plotter.XYs{{X: p.X.Min, Y: p.X.Min}, {X: p.X.Max, Y: p.X.Max}})
		if err != nil {
			return nil, nil, err
		}
		diagonal.LineStyle = draw.LineStyle{Color: muted.color(), Width: 0.8, Dashes: []vg.Length{3, 3}}
		p.Add(diagonal)
	}
	var legend []curve
	for _, curve := range c.curves {
		if curve.label != "" {
			legend = append(legend, curve)
		}
	}
	height := chartHeight
	if c.square {
		height = 380
	}
	return drawPlot(p, height, c.title, c.xLabel, c.yLabel, legend)
}

// segments cuts a line where a value cannot be drawn.
func segments(xys plotter.XYs, logarithmic bool) []plotter.XYs {
	var all []plotter.XYs
	var now plotter.XYs
	for _, xy := range xys {
		if drawable(xy.Y, logarithmic) && drawable(xy.X, false) {
			now = append(now, xy)
		} else if now != nil {
			all, now = append(all, now), nil
		}
	}
	if now != nil {
		all = append(all, now)
	}
	return all
}

// render draws the chart as SVG; png draws it as PNG.
func (c *dotChart) render() (svg []byte, png func(io.Writer) error, err error) {
	p := newPlot()
	var xs []float64
	if c.zero {
		xs = append(xs, 0)
	}
	var ticks plot.ConstantTicks
	for i, row := range c.rows {
		for _, v := range append([]float64{row.value, row.lo, row.hi}, row.singles...) {
			if drawable(v, false) {
				xs = append(xs, v)
			}
		}
		ticks = append(ticks, plot.Tick{Value: float64(-i), Label: shorten(row.label, 34)})
	}
	p.X.Min, p.X.Max, p.X.Tick.Marker = linearAxis(xs, 5, false)
	p.Y.Min, p.Y.Max, p.Y.Tick.Marker = 0.5-float64(len(c.rows)), 0.5, ticks
	p.Y.Tick.Label.Color, p.Y.Padding = ink.color(), 6
	p.Add(dots{c.rows, c.zero})
	return drawPlot(p, 60+29*vg.Length(len(c.rows)), c.title, c.xLabel, "", nil)
}

// dots draws the rows of a dotChart.
type dots struct {
	rows []dotRow
	zero bool
}

// Plot implements plot.Plotter.
func (d dots) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	if d.zero {
		c.StrokeLine2(draw.LineStyle{Color: muted.color(), Width: 1, Dashes: []vg.Length{3, 3}}, x(0), c.Min.Y, x(0), c.Max.Y)
	}
	for i, row := range d.rows {
		at := y(float64(-i))
		for _, v := range row.singles {
			if drawable(v, false) {
				c.DrawGlyph(draw.GlyphStyle{Color: row.tint.color(), Radius: 2.6, Shape: draw.CircleGlyph{}}, vg.Point{X: x(v), Y: at - 8})
			}
		}
		if drawable(row.lo, false) && drawable(row.hi, false) {
			line := draw.LineStyle{Color: row.paint.color(), Width: 2}
			c.StrokeLine2(line, x(row.lo), at, x(row.hi), at)
			for _, end := range []float64{row.lo, row.hi} {
				c.StrokeLine2(line, x(end), at-4, x(end), at+4)
			}
		}
		if drawable(row.value, false) {
			c.DrawGlyph(draw.GlyphStyle{Color: row.paint.color(), Radius: 4.2, Shape: draw.CircleGlyph{}}, vg.Point{X: x(row.value), Y: at})
		}
	}
}

// drawPlot puts title, label of the y axis and legend above the plot, from the
// left edge on, and the label of the x axis below, and draws all of it as SVG; png draws it as PNG.
func drawPlot(p *plot.Plot, height vg.Length, title, xLabel, yLabel string, legend []curve) (svg []byte, png func(io.Writer) error, err error) {
	const line = vg.Length(18)
	legendStyle := styleOf(textSize, false, ink)
	type placed struct {
		curve
		x, row vg.Length
	}
	var entries []placed
	x, row := margin, vg.Length(0)
	for _, c := range legend {
		c.label = shorten(c.label, 40)
		width := 24 + legendStyle.Width(c.label)
		if x > margin && x+width > chartWidth-margin {
			x, row = margin, row+1
		}
		entries = append(entries, placed{c, x, row})
		x += width + 14
	}
	top := line + 6
	if len(entries) > 0 {
		top += (row + 1) * line
	}
	if yLabel != "" {
		top += line
	}
	height += top

	paintOn := func(canvas vg.CanvasSizer) {
		dc := draw.New(canvas)
		dc.SetColor(paper.color())
		dc.Fill(dc.Rectangle.Path())
		y := height - margin - 12
		dc.FillText(styleOf(13.5, true, ink), vg.Point{X: margin, Y: y}, title)
		for _, e := range entries {
			at := y - line*(e.row+1)
			if e.points {
				dc.DrawGlyph(draw.GlyphStyle{Color: e.paint.color(), Radius: 3, Shape: draw.CircleGlyph{}}, vg.Point{X: e.x + 9, Y: at + 4})
			} else {
				dc.StrokeLine2(draw.LineStyle{Color: e.paint.color(), Width: max(e.width, 1.5), Dashes: e.dashes}, e.x, at+4, e.x+18, at+4)
			}
			dc.FillText(legendStyle, vg.Point{X: e.x + 24, Y: at}, e.label)
		}
		if yLabel != "" {
			dc.FillText(styleOf(textSize, false, muted), vg.Point{X: margin, Y: height - top - 2}, yLabel)
		}
		area := draw.Crop(dc, margin, -margin-4, margin+line, -top-10)
		p.Draw(area)
		below := styleOf(textSize, false, muted)
		below.XAlign = draw.XCenter
		data := p.DataCanvas(area)
		dc.FillText(below, vg.Point{X: data.Center().X, Y: margin + 3}, xLabel)
	}
	var buffer bytes.Buffer
	vector := vgsvg.New(chartWidth, height)
	paintOn(vector)
	if _, err := vector.WriteTo(&buffer); err != nil {
		return nil, nil, err
	}
	svg = bytes.ReplaceAll(buffer.Bytes(), []byte("font-family:Liberation Sans"), []byte("font-family:Liberation Sans,Arial,Helvetica,sans-serif"))
	png = func(w io.Writer) error {
		raster := vgimg.PngCanvas{Canvas: vgimg.NewWith(vgimg.UseWH(chartWidth, height), vgimg.UseDPI(144))}
		paintOn(raster)
		_, err := raster.WriteTo(w)
		return err
	}
	return svg, png, nil
}

// inline makes of a plot's file the SVG element that stands in the page: colours
// become CSS variables, fonts the page's, and the alt text its label.
func inline(svg []byte, alt string) template.HTML {
	s := string(svg)
	s = s[strings.Index(s, "<svg"):]
	_, viewBox, _ := strings.Cut(s, `viewBox="`)
	viewBox, _, _ = strings.Cut(viewBox, `"`)
	_, body, _ := strings.Cut(s, ">")
	var pairs []string
	for _, list := range [][]paint{{paper, ink, muted, grid, plain, faint}, series, tints} {
		for _, p := range list {
			for _, property := range []string{"fill:", "stroke:"} {
				pairs = append(pairs, property+p.hex, property+"var("+p.variable+")")
			}
		}
	}
	pairs = append(pairs, "font-family:Liberation Sans,Arial,Helvetica,sans-serif;font-variant:normal;", "",
		"font-weight:normal;font-style:normal;", "", "font-style:normal;", "")
	body = strings.NewReplacer(pairs...).Replace(body)
	return template.HTML(fmt.Sprintf(`<svg class="plot" role="img" aria-label="%s" viewBox="%s">`,
		html.EscapeString(alt), viewBox) + body)
}

// linearAxis gives a range that covers the values and ends on round numbers, and
// about n ticks in it.
func linearAxis(values []float64, n int, whole bool) (lo, hi float64, marker plot.Ticker) {
	lo, hi = math.Inf(1), math.Inf(-1)
	for _, v := range values {
		lo, hi = min(lo, v), max(hi, v)
	}
	if lo > hi {
		lo, hi = 0, 1
	}
	if widest := max(math.Abs(lo), math.Abs(hi), 1e-90); hi-lo < 1e-9*widest {
		lo, hi = lo-widest/10, hi+widest/10
	}
	raw := (hi - lo) / float64(n)
	mantissa, power := split(raw)
	switch {
	case mantissa <= 1:
		mantissa = 1
	case mantissa <= 2:
		mantissa = 2
	case mantissa <= 5:
		mantissa = 5
	default:
		mantissa, power = 1, power+1
	}
	if whole && power < 0 {
		mantissa, power = 1, 0
	}
	step := mantissa * math.Pow10(power)
	first, last := math.Floor(lo/step+1e-9), math.Ceil(hi/step-1e-9)
	var ticks plot.ConstantTicks
	for k := first; k <= last; k++ {
		v := k * step
		label := fixed(v, max(-power, 0))
		if power < -6 || power > 6 {
			label = strconv.FormatFloat(v, 'g', 3, 64)
		}
		ticks = append(ticks, plot.Tick{Value: v, Label: label})
	}
	if whole { // an axis of epochs ends with its data
		return lo, hi, ticks
	}
	return first * step, last * step, ticks
}

// split takes v > 0 apart: v = mantissa x 10^power, 1 <= mantissa < 10.
func split(v float64) (mantissa float64, power int) {
	s := strconv.FormatFloat(v, 'e', -1, 64)
	m, p, _ := strings.Cut(s, "e")
	mantissa, _ = strconv.ParseFloat(m, 64)
	power, _ = strconv.Atoi(p)
	return mantissa, power
}

// logAxis gives a range that covers the values, which are positive, and its ticks: at
// 1, 2 and 5 times powers of ten, or at powers of ten where those are too many.
func logAxis(values []float64) (lo, hi float64, marker plot.Ticker) {
	if len(values) == 0 {
		values = []float64{1, 10}
	}
	least, most := slices.Min(values), slices.Max(values)
	_, first := split(least)
	mantissa, last := split(most)
	if mantissa > 1 || first == last {
		last++
	}
	tick := func(m, p int) plot.Tick {
		power := "e" + strconv.Itoa(p)
		v, _ := strconv.ParseFloat(strconv.Itoa(m)+power, 64)
		label := strconv.Itoa(m) + power
		if p >= -3 && p <= 6 {
			label = fixed(v, max(-p, 0))
		}
		return plot.Tick{Value: v, Label: label}
	}
	var ticks plot.ConstantTicks
	if last-first <= 4 {
		for p := first; p <= last; p++ {
			ticks = append(ticks, tick(1, p), tick(2, p), tick(5, p))
		}
		for len(ticks) > 2 && ticks[1].Value <= least {
			ticks = ticks[1:]
		}
		for n := len(ticks); n > 2 && ticks[n-2].Value >= most; n-- {
			ticks = ticks[:n-1]
		}
	}
	if len(ticks) == 0 || len(ticks) > 9 {
		ticks = nil
		for p := first; p <= last; p += (last-first)/7 + 1 {
			ticks = append(ticks, tick(1, p))
		}
		return math.Pow10(first), math.Pow10(last), ticks
	}
	return ticks[0].Value, ticks[len(ticks)-1].Value, ticks
}

// shorten cuts a name to n characters for a place that has no more room.
func shorten(s string, n int) string {
	runes := []rune(s)
	if len(runes) <= n {
		return s
	}
	return string(runes[:n-1]) + "…"
}
