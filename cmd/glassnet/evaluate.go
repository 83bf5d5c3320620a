package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"glassnet/dataset"
	"glassnet/experiment"
	"glassnet/internal/usererr"
	"glassnet/modelfile"
	"glassnet/nn"
)

// evaluateCmd measures a model on the test set of a data set.
type evaluateCmd struct {
	Model string `arg:"" help:"A model.safetensors."`
	dataFlags
	speedFlags
	JSON  bool `help:"Print JSON."`
	Quiet bool `help:"No progress."`
}

// Run implements the command.
func (c *evaluateCmd) Run(s *session) error {
	threads, err := c.use()
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
	e, err := unlessEnded(s.ctx, func() (experiment.Evaluation, error) {
		if precision == "float64" {
			return evaluateAs[float64](c.Model, data, threads)
		}
		return evaluateAs[float32](c.Model, data, threads)
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(s.stdout, e)
	}
	printEvaluation(s.stdout, e)
	return nil
}

// unlessEnded does work that writes nothing, and so may be left where it is when ctx ends.
func unlessEnded[V any](ctx context.Context, work func() (V, error)) (v V, err error) {
	done := make(chan func() (V, error), 1)
	go func() {
		v, err := work()
		done <- func() (V, error) { return v, err }
	}()
	select {
	case <-ctx.Done():
		return v, ctx.Err()
	case result := <-done:
		return result()
	}
}

// modelData loads the data set that a model was trained on, or the one that --dataset
// names, whose images must have the model's size.
func modelData(s *session, model string, facts modelfile.Facts, flags dataFlags, quiet bool) (*dataset.Data, error) {
	name := flags.Dataset
	if name == "" {
		name = facts.Dataset
	}
	if name == "" {
		return nil, usererr.New("%s does not say which data set it was trained on", model).Try("--dataset mnist")
	}
	data, err := flags.load(s, name, quiet)
	if user, ok := usererr.Find(err); ok && flags.Dataset == "" {
		return nil, usererr.New("%s was trained on %q: %w", model, name, err).Try("%s", cmp.Or(user.Hint, "--dataset with the folder that it was trained on"))
	}
	if err != nil {
		return nil, err
	}
	if flags.Dataset == "" && facts.DatasetSHA256 != "" && data.SHA256 != facts.DatasetSHA256 {
		return nil, usererr.New("%s was trained on another data set of the name %q (SHA-256 %.12s..., got %.12s...)",
			model, name, facts.DatasetSHA256, data.SHA256).Try("--dataset with the folder that it was trained on")
	}
	if facts.Width > 0 && (data.Test.Width != facts.Width || data.Test.Height != facts.Height) {
		return nil, usererr.New("%s takes images of %dx%d, but those of %s are %dx%d",
			model, facts.Width, facts.Height, name, data.Test.Width, data.Test.Height)
	}
	return data, nil
}

func evaluateAs[T float32 | float64](path string, data *dataset.Data, threads int) (experiment.Evaluation, error) {
	m, err := modelfile.Load[T](path)
	if err != nil {
		return experiment.Evaluation{}, err
	}
	in, classes := m.Net.Widths()
	if in != data.Test.Features() || classes < data.Test.Classes {
		return experiment.Evaluation{}, usererr.New("%s takes %d features and tells %d classes apart, but %s has %d and %d",
			path, in, classes, data.Name, data.Test.Features(), data.Test.Classes)
	}
	loss, err := lossOf[T](m.Facts.Loss)
	if err != nil {
		return experiment.Evaluation{}, err
	}
	e := experiment.Evaluate(m.Net, loss, data.Name, data.Test, threads, 0)
	if e.Accuracy == nil {
		return e, usererr.New("the outputs of %s overflow on the test set of %s: it tells nothing", path, data.Name).
			Try("another model; the training of this one has most likely diverged")
	}
	return e, nil
}

// lossOf returns the loss that a model was trained with, cross entropy when it
// does not say.
func lossOf[T float32 | float64](name string) (nn.Loss[T], error) {
	if name == "" {
		name = nn.LossCrossEntropy
	}
	return nn.NewLoss[T](name)
}

func printEvaluation(w io.Writer, e experiment.Evaluation) {
	fmt.Fprintf(w, "%s, %d test examples: accuracy %s, cost %s\n\n", printable(e.Dataset), e.Examples, decimals(e.Accuracy), decimals(e.Cost))
	fmt.Fprintf(w, "class  precision  recall      F1  support\n")
	for _, c := range e.PerClass {
		fmt.Fprintf(w, "%5d  %9s  %6s  %6s  %7d\n", c.Class, decimals(c.Precision), decimals(c.Recall), decimals(c.F1), c.Support)
	}
	fmt.Fprintf(w, "\nconfusion: rows are labels, columns what the model says\n     ")
	for c := range e.Confusion {
		fmt.Fprintf(w, "%6d", c)
	}
	fmt.Fprintln(w)
	for c, row := range e.Confusion {
		fmt.Fprintf(w, "%5d", c)
		for _, n := range row {
			fmt.Fprintf(w, "%6d", n)
		}
		fmt.Fprintln(w)
	}
}

func printJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}
