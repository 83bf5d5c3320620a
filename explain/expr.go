package explain

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"glassnet/internal/elementary"
)

// Op is what an Expr does with its arguments.
type Op uint8

// The operations. Their text is what Expr.Text prints.
const (
	Number   Op = iota // a number of the step, or a constant
	Sum                // a + b + ...
	Product            // a·b·...
	Quotient           // a / b
	Negation           // -a
	Square             // a²
	Root               // √(a)
	Exp                // exp(a)
	Ln                 // ln(a)
	ReLU               // max(0, a)
	Sigmoid            // 1 / (1 + exp(-a))
	Tanh               // tanh(a)
)

// Expr is a formula with its numbers put in: a tree whose leaves are numbers of the
// step, each with the Ref that opens it, and constants.
type Expr struct {
	Op    Op
	Value float64 // of a Number
	Ref   *Ref    // of a Number that can be opened; nil for a constant
	Args  []Expr
}

func constant(v float64) Expr      { return Expr{Value: v} }
func number(v float64, r Ref) Expr { return Expr{Value: v, Ref: &r} }
func sum(args ...Expr) Expr {
	if len(args) == 0 {
		return constant(0)
	}
	return Expr{Op: Sum, Args: args}
}
func product(args ...Expr) Expr { return Expr{Op: Product, Args: args} }
func quotient(a, b Expr) Expr   { return Expr{Op: Quotient, Args: []Expr{a, b}} }
func difference(a, b Expr) Expr { return sum(a, unary(Negation, b)) }
func unary(op Op, a Expr) Expr  { return Expr{Op: op, Args: []Expr{a}} }

// Eval computes the expression in float64, in the order in which it is written.
func (e Expr) Eval() float64 {
	switch e.Op {
	case Number:
		return e.Value
	case Sum:
		var s float64
		for _, a := range e.Args {
			s += a.Eval()
		}
		return s
	case Product:
		p := 1.0
		for _, a := range e.Args {
			p *= a.Eval()
		}
		return p
	case Quotient:
		return e.Args[0].Eval() / e.Args[1].Eval()
	}
	a := e.Args[0].Eval()
	switch e.Op {
	case Negation:
		return -a
	case Square:
		return a * a
	case Root:
		return math.Sqrt(a)
	case Exp:
		return elementary.Exp(a)
	case Ln:
		return elementary.Log(a)
	case ReLU:
		return max(0, a)
	case Sigmoid:
		return elementary.Sigmoid(a)
	case Tanh:
		return elementary.Tanh(a)
	}
	panic("explain: unknown operation")
}

// Brief is the style of a quick look: five digits, the six largest terms of a sum.
var Brief = Style{Digits: 5, Terms: 6}

// Style says how expressions are printed.
type Style struct {
	// Digits is the number of significant digits; 0 prints as many as it takes to
	// tell a number from all others of its type.
	Digits int
	// Terms is how many terms of a long sum are printed, those that contribute most;
	// 0 prints all of them.
	Terms int
	// Bits is 32 or 64: the number type of the network, for Digits 0.
	Bits int
}

// Format prints one number.
func (s Style) Format(v float64) string {
	v += 0 // no -0
	if s.Digits > 0 {
		return strconv.FormatFloat(v, 'g', s.Digits, 64)
	}
	if s.Bits == 32 { // nine digits tell any float32 from any other
		return strconv.FormatFloat(v, 'g', 9, 64)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// Text prints the expression on one line: "0.5·0.25 + 0.125·(-2) + 0.01".
func (e Expr) Text(s Style) string {
	var b strings.Builder
	e.write(&b, s, 0)
	return b.String()
}

// The precedence of operations: what binds less is put in brackets.
const (
	ofSum = iota + 1
	ofProduct
	ofFactor
)

func (e Expr) write(b *strings.Builder, s Style, outer int) {
	bracket := func(level int, write func()) {
		if level < outer {
			b.WriteByte('(')
			write()
			b.WriteByte(')')
			return
		}
		write()
	}
	call := func(name string) {
		b.WriteString(name)
		b.WriteByte('(')
		e.Args[0].write(b, s, 0)
		b.WriteByte(')')
	}
	switch e.Op {
	case Number:
		text := s.Format(e.Value)
		if strings.HasPrefix(text, "-") && outer > 0 {
			text = "(" + text + ")"
		}
		b.WriteString(text)
	case Sum:
		bracket(ofSum, func() { e.writeSum(b, s) })
	case Product:
		bracket(ofProduct, func() {
			for i, a := range e.Args {
				if i > 0 {
					b.WriteString("·")
				}
				a.write(b, s, ofFactor)
			}
		})
	case Quotient:
		bracket(ofProduct, func() {
			e.Args[0].write(b, s, ofProduct)
			b.WriteString(" / ")
			e.Args[1].write(b, s, ofFactor)
		})
	case Negation:
		bracket(ofSum, func() {
			b.WriteByte('-')
			e.Args[0].write(b, s, ofProduct)
		})
	case Square:
		e.Args[0].write(b, s, ofFactor+1)
		b.WriteString("²")
	case Root:
		call("√")
	case Exp:
		call("exp")
	case Ln:
		call("ln")
	case Tanh:
		call("tanh")
	case ReLU:
		b.WriteString("max(0, ")
		e.Args[0].write(b, s, 0)
		b.WriteByte(')')
	case Sigmoid:
		bracket(ofProduct, func() {
			b.WriteString("1 / (1 + exp(-")
			e.Args[0].write(b, s, ofProduct)
			b.WriteString("))")
		})
	}
}

// writeSum writes the terms in their order; of a long sum those that contribute most,
// and what the others come to together.
func (e Expr) writeSum(b *strings.Builder, s Style) {
	shown := make([]bool, len(e.Args))
	left := len(e.Args)
	if s.Terms > 0 && left > s.Terms+1 {
		for _, i := range e.ranked()[:s.Terms] {
			shown[i] = true
		}
		left -= s.Terms
	} else {
		for i := range shown {
			shown[i] = true
		}
		left = 0
	}
	first := true
	var rest float64
	for i, a := range e.Args {
		if !shown[i] {
			rest += a.Eval()
			continue
		}
		negative := a.Op == Negation
		switch {
		case first && negative:
			b.WriteByte('-')
		case first:
		case negative:
			b.WriteString(" - ")
		default:
			b.WriteString(" + ")
		}
		if negative {
			a = a.Args[0]
		}
		if first && a.Op == Number {
			a.write(b, s, 0) // a minus needs no brackets here
		} else {
			a.write(b, s, ofProduct)
		}
		first = false
	}
	if left > 0 {
		b.WriteString(" + … " + strconv.Itoa(left) + " more, together " + s.Format(rest))
	}
}

// ranked returns the arguments' indices, the one of the largest magnitude first.
func (e Expr) ranked() []int {
	order, size := make([]int, len(e.Args)), make([]float64, len(e.Args))
	for i, a := range e.Args {
		order[i], size[i] = i, math.Abs(a.Eval())
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(size[j], size[i]) })
	return order
}

// Contribution is one term of the sum that a number is.
type Contribution struct {
	Term  Expr    // with the factors and the divisor of the sum
	Value float64 // of Term: what it adds to the number
}

// Contributions returns the terms of the sum that e is, by magnitude, the largest
// first; their values add up to e. A sum may have a factor or a divisor, as a mean has.
// An e that is no sum has one contribution: itself.
func (e Expr) Contributions() []Contribution {
	inner := e
	whole := func(term Expr) Expr { return term } // e with one term in place of the sum
	within := func(at int) {
		outer, before := inner, whole
		whole = func(term Expr) Expr {
			one := outer
			one.Args = slices.Clone(outer.Args)
			one.Args[at] = term
			return before(one)
		}
		inner = inner.Args[at]
	}
	for {
		switch at := slices.IndexFunc(inner.Args, func(a Expr) bool { return a.Op == Sum && !a.hasConstant() }); {
		case inner.Op == Quotient:
			within(0)
		case inner.Op == Product && at >= 0 && slices.IndexFunc(inner.Args[at+1:], func(a Expr) bool { return a.Op == Sum }) < 0:
			within(at)
		default:
			if inner.Op != Sum {
				return []Contribution{{e, e.Eval()}}
			}
			var all []Contribution
			for _, i := range inner.ranked() {
				term := whole(inner.Args[i])
				all = append(all, Contribution{term, term.Eval()})
			}
			return all
		}
	}
}

// hasConstant reports whether a term of the sum is a constant: 1 - a is a factor, whose
// terms mean nothing by themselves.
func (e Expr) hasConstant() bool {
	return slices.ContainsFunc(e.Args, func(a Expr) bool { return a.Op == Number && a.Ref == nil })
}

// Refs returns what the expression is made of, in order, each once.
func (e Expr) Refs() []Ref {
	var all []Ref
	seen := map[Ref]bool{}
	var walk func(Expr)
	walk = func(e Expr) {
		if e.Ref != nil && !seen[*e.Ref] {
			seen[*e.Ref] = true
			all = append(all, *e.Ref)
		}
		for _, a := range e.Args {
			walk(a)
		}
	}
	walk(e)
	return all
}
