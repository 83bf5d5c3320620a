package experiment

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/pelletier/go-toml/v2"

	"glassnet/dataset"
	"glassnet/internal/atomicfile"
	"glassnet/internal/kernel"
	"glassnet/internal/numpyrand"
	"glassnet/internal/usererr"
	"glassnet/matrix"
	"glassnet/modelfile"
	"glassnet/nn"
	"glassnet/optim"
	"glassnet/random"
	"glassnet/train"
)

// Settings are all that decides the numbers of a run by itself: what config.toml in a
// run's folder says, and what `train --config` reads. Runs of a study with stream_order
// depend on their place in the stream too: those after the first do not come out again
// from their config.toml.
type Settings struct {
	Dataset   string `toml:"dataset" json:"dataset"`
	Precision string `toml:"precision" json:"precision"`
	Seed      uint64 `toml:"seed" json:"seed"`
	Config
}

// LoadSettings reads a run's config.toml; what it leaves out keeps the value that
// s has.
func LoadSettings(path string, s *Settings) error {
	text, err := readSmall(path)
	if err != nil {
		return err
	}
	if err := decodeStrict(path, text, s); err != nil {
		return err
	}
	if err := s.Validate(); err != nil {
		return usererr.New("%s: %w", path, err)
	}
	return nil
}

// Validate checks the settings of one run.
func (s Settings) Validate() error {
	if s.Precision != "float32" && s.Precision != "float64" {
		return usererr.New("precision = %q, want %q or %q", s.Precision, "float32", "float64").Of("precision")
	}
	if s.Seed > math.MaxInt64 {
		return usererr.New("seed %d, want at most %d", s.Seed, int64(math.MaxInt64)).Of("seed")
	}
	if s.Random == RandomNumpy && s.Seed > 1<<32-1 {
		return usererr.New("seed %d, want at most %d with random = %q", s.Seed, uint32(1<<32-1), RandomNumpy).Of("seed")
	}
	return s.Config.Validate()
}

// validateFor checks them for the data too, and so before weights are drawn for the network.
func (s Settings) validateFor(data *dataset.Data) error {
	if err := s.Validate(); err != nil {
		return err
	}
	return s.Architecture(data.Train.Features(), data.Train.Classes).Check()
}

// Progress is how far one run has come.
type Progress struct {
	Run       string // experiment and seed, "exp1-seed42"
	Epoch     int
	MaxEpochs int
	Step      int
	Cost      float64 // validation cost, or training cost without validation set; NaN before the first look
	Accuracy  float64 // validation accuracy, or training accuracy; NaN before the first look
	Done      bool
	Stopped   string // when Done
}

// draw holds the random numbers that a run starts from.
type draw struct {
	order   []int32     // of all training examples, before the split
	weights [][]float64 // of each dense layer, [in, out]; nil: from the stream "init"
}

// numpyDraw takes a run's numbers from numpy's legacy generator as the published
// study did: the permutation, then each layer's weights as [out, in], row by row,
// standard normal times √(2/in).
func numpyDraw(s *numpyrand.State, examples int, a nn.Architecture) draw {
	d := draw{order: s.Permutation(examples)}
	in := a.Input
	for _, l := range a.Layers {
		if l.Kind != nn.KindDense {
			continue
		}
		scale := math.Sqrt(2 / float64(in))
		w := make([]float64, in*l.Units)
		for j := range l.Units {
			for p := range in {
				w[p*l.Units+j] = s.Normal() * scale
			}
		}
		d.weights = append(d.weights, w)
		in = l.Units
	}
	return d
}

func streamsDraw(seed uint64, examples int) draw {
	return draw{order: random.New(seed, random.Split).Permutation(examples)}
}

// Ready is a run prepared up to its first step.
type Ready[T matrix.Float] struct {
	Net             *nn.Network[T]
	Loss            nn.Loss[T]
	Penalty         optim.Penalty[T]
	Rule            optim.Rule[T]
	Trainer         *train.Trainer[T]
	Batch           int // examples per step
	Fit, Validation dataset.View
}

// Prepare builds the network that the settings describe, with its initial weights, and
// what trains it; data is divided as the settings say. Steps made one by one give the
// bits of Train when each epoch's order is shuffled by the stream random.Shuffle.
func Prepare[T matrix.Float](data *dataset.Data, s Settings, threads int) (*Ready[T], error) {
	if err := s.validateFor(data); err != nil {
		return nil, err
	}
	return prepare[T](data, s, drawOf(data, s), threads)
}

// drawOf returns the random numbers that a run by itself starts from.
func drawOf(data *dataset.Data, s Settings) draw {
	if s.Random == RandomNumpy {
		return numpyDraw(numpyrand.New(uint32(s.Seed)), data.Train.Len(), s.Architecture(data.Train.Features(), data.Train.Classes))
	}
	return streamsDraw(s.Seed, data.Train.Len())
}

func prepare[T matrix.Float](data *dataset.Data, s Settings, d draw, threads int) (*Ready[T], error) {
	var r Ready[T]
	var err error
	if r.Net, err = nn.Build[T](s.Architecture(data.Train.Features(), data.Train.Classes)); err != nil {
		return nil, err
	}
	if d.weights == nil {
		rule, err := nn.FindInitialiser(s.Init)
		if err != nil {
			return nil, err
		}
		nn.Initialise(r.Net, rule, random.New(s.Seed, random.Init))
	} else {
		setWeights(r.Net, d.weights)
	}
	if r.Loss, err = nn.NewLoss[T](s.Loss); err != nil {
		return nil, err
	}
	if r.Penalty, err = optim.NewPenalty[T](s.L2Form, s.L2); err != nil {
		return nil, err
	}
	if r.Rule, err = optim.NewRule[T](s.Rule); err != nil {
		return nil, err
	}
	if r.Fit, r.Validation, err = dataset.Split(data.Train, d.order, s.Validation); err != nil {
		return nil, err
	}
	r.Batch = min(s.Batch, r.Fit.Len())
	o := train.Options[T]{
		Loss: r.Loss, Penalty: r.Penalty, Rule: r.Rule, Rate: s.LearningRate,
		Batch: r.Batch, Threads: threads, LookEvery: s.LookEvery,
	}
	if s.Shuffle {
		o.Shuffle = random.New(s.Seed, random.Shuffle)
	}
	if r.Trainer, err = train.New(r.Net, o); err != nil {
		return nil, err
	}
	return &r, r.Trainer.Check(r.Fit, r.Validation)
}

func setWeights[T matrix.Float](net *nn.Network[T], weights [][]float64) {
	next := 0
	for _, p := range net.Params() {
		if p.Role == nn.Weight {
			for i, w := range weights[next] {
				p.Value[i] = T(w)
			}
			next++
		}
	}
}

// TrainOptions say how one run is made, none of which changes its numbers.
type TrainOptions struct {
	Threads  int
	Name     string         // for Progress
	Progress func(Progress) // may be nil
}

// Train makes one run from its settings and writes config.toml, history.csv,
// model.safetensors, evaluation.json and result.json into dir, which it makes, and which
// must not hold any of them.
// A run that diverged or was interrupted is written too, and the error is then a
// *train.DivergedError or the context's. With any other error the Run says what came out,
// if Stopped is not "", but its files are not all there.
func Train(ctx context.Context, dir string, data *dataset.Data, s Settings, o TrainOptions) (Run, error) {
	if err := s.validateFor(data); err != nil {
		return Run{}, err
	}
	for _, name := range []string{"config.toml", "history.csv", "model.safetensors", "evaluation.json", "result.json"} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return Run{}, usererr.New("%s has a %s already, of another run", dir, name).Try("another folder")
		}
	}
	run, err := runOne(ctx, dir, data, s, drawOf(data, s), 0, o)
	run.Dataset, run.Fallback = data.Name, data.Fallback
	if run.Stopped != "" {
		if werr := writeJSON(filepath.Join(dir, "result.json"), run); werr != nil {
			return run, werr
		}
	}
	return run, err
}

// runOne makes one run at the precision that its settings ask for. target is the
// validation accuracy whose first reaching is noted; 0 for none.
func runOne(ctx context.Context, dir string, data *dataset.Data, s Settings, d draw, target float64, o TrainOptions) (Run, error) {
	if s.Precision == "float64" {
		return runTyped[float64](ctx, dir, data, s, d, target, o)
	}
	return runTyped[float32](ctx, dir, data, s, d, target, o)
}

func runTyped[T matrix.Float](ctx context.Context, dir string, data *dataset.Data, s Settings, d draw, target float64, o TrainOptions) (Run, error) {
	started := time.Now()
	r, err := prepare[T](data, s, d, o.Threads)
	if err != nil {
		return Run{}, err
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return Run{}, err
	}
	config, err := toml.Marshal(s)
	if err != nil {
		return Run{}, err
	}
	if err := writeFile(filepath.Join(dir, "config.toml"), config); err != nil {
		return Run{}, err
	}

	run := Run{Seed: s.Seed, Dir: dir}
	history := newHistory(r.Net)
	result, failure := r.Trainer.Fit(ctx, r.Fit, r.Validation, train.FitOptions{
		Epochs: s.Epochs, Stop: s.stopRule(), KeepBest: s.Stop == StopPatience,
		Watch: func(l train.Look) {
			history.add(l, s.Stop == StopPublished)
			if run.StepsToTarget == nil {
				run.looksToTarget++
			}
			if target > 0 && run.StepsToTarget == nil && l.Validation.Accuracy >= target {
				run.StepsToTarget = finite(float64(l.Step))
			}
			if o.Progress != nil {
				o.Progress(progressOf(o.Name, s, l, r.Validation.Len() > 0))
			}
		},
	})
	var diverged *train.DivergedError
	if failure != nil && !errors.As(failure, &diverged) && result.Stopped != train.StoppedInterrupted {
		return Run{}, failure
	}
	if diverged != nil {
		run.Diverged = diverged.Error()
	}
	run.Epochs, run.Steps, run.Stopped = result.Epochs, result.Steps, result.Stopped
	run.TrainCostOf = "training_set"
	if s.Stop == StopPublished {
		run.TrainCostOf = "last_batch"
	}
	measure(&run, r, data, s, result, o.Threads)
	err = finish(dir, data, s, r, result, history, o.Threads)
	run.Seconds = time.Since(started).Seconds()
	if err != nil {
		return run, err
	}
	if o.Progress != nil {
		p := progressOf(o.Name, s, result.Last, r.Validation.Len() > 0)
		p.Step, p.Done, p.Stopped = run.Steps, true, run.Stopped
		o.Progress(p)
	}
	return run, failure
}

func (c Config) stopRule() train.StopRule {
	switch c.Stop {
	case StopPatience:
		return &train.Patience{Epochs: c.Patience, MinImprovement: c.MinImprovement}
	case StopPublished:
		return &train.PublishedCriterion{Difference: c.Criterion}
	}
	return nil
}

func progressOf(name string, s Settings, l train.Look, validated bool) Progress {
	p := Progress{Run: name, Epoch: l.Epoch, MaxEpochs: s.Epochs, Step: l.Step, Cost: l.TrainCost, Accuracy: l.TrainAccuracy}
	switch {
	case l.Step == 0:
		p.Cost, p.Accuracy = math.NaN(), math.NaN()
	case validated:
		p.Cost, p.Accuracy = l.Validation.Cost, l.Validation.Accuracy
	}
	return p
}

// measure fills the figures of a finished run: accuracies over the whole sets;
// costs over them too, but under the published stop rule those of the last look,
// penalty included, as the published table prints them.
func measure[T matrix.Float](run *Run, r *Ready[T], data *dataset.Data, s Settings, result train.Result, threads int) {
	if !allFinite(r.Net) {
		return // no figure of such a network means anything
	}
	e := train.NewEvaluator(r.Net, r.Loss, threads)
	fit, test := e.Evaluate(r.Fit, nil), e.Evaluate(dataset.All(data.Test), nil)
	validation := e.Evaluate(r.Validation, nil)
	run.TrainAccuracy, run.ValAccuracy, run.TestAccuracy = finite(fit.Accuracy), finite(validation.Accuracy), finite(test.Accuracy)
	run.TrainCost, run.ValCost, run.TestCost = finite(fit.Cost), finite(validation.Cost), finite(test.Cost)
	run.Penalty = finite(r.Penalty.Apply(r.Net.Params(), nn.Eval))
	run.SumOfWeights = finite(sumOfWeights(r.Net))
	if s.Stop == StopPatience {
		run.BestEpoch, run.BestStep = result.Best.Epoch, result.Best.Step
	}
	if s.Stop == StopPublished {
		last := result.Last
		run.TrainCost = finite(last.Batch.Data + last.Batch.Penalty)
		run.ValCost = finite(last.Validation.Cost + last.Penalty)
		if last.Step == 0 {
			run.TrainCost, run.ValCost = nil, nil
		}
	}
}

// sumOfWeights returns the sum over all weight matrices, a fingerprint of the
// network and the measure in which the published study's second row grows.
func sumOfWeights[T matrix.Float](net *nn.Network[T]) float64 {
	var sum float64
	for _, p := range net.Params() {
		if p.Role == nn.Weight {
			sum += kernel.Sum(p.Value)
		}
	}
	return sum
}

// finish writes the files of a finished run but for result.json.
func finish[T matrix.Float](dir string, data *dataset.Data, s Settings, r *Ready[T], result train.Result, h *history[T], threads int) error {
	if err := atomicfile.Write(filepath.Join(dir, "history.csv"), h.write); err != nil {
		return err
	}
	if !allFinite(r.Net) {
		return nil // a diverged network is of no use to anybody
	}
	facts := modelfile.Facts{
		Dataset: data.Name, DatasetSHA256: data.SHA256,
		Width: data.Train.Width, Height: data.Train.Height, Classes: data.Train.Classes,
		Digits: data.Name == "mnist" || data.Name == "drawn-digits",
		Loss:   s.Loss, L2: s.L2, L2Form: s.L2Form, Rule: s.Rule, LearningRate: s.LearningRate,
		Batch: r.Batch, Epochs: result.Epochs, Steps: result.Steps, Seed: s.Seed, Random: s.Random, Init: s.Init,
	}
	if err := modelfile.Save(filepath.Join(dir, "model.safetensors"), &modelfile.Model[T]{Net: r.Net, Facts: facts}); err != nil {
		return err
	}
	evaluation := Evaluate(r.Net, r.Loss, data.Name, data.Test, threads, 40)
	if err := writeJSON(filepath.Join(dir, "evaluation.json"), evaluation); err != nil {
		return err
	}
	if s.Normalisation == NormalisationPublished && r.Fit.Len() > 1 { // its twin, batch norm, needs two examples
		evidence, err := checkPublishedNorm(r, s)
		if err != nil {
			return err
		}
		return writeJSON(filepath.Join(dir, "evidence.json"), evidence)
	}
	return nil
}

func allFinite[T matrix.Float](net *nn.Network[T]) bool {
	return !slices.ContainsFunc(net.Params(), func(p *nn.Param[T]) bool { return !matrix.Finite(p.Value) })
}

// history collects one row per look.
type history[T matrix.Float] struct {
	weights []*nn.Param[T]
	net     *nn.Network[T]
	rows    [][]string
}

func newHistory[T matrix.Float](net *nn.Network[T]) *history[T] {
	h := &history[T]{net: net}
	header := []string{"epoch", "step", "train_cost", "train_accuracy", "val_cost", "val_accuracy", "penalty", "sum_of_weights"}
	for _, p := range net.Params() {
		if p.Role == nn.Weight {
			h.weights = append(h.weights, p)
			header = append(header, "norm_"+p.Name)
		}
	}
	h.rows = [][]string{header}
	return h
}

// add appends a look. ofBatch takes the training cost from the last batch, with
// the penalty, and adds the penalty to the validation cost: the published way.
func (h *history[T]) add(l train.Look, ofBatch bool) {
	trainCost, valCost := l.TrainCost, l.Validation.Cost
	if ofBatch {
		trainCost, valCost = l.Batch.Data+l.Batch.Penalty, valCost+l.Penalty
	}
	row := []string{strconv.Itoa(l.Epoch), strconv.Itoa(l.Step)}
	for _, v := range []float64{trainCost, l.TrainAccuracy, valCost, l.Validation.Accuracy, l.Penalty, sumOfWeights(h.net)} {
		row = append(row, field(v))
	}
	for _, p := range h.weights {
		row = append(row, field(math.Sqrt(kernel.Of[T]().SumSquares(p.Value))))
	}
	h.rows = append(h.rows, row)
}

func (h *history[T]) write(w io.Writer) error {
	c := csv.NewWriter(w)
	if err := c.WriteAll(h.rows); err != nil {
		return err
	}
	return c.Error()
}

// field prints a number so that it reads back to the same bits; what is not
// finite is an empty field.
func field(v float64) string {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return ""
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// finite returns v for JSON, which has no infinities: null for what is not finite.
func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return writeFile(path, append(text, '\n'))
}

func writeFile(path string, content []byte) error {
	return atomicfile.Write(path, func(w io.Writer) error {
		_, err := w.Write(content)
		return err
	})
}
