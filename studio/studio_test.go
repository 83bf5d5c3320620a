package studio

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"glassnet/dataset"
	"glassnet/dataset/drawn"
	"glassnet/experiment"
	"glassnet/explain"
	"glassnet/matrix"
	"glassnet/modelfile"
)

// digits draws a small data set.
func digits(t testing.TB) *dataset.Data {
	t.Helper()
	set := func(first, n int) *dataset.Set {
		pixels, labels, err := drawn.Draw(context.Background(), drawn.StandardSeed, first, n, nil)
		if err != nil {
			t.Fatal(err)
		}
		return &dataset.Set{Width: drawn.Width, Height: drawn.Height, Classes: 10, Pixels: pixels, Labels: labels}
	}
	return &dataset.Data{Name: "drawn-digits", Train: set(0, 600), Test: set(600, 100)}
}

func settings() experiment.Settings {
	s := experiment.Settings{Dataset: "drawn-digits", Precision: "float32", Seed: 3, Config: experiment.Default()}
	s.Hidden, s.LearningRate, s.Batch, s.Epochs = []int{16, 8}, 0.1, 50, 3
	return s
}

// page is a client of a studio that listens on a port of its own.
type page struct {
	t    testing.TB
	url  string
	host string
}

// open starts a studio that ends with the test.
func open(t testing.TB) page { return openWith(t, Options{Data: digits(t)}) }

func openWith(t testing.TB, o Options) page {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	address, ended := make(chan string, 1), make(chan error, 1)
	go func() { ended <- Serve(ctx, o, func(url string) { address <- url }) }()
	select {
	case url := <-address:
		t.Cleanup(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		return page{t, strings.TrimSuffix(url, "/"), strings.TrimSuffix(strings.TrimPrefix(url, "http://"), "/")}
	case err := <-ended:
		cancel()
		t.Fatal(err)
	}
	panic("unreachable")
}

// post sends a command and returns the status and the answer.
func (p page) post(path string, body, into any) int {
	p.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		p.t.Fatal(err)
	}
	r, err := http.Post(p.url+path, "application/json", bytes.NewReader(text))
	if err != nil {
		p.t.Fatal(err)
	}
	return p.decode(r, into)
}

func (p page) get(path string, into any) int {
	p.t.Helper()
	r, err := http.Get(p.url + path)
	if err != nil {
		p.t.Fatal(err)
	}
	return p.decode(r, into)
}

func (p page) decode(r *http.Response, into any) int {
	p.t.Helper()
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(text, into); err != nil {
			p.t.Fatalf("%s: %v", text, err)
		}
	}
	return r.StatusCode
}

// until waits for the training to be in a phase.
func (p page) until(phase string) state {
	p.t.Helper()
	for range 3000 {
		var e everything
		p.get("/api/state", &e)
		if e.State.Phase == phase {
			return e.State
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.t.Fatalf("the training is not %s within 30 s", phase)
	return state{}
}

type object = map[string]any

// chosen returns a training outside any server.
func chosen(t testing.TB, data *dataset.Data, s experiment.Settings) *training {
	t.Helper()
	o := newOwner(data, []string{data.Name}, 2, slog.New(slog.DiscardHandler))
	if err := o.configure(data, s); err != nil {
		t.Fatal(err)
	}
	return o.training
}

// unchanged goes back without changing a thing.
func unchanged(*experiment.Settings) error { return nil }

// finish trains until there is a stop.
func (t *training) finish() {
	for t.phase == running {
		t.advance()
	}
}

// params returns the parameters of a position.
func (p position) float64s() (all [][]float64) {
	switch params := p.params.(type) {
	case [][]float32:
		for _, v := range params {
			all = append(all, matrix.Convert[float64](v))
		}
	case [][]float64:
		all = params
	}
	return all
}

// A training under the page's hands gives the bits of `train`; so does one that went
// back on its way, and one that was paused.
func TestSameBits(t *testing.T) {
	data := digits(t)
	for _, precision := range []string{"float32", "float64"} {
		for _, norm := range []string{experiment.NormalisationNone, experiment.NormalisationBatch} {
			t.Run(precision+" "+norm, func(t *testing.T) {
				s := settings()
				s.Precision, s.Normalisation, s.Batch = precision, norm, 67 // a last batch of 11 of 480
				dir := t.TempDir()
				if _, err := experiment.Train(t.Context(), dir, data, s, experiment.TrainOptions{Threads: 1}); err != nil {
					t.Fatal(err)
				}
				want := modelParams(t, dir+"/model.safetensors", precision)
				equal := func(tr *training) bool {
					return slices.EqualFunc(tr.run.position().float64s(), want, slices.Equal)
				}
				must := func(err error) {
					t.Helper()
					if err != nil {
						t.Fatal(err)
					}
				}
				tr := chosen(t, data, s)
				must(tr.control("start"))
				tr.finish()
				if tr.phase != done || !equal(tr) {
					t.Fatalf("straight on: phase %s (%s), or other parameters than train leaves", tr.phase, tr.message)
				}
				kept := slices.Clone(tr.snapshots)
				if len(kept) < 10 {
					t.Fatalf("%d snapshots", len(kept))
				}
				for _, i := range []int{0, 1, len(kept) / 2, len(kept) - 2} {
					must(tr.goBack(kept[i].ID, unchanged))
					if tr.run.steps() != kept[i].Step {
						t.Fatalf("at step %d, want %d", tr.run.steps(), kept[i].Step)
					}
					must(tr.control("batch"))
					for tr.phase == paused {
						must(tr.control("epoch"))
						tr.finish()
					}
					if !equal(tr) {
						t.Errorf("back at step %d: other parameters than train leaves", kept[i].Step)
					}
				}
				must(tr.goBack(kept[len(kept)-1].ID, unchanged))
				if tr.phase != done || tr.control("start") == nil {
					t.Errorf("back at the end the training is %s and goes on", tr.phase)
				}
				must(tr.goBack(kept[1].ID, unchanged))
				must(tr.setRate(0.2))
				must(tr.control("start"))
				tr.finish()
				if equal(tr) {
					t.Error("another learning rate changed nothing")
				}
				must(tr.goBack(kept[1].ID, unchanged))
				if tr.run.rate() != s.LearningRate {
					t.Errorf("learning rate %v after going back, want %v", tr.run.rate(), s.LearningRate)
				}
			})
		}
	}
}

func modelParams(t *testing.T, path, precision string) (params [][]float64) {
	t.Helper()
	if precision == "float64" {
		m, err := modelfile.Load[float64](path)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range m.Net.Params() {
			params = append(params, matrix.Convert[float64](p.Value))
		}
		return params
	}
	m, err := modelfile.Load[float32](path)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range m.Net.Params() {
		params = append(params, matrix.Convert[float64](p.Value))
	}
	return params
}

// Of a very long training, and of one that is sent back again and again, a bounded
// number of snapshots and points is kept, the first among them.
func TestWhatIsKeptIsBounded(t *testing.T) {
	s := settings()
	s.Epochs, s.Hidden, s.Batch, s.Validation = 20000, []int{2}, 240, 0
	tr := chosen(t, digits(t), s)
	tr.phase = running
	longest := tr.settings.Epochs * tr.run.perEpoch()
	for i := 0; tr.phase == running; i++ {
		tr.advance()
		if len(tr.snapshots) > tr.most || len(tr.points) > maxPoints || tr.every < 1 || tr.every > longest {
			t.Fatalf("step %d: %d snapshots, %d points, a snapshot every %d steps", i, len(tr.snapshots), len(tr.points), tr.every)
		}
	}
	if n := len(tr.snapshots); n < maxSnapshots/4 || tr.snapshots[0].Step != 0 || tr.snapshots[n-1].Step != longest {
		t.Errorf("%d snapshots, of steps %d to %d", n, tr.snapshots[0].Step, tr.snapshots[n-1].Step)
	}
	if n := len(tr.points); n < maxPoints/4 {
		t.Errorf("%d points", n)
	}
	for range maxBranches - 1 {
		if err := tr.goBack(tr.snapshots[len(tr.snapshots)-2].ID, unchanged); err != nil {
			t.Fatal(err)
		}
		if tr.phase == paused {
			if err := tr.control("batch"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := tr.goBack(tr.snapshots[0].ID, unchanged); err == nil {
		t.Errorf("branch %d is begun", len(tr.branches))
	}
	if len(tr.snapshots) > tr.most || len(tr.points) > maxPoints || tr.every > longest {
		t.Errorf("%d snapshots, %d points, a snapshot every %d steps", len(tr.snapshots), len(tr.points), tr.every)
	}
}

// The page's whole way: a training is chosen, stepped, run; a digit's step is looked
// into, a number opened and its gradient checked.
func TestTheWayThrough(t *testing.T) {
	p := open(t)
	var e everything
	if code := p.get("/api/state", &e); code != 200 || e.State.Phase != idle {
		t.Fatal(code, e)
	}
	if code := p.post("/api/control", object{"action": "start"}, nil); code != 422 {
		t.Errorf("start without a training: status %d", code)
	}
	if code := p.post("/api/see", object{"at": -1, "set": "test", "example": 1, "batch": 1}, nil); code != 422 {
		t.Errorf("see without a training: status %d", code)
	}
	var state state
	if code := p.post("/api/configure", settings(), &state); code != 200 || state.PerEpoch != 10 || len(state.Layers) != 5 || state.Layers[0].Parameters != 785*16 {
		t.Fatal(code, state)
	}
	if code := p.post("/api/control", object{"action": "batch"}, &state); code != 200 || state.Step != 1 || state.Phase != paused {
		t.Fatal(code, state)
	}
	if code := p.post("/api/possible", object{"hidden": []int{3}}, nil); code != 200 {
		t.Errorf("possible settings: status %d, want 200", code)
	}
	if p.get("/api/state", &e); e.State.Step != 1 || e.State.Training != state.Training {
		t.Errorf("asking what is possible has changed the training: %+v", e.State)
	}
	p.post("/api/control", object{"action": "epoch"}, nil)
	for state.Step < 10 {
		state = p.until(paused)
	}
	if state.Step != 10 {
		t.Errorf("an epoch ended after step %d, want 10", state.Step)
	}
	if code := p.post("/api/rate", object{"learning_rate": 0.05}, &state); code != 200 || state.Rate != 0.05 {
		t.Error(code, state.Rate)
	}
	p.post("/api/control", object{"action": "start"}, nil)
	if state = p.until(done); state.Step != 30 {
		t.Errorf("done after %d steps, want 30", state.Step)
	}
	p.get("/api/state", &e)
	if len(e.Points) < 30 || e.Points[len(e.Points)-1].ValCost == nil || len(e.Snapshots) < 30 {
		t.Errorf("%d points, %d snapshots", len(e.Points), len(e.Snapshots))
	}
	if code := p.post("/api/branch", object{"snapshot": e.Snapshots[5].ID}, &state); code != 200 || state.Branch != 1 || state.Step != e.Snapshots[5].Step {
		t.Error(code, state)
	}
	if code := p.post("/api/branch", object{"snapshot": 12345}, nil); code != 404 {
		t.Error(code)
	}

	var seen struct {
		ID int `json:"id"`
		explain.Overview
		Pixels []byte `json:"pixels"`
	}
	if code := p.post("/api/see", object{"at": -1, "set": "test", "example": 7, "batch": 1}, &seen); code != 200 || len(seen.Pixels) != 784 || len(seen.Layers) != 5 || len(seen.Probabilities) != 10 {
		t.Fatal(code, seen)
	}
	var opened explain.Opened
	code := p.post("/api/open", object{"id": seen.ID, "ref": "1:3", "convention": "rows"}, &opened)
	if code != 200 || opened.Value != seen.Layers[0].Output[3] || opened.Formula == "" || len(opened.Contributions) < 20 {
		t.Fatal(code, opened)
	}
	var check struct {
		Analytic, Numeric float64
		Kink              bool
	}
	if code := p.post("/api/check", object{"id": seen.ID, "ref": "5.dense.bias:2", "convention": "columns"}, &check); code != 200 || check.Analytic == 0 || check.Analytic/check.Numeric > 1.001 {
		t.Error(code, check)
	}
	for _, bad := range []struct {
		path string
		body object
		want int
	}{
		{"/api/see", object{"at": -1, "set": "validation", "example": 7, "batch": 1}, 422},
		{"/api/see", object{"at": -1, "set": "test", "example": -1, "batch": 1}, 422},
		{"/api/see", object{"at": -1, "set": "test", "example": 100, "batch": 1}, 422},
		{"/api/see", object{"at": -1, "set": "test", "example": 7, "batch": 0}, 422},
		{"/api/see", object{"at": -1, "set": "test", "example": 7, "batch": 257}, 422},
		{"/api/open", object{"id": seen.ID, "ref": "9:9", "convention": "rows"}, 422},
		{"/api/open", object{"id": seen.ID, "ref": "<script>", "convention": "rows"}, 422},
		{"/api/open", object{"id": seen.ID, "ref": "1:3", "convention": "diagonal"}, 422},
		{"/api/open", object{"id": 99, "ref": "1:3", "convention": "rows"}, 404},
		{"/api/control", object{"action": "explode"}, 422},
		{"/api/rate", object{"learning_rate": 0}, 422},
		{"/api/rate", object{"learning_rate": -1}, 422},
		{"/api/configure", object{"hidden": []int{0}}, 422},
		{"/api/configure", object{"precision": "float16"}, 422},
		{"/api/configure", object{"precision": "float64", "hidden": []int{16384}, "batch": 16384}, 422}, // 8 GiB for a pass
		{"/api/configure", object{"hidden": slices.Repeat([]int{1, 65536}, 3), "batch": 1}, 422},        // too much to look at 256 examples
		{"/api/configure", object{"unknown": 1}, 400},
		{"/api/possible", object{"hidden": []int{0}}, 422},
		{"/api/possible", object{"precision": "float64", "hidden": []int{16384}, "batch": 16384}, 422},
		{"/api/possible", object{"unknown": 1}, 400},
		{"/api/possible", object{"dataset": "/etc"}, 422},
	} {
		if code := p.post(bad.path, bad.body, nil); code != bad.want {
			t.Errorf("%s %v: status %d, want %d", bad.path, bad.body, code, bad.want)
		}
	}
}

// A page is told when its digits stand in for MNIST, before a training and during one.
func TestStandIn(t *testing.T) {
	for _, fallback := range []bool{false, true} {
		data := *digits(t)
		data.Fallback = fallback
		o := newOwner(&data, []string{data.Name}, 1, slog.New(slog.DiscardHandler))
		if got := o.state().Fallback; got != fallback {
			t.Errorf("without a training: fallback %v, want %v", got, fallback)
		}
		if err := o.configure(&data, settings()); err != nil {
			t.Fatal(err)
		}
		if got := o.state().Fallback; got != fallback {
			t.Errorf("with a training: fallback %v, want %v", got, fallback)
		}
	}
}

// The stream tells of every phase and point; a seventeenth watcher is turned away.
func TestEvents(t *testing.T) {
	p := open(t)
	streams := make([]*http.Response, 0, maxWatchers)
	for range maxWatchers {
		r, err := http.Get(p.url + "/api/events")
		if err != nil || r.StatusCode != 200 || r.Header.Get("Content-Type") != "text/event-stream" {
			t.Fatal(r, err)
		}
		defer r.Body.Close()
		streams = append(streams, r)
	}
	r, err := http.Get(p.url + "/api/events")
	if err != nil || r.StatusCode != 503 || r.Header.Get("Retry-After") == "" {
		t.Errorf("watcher %d: %v, %v", maxWatchers+1, r.StatusCode, err)
	}
	r.Body.Close()
	p.post("/api/configure", settings(), nil)
	p.post("/api/control", object{"action": "start"}, nil)
	lines := bufio.NewScanner(streams[0].Body)
	late := time.AfterFunc(10*time.Second, func() { streams[0].Body.Close() })
	defer late.Stop()
	points, phases, event := 0, map[string]bool{}, ""
	for told := false; !told && lines.Scan(); {
		if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
			event = name
		}
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		switch {
		case !ok:
			continue
		case event == "state":
			var s state
			if err := json.Unmarshal([]byte(data), &s); err != nil {
				t.Fatal(err)
			}
			phases[s.Phase] = true
		case event == "points":
			var some []point
			if err := json.Unmarshal([]byte(data), &some); err != nil {
				t.Fatal(err)
			}
			points += len(some)
			told = phases[done] // the last come after the state
		}
	}
	if points != 30 || !phases[running] || !phases[done] {
		t.Errorf("%d points, phases %v", points, phases)
	}
}

// Watchers that do not read cost the training nothing and are bounded.
func TestSlowWatchers(t *testing.T) {
	h := &hub{watchers: map[*watcher]bool{}}
	w, err := h.join()
	if err != nil {
		t.Fatal(err)
	}
	for i := range 10 * buffered {
		h.send("point", point{Step: i})
	}
	if len(w.events) != buffered {
		t.Fatalf("%d events wait, want %d", len(w.events), buffered)
	}
	for i := range buffered {
		if text := string(<-w.events); !strings.Contains(text, fmt.Sprintf(`"step":%d,`, i)) {
			t.Errorf("event %d is %s", i, text)
		}
	}
	if _, open := <-w.events; open {
		t.Error("after events that had no room the stream is open, want it ended")
	}
	h.send("point", point{}) // is not for one that has ended
	if h.leave(w); len(h.watchers) != 0 {
		t.Errorf("%d watchers, want none", len(h.watchers))
	}
}

// With sixteen streams open and requests under way the server ends at once.
func TestShutdown(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	address, ended := make(chan string, 1), make(chan error, 1)
	go func() { ended <- Serve(ctx, Options{Data: digits(t)}, func(url string) { address <- url }) }()
	url := <-address
	for range maxWatchers {
		r, err := http.Get(url + "api/events")
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
	}
	stop := make(chan struct{})
	defer close(stop)
	for range 8 { // requests that wait for the owner are answered, too
		go func() {
			for {
				select {
				case <-stop:
					return
				default:
					if r, err := http.Get(url + "api/state"); err == nil {
						r.Body.Close()
					}
				}
			}
		}()
	}
	time.Sleep(50 * time.Millisecond)
	began := time.Now()
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
		t.Logf("ended after %v", time.Since(began))
	case <-time.After(10 * time.Second):
		t.Error("still there after 10 s")
	}
}

func TestListen(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	data := digits(t)
	for _, o := range []Options{
		{Data: data, Port: busy.Addr().(*net.TCPAddr).Port},
		{Data: data, Listen: "evil.example"},
		{Data: data, Listen: "999.1.1.1"},
	} {
		if err := Serve(t.Context(), o, func(string) { t.Error("it listens") }); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
}

// A panic in a handler is a 500 without a word of what happened, and the next request
// is answered.
func TestPanic(t *testing.T) {
	var log bytes.Buffer
	g := newGuard("127.0.0.1", 80, "", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("secret") }), slog.New(slog.NewTextHandler(&log, nil)))
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	r.Host = "localhost:80"
	g.ServeHTTP(w, r)
	if w.Code != 500 || strings.Contains(w.Body.String(), "secret") || !strings.Contains(log.String(), "secret") {
		t.Errorf("status %d, %q, log %q", w.Code, w.Body, &log)
	}
}

// Large networks have fewer snapshots, the largest are refused, and no more recorded
// steps are kept than there is room for.
func TestMemoryIsBounded(t *testing.T) {
	s := settings()
	s.Hidden = []int{2000, 2000} // 5.6 million parameters
	tr := chosen(t, digits(t), s)
	for i := range 40 {
		tr.branch = i // at one step no two are kept of a branch
		tr.snapshot()
	}
	if n := len(tr.snapshots) * tr.run.bytes(); n > maxSnapshotBytes {
		t.Errorf("%d snapshots take %d bytes", len(tr.snapshots), n)
	}
	s.Hidden = []int{4000, 4000}
	if err := tr.owner.configure(tr.data, s); err == nil {
		t.Error("a network of 19 million parameters is taken")
	}
	var c stepCache
	for i := range 40 {
		c.keep(large{})
		if c.bytes > keptBytes || c.bytes != len(c.steps)*(100<<20) {
			t.Fatalf("%d steps take %d bytes", len(c.steps), c.bytes)
		}
		if _, err := c.find(i); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.find(0); err == nil {
		t.Error("the first is kept for ever")
	}
}

// large stands for a recorded step of 100 MB.
type large struct{ explained }

func (large) bytes() int { return 100 << 20 }

// A recorded step takes no more memory than it is counted with, its check included.
func TestStepsAreCountedFully(t *testing.T) {
	for _, test := range []struct {
		hidden []int
		rows   int
	}{{slices.Repeat([]int{100}, 64), 200}, {[]int{1500}, 8}} {
		s := settings()
		s.Hidden, s.Normalisation = test.hidden, experiment.NormalisationBatch
		data := digits(t)
		tr := chosen(t, data, s)
		record := func() explained {
			view, err := explain.Follow(data.Train, 0, test.rows)
			if err != nil {
				t.Fatal(err)
			}
			net, err := tr.networkAt(-1)
			if err != nil {
				t.Fatal(err)
			}
			step, err := net.record(view)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := step.check(explain.ParameterRef("1.dense.weight", 0, 0)); err != nil {
				t.Fatal(err)
			}
			return step
		}
		record() // what is made once
		heap := func() int {
			runtime.GC()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int(m.HeapAlloc)
		}
		before := heap()
		steps := []explained{record(), record(), record(), record()}
		took := (heap() - before) / len(steps)
		if counted := steps[0].bytes(); took > counted*11/10 {
			t.Errorf("hidden %d of %d, %d examples: a step takes %d bytes, counted as %d", len(test.hidden), test.hidden[0], test.rows, took, counted)
		}
		runtime.KeepAlive(steps)
	}
}

// Many pages at once: what they do is done by the owner, one after the other. The race
// detector looks on.
func TestManyPagesAtOnce(t *testing.T) {
	p := open(t)
	var all sync.WaitGroup
	for i := range 4 {
		all.Go(func() {
			for k := range 10 {
				s := settings()
				s.Hidden = []int{4 + i}
				p.post("/api/configure", s, nil)
				p.post("/api/control", object{"action": []string{"start", "batch", "epoch", "pause"}[k%4]}, nil)
				p.get("/api/state", nil)
				var seen struct{ ID int }
				if p.post("/api/see", object{"at": -1, "set": "test", "example": k, "batch": 2}, &seen) == 200 {
					p.post("/api/check", object{"id": seen.ID, "ref": "1.dense.bias:0", "convention": "rows"}, nil)
					p.post("/api/open", object{"id": seen.ID, "ref": "1:0", "convention": "rows"}, nil)
				}
				p.post("/api/rate", object{"learning_rate": 0.01}, nil)
			}
		})
	}
	all.Wait()
	var e everything
	if code := p.get("/api/state", &e); code != 200 || e.State.Phase == failed {
		t.Errorf("status %d, phase %s", code, e.State.Phase)
	}
}

// null hidden layers are none, and the page is told so.
func TestNullHiddenLayers(t *testing.T) {
	p := open(t)
	var text json.RawMessage
	if code := p.post("/api/configure", object{"dataset": "drawn-digits", "hidden": nil}, &text); code != 200 || !strings.Contains(string(text), `"hidden":[]`) {
		t.Errorf("status %d: %.300s", code, text)
	}
}

// Settings that the studio would not follow are refused; a step that diverges is said.
func TestRefused(t *testing.T) {
	p := open(t)
	for name, set := range map[string]func(s *experiment.Settings){
		"patience":   func(s *experiment.Settings) { s.Stop, s.Patience = experiment.StopPatience, 1 },
		"look_every": func(s *experiment.Settings) { s.LookEvery = 2 },
		"size":       func(s *experiment.Settings) { s.Hidden = []int{9000, 9000} },
	} {
		s := settings()
		set(&s)
		if code := p.post("/api/configure", s, nil); code != 422 {
			t.Errorf("%s: status %d, want 422", name, code)
		}
	}
	s := settings()
	s.LearningRate, s.L2 = 1000, 1000
	p.post("/api/configure", s, nil)
	var failure struct{ Error string }
	if code := p.post("/api/see", object{"at": -1, "set": "test", "example": 1, "batch": 1}, &failure); code == 200 {
		p.post("/api/control", object{"action": "start"}, nil)
		if after := p.until(diverged); !strings.Contains(after.Message, "diverged in epoch 1 at step") {
			t.Errorf("message %q", after.Message)
		}
		if code := p.post("/api/see", object{"at": -1, "set": "test", "example": 1, "batch": 1}, &failure); code != 422 {
			t.Errorf("see of what diverges: status %d", code)
		}
	} else if code != 422 || !strings.Contains(failure.Error, "diverged at step 1") {
		t.Errorf("see of what diverges: status %d, %q", code, failure.Error)
	}
}

// A panic in the owner ends the training, not the server.
func TestPanicWhileTraining(t *testing.T) {
	data := digits(t)
	o := newOwner(data, []string{data.Name}, 1, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go o.own(ctx)
	if err := o.change(ctx, func() error { return o.configure(data, settings()) }); err != nil {
		t.Fatal(err)
	}
	w, err := o.hub.join()
	if err != nil {
		t.Fatal(err)
	}
	if err := o.do(ctx, func() error { panic("a fault") }); err == nil || o.training.phase != idle {
		t.Errorf("a look that panics: error %v, phase %s", err, o.training.phase)
	}
	if err := o.change(ctx, func() error { panic("a fault") }); err == nil {
		t.Error("no error")
	}
	if told := string(<-w.events); !strings.Contains(told, failed) {
		t.Errorf("watchers are told %s", told)
	}
	if err := o.do(ctx, func() error {
		if o.training.phase != failed || o.training.control("start") == nil {
			t.Errorf("phase %s", o.training.phase)
		}
		return o.configure(data, settings())
	}); err != nil {
		t.Error(err)
	}
	cancel()
	<-o.ended
	if err := o.do(context.Background(), func() error { return nil }); err == nil {
		t.Error("an owner that has ended does something")
	}
}

// Whatever address of the loopback is listened on, the page that is printed answers.
func TestLoopbackAddresses(t *testing.T) {
	for _, address := range []string{"127.0.0.1", "127.0.0.2", "::1"} {
		ctx, cancel := context.WithCancel(context.Background())
		url, ended := make(chan string, 1), make(chan error, 1)
		go func() { ended <- Serve(ctx, Options{Data: digits(t), Listen: address}, func(u string) { url <- u }) }()
		select {
		case u := <-url:
			r, err := http.Get(u + "api/state")
			if err != nil || r.StatusCode != 200 {
				t.Errorf("%s: %v, %v", u, r, err)
			} else {
				r.Body.Close()
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		case err := <-ended:
			if address != "::1" { // which a machine may lack
				t.Error(err)
			}
		}
		cancel()
	}
	g := guard{name: "127.0.0.1", port: 80}
	for host, want := range map[string]bool{"localhost": true, "127.0.0.1": true, "[::1]": true, "localhost:80": true, "evil.com": false, "localhost:81": false, "": false} {
		if got := g.hostAllowed(host); got != want {
			t.Errorf("port 80, Host %q: allowed %v, want %v", host, got, want)
		}
	}
}
