package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"unsafe"

	"glassnet/dataset"
	"glassnet/explain"
	"glassnet/internal/usererr"
	"glassnet/matrix"
	"glassnet/modelfile"
	"glassnet/nn"
	"glassnet/optim"
	"glassnet/random"
)

// explainCmd shows one example's forward and backward pass with its numbers.
type explainCmd struct {
	Model      string   `arg:"" help:"A model.safetensors."`
	Example    int      `placeholder:"I" help:"Example of the data set, from 0 (0)."`
	Set        string   `default:"test" enum:"test,train" help:"test or train: which examples (test)."`
	Batch      *int     `placeholder:"N" help:"Examples in the step, this one and those after it; 1, or with batch normalisation as many as in training."`
	Unit       []string `sep:"none" placeholder:"LAYER:UNIT" help:"Open the output of a unit and its gradient, such as 2:5; layers count from 1, units from 0."`
	Param      []string `sep:"none" placeholder:"NAME:INDEX" help:"Open a parameter, its gradient and its update, such as 1.dense.weight:13,4 (from input 13 to unit 4)."`
	Open       []string `sep:"none" placeholder:"REF" help:"Open any number: loss, cost, p:3, x:345, 2.batch_norm.x_hat:5, grad(2:5), after(1.dense.bias:4); @3 behind it means row 3 of the batch."`
	Check      bool     `help:"Compare gradients with finite differences in float64: those of what is opened, or 25 of each kind. Exit code 1 if one is off."`
	Full       bool     `help:"Print all terms of a formula, and all digits."`
	Saliency   bool     `help:"Which pixels speak for the predicted class: gradient, gradient times input, occlusion."`
	Convention string   `default:"rows" enum:"rows,columns" help:"rows: examples are rows, x·W; columns: as in the published study, W·a (rows)."`
	LR         *float64 `name:"lr" placeholder:"RATE" help:"Learning rate of the update; by default that of the training."`
	dataFlags
	speedFlags
	JSON  bool `help:"Print JSON."`
	Quiet bool `help:"No progress."`
}

// Run implements the command.
func (c *explainCmd) Run(s *session) error {
	threads, err := c.use()
	if err != nil {
		return err
	}
	refs, err := c.refs()
	if err != nil {
		return err
	}
	precision, _, facts, err := modelfile.Inspect(c.Model)
	if err != nil {
		return err
	}
	data, err := modelData(s, c.Model, facts, c.dataFlags, c.Quiet || c.JSON)
	if err != nil {
		return err
	}
	if precision == "float64" {
		return explainAs[float64](s, c, data, refs, threads)
	}
	return explainAs[float32](s, c, data, refs, threads)
}

// refs lists what is to be opened.
func (c *explainCmd) refs() (refs []explain.Ref, err error) {
	const other = "; --open takes any number of a step"
	add := func(flag, text string, kind explain.Kind, want string, aspects ...explain.Aspect) {
		r, e := explain.ParseRef(text)
		switch {
		case err != nil:
		case e != nil:
			err = usererr.New("%s: %w", flag, e).Try("%s", want+other)
		case r.Aspect != explain.Value || r.Kind != kind:
			err = usererr.New("%s: %.100q, want %s", flag, text, want).Try("%s", want+other)
		default:
			for _, a := range aspects {
				one := r
				one.Aspect = a
				refs = append(refs, one)
			}
		}
	}
	for _, text := range c.Unit {
		add("--unit", text, explain.Output, "LAYER:UNIT, such as 2:5", explain.Value, explain.Gradient)
	}
	for _, text := range c.Param {
		add("--param", text, explain.Parameter, "NAME:INDEX, such as 1.dense.weight:13,4", explain.Value, explain.Gradient, explain.After)
	}
	for _, text := range c.Open {
		r, e := explain.ParseRef(text)
		if e != nil {
			return nil, usererr.New("--open: %w", e)
		}
		refs = append(refs, r)
	}
	return refs, err
}

// explained is what has been found out, whatever the number type.
type explained struct {
	Model      string `json:"model"`
	Dataset    string `json:"dataset"`
	Set        string `json:"set"`
	Example    int    `json:"example"`
	Batch      int    `json:"batch"`
	Convention string `json:"convention"`
	Precision  string `json:"precision"`
	explain.Overview
	Opened   []opened            `json:"opened,omitempty"`
	Checks   []explain.CheckText `json:"checks,omitempty"`
	Known    []string            `json:"known_faults,omitempty"` // why gradients are off, where that is known
	Saliency *salient            `json:"saliency,omitempty"`

	image         []byte
	width         int
	publishedLoss bool
}

// opened is one number with its formula.
type opened struct {
	explain.Opened
	Activating []activating `json:"maximally_activating,omitempty"` // examples, of a unit

	formula explain.Formula
}

// activating is an example with the output of a unit for it.
type activating struct {
	Example int     `json:"example"`
	Label   int     `json:"label"`
	Value   float64 `json:"value"`
}

// mostActivating is how many examples are named for which a unit's output is largest.
const mostActivating = 6

type salient struct {
	Class              int       `json:"class"`
	Gradient           []float64 `json:"gradient"`
	GradientTimesInput []float64 `json:"gradient_times_input"`
	Occlusion          []float64 `json:"occlusion"`
	Patch              int       `json:"patch"`
	LeavesOut          bool      `json:"leaves_out"` // the derivative of the published normalisation, of the gradient
}

// occlusionPatch is the side of the square that occlusion blanks.
const occlusionPatch = 4

func explainAs[T matrix.Float](s *session, c *explainCmd, data *dataset.Data, refs []explain.Ref, threads int) error {
	m, err := modelfile.Load[T](c.Model)
	if err != nil {
		return err
	}
	set := data.Test
	if c.Set == "train" {
		set = data.Train
	}
	view, err := c.batch(set, m.Facts, m.Net.Architecture())
	if err != nil {
		return err
	}
	rate := m.Facts.LearningRate
	if c.LR != nil {
		rate = *c.LR
	}
	switch {
	case c.LR != nil && !(rate > 0 && !math.IsInf(rate, 0)):
		return usererr.New("--lr %v, want a finite number > 0", rate)
	case rate == 0:
		return usererr.New("%s does not say its learning rate", c.Model).Try("--lr 0.009")
	}
	step, err := record(m.Net, m.Facts, view, rate, threads)
	if _, ok := usererr.Find(err); ok {
		return usererr.New("%s: %w", c.Model, err)
	}
	if err != nil {
		return err
	}
	convention, err := explain.ParseConvention(c.Convention)
	if err != nil {
		return err
	}
	e := &explained{
		Model: c.Model, Dataset: data.Name, Set: c.Set, Example: c.Example, Batch: step.Rows(), Convention: c.Convention,
		Precision: fmt.Sprintf("float%d", 8*unsafe.Sizeof(T(0))), Overview: step.Overview(0, convention),
		image: set.Image(c.Example), width: set.Width,
		publishedLoss: m.Facts.Loss == nn.LossPublishedCrossEntropy,
	}
	style := explain.Brief
	if c.Full {
		style = explain.Style{Bits: 8 * int(unsafe.Sizeof(T(0)))}
	}
	for _, r := range refs {
		f, err := step.Open(r, convention)
		if err != nil {
			return err
		}
		o := opened{Opened: f.Text(style), formula: f}
		if r.Kind == explain.Output && r.Aspect == explain.Value {
			examples, err := explain.MaximallyActivating(s.ctx, m.Net, dataset.All(set), r.Layer, r.Index[0], mostActivating, threads)
			if err != nil {
				return err
			}
			for _, x := range examples {
				o.Activating = append(o.Activating, activating{x.Example, int(set.Labels[x.Example]), x.Value})
			}
		}
		e.Opened = append(e.Opened, o)
	}
	if c.Check {
		if e.Checks, err = checks(s.ctx, step, refs); err != nil {
			return err
		}
		e.Known = step.KnownFaults()
	}
	if c.Saliency {
		found, err := explain.Salient(s.ctx, m.Net, e.image, e.width, -1, min(occlusionPatch, e.width), threads)
		if err != nil {
			return err
		}
		e.Saliency = &salient{found.Class, found.Gradient, found.GradientTimesInput, found.Occlusion, found.Patch, found.LeavesOut}
	}
	if c.JSON {
		err = printJSON(s.stdout, e)
	} else {
		err = newExplainPrinter(s.stdout, style, convention).print(e)
	}
	if err == nil && slices.ContainsFunc(e.Checks, func(c explain.CheckText) bool { return c.Off }) {
		fmt.Fprintln(s.stderr, "error: a gradient is off")
		return errCheckFailed
	}
	return err
}

// batch selects the example and those after it, round the end of the set.
func (c *explainCmd) batch(set *dataset.Set, facts modelfile.Facts, a nn.Architecture) (dataset.View, error) {
	n := 1
	if slices.ContainsFunc(a.Layers, func(l nn.LayerSpec) bool { return l.Kind == nn.KindBatchNorm }) {
		n = max(2, facts.Batch)
		if facts.Batch == 0 {
			n = 128
		}
		n = min(n, set.Len())
	}
	if c.Batch != nil {
		n = *c.Batch
	}
	return explain.Follow(set, c.Example, n)
}

// record makes the step that training would make next.
func record[T matrix.Float](net *nn.Network[T], facts modelfile.Facts, view dataset.View, rate float64, threads int) (*explain.Step[T], error) {
	loss, err := lossOf[T](facts.Loss)
	if err != nil {
		return nil, err
	}
	form := facts.L2Form
	if form == "" {
		form = optim.FormL2
	}
	penalty, err := optim.NewPenalty[T](form, facts.L2)
	if err != nil {
		return nil, err
	}
	name := facts.Rule
	if name == "" {
		name = "sgd"
	}
	rule, err := optim.NewRule[T](name)
	if err != nil {
		return nil, err
	}
	return explain.Record(net, view, explain.Options[T]{Loss: loss, Penalty: penalty, Rule: rule, Rate: rate, Threads: threads})
}

// checksPerKind is how many gradients of each kind are checked when none are named.
const checksPerKind = 25

// checks compares gradients with finite differences: those of refs, or of each kind of
// parameter and layer some at random.
func checks[T matrix.Float](ctx context.Context, step *explain.Step[T], refs []explain.Ref) ([]explain.CheckText, error) {
	if len(refs) == 0 {
		refs = step.SampleGradients(random.New(1, "explain/check"), checksPerKind)
	}
	var all []explain.CheckText
	seen := map[explain.Ref]bool{}
	for _, r := range refs {
		r.Aspect = explain.Gradient
		if seen[r] || r.Kind != explain.Output && r.Kind != explain.Parameter {
			continue // of what is neither, no gradient is computed
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		seen[r] = true
		c, err := step.Check(r)
		if err != nil {
			return nil, err
		}
		all = append(all, step.CheckText(c))
	}
	if len(all) == 0 {
		return nil, usererr.New("--check of %s: only outputs of layers and parameters have gradients", refs[0]).Try("--check alone, or with --unit or --param")
	}
	return all, nil
}
