package experiment

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
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

// RunOptions say how a study is run; none of them changes its numbers but Seeds.
type RunOptions struct {
	Seeds    []uint64       // nil: the study's own
	Threads  int            // cores to use, >= 1
	Command  string         // for the report: how to run this study again
	Progress func(Progress) // may be nil; called from several goroutines, one at a time
	Note     func(string)   // may be nil: what is being done now, for people
}

// Run runs every experiment of the study with every seed, side by side on the
// cores, times each experiment alone, and writes results.json and runs/ into dir.
// The result is the same on any number of threads. When ctx is done, what is
// finished is summarised and written, and the error is ctx's.
func (s *Study) Run(ctx context.Context, dir string, data *dataset.Data, o RunOptions) (*Results, error) {
	started := time.Now()
	study := *s
	if o.Seeds != nil {
		study.Seeds = o.Seeds
	}
	if err := study.Validate(); err != nil {
		return nil, err
	}
	jobs, err := study.jobs(data)
	if err != nil {
		return nil, err
	}
	results := study.describe(data, jobs[0].draw.order, o)
	results.Started = started.UTC().Truncate(time.Second)

	runs, err := study.runAll(ctx, dir, data, jobs, o)
	if err != nil {
		return nil, err
	}
	for i := range study.Experiments {
		for k := range study.Seeds {
			if run := runs[i*len(study.Seeds)+k]; run.Stopped != "" {
				results.Experiments[i].Runs = append(results.Experiments[i].Runs, run)
			}
		}
	}
	results.Interrupted = ctx.Err() != nil
	if !results.Interrupted && study.TimingRepeats > 0 {
		if o.Note != nil {
			o.Note("timing each experiment alone")
		}
		if err := study.time(ctx, data, jobs, o.Threads, results); err != nil {
			return nil, err
		}
	}
	summarise(results, study)
	if study.ShowsPublished {
		results.Published = comparePublished(results.Experiments)
	}
	results.Seconds = time.Since(started).Seconds()
	if err := writeJSON(filepath.Join(dir, "results.json"), results); err != nil {
		return nil, err
	}
	return results, ctx.Err()
}

// job is one run to be made.
type job struct {
	name     string
	settings Settings
	draw     draw
}

// jobs lists all runs, experiment by experiment, each with the random numbers it
// starts from.
func (s *Study) jobs(data *dataset.Data) ([]job, error) {
	jobs := make([]job, 0, len(s.Experiments)*len(s.Seeds))
	for _, e := range s.Experiments {
		for _, seed := range s.Seeds {
			j := job{
				name:     fmt.Sprintf("%s-seed%d", e.Name, seed),
				settings: Settings{Dataset: data.Name, Precision: s.Precision, Seed: seed, Config: e.Config},
			}
			if err := j.settings.Validate(); err != nil {
				return nil, usererr.New("experiment %q: %w", e.Name, err)
			}
			if !s.usesNumpy() {
				j.draw = streamsDraw(seed, data.Train.Len())
			}
			jobs = append(jobs, j)
		}
	}
	for k, seed := range s.Seeds {
		if !s.usesNumpy() {
			break
		}
		stream := numpyrand.New(uint32(seed))
		for _, name := range s.StreamOrder {
			i := slices.IndexFunc(s.Experiments, func(d Definition) bool { return d.Name == name })
			a := s.Experiments[i].Architecture(data.Train.Features(), data.Train.Classes)
			jobs[i*len(s.Seeds)+k].draw = numpyDraw(stream, data.Train.Len(), a)
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
	failed, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	next := make(chan int, len(jobs))
	for i := range jobs {
		next <- i
	}
	close(next)
	var workers sync.WaitGroup
	for range abreast {
		workers.Go(func() {
			for i := range next {
				if failed.Err() != nil {
					return
				}
				j := jobs[i]
				folder := filepath.Join("runs", j.name)
				run, err := runOne(failed, filepath.Join(dir, folder), data, j.settings, j.draw, s.Target,
					TrainOptions{Threads: o.Threads / abreast, Name: j.name, Progress: report})
				run.Dir = filepath.ToSlash(folder)
				runs[i] = run
				if err != nil && run.Stopped == "" {
					fail(fmt.Errorf("%s: %w", j.name, err))
				}
			}
		})
	}
	workers.Wait()
	if err := context.Cause(failed); err != nil && ctx.Err() == nil {
		return nil, err
	}
	return runs, nil
}

// describe fills what is known of a study before it runs.
func (s *Study) describe(data *dataset.Data, order []int32, o RunOptions) *Results {
	r := &Results{
		Study: s.Name, Title: s.Title, Question: s.Question, Notes: s.Notes,
		Dataset: DatasetInfo{
			Name: data.Name, Origin: data.Origin, Fallback: data.Fallback, SHA256: data.SHA256,
			Width: data.Train.Width, Height: data.Train.Height, Classes: data.Train.Classes,
			Samples: samples(data.Train, 6),
		},
		Precision: s.Precision, Threads: o.Threads, Machine: thisMachine(), Glassnet: Version(),
		Command: o.Command, Seeds: s.Seeds, Primary: s.Primary,
	}
	if s.Target > 0 {
		r.Target = &s.Target
	}
	fit, validation, _ := dataset.Split(data.Train, order, s.Experiments[0].Validation)
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
	return r
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

// time measures each experiment with nothing else running: a fresh network makes
// a few steps and one look at the validation set. Experiments take turns, so that
// a machine that changes its speed spoils none of them alone.
func (s *Study) time(ctx context.Context, data *dataset.Data, jobs []job, threads int, results *Results) error {
	samples := make([][]speed, len(s.Experiments))
	for range s.TimingRepeats {
		for i := range s.Experiments {
			if ctx.Err() != nil {
				return nil // the timing is left out; Run reports the interruption
			}
			measured, err := timeOne(ctx, data, jobs[i*len(s.Seeds)], threads)
			if err != nil {
				return err
			}
			samples[i] = append(samples[i], measured)
		}
	}
	for i := range samples {
		t := &Timing{Repeats: s.TimingRepeats, Threads: threads}
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
				looks := *run.StepsToTarget / float64(stepsBetweenLooks(e.Config, results.Dataset.Examples.Train))
				run.SecondsToTarget = finite((*run.StepsToTarget*t.MicrosPerStep + looks*t.MicrosPerLook) / 1e6)
			}
		}
	}
	return nil
}

// stepsBetweenLooks returns how many steps there are to one look, on average.
func stepsBetweenLooks(c Config, examples int) int {
	if c.LookEvery > 0 {
		return c.LookEvery
	}
	return (examples + c.Batch - 1) / c.Batch
}

// speed is what one timing measured, in microseconds.
type speed struct{ step, look float64 }

// timedSteps is how many steps one timing makes, after a few to warm up.
const timedSteps, warmUpSteps = 60, 5

func timeOne(ctx context.Context, data *dataset.Data, j job, threads int) (speed, error) {
	if j.settings.Precision == "float64" {
		return timeTyped[float64](ctx, data, j, threads)
	}
	return timeTyped[float32](ctx, data, j, threads)
}

func timeTyped[T kernel.Float](_ context.Context, data *dataset.Data, j job, threads int) (speed, error) {
	r, err := prepare[T](data, j.settings, j.draw, threads)
	if err != nil {
		return speed{}, err
	}
	batches := r.fit.Len() / j.settings.Batch
	var start time.Time
	for i := range warmUpSteps + timedSteps {
		if i == warmUpSteps {
			start = time.Now()
		}
		lo := 0
		if batches > 0 {
			lo = i % batches * j.settings.Batch
		}
		_, err := r.trainer.Step(r.fit.Slice(lo, min(lo+j.settings.Batch, r.fit.Len())))
		var diverged *train.DivergedError
		if errors.As(err, &diverged) {
			break // its speed until then is still its speed
		}
		if err != nil {
			return speed{}, err
		}
	}
	m := speed{step: float64(time.Since(start).Nanoseconds()) / 1e3 / timedSteps}
	start = time.Now()
	train.NewEvaluator(r.net, r.loss, threads).Evaluate(r.validation, nil)
	m.look = float64(time.Since(start).Nanoseconds()) / 1e3
	return m, nil
}

func median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
