package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

//go:embed page.md.tmpl
var pageTemplate string

const oursName = "glassnet"

// titles of peers on the page.
var titles = map[string]string{
	oursName:         "**glassnet**",
	"torch-eager":    "PyTorch, usual eager form",
	"torch-hand":     "PyTorch, backward by hand, buffers made once",
	"torch-script":   "the same in TorchScript",
	"torch-frozen":   "PyTorch, traced and frozen",
	"numpy-best":     "numpy, float32, buffers made once",
	"numpy-notebook": "numpy, float64, notebook style",
	"sklearn":        "scikit-learn, MLPClassifier",
	"gonum":          "gonum, by hand over blas32 (Go)",
	"gorgonia":       "gorgonia (Go)",
	"gomlx":          "GoMLX, Go backend (Go)",
	"go-deep":        "go-deep, float64 (Go)",
}

// Best returns the fastest timing of a peer over the numbers of threads; ok is
// false when it was not measured or did not compute the same.
func (r Race) Best(peer string) (best Timing, ok bool) {
	for _, t := range r.Timings {
		if t.Peer == peer && t.Error == "" && (!ok || t.Micros < best.Micros) {
			best, ok = t, true
		}
	}
	return best, ok
}

// Rival returns the fastest timing of all peers that are not glassnet.
func (r Race) Rival() (rival Timing) {
	for _, t := range r.Timings {
		if t.Peer != oursName && t.Error == "" && (rival.Micros == 0 || t.Micros < rival.Micros) {
			rival = t
		}
	}
	return rival
}

// Ratio returns how many times as long as glassnet a peer needs, NaN if unknown.
func (r Race) Ratio(peer string) float64 {
	us, ok := r.Best(oursName)
	t, there := r.Best(peer)
	if !ok || !there {
		return math.NaN()
	}
	return t.Micros / us.Micros
}

// RivalRatio is Ratio for the fastest peer.
func (r Race) RivalRatio() float64 { return r.Ratio(r.Rival().Peer) }

// GFLOPS returns the speed of a product.
func (r Race) GFLOPS(peer string) float64 {
	t, ok := r.Best(peer)
	if !ok {
		return math.NaN()
	}
	return 2 * float64(r.M) * float64(r.K) * float64(r.N) / t.Micros / 1e3
}

// Steps returns the race of a network of the table.
func (r *Run) Net(name string) Race { return find(r.Steps, name) }

// Prediction returns the race of "A, 1" and the like.
func (r *Run) Prediction(name string) Race { return find(r.Predict, name) }

func find(races []Race, name string) Race {
	i := slices.IndexFunc(races, func(r Race) bool { return r.Name == name })
	if i < 0 {
		return Race{Name: name}
	}
	return races[i]
}

// Peak returns the measured float32 peak in GFLOP/s.
func (r *Run) Peak(threads int) float64 {
	return r.Bench.Machine.PeakGFLOPS["float32"][strconv.Itoa(threads)]
}

// Floor is what a network's step would need at best if no input were zero.
type Floor struct {
	Race
	MFLOP, Compute float64 // operations, and µs for them at the peak of all cores
	Needed         float64 // µs at that peak for those of pixels that are not 0, and of all other layers
	MB, Memory     float64 // bytes that pass once, and µs for them at full bandwidth
	Ours, Share    float64 // µs, and Compute over Ours
}

// Floors returns them for the networks of the table.
func (r *Run) Floors() (floors []Floor) {
	cores := r.Bench.Machine.Cores
	for _, race := range r.Steps {
		widths, err := parseNet(race.Net)
		if err != nil {
			panic(err) // this program wrote it
		}
		f := Floor{Race: race}
		parameters := 0
		for i, n := range widths[1:] {
			products := 3 // x·w, xᵀ·g, g·wᵀ
			if i == 0 {
				products = 2 // nobody asks for the gradient of the pixels
			}
			operations := float64(2*products*race.Batch*widths[i]*n) / 1e6
			f.MFLOP += operations
			if i == 0 {
				operations *= r.NonZero
			}
			f.Needed += operations * 1e3 / r.Peak(cores)
			parameters += widths[i]*n + n
		}
		// Each parameter is read and written, each pixel read, at least once.
		f.MB = float64(2*4*parameters+race.Batch*widths[0]) / 1e6
		f.Compute = f.MFLOP * 1e3 / r.Peak(cores)
		f.Memory = f.MB * 1e3 / r.Bench.Machine.Bandwidth[strconv.Itoa(cores)]
		t, _ := race.Best(oursName)
		f.Ours, f.Share = t.Micros, f.Compute/t.Micros
		floors = append(floors, f)
	}
	return floors
}

// Table is one printed table: peers in the first column, races in the others.
func table(races []Race, peers []string) string {
	var b strings.Builder
	b.WriteString("| |")
	for _, r := range races {
		fmt.Fprintf(&b, " %s |", r.Name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(races)) + "\n")
	for _, peer := range peers {
		fmt.Fprintf(&b, "| %s |", titles[peer])
		for _, r := range races {
			if t, ok := r.Best(peer); ok {
				fmt.Fprintf(&b, " %s (%s×) |", number(t.Micros), number(r.Ratio(peer)))
			} else {
				b.WriteString(" – |")
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

// number prints three significant digits, thousands set apart.
func number(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return "–"
	}
	if v == 0 {
		return "0"
	}
	if v < 100 {
		digits := max(0, 2-int(math.Floor(math.Log10(max(v, 1e-3)))))
		return strconv.FormatFloat(v, 'f', digits, 64)
	}
	scale := math.Pow(10, math.Floor(math.Log10(v))-2)
	s := strconv.FormatFloat(math.Round(v/scale)*scale, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Goal is one figure that was aimed at.
type Goal struct {
	What     string
	Measured float64
	Want     float64
	Most     bool // Want is an upper bound
	Unit     string
}

// Reached says whether the measured figure is on the right side, unrounded.
func (g Goal) Reached() bool {
	if g.Most {
		return g.Measured <= g.Want
	}
	return g.Measured >= g.Want
}

// Goals returns what the project set out to reach.
func (r *Run) Goals() []Goal {
	a, b, c, d := r.Net("A"), r.Net("B"), r.Net("C"), r.Net("D")
	goals := []Goal{
		{What: "step of A against PyTorch's usual form", Measured: a.Ratio("torch-eager"), Want: 10, Unit: "×"},
		{What: "step of A against the best peer", Measured: a.RivalRatio(), Want: 5, Unit: "×"},
		{What: "step of B against the best peer", Measured: b.RivalRatio(), Want: 3.5, Unit: "×"},
		{What: "step of C against the best peer", Measured: c.RivalRatio(), Want: 2, Unit: "×"},
		{What: "step of D against the best peer", Measured: d.RivalRatio(), Want: 1.1, Unit: "×"},
	}
	for _, f := range r.Floors() {
		if f.Name == "D" {
			goals = append(goals, Goal{What: "step of D, share of the peak of all cores", Measured: 100 * f.Share, Want: 80, Unit: " %"})
		}
	}
	for _, p := range r.Products {
		shape := fmt.Sprintf("%s, %d × %d × %d", p.Name, p.M, p.K, p.N)
		want := 80.0
		switch {
		case p.N == 20 && p.Name == "g·wᵀ", p.M == 256:
			want = 0
		case p.N == 20:
			want = 55
		}
		if p.Threads == 1 && want > 0 {
			goals = append(goals, Goal{What: shape + ", one core, share of its peak", Measured: 100 * p.GFLOPS(oursName) / r.Peak(1), Want: want, Unit: " %"})
		}
		goals = append(goals, Goal{
			What:     fmt.Sprintf("%s, on %d, against OpenBLAS", shape, p.Threads),
			Measured: p.GFLOPS(oursName) / p.GFLOPS("numpy-best"), Want: 0.95, Unit: "×",
		})
	}
	s := r.Study
	torch := func(race Race) float64 {
		best := math.NaN()
		for _, form := range []string{"torch-eager", "torch-frozen", "torch-hand"} {
			if v := race.Ratio(form); !(v >= best) {
				best = v
			}
		}
		return best
	}
	goals = append(goals,
		Goal{What: "`study published` against its replay in numpy", Measured: median(s.Numpy) / median(s.Ours), Want: 5, Unit: "×"},
		Goal{What: "`study`: published and corrected in full", Measured: r.Command("glassnet study").Seconds, Want: 240, Most: true, Unit: " s"},
		Goal{What: "prediction of one image, A, against PyTorch's fastest form", Measured: torch(r.Prediction("A, 1")), Want: 8, Unit: "×"},
		Goal{What: "prediction of one image, C, against PyTorch's fastest form", Measured: torch(r.Prediction("C, 1")), Want: 2, Unit: "×"},
		Goal{What: "prediction of 1,024 images, A, against PyTorch's fastest form", Measured: torch(r.Prediction("A, 1024")), Want: 4, Unit: "×"},
		Goal{What: "peak memory of `train`", Measured: r.Command("glassnet train").PeakMB, Want: 150, Most: true, Unit: " MB"},
		Goal{What: "peak memory of `study corrected`", Measured: known(s.CorrectedPeakMB), Want: 300, Most: true, Unit: " MB"},
		Goal{What: "`version`", Measured: 1e3 * r.Command("glassnet version").Seconds, Want: 10, Most: true, Unit: " ms"},
		Goal{What: "`train`, from its start to its first step", Measured: 1e3 * r.Command(untilFirst).Seconds, Want: 400, Most: true, Unit: " ms"},
	)
	return goals
}

// Command returns a whole command's figures.
func (r *Run) Command(name string) Command {
	i := slices.IndexFunc(r.Commands, func(c Command) bool { return c.Command == name })
	if i < 0 {
		return Command{Seconds: math.NaN(), PeakMB: math.NaN()}
	}
	c := r.Commands[i]
	c.PeakMB = known(c.PeakMB)
	return c
}

// Figures counts those of our table, and those of them that the replay in numpy printed
// too. It sums in another order, and a rounded figure may tip over.
func (s Study) Figures() (f struct{ All, Same int }) {
	for i, row := range s.OursRows {
		for j, figure := range strings.Split(row, ",") {
			f.All++
			if i < len(s.NumpyRows) {
				if cells := strings.Split(s.NumpyRows[i], ","); j < len(cells) && cells[j] == figure {
					f.Same++
				}
			}
		}
	}
	return f
}

// known is NaN for a memory of 0, which stands for one that is not known.
func known(mb float64) float64 {
	if mb == 0 {
		return math.NaN()
	}
	return mb
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// Names returns the peers that were in any of the races, in the order of titles.
func names(races []Race, order []string) (found []string) {
	for _, name := range order {
		if slices.ContainsFunc(races, func(r Race) bool { _, ok := r.Best(name); return ok }) {
			found = append(found, name)
		}
	}
	return found
}

// render returns the page and its plots by file name, relative to docs.
func render(r *Run) (map[string][]byte, error) {
	functions := template.FuncMap{
		"number": number, "median": median,
		"percent":   func(v float64) string { return strconv.FormatFloat(100*v, 'f', 0, 64) },
		"steps":     func() string { return table(r.Steps, names(r.Steps, trainers)) },
		"predict":   func() string { return table(r.Predict, names(r.Predict, predictors)) },
		"title":     func(peer string) string { return titles[peer] },
		"div":       func(a, b float64) float64 { return a / b },
		"float":     func(n int) float64 { return float64(n) },
		"differs":   func() string { return strconv.FormatFloat(r.largestDifference(), 'g', 1, 64) },
		"what":      r.versions,
		"best":      func(race Race, peer string) float64 { t, _ := race.Best(peer); return t.Micros },
		"thousands": func(n int) string { return number2(n) },
	}
	page, err := template.New("page").Funcs(functions).Parse(pageTemplate)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := page.Execute(&b, r); err != nil {
		return nil, err
	}
	files := map[string][]byte{"performance.md": b.Bytes()}
	for _, c := range r.Scaling {
		if files["performance/"+c.With+".svg"], err = c.plot(); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// number2 prints a whole number, thousands set apart.
func number2(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func (r *Run) largestDifference() (largest float64) {
	for _, race := range slices.Concat(r.Steps, r.Predict) {
		for _, t := range race.Timings {
			if t.Error == "" {
				largest = max(largest, t.Difference)
			}
		}
	}
	return largest
}

// versions returns what the peers said they are, once each.
func (r *Run) versions() (all []string) {
	for _, race := range slices.Concat(r.Steps, r.Predict) {
		for _, t := range race.Timings {
			if t.What != "" && !slices.Contains(all, t.What) {
				all = append(all, t.What)
			}
		}
	}
	return all
}

// doing says in words what the functions of a step do, by a part of their names; the
// first that fits counts.
var doing = [][2]string{
	{"listpairs", "lists of the pairs of pixels that are not both 0"},
	{".list", "lists of the pairs of pixels that are not both 0"},
	{"pairsforward", "product of the first layer: each pair adds its rows of weights, scaled, to the sums of its images"},
	{"halfof", "weights copied where a panel cannot take them from where they are"},
	{"halfpanel", "product of the first layer: each pair adds its rows of weights, scaled, to the sums of its images"},
	{"sumhalf", "product of the first layer: each pair adds its rows of weights, scaled, to the sums of its images"},
	{"pairssum", "product of the first layer: each pair adds its rows of weights, scaled, to the sums of its images"},
	{"pairsfinish", "product of the first layer: sums of its two halves are added, with the bias"},
	{"pairsthroughtile", "gradient of the first layer's weights: each pair sums rows of its images; the weights follow"},
	{"packrows", "gradients laid out for the sums of pairs"},
	{"pairsgradient", "gradient of the first layer's weights: each pair sums rows of its images; the weights follow"},
	{"sortrows", "pairs put in order of how many images they have: those summed together are about equally long"},
	{"pairrows", "pairs put in order of how many images they have: those summed together are about equally long"},
	{"joinlists", "lists of the same pair put behind each other"},
	{"softmax", "softmax"},
	{"elementary.log", "the cost"},
	{"divide", "the cost and its gradient"},
	{"crossentropy", "the cost and its gradient"},
	{"update", "the other parameters follow their gradients"},
	{"pack", "panels of a factor laid out for the registers"},
	{").fill", "panels of a factor laid out for the registers"},
	{"tile", "products of the small layers"},
	{"dense", "products of the small layers"},
	{"addcolumns", "gradients of the biases"},
	{"relu", "ReLU and its slope"},
	{"claim", "the other thread's lists claimed"},
	{"pause", "a thread waits for the other"},
	{"await", "a thread waits for the other"},
	{"pool).run", "tasks handed to the threads"},
	{"byrows", "each thread's rows of the batch, from layer to layer"},
	{"letothers", "a thread waits for the other"},
	{"collection", "gradients handed to the threads in pieces"},
	{"network).gradients", "the batch handed to the threads"},
	{"memclr", "memory set to 0"},
}

// spent is a row of the table of profiles.
type spent struct {
	Function, What string
	Micros         []float64 // in each profile
}

// SpentByFunction puts the profiles side by side, functions for other shapes together,
// without those that nowhere take one part in a hundred.
func (r *Run) SpentByFunction() (rows []spent) {
	shape := regexp.MustCompile(`\[go\.shape\.\w+\]|(\d+x)*\d+$`)
	all := make([]float64, len(r.Profiles))
	for i, p := range r.Profiles {
		for _, s := range p.Spent {
			name := shape.ReplaceAllString(s.Function, "")
			at := slices.IndexFunc(rows, func(row spent) bool { return row.Function == name })
			if at < 0 {
				at = len(rows)
				rows = append(rows, spent{name, function(s.Function), make([]float64, len(r.Profiles))})
			}
			rows[at].Micros[i] += s.Micros
			all[i] += s.Micros
		}
	}
	rows = slices.DeleteFunc(rows, func(row spent) bool {
		for i, micros := range row.Micros {
			if micros >= all[i]/100 {
				return false
			}
		}
		return true
	})
	return rows
}

// Zeros is the share of pixels that are 0.
func (r *Run) Zeros() float64 { return 1 - r.NonZero }

// function returns what a profiled function does, "" when it is not known.
func function(name string) string {
	for _, d := range doing {
		if strings.Contains(strings.ToLower(name), d[0]) {
			return d[1]
		}
	}
	return ""
}

// plot draws µs per step against what grows, both logarithmic.
func (c Curve) plot() ([]byte, error) {
	p := plot.New()
	p.X.Label.Text, p.Y.Label.Text = c.With, "µs per step"
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.Y.Tick.Marker = plot.ConstantTicks(microTicks())
	p.Legend.Top, p.Legend.Left, p.Legend.Padding = true, true, vg.Points(4)
	p.Add(plotter.NewGrid())
	var ticks []plot.Tick
	for _, point := range c.Points {
		ticks = append(ticks, plot.Tick{Value: float64(point.At), Label: strconv.Itoa(point.At)})
	}
	p.X.Tick.Marker = plot.ConstantTicks(ticks)
	// Okabe and Ito's colours, for all kinds of colour vision.
	for i, line := range []struct {
		label, peer string
		threads     int
		color       color.Color
	}{
		{"glassnet, all cores", oursName, threadsOf(c), color.NRGBA{0, 0x72, 0xB2, 255}},
		{"glassnet, 1 thread", oursName, 1, color.NRGBA{0x56, 0xB4, 0xE9, 255}},
		{"the faster of PyTorch and numpy", "", 0, color.NRGBA{0xD5, 0x5E, 0, 255}},
	} {
		var xys plotter.XYs
		for _, point := range c.Points {
			us := point.Rival().Micros
			for _, t := range point.Timings {
				if t.Peer == line.peer && t.Threads == line.threads && t.Error == "" {
					us = t.Micros
				}
			}
			if us > 0 {
				xys = append(xys, plotter.XY{X: float64(point.At), Y: us})
			}
		}
		l, dots, err := plotter.NewLinePoints(xys)
		if err != nil {
			return nil, err
		}
		l.Color, l.Width, dots.Color, dots.Shape = line.color, 2, line.color, draw.CircleGlyph{}
		if i == 1 {
			l.Dashes = []vg.Length{6, 3}
		}
		p.Add(l, dots)
		p.Legend.Add(line.label, l, dots)
	}
	canvas := vgsvg.New(16*vg.Centimeter, 9*vg.Centimeter)
	p.Draw(draw.New(canvas))
	var b bytes.Buffer
	_, err := canvas.WriteTo(&b)
	return b.Bytes(), err
}

// microTicks label 10, 20, 50, 100 and so on.
func microTicks() (ticks []plot.Tick) {
	for decade := 1.0; decade <= 1e6; decade *= 10 {
		for _, v := range []float64{decade, 2 * decade, 5 * decade} {
			ticks = append(ticks, plot.Tick{Value: v, Label: number(v)})
		}
	}
	return ticks
}

// threadsOf returns the most threads a curve was measured on.
func threadsOf(c Curve) (most int) {
	for _, point := range c.Points {
		for _, t := range point.Timings {
			most = max(most, t.Threads)
		}
	}
	return most
}

// loadRun reads the figures of a run.
func loadRun(name string) (*Run, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	r := &Run{}
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return r, nil
}

func makePage(run, docs string) error {
	r, err := loadRun(run)
	if err != nil {
		return err
	}
	files, err := render(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(docs, "performance"), 0o777); err != nil {
		return err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(docs, name), data, 0o666); err != nil {
			return err
		}
	}
	return nil
}
