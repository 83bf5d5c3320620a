package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
)

const missing = "–" // stands where a figure is undefined

// clean makes a string from a file safe to print on one line: control,
// formatting and invalid characters appear escaped, as \x1b.
func clean(s string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		if unicode.IsPrint(r) {
			b.WriteRune(r)
		} else {
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return b.String()
}

// number is the figure p points to, and whether there is a finite one.
func number(p *float64) (float64, bool) {
	if p == nil || math.IsNaN(*p) || math.IsInf(*p, 0) {
		return 0, false
	}
	return *p, true
}

// interval is a 95 % interval's bounds, and whether both are there.
func interval(ci [2]*float64) (lo, hi float64, ok bool) {
	lo, okLo := number(ci[0])
	hi, okHi := number(ci[1])
	return lo, hi, okLo && okHi
}

// fixed prints v with so many decimals and commas between thousands. What is
// beyond 15 digits is printed as 1.23e+20.
func fixed(v float64, decimals int) string {
	if math.Abs(v) >= 1e15 {
		return strconv.FormatFloat(v, 'e', 2, 64)
	}
	s := strconv.FormatFloat(v, 'f', decimals, 64)
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
		if strings.Trim(s, "0.") == "" {
			sign = "" // -0.000
		}
	}
	whole, fraction, _ := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction != "" {
		fraction = "." + fraction
	}
	return sign + whole + fraction
}

// scientific prints v with so many significant digits: plainly where that is
// short, else as 1.2e-08.
func scientific(v float64, digits int) string {
	s := strconv.FormatFloat(v, 'e', digits-1, 64)
	_, power, _ := strings.Cut(s, "e")
	if p, _ := strconv.Atoi(power); p >= -4 && p < 6 {
		return fixed(v, max(digits-1-p, 0))
	}
	return s
}

// scientificOr prints the figure p points to, if there is a finite one.
func scientificOr(p *float64, digits int) string {
	if v, ok := number(p); ok {
		return scientific(v, digits)
	}
	return missing
}

// about prints v > 0 rounded to two significant digits: 23,000.
func about(v float64) string {
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(v, 'e', 1, 64), 64)
	if err != nil {
		rounded = v
	}
	return scientific(rounded, 2)
}

// lambdaText prints a setting as its file would: 1e-3, 0.009.
func lambdaText(v float64) string {
	s := strconv.FormatFloat(v, 'g', -1, 64)
	if v > 0 && v < 0.005 {
		s = strconv.FormatFloat(v, 'e', -1, 64)
	}
	s = strings.Replace(s, "e-0", "e-", 1)
	return strings.Replace(s, "e+0", "e", 1)
}

// secondsText prints a duration with about three digits.
func secondsText(s float64) string {
	switch {
	case s >= 100:
		return fixed(s, 0)
	case s >= 10:
		return fixed(s, 1)
	default:
		return fixed(s, 2)
	}
}

// pText prints a p value.
func pText(p *float64) string {
	v, ok := number(p)
	switch {
	case !ok:
		return missing
	case v < 0.0001:
		return "<0.0001"
	default:
		return strconv.FormatFloat(v, 'f', 4, 64)
	}
}

// metric says how a measure of a run is named and printed.
type metric struct {
	key, name, unit string
	decimals        int
	better          string // which direction is wished for
}

// metricOf describes a measure by its key in the result files. Unknown keys get
// a description too.
func metricOf(key string) metric {
	name := strings.ReplaceAll(key, "_", " ")
	switch key {
	case "test_accuracy", "val_accuracy", "train_accuracy":
		name = strings.Replace(name, "val ", "validation ", 1)
		name = strings.Replace(name, "train ", "training ", 1)
		return metric{key, name, "", 4, "higher is better"}
	case "test_cost", "val_cost", "train_cost":
		name = strings.Replace(name, "val ", "validation ", 1)
		name = strings.Replace(name, "train ", "training ", 1)
		return metric{key, name, "nats", 4, "lower is better"}
	case "epochs":
		return metric{key, "epochs until training stopped", "epochs", 1, "lower is fewer"}
	case "steps":
		return metric{key, "steps until training stopped", "steps", 0, "lower is fewer"}
	case "steps_to_target":
		return metric{key, "steps to the target accuracy", "steps", 0, "lower is fewer"}
	case "seconds_to_target":
		return metric{key, "seconds to the target accuracy, timed alone", "s", 3, "lower is faster"}
	case "seconds":
		return metric{key, "wall time, cores shared", "s", 1, "lower is faster"}
	case "us_per_step":
		return metric{key, "time per step, timed alone", "µs", 1, "lower is faster"}
	}
	return metric{key: key, name: clean(name), decimals: 4}
}

// print prints a value of the measure, without its unit.
func (m metric) print(v float64) string { return fixed(v, m.decimals) }

// signed prints a difference of two values with its sign, but for one that is printed as 0.
func (m metric) signed(v float64) string {
	s := m.print(v)
	if strings.Trim(s, "0.") != "" && !strings.HasPrefix(s, "-") {
		s = "+" + s
	}
	return s
}

// plural is "1 run", "2 runs".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%s %ss", fixed(float64(n), 0), noun)
}
