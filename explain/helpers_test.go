package explain_test

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"glassnet/dataset"
	"glassnet/explain"
	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/optim"
	"glassnet/random"
)

// images returns n random images, half of their pixels 0.
func images(stream *random.Stream, n, width, height, classes int) *dataset.Set {
	set := &dataset.Set{Width: width, Height: height, Classes: classes, Pixels: make([]byte, n*width*height), Labels: make([]uint8, n)}
	for i := range set.Pixels {
		if stream.IntN(2) == 0 {
			set.Pixels[i] = byte(1 + stream.IntN(255))
		}
	}
	for i := range set.Labels {
		set.Labels[i] = uint8(stream.IntN(classes))
	}
	return set
}

// network builds layers by name, "dense 5" with its units, all parameters random.
func network[T matrix.Float](t testing.TB, stream *random.Stream, in int, layers ...string) *nn.Network[T] {
	t.Helper()
	a := nn.Architecture{Input: in}
	for _, l := range layers {
		kind, units, _ := strings.Cut(l, " ")
		spec := nn.LayerSpec{Kind: kind}
		switch kind {
		case nn.KindDense:
			spec.Units, _ = strconv.Atoi(units)
		case nn.KindBatchNorm:
			spec.Epsilon, spec.Decay = 1e-5, 0.9
		}
		a.Layers = append(a.Layers, spec)
	}
	net, err := nn.Build[T](a)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range net.Params() {
		for i := range p.Value {
			v := stream.Normal() / math.Sqrt(float64(max(1, p.Shape[0])))
			if p.Role == nn.Statistic {
				v = 0.1 + math.Abs(v)
			}
			p.Value[i] = T(v)
		}
	}
	return net
}

// options of a step with penalty λ of that form.
func options[T matrix.Float](t testing.TB, loss, form string, lambda float64) explain.Options[T] {
	t.Helper()
	l, err := nn.NewLoss[T](loss)
	if err != nil {
		t.Fatal(err)
	}
	p, err := optim.NewPenalty[T](form, lambda)
	if err != nil {
		t.Fatal(err)
	}
	return explain.Options[T]{Loss: l, Penalty: p, Rule: optim.SGD[T]{}, Rate: 0.05}
}

// every lists the refs of all numbers of a step that are there, of its first rows.
func every[T matrix.Float](s *explain.Step[T], rows int) (refs []explain.Ref) {
	add := func(r explain.Ref, aspects ...explain.Aspect) {
		for _, a := range append(aspects, explain.Value) {
			r.Aspect = a
			refs = append(refs, r)
		}
	}
	in, classes := s.Net.Widths()
	for _, k := range []explain.Kind{explain.Cost, explain.Penalty, explain.Total} {
		add(explain.Ref{Kind: k})
	}
	for i := range min(rows, s.Rows()) {
		add(explain.Ref{Kind: explain.Loss, Example: i})
		for k := range classes {
			add(explain.Ref{Kind: explain.Probability, Index: [2]int{k}, Example: i})
		}
		for k := range in {
			add(explain.Ref{Kind: explain.Pixel, Index: [2]int{k}, Example: i})
		}
		for l, layer := range s.Net.Layers() {
			_, width := layer.Widths()
			for j := range width {
				add(explain.Ref{Kind: explain.Output, Layer: l + 1, Index: [2]int{j}, Example: i}, explain.Gradient)
			}
			for _, k := range s.Trace.Caches[l].Kept {
				if k.Value.Rows == 1 && i > 0 {
					continue
				}
				for j := range k.Value.Cols {
					add(explain.Ref{Kind: explain.Kept, Layer: l + 1, Name: fmt.Sprintf("%d.%s.%s", l+1, layer.Spec().Kind, k.Name), Index: [2]int{j}, Example: i})
				}
			}
		}
	}
	for l, layer := range s.Net.Layers() {
		for _, p := range layer.Params() {
			for at := range p.Value {
				r := explain.Ref{Kind: explain.Parameter, Layer: l + 1, Name: p.Name, Index: [2]int{at}}
				if len(p.Shape) == 2 {
					r.Two, r.Index = true, [2]int{at / p.Shape[1], at % p.Shape[1]}
				}
				if p.Role == nn.Statistic {
					add(r, explain.After)
				} else {
					add(r, explain.Gradient, explain.After)
				}
			}
		}
	}
	return refs
}

// evaluate computes a printed formula. It knows the text only: numbers, + - · /,
// brackets, ², and the functions √ exp ln tanh max. It returns the result and the sum of
// the magnitudes that went into it, by which rounding is judged.
func evaluate(text string) (value, size float64, err error) {
	p := &formulaParser{rest: text}
	defer func() {
		if e := recover(); e != nil {
			err = fmt.Errorf("%v, at %q", e, p.rest)
		}
	}()
	v := p.sum()
	if p.skip(); p.rest != "" {
		panic("text left over")
	}
	return v, p.size, nil
}

type formulaParser struct {
	rest string
	size float64
}

func (p *formulaParser) skip() { p.rest = strings.TrimLeft(p.rest, " ") }

func (p *formulaParser) take(prefix string) bool {
	p.skip()
	rest, ok := strings.CutPrefix(p.rest, prefix)
	if ok {
		p.rest = rest
	}
	return ok
}

func (p *formulaParser) want(prefix string) {
	if !p.take(prefix) {
		panic("want " + prefix)
	}
}

func (p *formulaParser) sum() float64 {
	negative := p.take("-")
	v := p.product()
	if negative {
		v = -v
	}
	for {
		p.size = max(p.size, math.Abs(v))
		switch {
		case p.take("+"):
			v += p.product()
		case p.take("-"):
			v -= p.product()
		default:
			return v
		}
	}
}

func (p *formulaParser) product() float64 {
	v := p.factor()
	for {
		p.size = max(p.size, math.Abs(v))
		switch {
		case p.take("·"):
			v *= p.factor()
		case p.take("/"):
			v /= p.factor()
		default:
			return v
		}
	}
}

func (p *formulaParser) factor() float64 {
	v := p.plain()
	for p.take("²") {
		v *= v
	}
	return v
}

func (p *formulaParser) plain() float64 {
	for name, f := range map[string]func(float64) float64{"√(": math.Sqrt, "exp(": math.Exp, "ln(": math.Log, "tanh(": math.Tanh} {
		if p.take(name) {
			v := f(p.sum())
			p.want(")")
			return v
		}
	}
	if p.take("max(") {
		a := p.sum()
		p.want(",")
		b := p.sum()
		p.want(")")
		return math.Max(a, b)
	}
	if p.take("(") {
		v := p.sum()
		p.want(")")
		return v
	}
	end := 0
	for end < len(p.rest) {
		r, n := utf8.DecodeRuneInString(p.rest[end:])
		sign := (r == '-' || r == '+') && end > 0 && p.rest[end-1] == 'e'
		if !(r >= '0' && r <= '9' || r == '.' || r == 'e' || sign) {
			break
		}
		end += n
	}
	v, err := strconv.ParseFloat(p.rest[:end], 64)
	if err != nil {
		panic(err)
	}
	p.rest = p.rest[end:]
	p.size = max(p.size, math.Abs(v))
	return v
}
