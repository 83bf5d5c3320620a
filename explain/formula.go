package explain

import (
	"fmt"
	"strings"

	"glassnet/internal/usererr"
	"glassnet/nn"
)

// Formula is how one number of a step came about.
type Formula struct {
	Ref   Ref
	What  string  // in words: "weight of layer 1 from input 13 to unit 4 before the update"
	Value float64 // as the step has it
	Law   string  // the formula in general
	Expr  Expr    // the same with the numbers put in
	Zeros int     // terms that Expr leaves out because their pixel is 0
	To    []Ref   // what it goes into next: of values in the forward pass, of gradients in the backward pass
}

// Convention is which way round matrices are shown.
type Convention uint8

// The conventions.
const (
	// Rows has examples as rows: x [batch, in], W [in, out], y = x·W + b.
	Rows Convention = iota
	// Columns has them as columns, as the published study: A [in, batch],
	// W [out, in], Z = W·A + b.
	Columns
)

// ParseConvention reads "rows" or "columns".
func ParseConvention(text string) (Convention, error) {
	switch text {
	case "rows":
		return Rows, nil
	case "columns":
		return Columns, nil
	}
	return Rows, usererr.New("convention %.40q, want rows or columns", text)
}

// Shape returns the shape of a parameter or of a batch of features in the convention.
func (c Convention) Shape(shape []int) []int {
	if c == Columns && len(shape) == 2 {
		return []int{shape[1], shape[0]}
	}
	return shape
}

// law chooses between the two ways of writing a formula.
func (c Convention) law(rows, columns string) string {
	if c == Columns {
		return columns
	}
	return rows
}

// layerLaw is the formula of a layer's forward pass.
func (c Convention) layerLaw(spec nn.LayerSpec) string {
	switch spec.Kind {
	case nn.KindDense:
		text := c.law("z[i, j] = Σ_p x[i, p]·W[p, j]", "z[j, i] = Σ_p W[j, p]·a[p, i]")
		if !spec.NoBias {
			text += " + b[j]"
		}
		return text
	case nn.KindReLU:
		return "a = max(0, z)"
	case nn.KindSigmoid:
		return "a = 1 / (1 + exp(-z))"
	case nn.KindTanh:
		return "a = tanh(z)"
	case nn.KindBatchNorm:
		return "y = γ·x̂ + β, x̂ = (x - μ) / √(σ² + ε)"
	}
	return "y = (x - mean over units) / √(variance over units + ε)"
}

// Open returns the formula of the number that r names. The error is a user error when
// the step has no such number.
func (s *Step[T]) Open(r Ref, c Convention) (Formula, error) {
	if err := s.check(r); err != nil {
		return Formula{}, err
	}
	f := Formula{Ref: r}
	switch {
	case r.Aspect == Gradient && r.Kind == Output:
		s.openOutputGradient(&f, c)
	case r.Aspect == Gradient:
		s.openParameterGradient(&f, c)
	case r.Aspect == After:
		s.openAfter(&f)
	case r.Kind == Output:
		s.openOutput(&f, c)
	case r.Kind == Kept:
		s.openKept(&f)
	case r.Kind == Parameter:
		s.openParameter(&f)
	default:
		s.openCost(&f)
	}
	return f, nil
}

// example names the example in row i: as its data set counts, and its row where there
// are several.
func (s *Step[T]) example(i int) string {
	if s.Rows() == 1 {
		return fmt.Sprintf("example %d", s.Batch.Index[i])
	}
	return fmt.Sprintf("example %d (row %d)", s.Batch.Index[i], i)
}

// check returns an error when the step has no number of that name.
func (s *Step[T]) check(r Ref) error {
	none := func(format string, args ...any) error {
		return usererr.New("%s: "+format, append([]any{r.String()}, args...)...)
	}
	below := func(what string, i, n int) error {
		if i < 0 || i >= n {
			return none("%s %d, want 0 to %d", what, i, n-1)
		}
		return nil
	}
	if err := below("example", r.Example, s.Rows()); err != nil {
		return err
	}
	in, classes := s.Net.Widths()
	switch r.Kind {
	case Output, Kept:
		if r.Layer < 1 || r.Layer > len(s.Net.Layers()) {
			return none("layer %d, want 1 to %d", r.Layer, len(s.Net.Layers()))
		}
	}
	switch r.Kind {
	case Pixel:
		if r.Aspect != Value {
			return none("pixels are given: training computes no gradient of them (see the saliency of an example)")
		}
		return below("pixel", r.Index[0], in)
	case Probability:
		if r.Aspect != Value {
			return none("no gradient of a probability is computed: the gradient of its logit is grad(%d:%d)", len(s.Net.Layers()), r.Index[0])
		}
		return below("class", r.Index[0], classes)
	case Output:
		if r.Aspect == After {
			return none("only parameters are updated")
		}
		layer, _ := s.layer(r.Layer)
		_, width := layer.Widths()
		return below("unit", r.Index[0], width)
	case Kept:
		if r.Aspect != Value {
			return none("no gradient of it is kept")
		}
		layer, cache := s.layer(r.Layer)
		for _, k := range cache.Kept {
			if r.Name == fmt.Sprintf("%d.%s.%s", r.Layer, layer.Spec().Kind, k.Name) && !r.Two {
				return below("unit", r.Index[0], k.Value.Cols)
			}
		}
		return none("layer %d (%s) keeps nothing of this name", r.Layer, layer.Spec().Kind)
	case Parameter:
		at, ok := s.params[r.Name]
		if !ok {
			var names []string
			for _, p := range s.Net.Params() {
				names = append(names, p.Name)
			}
			return none("no such parameter; there are %s", strings.Join(names, ", "))
		}
		p := s.Net.Params()[at]
		if layer := ParameterRef(p.Name).Layer; r.Layer != layer {
			return none("it is of layer %d, not %d", layer, r.Layer)
		}
		if r.Aspect == Gradient && p.Role == nn.Statistic {
			return none("a running statistic has no gradient: it is not trained")
		}
		if len(p.Shape) == 2 != r.Two {
			where := fmt.Sprintf("%s:0", p.Name)
			if len(p.Shape) == 2 {
				where += ",0"
			}
			return usererr.New("%s: an array of shape %s, want an index for each of its dimensions", r, shapeText(p.Shape)).Try("%s", where)
		}
		for i := range p.Shape {
			if err := below("index", r.Index[i], p.Shape[i]); err != nil {
				return err
			}
		}
		return nil
	case Loss, Cost, Penalty, Total:
		if r.Aspect != Value {
			return none("want its value: gradients are those of the total cost, of outputs and parameters")
		}
		return nil
	}
	return none("no such kind of number")
}

func shapeText(shape []int) string {
	return strings.ReplaceAll(fmt.Sprint(shape), " ", ", ")
}

// openOutput: what a layer computes in the forward pass.
func (s *Step[T]) openOutput(f *Formula, c Convention) {
	l, j, i := f.Ref.Layer, f.Ref.Index[0], f.Ref.Example
	layer, cache := s.layer(l)
	f.Value = float64(cache.Out.At(i, j))
	f.What = fmt.Sprintf("%s of unit %d of layer %d (%s), %s", s.noun(l), j, l, layer.Spec().Kind, s.example(i))
	f.To = s.after(l, i, j)
	f.Law = c.layerLaw(layer.Spec())
	switch layer.Spec().Kind {
	case nn.KindDense:
		w := s.part(l, "weight")
		in, _ := layer.Widths()
		var terms []Expr
		for p := range in {
			x := s.input(l, i, p)
			if l == 1 && x.Value == 0 {
				f.Zeros++
				continue
			}
			if c == Columns {
				terms = append(terms, product(s.before(w, p, j), x))
			} else {
				terms = append(terms, product(x, s.before(w, p, j)))
			}
		}
		if b := s.part(l, "bias"); b != nil {
			terms = append(terms, s.before(b, j))
		}
		f.Expr = sum(terms...)
	case nn.KindReLU:
		f.Expr = unary(ReLU, s.input(l, i, j))
	case nn.KindSigmoid:
		f.Expr = unary(Sigmoid, s.input(l, i, j))
	case nn.KindTanh:
		f.Expr = unary(Tanh, s.input(l, i, j))
	case nn.KindBatchNorm:
		f.Expr = sum(product(s.before(s.part(l, "gamma"), j), s.kept(l, "x_hat", i, j)), s.before(s.part(l, "beta"), j))
	case nn.KindPublishedNorm:
		f.Expr = quotient(difference(s.input(l, i, j), s.kept(l, "mean", i, 0)),
			unary(Root, sum(s.kept(l, "variance", i, 0), constant(nn.PublishedEpsilon))))
	}
}

// noun is what the outputs of layer l are called.
func (s *Step[T]) noun(l int) string {
	layer, _ := s.layer(l)
	switch layer.Spec().Kind {
	case nn.KindDense:
		if l == len(s.Net.Layers()) {
			return "logit"
		}
		return "pre-activation"
	case nn.KindBatchNorm, nn.KindPublishedNorm:
		return "normalised value"
	}
	return "activation"
}

// after lists where output j of layer l goes, for the example in row i: to the same
// unit of the next layer, to all units of a dense one, or to the probabilities.
func (s *Step[T]) after(l, i, j int) (to []Ref) {
	if l == len(s.Net.Layers()) {
		_, classes := s.Net.Widths()
		for k := range classes {
			to = append(to, Ref{Kind: Probability, Index: [2]int{k}, Example: i})
		}
		if s.Options.Loss.Name() == nn.LossCrossEntropy {
			to = append(to, Ref{Kind: Loss, Example: i})
		}
		return to
	}
	next, _ := s.layer(l + 1)
	_, width := next.Widths()
	switch next.Spec().Kind {
	case nn.KindBatchNorm:
		return append(to, *s.kept(l+1, "mean", i, j).Ref, *s.kept(l+1, "variance", i, j).Ref, *s.kept(l+1, "x_hat", i, j).Ref)
	case nn.KindPublishedNorm:
		to = append(to, *s.kept(l+1, "mean", i, 0).Ref, *s.kept(l+1, "variance", i, 0).Ref)
	}
	for k := range width {
		if next.Spec().Kind == nn.KindDense || k == j {
			to = append(to, Ref{Kind: Output, Layer: l + 1, Index: [2]int{k}, Example: i})
		}
	}
	return to
}

// openKept: the statistics of a normalisation.
func (s *Step[T]) openKept(f *Formula) {
	l, j, i := f.Ref.Layer, f.Ref.Index[0], f.Ref.Example
	layer, _ := s.layer(l)
	name := f.Ref.Name[strings.LastIndexByte(f.Ref.Name, '.')+1:]
	f.Value = s.kept(l, name, i, j).Value
	per := layer.Spec().Kind == nn.KindPublishedNorm // over the units of an example
	width, _ := layer.Widths()
	n := s.Rows()
	if per {
		n = width
	}
	x := func(k int) Expr {
		if per {
			return s.input(l, i, k)
		}
		return s.input(l, k, j)
	}
	over := fmt.Sprintf("of unit %d of layer %d over the %d examples of the batch", j, l, n)
	if per {
		over = fmt.Sprintf("of %s over the %d units of layer %d", s.example(i), n, l)
	}
	var terms []Expr
	switch name {
	case "mean":
		f.What, f.Law = "mean "+over, "μ = 1/n Σ_i x[i]"
		for k := range n {
			terms = append(terms, x(k))
		}
		f.Expr = quotient(sum(terms...), constant(float64(n)))
	case "variance":
		f.What, f.Law = "variance "+over, "σ² = 1/n Σ_i (x[i] - μ)²"
		for k := range n {
			terms = append(terms, unary(Square, difference(x(k), s.kept(l, "mean", i, j))))
		}
		f.Expr = quotient(sum(terms...), constant(float64(n)))
	case "inverse_std":
		f.What, f.Law = fmt.Sprintf("inverse standard deviation of unit %d of layer %d", j, l), "1/σ = 1 / √(σ² + ε)"
		f.Expr = quotient(constant(1), unary(Root, sum(s.kept(l, "variance", i, j), constant(layer.Spec().Epsilon))))
	case "x_hat":
		f.What, f.Law = fmt.Sprintf("x̂ of unit %d of layer %d, %s", j, l, s.example(i)), "x̂ = (x - μ)·1/σ"
		f.Expr = product(difference(s.input(l, i, j), s.kept(l, "mean", i, j)), s.kept(l, "inverse_std", i, j))
		f.To = []Ref{{Kind: Output, Layer: l, Index: [2]int{j}, Example: i}}
		return
	}
	if name == "mean" {
		f.To = append(f.To, *s.kept(l, "variance", i, j).Ref)
	}
	switch {
	case per:
		for k := range width {
			f.To = append(f.To, Ref{Kind: Output, Layer: l, Index: [2]int{k}, Example: i})
		}
	case name == "variance":
		f.To = append(f.To, *s.kept(l, "inverse_std", i, j).Ref)
	default:
		for k := range n {
			f.To = append(f.To, *s.kept(l, "x_hat", k, j).Ref)
		}
	}
	if !per && name != "inverse_std" {
		f.To = append(f.To, s.ref(s.part(l, "running_"+name), []int{j}).of(After))
	}
}

// openParameter: a parameter before the update is what training left it at.
func (s *Step[T]) openParameter(f *Formula) {
	p := s.Net.Params()[s.params[f.Ref.Name]]
	at := f.Ref.Index[:len(p.Shape)]
	f.Value = s.before(p, at...).Value
	f.What = describe(p.Role, f.Ref) + " before the update"
	f.Law = "as it was initialised and the steps before this one have left it"
	f.Expr = constant(f.Value)
	l := f.Ref.Layer
	j := at[len(at)-1]
	for i := range s.Rows() {
		used := p.Role != nn.Statistic
		if p.Role == nn.Weight && l == 1 {
			used = s.pixel(i, at[0]) != 0
		}
		if used {
			f.To = append(f.To, Ref{Kind: Output, Layer: l, Index: [2]int{j}, Example: i})
		}
	}
	f.To = append(f.To, f.Ref.of(After))
}

func describe(role nn.Role, r Ref) string {
	switch role {
	case nn.Weight:
		return fmt.Sprintf("weight of layer %d from input %d to unit %d", r.Layer, r.Index[0], r.Index[1])
	case nn.Bias:
		return fmt.Sprintf("bias of unit %d of layer %d", r.Index[0], r.Layer)
	case nn.Scale:
		return fmt.Sprintf("gamma of unit %d of layer %d", r.Index[0], r.Layer)
	case nn.Shift:
		return fmt.Sprintf("beta of unit %d of layer %d", r.Index[0], r.Layer)
	}
	return fmt.Sprintf("%s of unit %d of layer %d",
		strings.ReplaceAll(r.Name[strings.LastIndexByte(r.Name, '.')+1:], "_", " "), r.Index[0], r.Layer)
}

// openAfter: the update.
func (s *Step[T]) openAfter(f *Formula) {
	p := s.Net.Params()[s.params[f.Ref.Name]]
	at := f.Ref.Index[:len(p.Shape)]
	f.Value = float64(p.Value[offset(p, at)])
	f.What = describe(p.Role, f.Ref) + " after the update"
	if p.Role != nn.Statistic {
		f.Law = "w ← w - η·dC/dw"
		f.Expr = difference(s.before(p, at...), product(constant(s.Rate), s.gradient(p, at...)))
		return
	}
	layer, _ := s.layer(f.Ref.Layer)
	decay, n := layer.Spec().Decay, float64(s.Rows())
	if strings.HasSuffix(p.Name, ".running_mean") {
		f.Law = "running μ ← decay·running μ + (1 - decay)·μ"
		f.Expr = sum(product(constant(decay), s.before(p, at...)),
			product(constant(1-decay), s.kept(f.Ref.Layer, "mean", 0, at[0])))
		return
	}
	f.Law = "running σ² ← decay·running σ² + (1 - decay)·σ²·n/(n - 1)"
	f.Expr = sum(product(constant(decay), s.before(p, at...)),
		product(constant(1-decay), s.kept(f.Ref.Layer, "variance", 0, at[0]), quotient(constant(n), constant(n-1))))
}

// openCost: probabilities, losses and costs.
func (s *Step[T]) openCost(f *Formula) {
	i := f.Ref.Example
	last := len(s.Net.Layers())
	label := int(s.Loss.Labels[i])
	z := func(k int) Expr {
		return number(float64(s.Loss.Logits.At(i, k)), Ref{Kind: Output, Layer: last, Index: [2]int{k}, Example: i})
	}
	top := z(int(s.Loss.Predicted[i]))
	exponentials := func() (all []Expr) {
		for k := range s.Loss.Logits.Cols {
			all = append(all, unary(Exp, difference(z(k), top)))
		}
		return all
	}
	switch f.Ref.Kind {
	case Pixel:
		j := f.Ref.Index[0]
		width := s.Batch.Set.Width
		f.Value = s.pixel(i, j)
		f.What = fmt.Sprintf("pixel %d (row %d, column %d) of %s", j, j/width, j%width, s.example(i))
		f.Law = "x = byte / 255, rounded to float32"
		f.Expr = quotient(constant(float64(s.Batch.Set.Image(int(s.Batch.Index[i]))[j])), constant(255))
		f.To = s.after(0, i, j)
	case Probability:
		k := f.Ref.Index[0]
		f.Value = float64(s.Loss.Probabilities.At(i, k))
		f.What = fmt.Sprintf("probability of class %d for %s", k, s.example(i))
		f.Law = "p[j] = exp(z[j] - max z) / Σ_k exp(z[k] - max z)"
		f.Expr = quotient(unary(Exp, difference(z(k), top)), sum(exponentials()...))
		f.To = []Ref{{Kind: Output, Aspect: Gradient, Layer: last, Index: [2]int{k}, Example: i}}
		if k == label && s.Options.Loss.Name() == nn.LossPublishedCrossEntropy {
			f.To = append(f.To, Ref{Kind: Loss, Example: i})
		}
	case Loss:
		f.Value = float64(s.Loss.Losses[i])
		f.What = fmt.Sprintf("loss of %s, whose label is %d", s.example(i), label)
		if s.Options.Loss.Name() == nn.LossPublishedCrossEntropy {
			f.Law = "loss = -ln(p[label] + 1e-8)"
			p := number(float64(s.Loss.Probabilities.At(i, label)), Ref{Kind: Probability, Index: [2]int{label}, Example: i})
			f.Expr = unary(Negation, unary(Ln, sum(p, constant(nn.PublishedLossEpsilon))))
		} else {
			f.Law = "loss = -ln p[label] = ln Σ_k exp(z[k] - max z) - (z[label] - max z)"
			f.Expr = difference(unary(Ln, sum(exponentials()...)), difference(z(label), top))
		}
		f.To = []Ref{{Kind: Cost}}
	case Cost:
		f.Value = s.Cost.Data
		f.What = "cost of the batch: the mean loss of its examples, nats"
		f.Law = "cost = 1/n Σ_i loss[i]"
		var terms []Expr
		for i, v := range s.Loss.Losses {
			terms = append(terms, number(float64(v), Ref{Kind: Loss, Example: i}))
		}
		f.Expr = quotient(sum(terms...), constant(float64(s.Rows())))
		f.To = []Ref{{Kind: Total}}
	case Penalty:
		s.openPenalty(f)
		f.To = []Ref{{Kind: Total}}
	case Total:
		f.Value = s.Cost.Data + s.Cost.Penalty
		f.What = "what training lowers: cost and penalty"
		f.Law = "C = cost + penalty"
		f.Expr = sum(number(s.Cost.Data, Ref{Kind: Cost}), number(s.Cost.Penalty, Ref{Kind: Penalty}))
	}
}

// openPenalty: half the squared weights, or what the published study took for them.
func (s *Step[T]) openPenalty(f *Formula) {
	lambda, published := s.lambda()
	f.Value = s.Cost.Penalty
	f.What = "penalty on the weights"
	f.Law = "penalty = λ/2 Σ w²; a term for each dense layer"
	if published {
		f.Law = "penalty = λ Σ_j (Σ_p W[p, j])², as published; a term for each dense layer"
	}
	if lambda == 0 {
		f.Expr = constant(0)
		return
	}
	// One term for each layer: of the weights themselves there may be millions.
	var terms []Expr
	for _, p := range s.Net.Params() {
		if p.Role != nn.Weight {
			continue
		}
		before, squares := s.Before[s.params[p.Name]], 0.0
		columns := make([]float64, p.Shape[1])
		for at, w := range before {
			squares += float64(w) * float64(w)
			columns[at%len(columns)] += float64(w)
		}
		if published {
			squares = 0
			for _, c := range columns {
				squares += c * c
			}
		}
		terms = append(terms, constant(squares))
	}
	factor := quotient(constant(lambda), constant(2))
	if published {
		factor = constant(lambda)
	}
	f.Expr = product(factor, sum(terms...))
}

// openOutputGradient: how the cost changes with an output of a layer.
func (s *Step[T]) openOutputGradient(f *Formula, c Convention) {
	l, j, i := f.Ref.Layer, f.Ref.Index[0], f.Ref.Example
	layer, _ := s.layer(l)
	f.Value = s.gradOut(l, i, j).Value
	f.What = fmt.Sprintf("gradient of the %s of unit %d of layer %d (%s), %s", s.noun(l), j, l, layer.Spec().Kind, s.example(i))
	f.To = s.gradientGoesTo(l, i, j)
	if l == len(s.Net.Layers()) {
		f.Law = "dC/dz[j] = (p[j] - [j is the label]) / n"
		target := 0.0
		if int(s.Loss.Labels[i]) == j {
			target = 1
		}
		p := number(float64(s.Loss.Probabilities.At(i, j)), Ref{Kind: Probability, Index: [2]int{j}, Example: i})
		f.Expr = quotient(difference(p, constant(target)), constant(float64(s.Rows())))
		return
	}
	next, _ := s.layer(l + 1)
	_, width := next.Widths()
	g := s.gradOut(l+1, i, min(j, width-1))
	switch next.Spec().Kind {
	case nn.KindDense:
		f.Law = c.law("dC/dx[i, p] = Σ_j dC/dz[i, j]·W[p, j]", "dC/da[p, i] = Σ_j W[j, p]·dC/dz[j, i]")
		w := s.part(l+1, "weight")
		var terms []Expr
		for k := range width {
			if c == Columns {
				terms = append(terms, product(s.before(w, j, k), s.gradOut(l+1, i, k)))
			} else {
				terms = append(terms, product(s.gradOut(l+1, i, k), s.before(w, j, k)))
			}
		}
		f.Expr = sum(terms...)
	case nn.KindReLU:
		f.Law = "dC/dz = dC/da·1 where z > 0, else ·0"
		slope := 0.0
		if s.Trace.Caches[l-1].Out.At(i, j) > 0 {
			slope = 1
		}
		f.Expr = product(g, constant(slope))
	case nn.KindSigmoid:
		f.Law = "dC/dz = dC/da·a·(1 - a)"
		a := s.input(l+2, i, j)
		f.Expr = product(g, a, difference(constant(1), a))
	case nn.KindTanh:
		f.Law = "dC/dz = dC/da·(1 - a)·(1 + a)"
		a := s.input(l+2, i, j)
		f.Expr = product(g, difference(constant(1), a), sum(constant(1), a))
	case nn.KindBatchNorm:
		f.Law = "dC/dx = γ/σ·dC/dy - γ/σ·1/n·dC/dβ - γ/σ·x̂·1/n·dC/dγ: directly, through the mean, through the variance"
		gamma, beta := s.part(l+1, "gamma"), s.part(l+1, "beta")
		factor := []Expr{s.before(gamma, j), s.kept(l+1, "inverse_std", i, j)}
		n := constant(float64(s.Rows()))
		f.Expr = sum(
			product(append(factor[:2:2], g)...),
			unary(Negation, product(append(factor[:2:2], quotient(s.gradient(beta, j), n))...)),
			unary(Negation, product(append(factor[:2:2], s.kept(l+1, "x_hat", i, j), quotient(s.gradient(gamma, j), n))...)))
	case nn.KindPublishedNorm:
		f.Law = "dC/dx = dC/dy: the published study leaves out the derivative of its normalisation"
		f.Expr = g
	}
}

// gradientGoesTo lists what is computed from the gradient of output j of layer l.
func (s *Step[T]) gradientGoesTo(l, i, j int) (to []Ref) {
	layer, _ := s.layer(l)
	for _, p := range layer.Params() {
		switch p.Role {
		case nn.Weight:
			for k := range p.Shape[0] {
				if x := s.input(l, i, k); x.Value != 0 {
					to = append(to, s.ref(p, []int{k, j}).of(Gradient))
				}
			}
		case nn.Bias, nn.Scale, nn.Shift:
			to = append(to, s.ref(p, []int{j}).of(Gradient))
		}
	}
	if l == 1 {
		return to
	}
	in, _ := layer.Widths()
	for k := range in {
		if layer.Spec().Kind == nn.KindDense || k == j {
			to = append(to, Ref{Kind: Output, Aspect: Gradient, Layer: l - 1, Index: [2]int{k}, Example: i})
		}
	}
	return to
}

// openParameterGradient: how the cost changes with a parameter.
func (s *Step[T]) openParameterGradient(f *Formula, c Convention) {
	p := s.Net.Params()[s.params[f.Ref.Name]]
	at := f.Ref.Index[:len(p.Shape)]
	l, j := f.Ref.Layer, at[len(at)-1]
	f.Value = s.gradient(p, at...).Value
	f.What = "gradient of the " + describe(p.Role, f.Ref)
	f.To = []Ref{f.Ref.of(After)}
	var terms []Expr
	if p.Role == nn.Weight && l == 1 {
		for i := range s.Rows() {
			if s.pixel(i, at[0]) == 0 {
				f.Zeros++
			}
		}
		if f.Zeros == s.Rows() { // all say why the gradient is 0
			f.Zeros = 0
		}
	}
	for i := range s.Rows() {
		g := s.gradOut(l, i, j)
		switch p.Role {
		case nn.Weight:
			x := s.input(l, i, at[0])
			if f.Zeros > 0 && x.Value == 0 {
				continue
			}
			if c == Columns {
				terms = append(terms, product(g, x))
			} else {
				terms = append(terms, product(x, g))
			}
		case nn.Scale:
			terms = append(terms, product(g, s.kept(l, "x_hat", i, j)))
		default:
			terms = append(terms, g)
		}
	}
	switch p.Role {
	case nn.Weight:
		f.Law = c.law("dC/dW[p, j] = Σ_i x[i, p]·dC/dz[i, j]", "dC/dW[j, p] = Σ_i dC/dz[j, i]·a[p, i]")
		if lambda, _ := s.lambda(); lambda != 0 {
			f.Law += " + λ·W" + c.law("[p, j]", "[j, p]")
			terms = append(terms, product(constant(lambda), s.before(p, at...)))
		}
	case nn.Bias:
		f.Law = c.law("dC/db[j] = Σ_i dC/dz[i, j]", "dC/db[j] = Σ_i dC/dz[j, i]")
	case nn.Scale:
		f.Law = "dC/dγ[j] = Σ_i dC/dy[i, j]·x̂[i, j]"
	case nn.Shift:
		f.Law = "dC/dβ[j] = Σ_i dC/dy[i, j]"
	}
	f.Expr = sum(terms...)
}
