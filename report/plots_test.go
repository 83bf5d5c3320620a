package report

import (
	"io"
	"math"
	"strconv"
	"strings"
	"testing"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
)

// Axes must end, cover their values and keep their ticks few, for any values.
func TestAxes(t *testing.T) {
	tests := []struct {
		name   string
		values []float64
	}{
		{"none", nil}, {"one", []float64{0.3}}, {"zero", []float64{0}}, {"equal", []float64{7, 7}}, {"nearly equal", []float64{1, 1 + 1e-15}},
		{"accuracies", []float64{0.931, 0.9452}}, {"negative", []float64{-0.02, 0.011}}, {"tiny", []float64{1e-95, 3e-95}},
		{"huge", []float64{-9e99, 9e99}}, {"wide", []float64{1e-90, 1e90}}, {"steps", []float64{0, 91425}},
	}
	for _, test := range tests {
		for _, whole := range []bool{false, true} {
			lo, hi, marker := linearAxis(test.values, 5, whole)
			checkAxis(t, "linearAxis "+test.name, test.values, lo, hi, marker)
		}
		var positive []float64
		for _, v := range test.values {
			if v > 0 {
				positive = append(positive, v)
			}
		}
		lo, hi, marker := logAxis(positive)
		checkAxis(t, "logAxis "+test.name, positive, lo, hi, marker)
	}
}

// A logarithmic axis begins and ends near its values, and is labelled where it is read.
func TestLogAxis(t *testing.T) {
	for _, test := range []struct {
		values []float64
		lo, hi float64
		labels string
	}{
		{[]float64{0.07, 2.4}, 0.05, 5, "0.05 0.1 0.2 0.5 1 2 5"},
		{[]float64{0.5, 0.2}, 0.2, 0.5, "0.2 0.5"},
		{[]float64{3}, 2, 5, "2 5"},
		{[]float64{100}, 100, 200, "100 200"},
		{[]float64{0.0004, 30}, 0.0001, 100, "1e-4 0.001 0.01 0.1 1 10 100"},
		{[]float64{2e-9, 6e-9}, 2e-9, 1e-8, "2e-9 5e-9 1e-8"},
		{nil, 1, 10, "1 2 5 10"},
	} {
		lo, hi, marker := logAxis(test.values)
		var labels []string
		for _, tick := range marker.Ticks(lo, hi) {
			labels = append(labels, tick.Label)
			if v, err := strconv.ParseFloat(tick.Label, 64); err != nil || v != tick.Value {
				t.Errorf("%v: the tick at %g is labelled %s", test.values, tick.Value, tick.Label)
			}
		}
		if got := strings.Join(labels, " "); lo != test.lo || hi != test.hi || got != test.labels {
			t.Errorf("%v: from %g to %g, %s; want %g to %g, %s", test.values, lo, hi, got, test.lo, test.hi, test.labels)
		}
	}
}

func checkAxis(t *testing.T, name string, values []float64, lo, hi float64, marker plot.Ticker) {
	t.Helper()
	if !(lo < hi) {
		t.Errorf("%s: range %g to %g", name, lo, hi)
	}
	slack := 1e-9 * math.Max(math.Abs(lo), math.Abs(hi))
	for _, v := range values {
		if v < lo-slack || v > hi+slack {
			t.Errorf("%s: %g is outside %g to %g", name, v, lo, hi)
		}
	}
	if n := len(marker.Ticks(lo, hi)); n > 14 {
		t.Errorf("%s: %d ticks", name, n)
	}
}

func TestSegmentsBreakAtGaps(t *testing.T) {
	nan := math.NaN()
	xys := plotter.XYs{{X: 1, Y: nan}, {X: 2, Y: 1}, {X: 3, Y: -2}, {X: 4, Y: nan}, {X: 5, Y: 3}, {X: 6, Y: math.Inf(1)}, {X: 7, Y: 1e200}}
	if got := segments(xys, false); len(got) != 2 || len(got[0]) != 2 || len(got[1]) != 1 {
		t.Errorf("segments(linear) = %v", got)
	}
	if got := segments(xys, true); len(got) != 2 || len(got[0]) != 1 || len(got[1]) != 1 {
		t.Errorf("segments(logarithmic) = %v", got)
	}
}

// A chart of nothing is still a chart: the caller decides whether to show it.
func TestEmptyCharts(t *testing.T) {
	for name, c := range map[string]drawn{"chart": &chart{logY: true}, "square": &chart{square: true}, "dots": &dotChart{rows: []dotRow{{value: math.NaN(), lo: math.NaN(), hi: math.NaN(), paint: ink, tint: plain}}}} {
		svg, png, err := c.render()
		if err != nil || len(svg) == 0 {
			t.Fatalf("%s: %d bytes, error %v", name, len(svg), err)
		}
		if err := png(io.Discard); err != nil {
			t.Errorf("%s as PNG: %v", name, err)
		}
	}
}
