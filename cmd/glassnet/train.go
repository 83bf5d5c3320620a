package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"glassnet/experiment"
	"glassnet/internal/usererr"
)

// trainCmd trains one network. Flags that were not given keep what --config says,
// or else the default: that is why they are pointers.
type trainCmd struct {
	Config string `placeholder:"FILE.toml" help:"Settings to start from, such as the config.toml of another run; flags override it."`
	dataFlags
	outFlag
	speedFlags
	Seed      *uint64 `placeholder:"N" help:"Seed of everything random (1)."`
	Precision *string `placeholder:"TYPE" help:"float32 or float64 (float32)."`

	Hidden         *string  `placeholder:"20,7,5" help:"Units of the hidden layers; the output layer follows from the data; none is softmax regression (20,7,5)."`
	Activation     *string  `placeholder:"NAME" help:"relu, sigmoid or tanh (relu)."`
	Batchnorm      *bool    `help:"Batch normalisation of the hidden layers."`
	BatchnormPlace *string  `placeholder:"WHERE" help:"before or after the activation (before)."`
	L2             *float64 `name:"l2" placeholder:"LAMBDA" help:"L2 penalty lambda/2 times the sum of squared weights, in the cost; the published study calls it L2 normalization (0)."`
	Init           *string  `placeholder:"NAME" help:"Initial weights: he-, glorot- or lecun- with normal or uniform; zeros (he-normal)."`
	Rule           *string  `placeholder:"NAME" help:"Update rule: sgd (sgd)."`
	LR             *float64 `name:"lr" placeholder:"RATE" help:"Learning rate (0.009)."`
	Batch          *int     `placeholder:"N" help:"Examples per step (128)."`
	Epochs         *int     `placeholder:"N" help:"Epochs at most (20)."`
	Patience       *int     `placeholder:"N" help:"Stop after N epochs without a better validation cost and keep the best weights; 0 turns it off (0)."`
	Validation     *float64 `placeholder:"SHARE" help:"Share of the training examples set aside for validation (0.2)."`
	JSON           bool     `help:"Print result.json instead of a summary."`
	Quiet          bool     `help:"No progress."`
}

// Run implements the command.
func (c *trainCmd) Run(s *session) error {
	settings, err := c.settings()
	if err != nil {
		return err
	}
	threads, err := c.use()
	if err != nil {
		return err
	}
	quiet := c.Quiet || c.JSON
	dir, release, err := c.folder("train")
	if err != nil {
		return err
	}
	defer release()
	data, err := c.load(s, settings.Dataset, quiet)
	if err != nil {
		return err
	}
	if settings.Dataset == "" {
		settings.Dataset = data.Name
	}
	meter := newMeter(s.stderr, quiet)
	run, failure := experiment.Train(s.ctx, dir, data, settings, experiment.TrainOptions{
		Threads: threads, Name: "train", Progress: meter.run,
	})
	meter.close()
	if run.Stopped == "" {
		return failure
	}
	// What came out is printed also where its files could not be written.
	if err := c.print(s, run, dir); err != nil {
		return err
	}
	// The cross entropy of the same probability for each class. From zeros, a network begins with it.
	nothing := math.Log(float64(data.Train.Classes))
	if !c.JSON && run.TrainCost != nil && *run.TrainCost > 1.001*nothing {
		fmt.Fprintf(s.stderr, "note: the cost of the training examples, %.4g, is above %.4g, that of the same probability for each of %d classes; a smaller --lr or more --epochs may help\n",
			*run.TrainCost, nothing, data.Train.Classes)
	}
	return failure
}

// settings puts the flags over the config file over the defaults.
func (c *trainCmd) settings() (experiment.Settings, error) {
	s := experiment.Settings{Precision: "float32", Seed: 1, Config: experiment.Default()}
	if c.Config != "" {
		if err := experiment.LoadSettings(c.Config, &s); err != nil {
			return s, err
		}
	}
	if c.Dataset != "" {
		s.Dataset = c.Dataset
	}
	set(&s.Seed, c.Seed)
	set(&s.Precision, c.Precision)
	set(&s.Activation, c.Activation)
	set(&s.Place, c.BatchnormPlace)
	set(&s.L2, c.L2)
	set(&s.Init, c.Init)
	set(&s.Rule, c.Rule)
	set(&s.LearningRate, c.LR)
	set(&s.Batch, c.Batch)
	set(&s.Epochs, c.Epochs)
	set(&s.Validation, c.Validation)
	if c.Batchnorm != nil {
		s.Normalisation = map[bool]string{true: experiment.NormalisationBatch, false: experiment.NormalisationNone}[*c.Batchnorm]
	}
	if c.Patience != nil {
		s.Stop, s.Patience = experiment.StopPatience, *c.Patience
		if *c.Patience == 0 {
			s.Stop = experiment.StopNone
		}
	}
	if c.BatchnormPlace != nil && s.Normalisation == experiment.NormalisationNone {
		return s, usererr.New("--batchnorm-place %s without a normalisation", *c.BatchnormPlace).Try("--batchnorm beside it")
	}
	if c.Patience != nil && *c.Patience > 0 && s.Validation == 0 {
		return s, usererr.New("--patience looks at the validation cost, but there are no validation examples").Try("--validation 0.2, or no --patience")
	}
	if c.Hidden != nil {
		units, err := parseUnits(*c.Hidden)
		if err != nil {
			return s, err
		}
		s.Hidden = units
	}
	return s, byFlag(s.Validate())
}

// byFlag tells by which flag a setting is changed that cannot be what it is.
func byFlag(err error) error {
	user, ok := usererr.Find(err)
	if !ok || user.Hint != "" || user.Setting == "" {
		return err
	}
	flag := "--" + user.Setting
	switch user.Setting {
	case "learning_rate":
		flag = "--lr"
	case "place":
		flag = "--batchnorm-place"
	}
	return user.Try("another %s; glassnet train --help says what it is", flag)
}

func set[V any](to *V, flag *V) {
	if flag != nil {
		*to = *flag
	}
}

// parseUnits reads "20,7,5"; "none" has no hidden layer.
func parseUnits(text string) ([]int, error) {
	units := []int{}
	if text == "none" {
		return units, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(part))
		if err != nil {
			return nil, usererr.New("--hidden %q: %q is not a number of units", text, part).Try("--hidden 20,7,5, or --hidden none")
		}
		units = append(units, n)
	}
	return units, nil
}

func (c *trainCmd) print(s *session, run experiment.Run, dir string) error {
	run.Dir = dir
	if c.JSON {
		return printJSON(s.stdout, run)
	}
	fmt.Fprintf(s.stdout, "stopped: %s; epochs: %d, steps: %d, %.1f s\n", run.Stopped, run.Epochs, run.Steps, run.Seconds)
	if run.BestStep > 0 {
		fmt.Fprintf(s.stdout, "kept: the weights of epoch %d, which had the lowest validation cost\n", run.BestEpoch)
	}
	fmt.Fprintf(s.stdout, "            accuracy   cost\n")
	for _, row := range []struct {
		name           string
		accuracy, cost *float64
	}{
		{"train", run.TrainAccuracy, run.TrainCost},
		{"validation", run.ValAccuracy, run.ValCost},
		{"test", run.TestAccuracy, run.TestCost},
	} {
		fmt.Fprintf(s.stdout, "%-10s  %8s  %6s\n", row.name, decimals(row.accuracy), decimals(row.cost))
	}
	model := filepath.Join(dir, "model.safetensors")
	if _, err := os.Stat(model); err != nil {
		fmt.Fprintln(s.stdout, map[bool]string{true: "model: none, its numbers are not finite", false: "model: none, it could not be written"}[run.Diverged != ""])
		return nil
	}
	fmt.Fprintf(s.stdout, "model: %s\n", printable(model))
	return nil
}

func decimals(v *float64) string {
	if v == nil {
		return "-"
	}
	return fmt.Sprintf("%.4f", *v)
}
