package experiment

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"glassnet/internal/usererr"
	"glassnet/nn"
	"glassnet/optim"
)

// Config is one training's settings: what a study file, the flags of `train` and
// the web form all say. A zero never means "default": start from Default.
type Config struct {
	Hidden         []int   `toml:"hidden" json:"hidden"`                   // units of the hidden layers; [] is softmax regression
	Activation     string  `toml:"activation" json:"activation"`           // of the hidden layers: relu, sigmoid, tanh
	Normalisation  string  `toml:"normalisation" json:"normalisation"`     // of the hidden layers: none, batch, published-per-example
	Place          string  `toml:"place" json:"place"`                     // of the normalisation: before or after the activation
	Init           string  `toml:"init" json:"init"`                       // of the weights: see nn.Initialisers
	Loss           string  `toml:"loss" json:"loss"`                       // cross_entropy, published_cross_entropy
	L2             float64 `toml:"l2" json:"l2"`                           // lambda of the penalty
	L2Form         string  `toml:"l2_form" json:"l2_form"`                 // l2, published
	Rule           string  `toml:"rule" json:"rule"`                       // sgd
	LearningRate   float64 `toml:"learning_rate" json:"learning_rate"`     //
	Batch          int     `toml:"batch" json:"batch"`                     // examples per step
	Epochs         int     `toml:"epochs" json:"epochs"`                   // at most
	Validation     float64 `toml:"validation" json:"validation"`           // share of the training examples set aside
	Shuffle        bool    `toml:"shuffle" json:"shuffle"`                 // a new order of the examples in each epoch
	LookEvery      int     `toml:"look_every" json:"look_every"`           // steps between looks, within an epoch; 0: one look at its end
	Stop           string  `toml:"stop" json:"stop"`                       // none, patience, published-criterion
	Patience       int     `toml:"patience" json:"patience"`               // stop = patience: epochs without a better validation cost
	MinImprovement float64 `toml:"min_improvement" json:"min_improvement"` // stop = patience: what counts as better, nats
	Criterion      float64 `toml:"criterion" json:"criterion"`             // stop = published-criterion: difference of validation costs
	Random         string  `toml:"random" json:"random"`                   // streams, numpy-legacy
}

// The values of the settings that are words.
const (
	NormalisationNone      = "none"
	NormalisationBatch     = "batch"
	NormalisationPublished = "published-per-example"

	L2Published = optim.FormPublished

	PlaceBefore = "before"
	PlaceAfter  = "after"

	StopNone      = "none"
	StopPatience  = "patience"
	StopPublished = "published-criterion"

	RandomStreams = "streams"
	RandomNumpy   = "numpy-legacy"
)

// Default returns the settings that a study file or the flags start from.
func Default() Config {
	return Config{
		Hidden: []int{20, 7, 5}, Activation: nn.KindReLU,
		Normalisation: NormalisationNone, Place: PlaceBefore,
		Init: "he-normal", Loss: nn.LossCrossEntropy, L2Form: optim.FormL2,
		Rule: "sgd", LearningRate: 0.009, Batch: 128, Epochs: 20,
		Validation: 0.2, Shuffle: true, Stop: StopNone, Patience: 20,
		Criterion: 1e-5, Random: RandomStreams,
	}
}

// Bounds on settings: far beyond use, far below what exhausts the machine.
const (
	maxHidden       = 64
	maxUnits        = 1 << 16
	maxBatch        = 1 << 16
	maxEpochs       = 1_000_000
	minRate         = 1e-30 // not 0 in float32
	maxRate         = 1e3
	maxLambda       = 1e3
	maxPatience     = maxEpochs
	maxBatchNumbers = 1 << 28 // of all hidden layers' outputs: 2 GiB in float64
)

// Validate checks every setting and names the first that is impossible, with what
// it is and what it may be.
func (c Config) Validate() error {
	var initialisers []string
	for _, i := range nn.Initialisers {
		initialisers = append(initialisers, i.Name)
	}
	for _, word := range []struct {
		key, got string
		want     []string
	}{
		{"activation", c.Activation, []string{nn.KindReLU, nn.KindSigmoid, nn.KindTanh}},
		{"normalisation", c.Normalisation, []string{NormalisationNone, NormalisationBatch, NormalisationPublished}},
		{"place", c.Place, []string{PlaceBefore, PlaceAfter}},
		{"init", c.Init, initialisers},
		{"loss", c.Loss, []string{nn.LossCrossEntropy, nn.LossPublishedCrossEntropy}},
		{"l2_form", c.L2Form, []string{optim.FormL2, optim.FormPublished}},
		{"rule", c.Rule, []string{"sgd"}},
		{"stop", c.Stop, []string{StopNone, StopPatience, StopPublished}},
		{"random", c.Random, []string{RandomStreams, RandomNumpy}},
	} {
		if !slices.Contains(word.want, word.got) {
			return usererr.New("%s = %q, want %s", word.key, word.got, usererr.List(word.want)).Of(word.key)
		}
	}
	if len(c.Hidden) > maxHidden {
		return usererr.New("hidden has %d layers, want at most %d", len(c.Hidden), maxHidden).Of("hidden")
	}
	for i, units := range c.Hidden {
		if units < 1 || units > maxUnits {
			return usererr.New("hidden[%d] = %d units, want 1 to %d", i, units, maxUnits).Of("hidden")
		}
	}
	for _, number := range []struct {
		key      string
		got      float64
		ok       bool
		wantText string
	}{
		{"l2", c.L2, c.L2 >= 0 && c.L2 <= maxLambda, fmt.Sprintf("a number from 0 to %v", maxLambda)},
		{"learning_rate", c.LearningRate, c.LearningRate >= minRate && c.LearningRate <= maxRate, fmt.Sprintf("a number from %v to %v", minRate, maxRate)},
		{"batch", float64(c.Batch), c.Batch >= 1 && c.Batch <= maxBatch, fmt.Sprintf("1 to %d", maxBatch)},
		{"epochs", float64(c.Epochs), c.Epochs >= 1 && c.Epochs <= maxEpochs, fmt.Sprintf("1 to %d", maxEpochs)},
		{"validation", c.Validation, c.Validation >= 0 && c.Validation <= 0.9, "a share from 0 to 0.9"},
		{"look_every", float64(c.LookEvery), c.LookEvery >= 0, "0 or more steps"},
		{"patience", float64(c.Patience), c.Patience >= 0 && c.Patience <= maxPatience, fmt.Sprintf("0 to %d epochs", maxPatience)},
		{"min_improvement", c.MinImprovement, c.MinImprovement >= 0 && !math.IsInf(c.MinImprovement, 0), "a finite number >= 0"},
		{"criterion", c.Criterion, c.Criterion >= 0 && !math.IsInf(c.Criterion, 0), "a finite number >= 0"},
	} {
		if !number.ok {
			return usererr.New("%s = %s, want %s", number.key, plain(number.got), number.wantText).Of(number.key)
		}
	}
	all := 0
	for _, units := range c.Hidden {
		all += units
	}
	switch {
	case all > maxBatchNumbers/c.Batch:
		return usererr.New("batch = %d with %d hidden units is %d numbers, want at most %d", c.Batch, all, int64(c.Batch)*int64(all), maxBatchNumbers)
	case c.Normalisation == NormalisationBatch && c.Batch < 2:
		return usererr.New("batch = 1 has no variance, want 2 or more with normalisation = %q", NormalisationBatch).Of("batch")
	case c.Stop != StopNone && c.Validation == 0:
		return usererr.New("stop = %q looks at the validation cost, but validation = 0", c.Stop).Try("validation = 0.2")
	case c.Stop == StopPatience && c.Patience < 1:
		return usererr.New("patience = 0 with stop = %q, want 1 or more epochs", c.Stop)
	case c.Stop == StopPublished && !(c.Criterion > 0):
		return usererr.New("criterion = 0 with stop = %q, want a number > 0", c.Stop)
	case c.Random == RandomNumpy && c.Init != "he-normal":
		return usererr.New("init = %q with random = %q, want %q, which is all that the published study drew", c.Init, c.Random, "he-normal")
	}
	return nil
}

// plain prints a whole number of up to nine digits as one.
func plain(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e9 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return fmt.Sprint(v)
}

// Architecture returns the network that the settings describe, for examples of in
// features and the given number of classes.
func (c Config) Architecture(in, classes int) nn.Architecture {
	a := nn.Architecture{Input: in}
	add := func(s nn.LayerSpec) { a.Layers = append(a.Layers, s) }
	normalise := func(place string) {
		switch {
		case c.Place != place:
		case c.Normalisation == NormalisationBatch:
			o := nn.DefaultBatchNorm()
			add(nn.LayerSpec{Kind: nn.KindBatchNorm, Epsilon: o.Epsilon, Decay: o.Decay})
		case c.Normalisation == NormalisationPublished:
			add(nn.LayerSpec{Kind: nn.KindPublishedNorm})
		}
	}
	for _, units := range c.Hidden {
		// Batch normalisation right behind a dense layer subtracts any bias.
		noBias := c.Normalisation == NormalisationBatch && c.Place == PlaceBefore
		add(nn.LayerSpec{Kind: nn.KindDense, Units: units, NoBias: noBias})
		normalise(PlaceBefore)
		add(nn.LayerSpec{Kind: c.Activation})
		normalise(PlaceAfter)
	}
	add(nn.LayerSpec{Kind: nn.KindDense, Units: classes})
	return a
}
