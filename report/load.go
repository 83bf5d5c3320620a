package report

import (
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
	"strings"

	"glassnet/experiment"
	"glassnet/internal/inputfile"
	"glassnet/internal/usererr"
)

// The largest result files that are read. A study with 40 experiments of 5 seeds
// stays far below.
const (
	maxJSON    = 64 << 20
	maxHistory = 256 << 20
	maxEpochs  = 1_000_000

	maxExperiments = 100
)

// study is a finished study with all its files read.
type study struct {
	*experiment.Results
	slug            string   // for file names and anchors, distinct within a report
	experimentSlugs []string // the same for its experiments
	files           [][]run  // [experiment][run], parallel to Experiments and their Runs
}

// run is what a run's folder holds. What an unfinished run did not leave is
// empty.
type run struct {
	epochs     []look // the last look of each epoch
	beforeLast look   // the look before the last one
	lowest     look   // the first of all looks with the lowest validation cost; step 0: none
	norms      []string
	evaluation *experiment.Evaluation
	evidence   *experiment.Evidence
}

// look is one row of history.csv. NaN stands for an undefined value.
type look struct {
	epoch, step         int
	trainCost, valCost  float64
	valAccuracy, sumOfW float64
	norms               []float64 // parallel to run.norms
}

// last is the last look of a run with one at least.
func (r *run) last() look { return r.epochs[len(r.epochs)-1] }

// load reads the study in dir.
func load(dir string) (*study, error) {
	path := filepath.Join(dir, "results.json")
	f, err := open(path, maxJSON)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s := &study{}
	if s.Results, err = ReadResults(f, path); err != nil {
		return nil, err
	}
	for i := range s.Experiments {
		e := &s.Experiments[i]
		files := make([]run, len(e.Runs))
		for j := range e.Runs {
			if err := loadRun(&files[j], dir, s.Results, &e.Runs[j]); err != nil {
				return nil, err
			}
		}
		s.files = append(s.files, files)
	}
	return s, nil
}

// ReadResults reads a results.json of at most 64 MiB, which errors call path, and refuses
// what could not be shown. No list of what it returns is nil that a study always has. The
// error is a user error, or that of reading.
func ReadResults(from io.Reader, path string) (*experiment.Results, error) {
	r := new(experiment.Results)
	if err := decode(from, path, r); err != nil {
		return nil, err
	}
	if err := check(r); err != nil {
		return nil, usererr.New("%q: %w", path, err)
	}
	if r.Seeds == nil {
		r.Seeds = []uint64{}
	}
	for i := range r.Experiments {
		e := &r.Experiments[i]
		if e.Runs == nil {
			e.Runs = []experiment.Run{}
		}
		if e.Summary == nil {
			e.Summary = map[string]experiment.Summary{}
		}
	}
	return r, nil
}

// check refuses results that could not be shown.
func check(r *experiment.Results) error {
	if n := len(r.Experiments); n == 0 || n > maxExperiments {
		return fmt.Errorf("experiments: got %d, want 1 to %d", n, maxExperiments)
	}
	d := &r.Dataset
	for _, digit := range d.Samples {
		if err := checkDigit(digit, d); err != nil {
			return fmt.Errorf("dataset.samples: %w", err)
		}
	}
	seen := map[string]bool{}
	for i := range r.Experiments {
		e := &r.Experiments[i]
		if e.Name == "" {
			return fmt.Errorf("experiments[%d].name: got an empty one", i)
		}
		if seen[e.Name] {
			return fmt.Errorf("experiments[%d].name: got %q twice, want each once", i, e.Name)
		}
		seen[e.Name] = true
		for _, run := range e.Runs {
			if run.Dir != "" && !filepath.IsLocal(filepath.FromSlash(run.Dir)) {
				return fmt.Errorf("experiments[%d].runs: dir: got %q, want a folder inside the study's", i, run.Dir)
			}
		}
	}
	return nil
}

func checkDigit(digit experiment.Digit, d *experiment.DatasetInfo) error {
	if d.Width <= 0 || d.Height <= 0 || d.Width > math.MaxInt32 || d.Height > math.MaxInt32 || len(digit.Pixels) != d.Width*d.Height {
		return fmt.Errorf("example %d: got %d pixels, want width x height = %d x %d", digit.Index, len(digit.Pixels), d.Width, d.Height)
	}
	return nil
}

// loadRun reads the files of one run. A run that was interrupted or diverged may
// lack some.
func loadRun(out *run, studyDir string, r *experiment.Results, facts *experiment.Run) error {
	unfinished := !completed(facts)
	dir := filepath.Join(studyDir, filepath.FromSlash(facts.Dir))
	path := filepath.Join(dir, "history.csv")
	if err := loadHistory(out, path); err != nil && !(unfinished && errors.Is(err, os.ErrNotExist)) {
		return err
	}
	path = filepath.Join(dir, "evaluation.json")
	evaluation := new(experiment.Evaluation)
	switch err := readJSON(path, evaluation); {
	case err == nil:
		if err := checkEvaluation(evaluation, &r.Dataset); err != nil {
			return usererr.New("%q: %w", path, err)
		}
		out.evaluation = evaluation
	case !(unfinished && errors.Is(err, os.ErrNotExist)):
		return err
	}
	evidence := new(experiment.Evidence)
	switch err := readJSON(filepath.Join(dir, "evidence.json"), evidence); {
	case err == nil:
		out.evidence = evidence
	case !errors.Is(err, os.ErrNotExist): // only the published normalisation has one
		return err
	}
	return nil
}

func checkEvaluation(e *experiment.Evaluation, d *experiment.DatasetInfo) error {
	for i, row := range e.Confusion {
		if len(row) != len(e.Confusion) {
			return fmt.Errorf("confusion[%d]: got %d columns, want %d, as many as rows", i, len(row), len(e.Confusion))
		}
	}
	for _, digit := range e.Mistakes {
		if err := checkDigit(digit, d); err != nil {
			return fmt.Errorf("mistakes: %w", err)
		}
	}
	return nil
}

// readJSON decodes the one JSON value that the file at path holds.
func readJSON(path string, into any) error {
	f, err := open(path, maxJSON)
	if err != nil {
		return err
	}
	defer f.Close()
	return decode(f, path, into)
}

// decode decodes the one JSON value that is in from, at most maxJSON bytes.
func decode(from io.Reader, path string, into any) error {
	data, err := io.ReadAll(io.LimitReader(from, maxJSON+1))
	if err != nil {
		return fmt.Errorf("read %q: %w", path, err)
	}
	if len(data) > maxJSON {
		return usererr.New("%q: got more than %d bytes", path, maxJSON)
	}
	if err := json.Unmarshal(data, into); err != nil {
		var syntax *json.SyntaxError
		var kind *json.UnmarshalTypeError
		switch {
		case errors.As(err, &syntax):
			return usererr.New("%q: byte %d: not valid JSON: %s", path, syntax.Offset, clean(syntax.Error()))
		case errors.As(err, &kind):
			return usererr.New("%q: byte %d: %s: got a %s, want a %s", path, kind.Offset, clean(kind.Field), clean(kind.Value), kind.Type)
		}
		return usererr.New("%q: %s", path, clean(err.Error()))
	}
	return nil
}

// open opens a regular file of at most limit bytes.
func open(path string, limit int64) (*os.File, error) {
	f, size, err := inputfile.Open(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, usererr.New("%w", err).Try("give the folder of a finished study: one that holds results.json and runs/")
	case err != nil:
		return nil, err
	case size > limit:
		f.Close()
		return nil, usererr.New("%q: got %d bytes, want at most %d", path, size, limit)
	}
	return f, nil
}

// loadHistory reads history.csv and keeps the last look of each epoch.
func loadHistory(out *run, path string) error {
	f, err := open(path, maxHistory)
	if err != nil {
		return err
	}
	defer f.Close()
	r := csv.NewReader(io.LimitReader(f, maxHistory))
	r.ReuseRecord = true
	head, err := r.Read()
	if err != nil {
		return historyError(path, err)
	}
	head = slices.Clone(head)
	var at [6]int
	for i, name := range []string{"epoch", "step", "train_cost", "val_cost", "val_accuracy", "sum_of_weights"} {
		if at[i] = slices.Index(head, name); at[i] < 0 {
			return usererr.New("%q: line 1: no column %q", path, name)
		}
	}
	var normsAt []int
	for i, name := range head {
		if parameter, ok := strings.CutPrefix(name, "norm_"); ok {
			normsAt = append(normsAt, i)
			out.norms = append(out.norms, parameter)
		}
	}
	var previous look
	first := true
	for {
		record, err := r.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return historyError(path, err)
		}
		line, _ := r.FieldPos(0)
		field := func(column int) float64 {
			if record[column] == "" {
				return math.NaN()
			}
			v, e := strconv.ParseFloat(record[column], 64)
			if e != nil {
				err = usererr.New("%q: line %d, column %q: got %q, want a number", path, line, head[column], record[column])
			}
			return v
		}
		count := func(column int) int {
			v, e := strconv.Atoi(record[column])
			if e != nil || v < 0 {
				err = usererr.New("%q: line %d, column %q: got %q, want a whole number", path, line, head[column], record[column])
			}
			return v
		}
		now := look{epoch: count(at[0]), step: count(at[1]), trainCost: field(at[2]), valCost: field(at[3]),
			valAccuracy: field(at[4]), sumOfW: field(at[5])}
		for _, column := range normsAt {
			now.norms = append(now.norms, field(column))
		}
		if err != nil {
			return err
		}
		if !first && now.epoch < previous.epoch {
			return usererr.New("%q: line %d: epoch: got %d after %d, want them in order", path, line, now.epoch, previous.epoch)
		}
		if n := len(out.epochs); n > 0 && now.epoch == out.epochs[n-1].epoch {
			out.epochs[n-1] = now
		} else if n == maxEpochs {
			return usererr.New("%q: line %d: got more than %d epochs", path, line, maxEpochs)
		} else {
			out.epochs = append(out.epochs, now)
		}
		if !first {
			out.beforeLast = previous
		}
		if drawable(now.valCost, false) && (out.lowest.step == 0 || now.valCost < out.lowest.valCost) {
			out.lowest = now
		}
		previous, first = now, false
	}
}

func historyError(path string, err error) error {
	if err == io.EOF {
		return usererr.New("%q: byte 0: empty, want a line of column names", path)
	}
	var parse *csv.ParseError
	if errors.As(err, &parse) {
		return usererr.New("%q: line %d: %w", path, parse.Line, parse.Err)
	}
	return fmt.Errorf("read %q: %w", path, err)
}
