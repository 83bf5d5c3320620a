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
	"slices"
	"strings"
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
func open(t testing.TB) page {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	address, ended := make(chan string, 1), make(chan error, 1)
	go func() { ended <- Serve(ctx, Options{Data: digits(t)}, func(url string) { address <- url }) }()
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
func (p page) until(phase string) State {
	p.t.Helper()
	for range 500 {
		var e everything
		p.get("/api/state", &e)
		if e.State.Phase == phase {
			return e.State
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.t.Fatalf("the training is not %s within 5 s", phase)
	return State{}
}

type object = map[string]any

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

				o := &owner{commands: make(chan func()), hub: &hub{watchers: map[*watcher]bool{}}, data: data, threads: 2}
				check := func(what string) {
					t.Helper()
					if got := o.run.position().params; !slices.EqualFunc(got, want, slices.Equal) {
						t.Errorf("%s: other parameters than train leaves", what)
					}
				}
				finish := func() {
					for o.phase == Running {
						o.advance()
					}
				}
				must := func(err error) {
					t.Helper()
					if err != nil {
						t.Fatal(err)
					}
				}
				must(o.configure(s))
				must(o.control("start"))
				finish()
				if o.phase != Done {
					t.Fatalf("phase %s: %s", o.phase, o.message)
				}
				check("straight on")
				kept := slices.Clone(o.snapshots)
				if len(kept) < 10 {
					t.Fatalf("%d snapshots", len(kept))
				}
				for _, i := range []int{0, 1, len(kept) / 2, len(kept) - 2} {
					must(o.goTo(kept[i].ID))
					if o.run.steps() != kept[i].Step {
						t.Fatalf("at step %d, want %d", o.run.steps(), kept[i].Step)
					}
					must(o.control("batch"))
					for o.phase == Paused {
						must(o.control("epoch"))
						finish()
					}
					check(fmt.Sprintf("back at step %d", kept[i].Step))
				}
				must(o.goTo(kept[len(kept)-1].ID))
				if o.phase != Done || o.control("start") == nil {
					t.Errorf("back at the end the training is %s and goes on", o.phase)
				}
				must(o.goTo(kept[1].ID))
				must(o.setRate(0.2))
				must(o.control("start"))
				finish()
				if slices.EqualFunc(o.run.position().params, want, slices.Equal) {
					t.Error("another learning rate changed nothing")
				}
				must(o.goTo(kept[1].ID))
				if o.rate != s.LearningRate {
					t.Errorf("learning rate %v after going back, want %v", o.rate, s.LearningRate)
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

// A long training keeps a bounded number of snapshots, the first among them.
func TestSnapshotsAreBounded(t *testing.T) {
	s := settings()
	s.Epochs, s.Hidden = 200, []int{4}
	o := &owner{hub: &hub{watchers: map[*watcher]bool{}}, data: digits(t), threads: 1}
	if err := o.configure(s); err != nil {
		t.Fatal(err)
	}
	o.phase = Running
	for o.phase == Running {
		o.advance()
		if len(o.snapshots) > maxSnapshots {
			t.Fatalf("%d snapshots", len(o.snapshots))
		}
	}
	if n := len(o.snapshots); n < maxSnapshots/2 || o.snapshots[0].Step != 0 {
		t.Errorf("%d snapshots, the first of step %d", n, o.snapshots[0].Step)
	}
}

// The page's whole way: a training is chosen, stepped, run; a digit's step is looked
// into, a number opened and its gradient checked.
func TestTheWayThrough(t *testing.T) {
	p := open(t)
	var e everything
	if code := p.get("/api/state", &e); code != 200 || e.State.Phase != Idle {
		t.Fatal(code, e)
	}
	if code := p.post("/api/control", object{"action": "start"}, nil); code != 422 {
		t.Errorf("start without a training: status %d", code)
	}
	if code := p.post("/api/see", object{"set": "test", "example": 1, "batch": 1}, nil); code != 422 {
		t.Errorf("see without a training: status %d", code)
	}
	var state State
	if code := p.post("/api/configure", settings(), &state); code != 200 || state.PerEpoch != 10 || len(state.Layers) != 5 || state.Layers[0].Parameters != 785*16 {
		t.Fatal(code, state)
	}
	if code := p.post("/api/control", object{"action": "batch"}, &state); code != 200 || state.Step != 1 || state.Phase != Paused {
		t.Fatal(code, state)
	}
	p.post("/api/control", object{"action": "epoch"}, nil)
	for state.Step < 10 {
		state = p.until(Paused)
	}
	if state.Step != 10 {
		t.Errorf("an epoch ended after step %d, want 10", state.Step)
	}
	if code := p.post("/api/rate", object{"learning_rate": 0.05}, &state); code != 200 || state.Rate != 0.05 {
		t.Error(code, state.Rate)
	}
	p.post("/api/control", object{"action": "start"}, nil)
	if state = p.until(Done); state.Step != 30 {
		t.Errorf("done after %d steps, want 30", state.Step)
	}
	p.get("/api/state", &e)
	if len(e.Points) < 30 || e.Points[len(e.Points)-1].ValCost == nil || len(e.Snapshots) < 30 {
		t.Errorf("%d points, %d snapshots", len(e.Points), len(e.Snapshots))
	}
	if code := p.post("/api/goto", object{"snapshot": e.Snapshots[5].ID}, &state); code != 200 || state.Branch != 1 || state.Step != e.Snapshots[5].Step {
		t.Error(code, state)
	}
	if code := p.post("/api/goto", object{"snapshot": 12345}, nil); code != 422 {
		t.Error(code)
	}

	var seen struct {
		ID int `json:"id"`
		explain.Overview
		Pixels []byte `json:"pixels"`
	}
	if code := p.post("/api/see", object{"set": "test", "example": 7, "batch": 1}, &seen); code != 200 || len(seen.Pixels) != 784 || len(seen.Layers) != 5 || len(seen.Probabilities) != 10 {
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
		{"/api/see", object{"set": "validation", "example": 7, "batch": 1}, 422},
		{"/api/see", object{"set": "test", "example": -1, "batch": 1}, 422},
		{"/api/see", object{"set": "test", "example": 100, "batch": 1}, 422},
		{"/api/see", object{"set": "test", "example": 7, "batch": 0}, 422},
		{"/api/see", object{"set": "test", "example": 7, "batch": 257}, 422},
		{"/api/open", object{"id": seen.ID, "ref": "9:9", "convention": "rows"}, 422},
		{"/api/open", object{"id": seen.ID, "ref": "<script>", "convention": "rows"}, 422},
		{"/api/open", object{"id": seen.ID, "ref": "1:3", "convention": "diagonal"}, 422},
		{"/api/open", object{"id": 99, "ref": "1:3", "convention": "rows"}, 404},
		{"/api/control", object{"action": "explode"}, 422},
		{"/api/rate", object{"learning_rate": 0}, 422},
		{"/api/rate", object{"learning_rate": -1}, 422},
		{"/api/configure", object{"hidden": []int{0}}, 422},
		{"/api/configure", object{"precision": "float16"}, 422},
		{"/api/configure", object{"unknown": 1}, 400},
	} {
		if code := p.post(bad.path, bad.body, nil); code != bad.want {
			t.Errorf("%s %v: status %d, want %d", bad.path, bad.body, code, bad.want)
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
	done := time.AfterFunc(10*time.Second, func() { streams[0].Body.Close() })
	defer done.Stop()
	points, phases := 0, map[string]bool{}
	for !phases[Done] && lines.Scan() {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			var s State
			if err := json.Unmarshal([]byte(data), &s); err != nil {
				t.Fatal(err)
			}
			if s.Phase == "" {
				points++
			}
			phases[s.Phase] = true
		}
	}
	if points != 30 || !phases[Running] || !phases[Done] {
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
		h.send("point", Point{Step: i})
	}
	if len(w.events) != buffered {
		t.Fatalf("%d events wait, want %d", len(w.events), buffered)
	}
	if first := string(<-w.events); !strings.Contains(first, fmt.Sprintf(`"step":%d,`, 9*buffered)) {
		t.Errorf("the oldest that waits is %s", first)
	}
}

// With sixteen streams open the server ends within two seconds.
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
	began := time.Now()
	cancel()
	if err := <-ended; err != nil || time.Since(began) > 2*time.Second {
		t.Errorf("ended after %v: %v", time.Since(began), err)
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
	g := newGuard(80, "", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("secret") }), slog.New(slog.NewTextHandler(&log, nil)))
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", "/", nil)
	r.Host = "localhost:80"
	g.ServeHTTP(w, r)
	if w.Code != 500 || strings.Contains(w.Body.String(), "secret") || !strings.Contains(log.String(), "secret") {
		t.Errorf("status %d, %q, log %q", w.Code, w.Body, &log)
	}
}

// Large networks have fewer snapshots and fewer steps kept, so that memory stays bounded.
func TestMemoryIsBounded(t *testing.T) {
	s := settings()
	s.Hidden = []int{2000, 2000} // 5.6 million parameters: 45 MB for a position
	o := &owner{hub: &hub{watchers: map[*watcher]bool{}}, data: digits(t), threads: 2}
	if err := o.configure(s); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		o.snapshot()
	}
	if n := len(o.snapshots) * o.run.bytes(); n > maxSnapshotBytes {
		t.Errorf("%d snapshots take %d bytes", len(o.snapshots), n)
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
