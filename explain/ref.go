package explain

import (
	"fmt"
	"strconv"
	"strings"

	"glassnet/internal/usererr"
)

// Kind is what sort of number a Ref names.
type Kind uint8

// The kinds. Index[0] counts units, pixels or classes from 0; a weight of shape
// [in, out] has two indices.
const (
	Output      Kind = iota // of a layer and unit: pre-activation, activation, logit
	Pixel                   // of the input, in [0, 1]
	Probability             // of a class
	Loss                    // of the example, nats
	Cost                    // of the batch: the mean loss
	Penalty                 // on the weights
	Total                   // cost + penalty: what the gradients are of
	Parameter               // weight, bias, gamma, beta, running statistic, by its name
	Kept                    // what a layer remembers: mean, variance, inverse_std, x_hat
)

// Aspect is which number about a quantity is meant.
type Aspect uint8

// The aspects.
const (
	Value    Aspect = iota // in the forward pass
	Gradient               // dTotal/dValue
	After                  // after the update; of parameters only
)

// Ref names one number of a step. Its text is
//
//	2:5                    output of layer 2, unit 5 (layers count from 1, units from 0)
//	x:345                  pixel 345
//	p:3                    probability of class 3
//	loss, cost, penalty, total
//	1.dense.weight:13,4    a parameter: from input 13 to unit 4
//	2.batch_norm.x_hat:5   what a layer remembers
//
// and grad(...) or after(...) around one of these. "@3" behind it means the example
// in row 3 of the batch; without it, row 0.
type Ref struct {
	Aspect  Aspect
	Kind    Kind
	Layer   int    // from 1: of Output, Parameter and Kept
	Name    string // of a Parameter, or of what is Kept, with its layer: "1.dense.weight"
	Index   [2]int
	Two     bool // Index has two numbers
	Example int  // row of the batch
}

// String writes the ref as ParseRef reads it.
func (r Ref) String() string {
	text := ""
	switch r.Kind {
	case Output:
		text = fmt.Sprintf("%d:%d", r.Layer, r.Index[0])
	case Pixel:
		text = fmt.Sprintf("x:%d", r.Index[0])
	case Probability:
		text = fmt.Sprintf("p:%d", r.Index[0])
	case Loss:
		text = "loss"
	case Cost:
		text = "cost"
	case Penalty:
		text = "penalty"
	case Total:
		text = "total"
	case Parameter, Kept:
		text = fmt.Sprintf("%s:%d", r.Name, r.Index[0])
		if r.Two {
			text += fmt.Sprintf(",%d", r.Index[1])
		}
	}
	if r.Example > 0 && r.perExample() {
		text += fmt.Sprintf("@%d", r.Example)
	}
	switch r.Aspect {
	case Gradient:
		text = "grad(" + text + ")"
	case After:
		text = "after(" + text + ")"
	}
	return text
}

// ParameterRef names a number of the parameter of that name, "1.dense.weight", at one
// index or two.
func ParameterRef(name string, index ...int) Ref {
	layer, _, _ := strings.Cut(name, ".")
	r := Ref{Kind: Parameter, Name: name, Two: len(index) == 2}
	r.Layer, _ = strconv.Atoi(layer) // a step has no parameter of another form of name
	copy(r.Index[:], index)
	return r
}

// perExample reports whether each example has a number of its own.
func (r Ref) perExample() bool {
	switch r.Kind {
	case Cost, Penalty, Total, Parameter:
		return false
	case Kept:
		return strings.HasSuffix(r.Name, ".x_hat") || strings.Contains(r.Name, "published")
	}
	return true
}

// of returns the ref with another aspect.
func (r Ref) of(a Aspect) Ref {
	r.Aspect = a
	return r
}

// ParseRef reads the text of a Ref. Whether there is such a number in a step, the
// step says when it is opened.
func ParseRef(text string) (r Ref, err error) {
	bad := func() (Ref, error) {
		return Ref{}, usererr.New("%.100q names no number of a step", text).
			Try("2:5 (layer:unit), p:3 (class), loss, 1.dense.weight:13,4, or grad(...) of one of them")
	}
	body := text
	for prefix, aspect := range map[string]Aspect{"grad(": Gradient, "after(": After} {
		if rest, ok := strings.CutPrefix(body, prefix); ok {
			if body, ok = strings.CutSuffix(rest, ")"); !ok {
				return bad()
			}
			r.Aspect = aspect
			break
		}
	}
	body, row, has := strings.Cut(body, "@")
	if has {
		if r.Example, err = index(row); err != nil {
			return bad()
		}
	}
	switch body {
	case "loss":
		r.Kind = Loss
		return r, nil
	case "cost", "penalty", "total":
		r.Kind = map[string]Kind{"cost": Cost, "penalty": Penalty, "total": Total}[body]
		return r, nil
	}
	what, at, has := strings.Cut(body, ":")
	if !has {
		return bad()
	}
	first, second, two := strings.Cut(at, ",")
	if r.Index[0], err = index(first); err != nil {
		return bad()
	}
	if r.Two = two; two {
		if r.Index[1], err = index(second); err != nil {
			return bad()
		}
	}
	switch {
	case what == "x" && !two:
		r.Kind = Pixel
	case what == "p" && !two:
		r.Kind = Probability
	case strings.Contains(what, "."):
		layer, _, _ := strings.Cut(what, ".")
		if r.Layer, err = index(layer); err != nil {
			return bad()
		}
		r.Name, r.Kind = what, Parameter
		for _, kept := range []string{".mean", ".variance", ".inverse_std", ".x_hat"} {
			if strings.HasSuffix(what, kept) {
				r.Kind = Kept
			}
		}
	case !two:
		if r.Layer, err = index(what); err != nil {
			return bad()
		}
		r.Kind = Output
	default:
		return bad()
	}
	return r, nil
}

// index reads a whole number from 0 on.
func index(text string) (int, error) {
	n, err := strconv.ParseUint(text, 10, 31)
	return int(n), err
}
