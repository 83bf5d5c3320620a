package main

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"glassnet/internal/bench"
	"glassnet/random"
)

// Run is everything one run of this program measured; the page is made from it.
type Run struct {
	Date     string       `json:"date"`
	Python   string       `json:"python"`
	Missing  []string     `json:"missing"` // peers that are not installed
	Bench    bench.Report `json:"bench"`   // of glassnet bench --json
	Steps    []Race       `json:"steps"`
	Predict  []Race       `json:"predict"`
	Products []Race       `json:"products"`
	Scaling  []Curve      `json:"scaling"`
	Runs     []Parallel   `json:"runs"`
	Study    Study        `json:"study"`
	Commands []Command    `json:"commands"`
	NonZero  float64      `json:"nonzero"` // share of the pixels of MNIST's training images
	Profiles []Profile    `json:"profiles"`
}

// Race is one piece of work done by all peers.
type Race struct {
	Name    string   `json:"name"` // "A", "1024x1024x1024 x·w"
	Net     string   `json:"net,omitempty"`
	Batch   int      `json:"batch,omitempty"`
	M, K, N int      `json:",omitempty"`
	Threads int      `json:"threads,omitempty"` // of products
	Timings []Timing `json:"timings"`
}

// Curve is how the time of a step grows with one thing.
type Curve struct {
	With   string `json:"with"` // "batch", "width", "depth"
	Points []struct {
		At   int `json:"at"`
		Race `json:"race"`
	} `json:"points"`
}

// Parallel is the throughput of independent runs side by side, one thread each.
type Parallel struct {
	Runs  int     `json:"runs"`
	Steps float64 `json:"steps_per_second"` // of all together
}

// Command is a whole command, from start to end.
type Command struct {
	Command string  `json:"command"`
	Seconds float64 `json:"seconds"` // median
	Times   int     `json:"times"`
	PeakMB  float64 `json:"peak_mb"` // resident; 0: not known
}

// Study compares the replay of the published study.
type Study struct {
	Ours, Numpy     []float64 // seconds of each repetition
	NumpyThreads    int
	OursRows        []string // figures, seconds aside
	NumpyRows       []string
	CorrectedSteps  int
	CorrectedSecond float64
	CorrectedPeakMB float64
}

// Profile says where a step of a network spends its time.
type Profile struct {
	Name    string  `json:"name"` // "A"
	Threads int     `json:"threads"`
	Spent   []Spent `json:"spent"`
}

// Spent is the time of all threads in a function, without what it calls.
type Spent struct {
	Function string  `json:"function"`
	Micros   float64 `json:"us"` // of a step
}

// nets of the table. go-deep has an object per synapse: D does not fit.
var nets = []Race{
	{Name: "A", Net: "784-20-7-5-10", Batch: 128},
	{Name: "B", Net: "784-128-64-10", Batch: 128},
	{Name: "C", Net: "784-512-256-10", Batch: 128},
	{Name: "D", Net: "784-2048-2048-10", Batch: 256},
}

var (
	trainers   = []string{"glassnet", "torch-eager", "torch-hand", "torch-script", "numpy-best", "numpy-notebook", "sklearn", "gonum", "gorgonia", "gomlx", "go-deep"}
	predictors = []string{"glassnet", "torch-eager", "torch-frozen", "torch-hand", "numpy-best"}
)

// meter holds what the parts of a run share.
type meter struct {
	place   place
	quick   bool
	run     *Run
	workers map[string]*worker
}

func (m *meter) log(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, time.Now().Format("15:04:05 ")+format+"\n", arguments...)
}

// staff returns the workers of peers on 1 and on all threads, started when new.
func (m *meter) staff(names []string, threads ...int) (all []*worker) {
	for _, name := range names {
		library, _, _ := strings.Cut(name, "-")
		if slices.Contains(m.run.Missing, library) {
			continue
		}
		for _, n := range threads {
			key := fmt.Sprint(name, n)
			if m.workers[key] == nil {
				w, err := start(m.place, name, n)
				if err != nil {
					m.log("%s: %v", name, err)
					continue
				}
				m.workers[key] = w
			}
			all = append(all, m.workers[key])
		}
	}
	return all
}

// dismiss ends the workers of peers.
func (m *meter) dismiss(names ...string) {
	for key, w := range m.workers {
		if slices.Contains(names, w.peer) {
			w.quit()
			delete(m.workers, key)
		}
	}
}

func threadCounts() []int {
	if n := runtime.NumCPU(); n > 1 {
		return []int{1, n}
	}
	return []int{1}
}

// ready prepares the workers for r's network; all start from the same weights, make
// one step and are compared. It returns those that can go on, and the others'
// timings with the reason.
func (m *meter) ready(workers []*worker, r Race) (able []*worker, differences []float64, unable []Timing) {
	widths, err := parseNet(r.Net)
	if err == nil {
		err = writeFloats(filepath.Join(m.place.work, r.Net+".weights"), initial(widths))
	}
	var want []float32
	for _, w := range workers {
		after := filepath.Join(m.place.work, "after")
		difference, err := 0.0, err
		var a answer
		if err == nil {
			a, err = w.ask("prepare %s %d", r.Net, r.Batch)
			w.what = a.What
		}
		if err == nil {
			_, err = w.ask("check %s", after)
		}
		var got []float32
		if err == nil {
			got, err = readFloats(after)
		}
		if err == nil && want == nil {
			want = got // the first worker is ours
		}
		if err == nil {
			for i := range min(len(got), len(want)) {
				difference = max(difference, math.Abs(float64(got[i])-float64(want[i])))
			}
			if !(difference <= 1e-4) || len(got) == 0 {
				err = fmt.Errorf("%v: after one step from the same weights a number differs by %g", w, difference)
			}
		}
		if err != nil {
			m.log("%v", err)
			unable = append(unable, Timing{Peer: w.peer, Threads: w.threads, What: w.what, Difference: difference, Error: err.Error()})
			continue
		}
		able, differences = append(able, w), append(differences, difference)
	}
	return able, differences, unable
}

func (m *meter) compete(r Race, names []string, threads []int, command string, rounds int) Race {
	able, differences, unable := m.ready(m.staff(names, threads...), r)
	r.Timings = race(able, command, rounds, m.slice())
	for i, d := range differences {
		r.Timings[i].Difference = d
	}
	r.Timings = append(r.Timings, unable...)
	m.log("%s %s: %s", r.Name, strings.TrimSuffix(command, " %d"), summary(r))
	return r
}

func (m *meter) slice() time.Duration {
	if m.quick {
		return 20 * time.Millisecond
	}
	return 150 * time.Millisecond
}

func (m *meter) rounds(n int) int {
	if m.quick {
		return 3
	}
	return n
}

func summary(r Race) string {
	var parts []string
	for _, t := range r.Timings {
		parts = append(parts, fmt.Sprintf("%s/%d %.4g", t.Peer, t.Threads, t.Micros))
	}
	return strings.Join(parts, ", ")
}

func (m *meter) steps() {
	for _, r := range nets {
		names := trainers
		if r.Name == "D" {
			m.dismiss("go-deep")
			names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == "go-deep" })
		}
		if m.quick && r.Name > "B" {
			break
		}
		m.run.Steps = append(m.run.Steps, m.compete(r, names, threadCounts(), "step %d", m.rounds(15)))
	}
	m.dismiss("sklearn", "gonum", "gorgonia", "gomlx", "go-deep", "numpy-notebook")
}

func (m *meter) predictions() {
	for _, r := range []Race{nets[0], nets[2]} {
		for _, batch := range []int{1, 1024} {
			one := r
			one.Name = fmt.Sprintf("%s, %d", r.Name, batch)
			one = m.compete(one, predictors, threadCounts(), fmt.Sprintf("predict %d %%d", batch), m.rounds(15))
			one.Batch = batch
			m.run.Predict = append(m.run.Predict, one)
		}
	}
}

func (m *meter) products() {
	for _, n := range threadCounts() {
		for _, shape := range []struct {
			kind    string
			m, k, n int
		}{
			{"x·w", 1024, 1024, 1024}, {"xᵀ·g", 1024, 1024, 1024}, {"g·wᵀ", 1024, 1024, 1024},
			{"x·w", 128, 784, 512}, {"xᵀ·g", 128, 784, 512}, {"g·wᵀ", 128, 784, 512},
			{"x·w", 128, 784, 20}, {"xᵀ·g", 128, 784, 20}, {"g·wᵀ", 128, 784, 20},
			{"x·w", 256, 2048, 2048}, {"xᵀ·g", 256, 2048, 2048}, {"g·wᵀ", 256, 2048, 2048},
		} {
			r := Race{Name: shape.kind, M: shape.m, K: shape.k, N: shape.n, Threads: n}
			command := fmt.Sprintf("product %s %d %d %d %%d", r.Name, r.M, r.K, r.N)
			r.Timings = race(m.staff([]string{"glassnet", "numpy-best"}, n), command, m.rounds(11), m.slice())
			m.log("%s: %s", strings.TrimSuffix(command, " %d"), summary(r))
			m.run.Products = append(m.run.Products, r)
		}
	}
}

func (m *meter) scaling() {
	curve := func(with string, at []int, net func(n int) (string, int)) {
		if m.quick {
			at = at[:2]
		}
		c := Curve{With: with}
		for _, n := range at {
			r := Race{Name: with}
			r.Net, r.Batch = net(n)
			r = m.compete(r, []string{"glassnet", "torch-hand", "numpy-best"}, threadCounts(), "step %d", m.rounds(7))
			c.Points = append(c.Points, struct {
				At   int `json:"at"`
				Race `json:"race"`
			}{n, r})
		}
		m.run.Scaling = append(m.run.Scaling, c)
	}
	curve("batch", []int{8, 32, 128, 512, 2048}, func(n int) (string, int) { return "784-128-64-10", n })
	curve("width", []int{16, 64, 256, 1024, 4096}, func(n int) (string, int) { return fmt.Sprintf("784-%d-10", n), 128 })
	curve("depth", []int{1, 2, 4, 8, 16}, func(n int) (string, int) {
		return "784" + strings.Repeat("-128", n) + "-10", 128
	})
}

// sideBySide measures runs of net A on one thread each, 1 to 4 at once.
func (m *meter) sideBySide() {
	var workers []*worker
	for range 4 {
		w, err := start(m.place, "glassnet", 1)
		if err == nil {
			_, err = w.ask("prepare %s %d", nets[0].Net, nets[0].Batch)
		}
		if err != nil {
			m.log("%v", err)
			return
		}
		defer w.quit()
		workers = append(workers, w)
	}
	const steps = 4000
	for n := 1; n <= len(workers); n *= 2 {
		var rates []float64
		for range m.rounds(5) {
			var all sync.WaitGroup
			start := time.Now()
			for _, w := range workers[:n] {
				all.Go(func() { w.ask("step %d", steps) }) // steps/10 untimed ones count too
			}
			all.Wait()
			rates = append(rates, float64(n)*(steps+steps/10+1)/time.Since(start).Seconds())
		}
		slices.Sort(rates)
		m.run.Runs = append(m.run.Runs, Parallel{n, rates[len(rates)/2]})
	}
}

// peakOf watches a process until done is closed and sends its peak resident memory in
// MB, 0 where the system does not tell. What wait(2) tells will not do: a process that
// was started from a larger one counts as large as that.
func peakOf(pid int, done <-chan struct{}) <-chan float64 {
	result := make(chan float64, 1)
	go func() {
		var peak float64
		for {
			status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			if _, after, found := strings.Cut(string(status), "VmHWM:"); found {
				var kib float64
				if _, err := fmt.Sscan(after, &kib); err == nil {
					peak = kib / 1024
				}
			}
			select {
			case <-done:
				result <- peak
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	return result
}

// command runs a program to its end and returns its time and peak memory.
func command(environment []string, name string, arguments ...string) (seconds, peakMB float64, out string, err error) {
	c := exec.Command(name, arguments...)
	c.Env = environment
	var text strings.Builder
	c.Stdout = &text
	var complaint strings.Builder
	c.Stderr = &complaint
	start := time.Now()
	if err = c.Start(); err == nil {
		done := make(chan struct{})
		peak := peakOf(c.Process.Pid, done)
		err = c.Wait()
		close(done)
		peakMB = <-peak
	}
	seconds = time.Since(start).Seconds()
	if err != nil {
		return 0, 0, "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(arguments, " "), err, complaint.String())
	}
	return seconds, peakMB, text.String(), nil
}

// commands builds glassnet and times whole commands of it; out is a fresh folder
// for each. It returns the last one's standard output.
func (m *meter) command(times int, label string, arguments ...string) (c Command, stdout string, err error) {
	c = Command{Command: "glassnet " + label, Times: times}
	var seconds []float64
	for i := range times {
		full := arguments
		if label != "version" {
			full = append(slices.Clone(arguments), "--data", m.place.data)
		}
		if arguments[0] == "train" || arguments[0] == "study" {
			out := filepath.Join(m.place.work, "out")
			if err := os.RemoveAll(out); err != nil {
				return c, "", err
			}
			full = append(full, "--quiet", "--out", out)
		}
		s, peak, text, err := command(os.Environ(), filepath.Join(m.place.work, "glassnet"), full...)
		if err != nil {
			return c, "", err
		}
		m.log("%s, %d of %d: %.3f s, %.0f MB", c.Command, i+1, times, s, peak)
		seconds, stdout, c.PeakMB = append(seconds, s), text, max(c.PeakMB, peak)
	}
	slices.Sort(seconds)
	c.Seconds = seconds[len(seconds)/2]
	return c, stdout, nil
}

func (m *meter) commands() error {
	for _, one := range []struct {
		times     int
		label     string
		arguments []string
	}{
		{21, "version", []string{"version"}},
		{11, "train --epochs 1", []string{"train", "--epochs", "1"}},
		{5, "train", []string{"train"}},
	} {
		c, _, err := m.command(m.rounds(one.times), one.label, one.arguments...)
		if err != nil {
			return err
		}
		m.run.Commands = append(m.run.Commands, c)
	}
	c, err := m.firstStep(m.rounds(11))
	m.run.Commands = append(m.run.Commands, c)
	return err
}

// untilFirst names the time that firstStep measures.
const untilFirst = "glassnet train, to its first step"

// firstStep measures the time from the start of a training to its first step, before
// which it writes its config.toml.
func (m *meter) firstStep(times int) (Command, error) {
	c := Command{Command: untilFirst, Times: times}
	var seconds []float64
	for range times {
		out := filepath.Join(m.place.work, "out")
		if err := os.RemoveAll(out); err != nil {
			return c, err
		}
		training := exec.Command(filepath.Join(m.place.work, "glassnet"), "train", "--quiet", "--data", m.place.data, "--out", out)
		start := time.Now()
		if err := training.Start(); err != nil {
			return c, err
		}
		for {
			if _, err := os.Stat(filepath.Join(out, "config.toml")); err == nil {
				break
			}
			if time.Since(start) > patience {
				training.Process.Kill()
				return c, errors.Join(fmt.Errorf("%s: not within %v", c.Command, patience), training.Wait())
			}
			time.Sleep(time.Millisecond)
		}
		seconds = append(seconds, time.Since(start).Seconds())
		training.Process.Kill()
		training.Wait() // that it was killed is known
	}
	slices.Sort(seconds)
	c.Seconds = seconds[len(seconds)/2]
	m.log("%s: %.3f s", c.Command, c.Seconds)
	return c, nil
}

// studies replays the published study with both, in turn, numpy on the number of
// threads that a short replay likes better; and runs the corrected one.
func (m *meter) studies() error {
	s := &m.run.Study
	numpy := func(threads int, arguments ...string) (float64, []string, error) {
		full := append([]string{filepath.Join(filepath.Dir(m.place.script), "replay_numpy.py"), m.place.mnist}, arguments...)
		seconds, _, out, err := command(environment(threads), m.place.python, full...)
		m.log("replay_numpy.py %s on %d threads: %.1f s", strings.Join(arguments, " "), threads, seconds)
		return seconds, strings.Fields(out), err
	}
	best := math.Inf(1)
	for _, n := range threadCounts() {
		seconds, _, err := numpy(n, "3")
		if err != nil {
			return err
		}
		if seconds < best {
			best, s.NumpyThreads = seconds, n
		}
	}
	times, epochs := 3, []string{}
	if m.quick {
		times, epochs = 1, []string{"2"}
	}
	for range times {
		arguments := []string{"study", "published"}
		if m.quick {
			arguments = append(arguments, "--epochs", "2")
		}
		c, _, err := m.command(1, "study published", arguments...)
		if err != nil {
			return err
		}
		s.Ours = append(s.Ours, c.Seconds)
		if s.OursRows, err = figures(filepath.Join(m.place.work, "out", "results.csv")); err != nil {
			return err
		}
		seconds, rows, err := numpy(s.NumpyThreads, epochs...)
		if err != nil {
			return err
		}
		s.Numpy, s.NumpyRows = append(s.Numpy, seconds), rows
	}
	arguments := []string{"study", "corrected"}
	if m.quick {
		arguments = append(arguments, "--epochs", "1")
	}
	c, _, err := m.command(1, "study corrected", arguments...)
	if err != nil {
		return err
	}
	s.CorrectedSecond, s.CorrectedPeakMB = c.Seconds, c.PeakMB
	if s.CorrectedSteps, err = totalSteps(filepath.Join(m.place.work, "out", "results.json")); err != nil {
		return err
	}
	arguments = []string{"study"}
	if m.quick {
		arguments = append(arguments, "--epochs", "1")
	}
	c, _, err = m.command(1, "study", arguments...)
	m.run.Commands = append(m.run.Commands, c)
	return err
}

// figures returns our rows of a study's results.csv, seconds and what follows aside.
func figures(name string) (rows []string, err error) {
	text, err := os.ReadFile(name)
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, ","); strings.HasPrefix(line, "exp") {
			rows = append(rows, strings.Join(cells[:10], ","))
		}
	}
	return rows, err
}

func totalSteps(name string) (steps int, err error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	var results struct {
		Experiments []struct {
			Runs []struct {
				Steps int `json:"steps"`
			} `json:"runs"`
		} `json:"experiments"`
	}
	err = json.Unmarshal(text, &results)
	for _, e := range results.Experiments {
		for _, r := range e.Runs {
			steps += r.Steps
		}
	}
	return steps, err
}

// prepare leaves in the working folder what all workers read, and finds out which
// peers are there.
func (m *meter) prepare(order []int32) error {
	var data []byte
	for _, i := range order {
		data = binary.LittleEndian.AppendUint32(data, uint32(i))
	}
	if err := os.WriteFile(filepath.Join(m.place.work, "order"), data, 0o666); err != nil {
		return err
	}
	if out, err := exec.Command(m.place.python, "--version").Output(); err == nil {
		m.run.Python = strings.TrimSpace(string(out))
	}
	for library, module := range map[string]string{"torch": "torch", "numpy": "numpy", "sklearn": "sklearn"} {
		if err := exec.Command(m.place.python, "-c", "import "+module).Run(); err != nil {
			m.run.Missing = append(m.run.Missing, library)
			m.log("%s has no %s: its peers are left out", m.place.python, module)
		}
	}
	slices.Sort(m.run.Missing)
	build := exec.Command("go", "build", "-o", filepath.Join(m.place.work, "glassnet"), "./cmd/glassnet")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("building glassnet: %w", err)
	}
	arguments := []string{"bench", "--json", "--data", m.place.data}
	if m.quick {
		arguments = append(arguments, "--quick")
	}
	_, _, out, err := command(os.Environ(), filepath.Join(m.place.work, "glassnet"), arguments...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), &m.run.Bench); err != nil {
		return err
	}
	for i := range m.run.Bench.Loading { // where it was found is of this machine
		what := &m.run.Bench.Loading[i].What
		*what, _, _ = strings.Cut(*what, ", ")
	}
	return nil
}

func shuffled(images int) []int32 {
	return random.New(shuffleSeed, "compare/order").Permutation(images)[:trainingImages]
}
