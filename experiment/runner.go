package experiment

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"glassnet/dataset"
	"glassnet/internal/kernel"
	"glassnet/internal/numpyrand"
	"glassnet/internal/usererr"
	"glassnet/nn"
	"glassnet/train"
)

// RunOptions say how a study is run; none of them changes its numbers.
type RunOptions struct {
	Threads  int            // cores to use, >= 1
	Command  string         // for the report: how to run this study again
	Progress func(Progress) // may be nil; called from several goroutines, one at a time
	Note     func(string)   // may be nil: what is being done now, for people
}

// Run runs every experiment of the study with every seed, side by side on the
// cores, times each experiment alone, and writes results.json and runs/ into dir.
// The result is the same on any number of threads. When ctx is done, what is
// finished is summarised and written, and the error is ctx's. A run that panics ends
// all with a *FaultError; in the kernels' helping goroutines a panic ends the program.
func (s *Study) Run(ctx context.Context, dir string, data *dataset.Data, o RunOptions) (*Results, error) {
	started := time.Now()
	if o.Threads < 1 {
		return nil, usererr.New("a study on %d threads, want 1 or more", o.Threads)
	}
	if err := s.Validate(); err != nil {
		return nil, err
	}
	jobs, err := s.jobs(data)
	if err != nil {
		return nil, err
	}
	results, err := s.describe(data, jobs[0], o)
	if err != nil {
		return nil, err
	}
	results.Started = started.UTC().Truncate(time.Second)

	runs, err := s.runAll(ctx, dir, data, jobs, o)
	if err != nil {
		return nil, err
	}
	for i := range s.Experiments {
		for k := range s.Seeds {
			if run := runs[i*len(s.Seeds)+k]; run.Stopped != "" {
				results.Experiments[i].Runs = append(results.Experiments[i].Runs, run)
			}
		}
	}
	if ctx.Err() == nil && s.TimingRepeats > 0 {
		if o.Note != nil {
			o.Note("timing each experiment alone")
		}
		if err := s.time(ctx, data, jobs, o.Threads, results); err != nil {
			return nil, err
		}
	}
	results.Interrupted = ctx.Err() != nil
	summarise(results, s)
	if s.ShowsPublished {
		results.Published = comparePublished(results.Experiments)
	}
	results.Seconds = time.Since(started).Seconds()
	if err := os.MkdirAll(dir, 0o777); err != nil { // no run may have begun
		return nil, err
	}
	if err := writeJSON(filepath.Join(dir, "results.json"), results); err != nil {
		return nil, err
	}
	return results, ctx.Err()
}

// job is one run to be made.
type job struct {
	name       string
	experiment string
	settings   Settings
	study      *Study
}

// drawn returns the numbers that the run starts from.
func (j job) drawn(data *dataset.Data) draw {
	if !j.study.usesNumpy() {
		return streamsDraw(j.settings.Seed, data.Train.Len())
	}
	// The study's experiments share one stream of numpy's generator: those before this one
	// take their numbers first.
	stream := numpyrand.New(uint32(j.settings.Seed))
	for _, name := range j.study.StreamOrder {
		i := slices.IndexFunc(j.study.Experiments, func(d Definition) bool { return d.Name == name })
		d := numpyDraw(stream, data.Train.Len(), j.study.Experiments[i].Architecture(data.Train.Features(), data.Train.Classes))
		if name == j.experiment {
			return d
		}
	}
	panic("experiment: " + j.experiment + " is not in the stream's order") // Validate has seen that it is
}

// dataIn is what the settings of a run call the data: what the study does, unless another
// stands in for that.
func (s *Study) dataIn(data *dataset.Data) string {
	if data.Fallback {
		return data.Name
	}
	return s.Dataset
}

// jobs lists all runs, experiment by experiment.
func (s *Study) jobs(data *dataset.Data) ([]job, error) {
	jobs := make([]job, 0, len(s.Experiments)*len(s.Seeds))
	for _, e := range s.Experiments {
		for _, seed := range s.Seeds {
			j := job{
				name:       fmt.Sprintf("%s-seed%d", e.Name, seed),
				experiment: e.Name,
				settings:   Settings{Dataset: s.dataIn(data), Precision: s.Precision, Seed: seed, Config: e.Config},
				study:      s,
			}
			if err := j.settings.validateFor(data); err != nil {
				return nil, usererr.New("experiment %q: %w", e.Name, err)
			}
			jobs = append(jobs, j)
		}
	}
	return jobs, nil
}

// runAll makes the runs side by side, each on its own share of the cores, and
// returns them in the order of jobs; a run that was never begun is zero.
func (s *Study) runAll(ctx context.Context, dir string, data *dataset.Data, jobs []job, o RunOptions) ([]Run, error) {
	abreast := min(o.Threads, len(jobs))
	runs := make([]Run, len(jobs))
	var progress sync.Mutex
	report := func(p Progress) {
		if o.Progress != nil {
			progress.Lock()
			defer progress.Unlock()
			o.Progress(p)
		}
	}
	going, stop := context.WithCancel(ctx)
	defer stop()
	var once sync.Once
	var failure error // the first that is not an interruption
	next := make(chan int, len(jobs))
	for _, i := range s.longestFirst(jobs) {
		next <- i
	}
	close(next)
	var workers sync.WaitGroup
	for range abreast {
		workers.Go(func() {
			for i := range next {
				if going.Err() != nil {
					return
				}
				j := jobs[i]
				folder := filepath.Join("runs", j.name)
				run, err := caught(func() (Run, error) {
					return runOne(going, filepath.Join(dir, folder), data, j.settings, j.drawn(data), s.Target,
						TrainOptions{Threads: o.Threads / abreast, Name: j.name, Progress: report})
				})
				run.Dir = filepath.ToSlash(folder)
				runs[i] = run
				var diverged *train.DivergedError
				if err != nil && !errors.As(err, &diverged) && (going.Err() == nil || !errors.Is(err, going.Err())) {
					once.Do(func() { failure = fmt.Errorf("%s: %w", j.name, err) })
					stop()
				}
			}
		})
	}
	workers.Wait()
	if failure != nil {
		return nil, failure
	}
	return runs, nil
}

// FaultError is a panic of a run: a fault of this program, not of its input.
type FaultError struct {
	Value any // of the panic
	Stack []byte
}

func (e *FaultError) Error() string { return fmt.Sprintf("a fault of glassnet: %v", e.Value) }

// caught turns a panic of f into a *FaultError, for the other runs and who called them.
func caught(f func() (Run, error)) (run Run, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &FaultError{v, debug.Stack()}
		}
	}()
	return f()
}

// longestFirst returns the order in which to begin jobs: those of the published study
// by the length of its trainings, for who begins with the longest ends with no long one
// alone on its core. Of others nothing is known before.
func (s *Study) longestFirst(jobs []job) []int {
	order, steps := make([]int, len(jobs)), make([]int, len(jobs))
	for i, j := range jobs {
		order[i] = i
		for _, row := range publishedTable {
			if s.ShowsPublished && j.experiment == row.experiment {
				steps[i] = row.steps
			}
		}
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(steps[j], steps[i]) })
	return order
}

// describe fills what is known of a study before it runs.
func (s *Study) describe(data *dataset.Data, first job, o RunOptions) (*Results, error) {
	fit, validation, err := dataset.Split(data.Train, first.drawn(data).order, first.settings.Validation)
	if err != nil {
		return nil, err
	}
	r := &Results{
		Study: s.Name, Title: s.Title, Question: s.Question, Notes: s.Notes, ShortenedTo: s.shortenedTo,
		Dataset: DatasetInfo{
			Name: data.Name, Origin: data.Origin, Fallback: data.Fallback, SHA256: data.SHA256,
			Width: data.Train.Width, Height: data.Train.Height, Classes: data.Train.Classes,
			Samples: samples(data.Train, 6),
		},
		Precision: s.Precision, Threads: o.Threads, Machine: ThisMachine(), Glassnet: Version(),
		Command: o.Command, Seeds: s.Seeds, Primary: s.Primary,
	}
	if s.Target > 0 {
		r.Target = &s.Target
	}
	test := dataset.All(data.Test)
	r.Dataset.Examples = Examples{fit.Len(), validation.Len(), test.Len()}
	fitCounts, validationCounts, testCounts := fit.PerClass(), validation.PerClass(), test.PerClass()
	for c := range data.Train.Classes {
		r.Dataset.PerClass = append(r.Dataset.PerClass, ClassCount{c, fitCounts[c], validationCounts[c], testCounts[c]})
	}
	for _, e := range s.Experiments {
		r.Experiments = append(r.Experiments, Experiment{
			Name: e.Name, Normalisation: e.Normalisation, L2: e.L2, Config: e.Config,
			Layers: shapes(e.Config, data.Train.Features(), data.Train.Classes), Runs: []Run{},
		})
	}
	return r, nil
}

// shapes lists the layers of a network with the shapes of their arrays.
func shapes(c Config, in, classes int) []LayerShape {
	var all []LayerShape
	width := in
	for i, l := range c.Architecture(in, classes).Layers {
		s := LayerShape{Layer: i + 1, Kind: l.Kind}
		switch l.Kind {
		case nn.KindDense:
			s.Weight, s.Parameters = []int{width, l.Units}, width*l.Units
			if !l.NoBias {
				s.Bias, s.Parameters = []int{l.Units}, s.Parameters+l.Units
			}
			width = l.Units
		case nn.KindBatchNorm:
			s.Parameters = 2 * width // gamma and beta; the running statistics are not trained
		}
		s.Activation = []int{c.Batch, width}
		all = append(all, s)
	}
	return all
}

// samples returns the first few examples of each class.
func samples(s *dataset.Set, perClass int) []Digit {
	var digits []Digit
	for class := range s.Classes {
		found := 0
		for i := 0; i < s.Len() && found < perClass; i++ {
			if int(s.Labels[i]) == class {
				digits = append(digits, Digit{Index: i, Label: class, Pixels: s.Image(i)})
				found++
			}
		}
	}
	return digits
}

// time measures each experiment with no other run beside it: a fresh network makes
// a few steps and one look at the validation set. Experiments take turns, so that
// a machine that changes its speed spoils none of them alone. One that diverges
// within those steps has no timing.
func (s *Study) time(ctx context.Context, data *dataset.Data, jobs []job, threads int, results *Results) error {
	samples := make([][]speed, len(s.Experiments))
	for range s.TimingRepeats {
		for i := range s.Experiments {
			if ctx.Err() != nil {
				return nil // without a timing; Run reports the interruption
			}
			measured, err := timeOne(data, jobs[i*len(s.Seeds)], threads)
			var diverged *train.DivergedError
			switch {
			case errors.As(err, &diverged):
			case err != nil:
				return err
			default:
				samples[i] = append(samples[i], measured)
			}
		}
	}
	for i := range samples {
		if len(samples[i]) == 0 {
			continue
		}
		t := &Timing{Repeats: len(samples[i]), Threads: threads}
		var looks []float64
		for _, m := range samples[i] {
			t.Samples = append(t.Samples, m.step)
			looks = append(looks, m.look)
		}
		t.MicrosPerStep, t.MicrosPerLook = median(t.Samples), median(looks)
		e := &results.Experiments[i]
		e.Timing = t
		for k := range e.Runs {
			run := &e.Runs[k]
			run.MicrosPerStep = &t.MicrosPerStep
			if run.StepsToTarget != nil {
				// Each seed takes a timing of its own, those of its turn in all experiments, so
				// that the spread over seeds has the error of a timing in it.
				m := samples[i][k%len(samples[i])]
				run.SecondsToTarget = finite((*run.StepsToTarget*m.step + float64(run.looksToTarget)*m.look) / 1e6)
			}
		}
	}
	return nil
}

// speed is what one timing measured, in microseconds.
type speed struct{ step, look float64 }

// timedSteps is how many steps one timing makes, after a few to warm up.
const timedSteps, warmUpSteps = 60, 5

func timeOne(data *dataset.Data, j job, threads int) (speed, error) {
	if j.settings.Precision == "float64" {
		return timeTyped[float64](data, j, threads)
	}
	return timeTyped[float32](data, j, threads)
}

func timeTyped[T kernel.Float](data *dataset.Data, j job, threads int) (speed, error) {
	r, err := prepare[T](data, j.settings, j.drawn(data), threads)
	if err != nil {
		return speed{}, err
	}
	batch := min(j.settings.Batch, r.Fit.Len())
	batches := r.Fit.Len() / batch
	evaluator := train.NewEvaluator(r.Net, r.Loss, threads)
	var start time.Time
	before := warmUpSteps
	if threads > 1 {
		before = train.PacedAfter // by which the trainer knows how many are best, unless workers came late
	}
	for i := range before + timedSteps {
		if i == before {
			start = time.Now()
		}
		lo := i % batches * batch
		if _, err := r.Trainer.Step(r.Fit.Slice(lo, lo+batch)); err != nil {
			return speed{}, err
		}
	}
	m := speed{step: microseconds(start) / timedSteps}
	evaluator.Evaluate(r.Validation, nil) // to warm up
	start = time.Now()
	evaluator.Evaluate(r.Validation, nil)
	m.look = microseconds(start)
	return m, nil
}

func microseconds(since time.Time) float64 { return float64(time.Since(since).Nanoseconds()) / 1e3 }

func median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
