package studio

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"glassnet/dataset"
	"glassnet/experiment"
	"glassnet/internal/atomicfile"
	"glassnet/internal/inputfile"
	"glassnet/internal/usererr"
	"glassnet/report"
	"glassnet/studies"
)

// The phases of a study.
const (
	studyNone     = "none"
	studyRunning  = "running"
	studyStopping = "stopping"
	studyDone     = "done"
	studyStopped  = "stopped"
	studyFailed   = "failed"
)

// studyState is what the page shows of a study while it runs.
type studyState struct {
	Study   int           `json:"study"` // counts them; 0: none yet
	Phase   string        `json:"phase"`
	Name    string        `json:"name"`
	Title   string        `json:"title"`
	Message string        `json:"message"`
	Folder  string        `json:"folder"`
	Runs    []runProgress `json:"runs"`
}

type runProgress struct {
	Run       string   `json:"run"`
	Epoch     int      `json:"epoch"`
	MaxEpochs int      `json:"max_epochs"`
	Step      int      `json:"step"`
	Cost      *float64 `json:"cost"`
	Accuracy  *float64 `json:"accuracy"`
	Done      bool     `json:"done"`
	Stopped   string   `json:"stopped"`
}

// laboratory runs studies, one at a time.
type laboratory struct {
	out     string // folder in which each study has one
	dataset string // Options.Dataset
	threads int
	hub     *hub
	log     *slog.Logger
	stopAll context.Context // of the server
	ended   sync.WaitGroup

	mu     sync.Mutex
	state  studyState
	cancel context.CancelFunc
	told   time.Time
}

// postStudy begins a study: a built-in one by its name, or one whose text is given.
func (s *server) postStudy(r *http.Request) (any, error) {
	var body struct {
		Name   string `json:"name"`
		Text   string `json:"text"`
		Epochs *int   `json:"epochs"` // at most so many a run: a quick look
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	study, text, err := chosenStudy(body.Name, body.Text)
	if err != nil {
		return nil, err
	}
	if body.Epochs != nil {
		if err := study.Shorten(*body.Epochs); err != nil {
			return nil, err
		}
	}
	data, err := s.dataOf(r.Context(), study)
	if err != nil {
		return nil, err
	}
	for _, e := range study.Experiments {
		if err := fits(data, e.Config); err != nil {
			return nil, err
		}
	}
	command := "glassnet study " + study.Name
	if text != nil {
		command = "glassnet study study.toml"
	}
	if body.Epochs != nil {
		command += " --epochs " + strconv.Itoa(*body.Epochs)
	}
	name := data.Name
	if name == s.sets.names[0] {
		name = s.lab.dataset // which may be a folder
	}
	if name != study.Dataset {
		command += " --dataset " + name
		study.Dataset = name
	}
	return s.lab.begin(study, text, data, command)
}

func chosenStudy(name, text string) (*experiment.Study, []byte, error) {
	switch {
	case name != "" && text != "":
		return nil, nil, usererr.New("want the name of a study or its text, not both")
	case text != "":
		study, err := experiment.Parse("study.toml", []byte(text))
		return study, []byte(text), err
	case !slices.Contains(studies.Names, name):
		return nil, nil, usererr.New("study %.60q, want %s", name, usererr.List(studies.Names))
	}
	study, err := experiment.Load(name)
	return study, nil, err
}

// dataOf returns the data set of a study. One about MNIST is run on the set that the
// studio was started with, as --dataset does on the command line.
func (s *server) dataOf(ctx context.Context, study *experiment.Study) (*dataset.Data, error) {
	if study.Dataset == "mnist" {
		return s.sets.load(ctx, "")
	}
	return s.sets.load(ctx, study.Dataset)
}

// begin runs a study; command is how to run it again.
func (l *laboratory) begin(study *experiment.Study, text []byte, data *dataset.Data, command string) (studyState, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy() {
		return studyState{}, usererr.New("study %s is running: one runs at a time", l.state.Name).Try("stop it first")
	}
	folder, err := l.folder(study.Name)
	if err != nil {
		return studyState{}, err
	}
	if text != nil {
		err := atomicfile.Write(filepath.Join(folder, "study.toml"), func(w io.Writer) error {
			_, err := w.Write(text)
			return err
		})
		if err != nil {
			return studyState{}, err
		}
	}
	l.state = studyState{Study: l.state.Study + 1, Phase: studyRunning, Name: study.Name, Title: study.Title, Folder: folder, Runs: []runProgress{}}
	ctx, cancel := context.WithCancel(l.stopAll)
	l.cancel = cancel
	l.ended.Go(func() {
		defer cancel()
		l.end(caught(l.log, func() error { return l.run(ctx, study, data, folder, command) }))
	})
	l.tell(true)
	return l.value(), nil
}

func (l *laboratory) busy() bool {
	return l.state.Phase == studyRunning || l.state.Phase == studyStopping
}

// folder makes a folder of its own for a study.
func (l *laboratory) folder(name string) (string, error) {
	dir, err := atomicfile.NewFolder(l.out, name+"-"+time.Now().UTC().Format("20060102-150405"))
	if err != nil {
		return "", usererr.New("no folder for the results: %q: %w", l.out, inputfile.Cause(err)).Try("glassnet studio --out DIR, with a folder that can be written")
	}
	return dir, nil
}

// run runs the study and writes all that the command line would.
func (l *laboratory) run(ctx context.Context, study *experiment.Study, data *dataset.Data, folder, command string) error {
	results, err := study.Run(ctx, folder, data, experiment.RunOptions{
		Threads: l.threads, Command: command, Progress: l.progress, Note: l.note,
	})
	if results == nil || err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	if err := report.WriteTables(folder, results); err != nil {
		return err
	}
	if err := report.Write(folder, []string{folder}); err != nil {
		return err
	}
	return err // of an interruption, or none
}

func (l *laboratory) progress(p experiment.Progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := runProgress{p.Run, p.Epoch, p.MaxEpochs, p.Step, finite(p.Cost), finite(p.Accuracy), p.Done, p.Stopped}
	if i := slices.IndexFunc(l.state.Runs, func(r runProgress) bool { return r.Run == p.Run }); i >= 0 {
		l.state.Runs[i] = one
	} else {
		l.state.Runs = append(l.state.Runs, one)
	}
	l.tell(false)
}

func (l *laboratory) note(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.Message = text
	l.tell(true)
}

func (l *laboratory) end(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.state.Phase, l.state.Message = studyDone, ""
	case errors.Is(err, context.Canceled):
		l.state.Phase, l.state.Message = studyStopped, "stopped: what was finished is kept"
	default:
		if fault := (*experiment.FaultError)(nil); errors.As(err, &fault) {
			l.log.Error("panic", "panic", fault.Value, "stack", string(fault.Stack))
		}
		l.state.Phase, l.state.Message = studyFailed, err.Error()
	}
	l.tell(true)
}

// tell sends the state to the watchers; the caller holds the lock.
func (l *laboratory) tell(must bool) {
	if must || time.Since(l.told) >= tellEvery {
		l.told = time.Now()
		l.hub.send("study", l.value())
	}
}

// value is a copy of the state; the caller holds the lock.
func (l *laboratory) value() studyState {
	v := l.state
	v.Runs = slices.Clone(v.Runs)
	return v
}

func (s *server) getStudy(*http.Request) (any, error) {
	s.lab.mu.Lock()
	defer s.lab.mu.Unlock()
	return s.lab.value(), nil
}

func (s *server) postStudyStop(r *http.Request) (any, error) {
	if err := read(r, &struct{}{}); err != nil {
		return nil, err
	}
	s.lab.mu.Lock()
	defer s.lab.mu.Unlock()
	if s.lab.state.Phase == studyRunning {
		s.lab.state.Phase = studyStopping
		s.lab.cancel()
		s.lab.tell(true)
	}
	return s.lab.value(), nil
}

// studyInfo is a built-in study.
type studyInfo struct {
	Name        string   `json:"name"`
	Title       string   `json:"title"`
	Question    string   `json:"question"`
	Experiments []string `json:"experiments"`
	Seeds       []uint64 `json:"seeds"`
	Text        string   `json:"text"`
}

func (s *server) getStudies(*http.Request) (any, error) {
	all := []studyInfo{}
	for _, name := range studies.Names {
		study, err := experiment.Load(name)
		if err != nil {
			return nil, err
		}
		text, err := studies.Read(name)
		if err != nil {
			return nil, err
		}
		one := studyInfo{Name: name, Title: study.Title, Question: study.Question, Seeds: study.Seeds, Text: string(text)}
		for _, e := range study.Experiments {
			one.Experiments = append(one.Experiments, e.Name)
		}
		all = append(all, one)
	}
	return all, nil
}

// runHistory is what history.csv says of a run, at most mostLooks of its looks and the last.
type runHistory struct {
	Run          string     `json:"run"`
	Epoch        []int      `json:"epoch"`
	Step         []int      `json:"step"`
	TrainCost    []*float64 `json:"train_cost"`
	ValCost      []*float64 `json:"val_cost"`
	ValAccuracy  []*float64 `json:"val_accuracy"`
	SumOfWeights []*float64 `json:"sum_of_weights"`
}

const mostLooks = 1000 // the published study makes 750: all are kept

// finishedInfo is a study whose results lie in the folder of studies, whoever ran it.
type finishedInfo struct {
	Folder  string    `json:"folder"` // below that of the studies, with slashes
	Study   string    `json:"study"`
	Title   string    `json:"title"`
	Dataset string    `json:"dataset"`
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"` // that it took: a quick look is told from the whole
	Report  bool      `json:"report"`  // whether there is one
}

// Of more finished studies the latest are told; no larger file of a study is read.
const mostFinished, maxFile = 100, 64 << 20

// getFinished lists finished studies, the latest first: those of a studio, each in a
// folder of its own, and those of glassnet study, side by side in one.
func (s *server) getFinished(r *http.Request) (any, error) {
	release, err := s.mayWork(r.Context())
	if err != nil {
		return nil, err
	}
	defer release()
	all := []finishedInfo{}
	root, err := os.OpenRoot(s.lab.out)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err != nil {
		return nil, usererr.New("%w", err)
	}
	defer root.Close()
	type file struct {
		name    string
		written time.Time
	}
	var files []file
	for _, pattern := range []string{"*/results.json", "*/*/results.json"} {
		names, err := fs.Glob(root.FS(), pattern)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if info, err := root.Stat(name); err == nil && info.Mode().IsRegular() {
				files = append(files, file{name, info.ModTime()})
			}
		}
	}
	slices.SortFunc(files, func(a, b file) int { return b.written.Compare(a.written) })
	for _, f := range files[:min(len(files), mostFinished)] {
		r, err := readResults(root, f.name)
		if err != nil {
			continue // not offered: it is of another program, or half of one of ours
		}
		folder := path.Dir(f.name)
		all = append(all, finishedInfo{folder, r.Study, r.Title, r.Dataset.Name, r.Started, r.Seconds, reportOf(root, folder) != ""})
	}
	slices.SortStableFunc(all, func(a, b finishedInfo) int { return b.Started.Compare(a.Started) })
	return all, nil
}

// readResults reads a file of results.
func readResults(root *os.Root, name string) (*experiment.Results, error) {
	f, err := openFile(root, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return report.ReadResults(f, name)
}

// openFile opens a regular file of at most maxFile bytes: another could be without end, or
// have one wait for ever.
func openFile(root *os.Root, name string) (*os.File, error) {
	info, err := root.Stat(name)
	switch {
	case err != nil:
		return nil, errNothingThere
	case !info.Mode().IsRegular():
		return nil, usererr.New("%s: not a file", name)
	case info.Size() > maxFile:
		return nil, usererr.New("%s: got %d bytes, want at most %d", name, info.Size(), maxFile)
	}
	return root.Open(name)
}

// reportOf returns where the report of a folder's study is, "" when there is none. One
// of glassnet study is about all that it ran, and stands above their folders.
func reportOf(root *os.Root, folder string) string {
	for _, dir := range []string{folder, path.Dir(folder)} {
		name := path.Join(dir, "report.html")
		if info, err := root.Stat(name); err == nil && info.Mode().IsRegular() && dir != "." {
			return name
		}
	}
	return ""
}

// getStudyResults returns the result files of the study in a folder that getFinished
// told, or without one of the study that was finished last.
func (s *server) getStudyResults(r *http.Request) (any, error) {
	release, err := s.mayWork(r.Context())
	if err != nil {
		return nil, err
	}
	defer release()
	root, err := s.lab.results(r.URL.Query().Get("folder"))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	answer := struct {
		Results   *experiment.Results            `json:"results"`
		Histories []runHistory                   `json:"histories"`
		Evidence  map[string]experiment.Evidence `json:"evidence"`
	}{nil, []runHistory{}, map[string]experiment.Evidence{}}
	if answer.Results, err = readResults(root, "results.json"); err != nil {
		return nil, err
	}
	for _, e := range answer.Results.Experiments {
		for _, run := range e.Runs {
			name := filepath.Base(run.Dir)
			if f, err := openFile(root, filepath.Join(run.Dir, "history.csv")); err == nil {
				h, err := readHistory(name, f)
				f.Close()
				if err != nil {
					return nil, err
				}
				answer.Histories = append(answer.Histories, h)
			}
			if f, err := openFile(root, filepath.Join(run.Dir, "evidence.json")); err == nil {
				var evidence experiment.Evidence
				err := json.NewDecoder(f).Decode(&evidence)
				f.Close()
				if err != nil {
					return nil, usererr.New("%s/evidence.json: %w", name, err)
				}
				answer.Evidence[name] = evidence
			}
		}
	}
	return answer, nil
}

// results opens a folder that getFinished told, "" being that of the last study, once it
// holds results.
func (l *laboratory) results(folder string) (*os.Root, error) {
	if folder != "" {
		return l.open(folder)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state.Phase != studyDone && l.state.Phase != studyStopped {
		return nil, statusError{status: http.StatusNotFound, error: errors.New("no study has been finished here")}
	}
	return os.OpenRoot(l.state.Folder)
}

func (l *laboratory) report(folder string) (*os.File, error) {
	if folder == "" {
		root, err := l.results("")
		if err != nil {
			return nil, err
		}
		defer root.Close()
		return openFile(root, "report.html")
	}
	root, err := l.root(folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	name := reportOf(root, folder)
	if name == "" {
		return nil, errNothingThere
	}
	return root.Open(name)
}

// open opens a folder below that of the studies.
func (l *laboratory) open(folder string) (*os.Root, error) {
	root, err := l.root(folder)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	below, err := root.OpenRoot(filepath.FromSlash(folder))
	if err != nil {
		return nil, errNothingThere
	}
	return below, nil
}

var errNothingThere = statusError{status: http.StatusNotFound, error: errors.New("no study has been finished there")}

// root opens the folder of the studies, to find a folder in it that cannot be elsewhere.
func (l *laboratory) root(folder string) (*os.Root, error) {
	if !fs.ValidPath(folder) || folder == "." || strings.Count(folder, "/") > 1 {
		return nil, errNothingThere
	}
	root, err := os.OpenRoot(l.out)
	if err != nil {
		return nil, errNothingThere
	}
	return root, nil
}

// readHistory reads a history.csv. A number that is not finite, or not there, is nil.
func readHistory(run string, from io.Reader) (runHistory, error) {
	h := runHistory{Run: run, Epoch: []int{}, Step: []int{}}
	rows, err := csv.NewReader(from).ReadAll()
	if err != nil {
		return h, usererr.New("%s/history.csv: %w", run, err)
	}
	if len(rows) == 0 {
		return h, usererr.New("%s/history.csv: it is empty", run)
	}
	column := map[string]int{}
	for _, name := range []string{"epoch", "step", "train_cost", "val_cost", "val_accuracy", "sum_of_weights"} {
		at := slices.Index(rows[0], name)
		if at < 0 {
			return h, usererr.New("%s/history.csv: no column %q", run, name)
		}
		column[name] = at
	}
	rows = rows[1:]
	every := (len(rows) + mostLooks - 1) / mostLooks
	for i, row := range rows {
		if i%every != 0 && i != len(rows)-1 {
			continue
		}
		number := func(name string) *float64 {
			v, err := strconv.ParseFloat(row[column[name]], 64)
			if err != nil {
				return nil
			}
			return finite(v)
		}
		epoch, err1 := strconv.Atoi(row[column["epoch"]])
		step, err2 := strconv.Atoi(row[column["step"]])
		if err := errors.Join(err1, err2); err != nil {
			return h, usererr.New("%s/history.csv, row %d: %w", run, i+1, err)
		}
		h.Epoch, h.Step = append(h.Epoch, epoch), append(h.Step, step)
		h.TrainCost, h.ValCost = append(h.TrainCost, number("train_cost")), append(h.ValCost, number("val_cost"))
		h.ValAccuracy, h.SumOfWeights = append(h.ValAccuracy, number("val_accuracy")), append(h.SumOfWeights, number("sum_of_weights"))
	}
	return h, nil
}

// reportPolicy is what the report may do: it has its styles and images in itself.
const reportPolicy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"

// getReport is the report of the study in a folder that getFinished told, or without one
// of the study that was finished last.
func (s *server) getReport(w http.ResponseWriter, r *http.Request) {
	f, err := s.lab.report(r.URL.Query().Get("folder"))
	if err != nil {
		http.NotFound(w, r)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", reportPolicy)
	_, _ = io.Copy(w, f)
}
