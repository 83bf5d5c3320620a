package studio

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"glassnet/dataset"
	"glassnet/experiment"
)

// mnist returns MNIST, or skips where it is not at hand. The search is that of the
// program, seen from the module's root.
func mnist(t testing.TB) *dataset.Data {
	t.Helper()
	t.Chdir("..")
	data, err := dataset.Load(t.Context(), "mnist", dataset.Options{Offline: true})
	if errors.Is(err, dataset.ErrNoMNIST) {
		t.Skipf("needs MNIST: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// watch reads the event stream until the test ends.
func (p page) watch() {
	p.t.Helper()
	r, err := http.Get(p.url + "/api/events")
	if err != nil || r.StatusCode != 200 {
		p.t.Fatal(r, err)
	}
	p.t.Cleanup(func() { r.Body.Close() })
	go func() { _, _ = io.Copy(io.Discard, bufio.NewReader(r.Body)) }()
}

// predictions asks for n predictions, so many a second, and returns how long each took,
// the shortest first.
func (p page) predictions(images [][]byte, n, perSecond int) []time.Duration {
	p.t.Helper()
	var took []time.Duration
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for i := range n {
		<-tick.C
		body, err := json.Marshal(object{"at": -1, "png": images[i%len(images)]})
		if err != nil {
			p.t.Fatal(err)
		}
		began := time.Now()
		r, err := http.Post(p.url+"/api/predict", "application/json", bytes.NewReader(body))
		if err != nil {
			p.t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		r.Body.Close()
		if took = append(took, time.Since(began)); r.StatusCode != 200 {
			p.t.Fatal(r.StatusCode)
		}
	}
	slices.Sort(took)
	return took
}

// beside trains the published network for a very long time, with the threads and the
// goroutines that the command has.
func beside(t testing.TB) page {
	t.Helper()
	cores := runtime.GOMAXPROCS(0)
	runtime.GOMAXPROCS(cores + 2)
	t.Cleanup(func() { runtime.GOMAXPROCS(cores) })
	p := openWith(t, Options{Data: mnist(t), Threads: max(1, cores-1)})
	s := experiment.Settings{Precision: "float32", Seed: 1, Config: experiment.Default()}
	s.Epochs = 1_000_000
	if code := p.post("/api/configure", s, nil); code != 200 {
		t.Fatal(code)
	}
	return p
}

// TestSoak trains for the time that GLASSNET_SOAK says, with four watchers and 20
// predictions a second, and holds goroutines, heap and descriptors to what they were
// after the first twelfth of it.
func TestSoak(t *testing.T) {
	d, err := time.ParseDuration(os.Getenv("GLASSNET_SOAK"))
	if err != nil {
		t.Skip("trains for as long as it is told, an hour as a rule; GLASSNET_SOAK=1h runs it")
	}
	if d < 5*time.Minute {
		t.Fatalf("GLASSNET_SOAK=%v, want 5m at least", d)
	}
	p := beside(t)
	t.Logf("the page is at %s", p.url)
	if path := os.Getenv("GLASSNET_SOAK_URL"); path != "" { // for a browser that looks on
		if err := os.WriteFile(path, []byte(p.url), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for range 4 {
		p.watch()
	}
	p.post("/api/control", object{"action": "start"}, nil)
	type sample struct{ goroutines, heap, descriptors int }
	var early, late []sample
	images := [][]byte{drawnPNG(280), drawnPNG(200)}
	const perSecond, window = 20, 200
	var slowest time.Duration // of the slowest hundredths of all windows
	asked, began := 0, time.Now()
	for time.Since(began) < d {
		took := p.predictions(images, window, perSecond)
		asked += len(took)
		slowest = max(slowest, took[len(took)*99/100])
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		files, _ := os.ReadDir("/proc/self/fd")
		one := sample{runtime.NumGoroutine(), int(m.HeapAlloc), len(files)}
		switch passed := time.Since(began); {
		case passed < d/12:
		case passed < d/6:
			early = append(early, one)
		case passed > d-d/12:
			late = append(late, one)
		}
		if len(late) == 1 || len(early) == 1 {
			t.Logf("after %v: %+v", time.Since(began).Round(time.Second), one)
		}
	}
	median := func(all []sample, of func(sample) int) int {
		var values []int
		for _, s := range all {
			values = append(values, of(s))
		}
		slices.Sort(values)
		return values[len(values)/2]
	}
	for name, of := range map[string]func(sample) int{
		"goroutines":  func(s sample) int { return s.goroutines },
		"heap, bytes": func(s sample) int { return s.heap },
		"descriptors": func(s sample) int { return s.descriptors },
	} {
		before, after := median(early, of), median(late, of)
		t.Logf("%s: %d, at the end %d", name, before, after)
		if after*20 > before*21 {
			t.Errorf("%s grew from %d to %d", name, before, after)
		}
	}
	var e everything
	p.get("/api/state", &e)
	rate := float64(asked) / time.Since(began).Seconds()
	t.Logf("%d steps; %.2f predictions a second; in the worst window of %d the slowest hundredth took %v", e.State.Step, rate, window, slowest)
	if rate < 0.95*perSecond {
		t.Errorf("%.2f predictions a second, want %d", rate, perSecond)
	}
}

// Predictions from the pad while a training runs.
func BenchmarkPredictWhileTraining(b *testing.B) {
	p := beside(b)
	p.post("/api/control", object{"action": "start"}, nil)
	image := [][]byte{drawnPNG(280)}
	p.predictions(image, 200, 20) // until the yardstick is measured
	b.ResetTimer()
	took := p.predictions(image, max(b.N, 100), 20)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms/median")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "ms/p99")
}

// Training with four watchers and without, in turn.
func BenchmarkWatched(b *testing.B) {
	p := beside(b)
	steps := func() float64 {
		var before, after everything
		p.get("/api/state", &before)
		p.post("/api/control", object{"action": "start"}, nil)
		time.Sleep(2 * time.Second)
		p.post("/api/control", object{"action": "pause"}, nil)
		p.get("/api/state", &after)
		return float64(after.State.Step - before.State.Step)
	}
	steps()
	var ratios []float64
	for range 9 { // 40 s, whatever b.N is
		alone := steps()
		var streams []*http.Response
		for range 4 {
			r, err := http.Get(p.url + "/api/events")
			if err != nil {
				b.Fatal(err)
			}
			streams = append(streams, r)
			go func() { _, _ = io.Copy(io.Discard, r.Body) }()
		}
		ratios = append(ratios, steps()/alone)
		for _, r := range streams {
			r.Body.Close()
		}
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], "watched/alone")
}

// The search for the nearest training examples of a test digit, alone.
func BenchmarkNearest(b *testing.B) {
	data := mnist(b)
	n := newNeighbours(data)
	for i := 0; b.Loop(); i++ {
		n.nearest(data.Test.Image(i%data.Test.Len()), mostNear)
	}
}
