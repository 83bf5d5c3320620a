package studio

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"glassnet/dataset"
	"glassnet/experiment"
	"glassnet/explain"
	"glassnet/random"
	"glassnet/train"
)

// nearly reports whether two sums of the same numbers are equal but for rounding.
func nearly(a, b float64) bool { return math.Abs(a-b) <= 1e-12*(1+math.Abs(b)) }

// The points of the curves are what a trainer gives that is stepped by hand: means over
// the examples since the point before, a short last batch by its size. At the end of an
// epoch they are what train writes into history.csv.
func TestPointsAreThoseOfTrain(t *testing.T) {
	data := digits(t)
	s := settings()
	s.Batch, s.Epochs = 11, 2 // 44 steps an epoch, the last of 7 examples: a point every 2
	tr := chosen(t, data, s)
	must := musts(t)
	must(tr.control("start"))
	tr.finish()
	if tr.phase != done || tr.pointEvery != 2 {
		t.Fatalf("phase %s, a point every %d steps", tr.phase, tr.pointEvery)
	}

	ready, err := experiment.Prepare[float32](data, s, 1)
	must(err)
	view, stream := dataset.View{Set: ready.Fit.Set, Index: slices.Clone(ready.Fit.Index)}, random.New(s.Seed, random.Shuffle)
	var want []point
	var cost, correct, seen float64
	step := 0
	for epoch := 1; epoch <= s.Epochs; epoch++ {
		stream.Shuffle(view.Index)
		for at := 0; at < view.Len(); at += s.Batch {
			batch := view.Slice(at, min(at+s.Batch, view.Len()))
			c, err := ready.Trainer.Step(batch)
			must(err)
			step++
			n := float64(batch.Len())
			cost, correct, seen = cost+n*c.Data, correct+float64(c.Correct), seen+n
			if ends := at+s.Batch >= view.Len(); ends || step%2 == 0 {
				p := point{Step: step, Epoch: epoch, Ends: ends, TrainCost: cost / seen, TrainAccuracy: correct / seen, Rate: s.LearningRate}
				if ends {
					m := ready.Trainer.Evaluate(ready.Validation)
					p.ValCost, p.ValAccuracy = &m.Cost, &m.Accuracy
				}
				want = append(want, p)
				cost, correct, seen = 0, 0, 0
			}
		}
	}
	if len(tr.points) != len(want) {
		t.Fatalf("%d points, want %d", len(tr.points), len(want))
	}
	equal := func(got, want *float64) bool { return (got == nil) == (want == nil) && (got == nil || *got == *want) }
	for i, got := range tr.points {
		w := want[i]
		if got.Step != w.Step || got.Epoch != w.Epoch || got.Ends != w.Ends || got.Rate != w.Rate || !nearly(got.TrainCost, w.TrainCost) || !nearly(got.TrainAccuracy, w.TrainAccuracy) {
			t.Errorf("point %d is %+v, want %+v", i, got, w)
		}
		if !equal(got.ValCost, w.ValCost) || !equal(got.ValAccuracy, w.ValAccuracy) {
			t.Errorf("step %d: another look at the validation set than the trainer's", got.Step)
		}
	}

	dir := t.TempDir()
	_, err = experiment.Train(t.Context(), dir, data, s, experiment.TrainOptions{Threads: 1})
	must(err)
	f, err := os.Open(filepath.Join(dir, "history.csv"))
	must(err)
	defer f.Close()
	h, err := readHistory("run", f)
	must(err)
	if len(h.Step) != s.Epochs {
		t.Fatalf("history.csv has %d looks, want %d", len(h.Step), s.Epochs)
	}
	sum, of, last, look := 0.0, 0.0, 0, 0
	for _, p := range tr.points {
		n := float64(s.Batch * (p.Step - last))
		if p.Ends {
			n -= 4 // 7 examples in place of 11
		}
		sum, of, last = sum+n*p.TrainCost, of+n, p.Step
		if !p.Ends {
			continue
		}
		if h.Step[look] != p.Step || *h.ValCost[look] != *p.ValCost || *h.ValAccuracy[look] != *p.ValAccuracy || !nearly(sum/of, *h.TrainCost[look]) {
			t.Errorf("epoch %d: %v, %v, %v, history.csv has %v, %v, %v", p.Epoch, *p.ValCost, *p.ValAccuracy, sum/of, *h.ValCost[look], *h.ValAccuracy[look], *h.TrainCost[look])
		}
		sum, of, look = 0, 0, look+1
	}
}

// rest are the examples that the running epoch has left, as the steps take them.
func rest(t *testing.T, tr *training) (all []int32) {
	t.Helper()
	must, epoch := musts(t), tr.run.epoch()
	for tr.run.epoch() == epoch && !tr.run.epochOver() {
		all = append(all, tr.run.next(nil).Index...)
		must(tr.control("batch"))
	}
	return all
}

func sorted(all []int32) []int32 {
	all = slices.Clone(all)
	slices.Sort(all)
	return all
}

// A branch with another seed keeps the split: the same examples are looked at, and the
// same ones trained on. What its epoch has left comes in another order, each once.
func TestBranchOfAnotherSeed(t *testing.T) {
	data := digits(t)
	s := settings()
	tr := chosen(t, data, s)
	must := musts(t)
	must(tr.control("epoch"))
	tr.finish()
	end := tr.points[len(tr.points)-1]
	middle, over := tr.snapshots[3], tr.snapshots[len(tr.snapshots)-1]
	if !end.Ends || end.ValCost == nil || middle.Step != 3 || over.Step != 10 {
		t.Fatalf("the last point %+v, snapshots at steps %d and %d", end, middle.Step, over.Step)
	}
	other := func(s *experiment.Settings) error { s.Seed = 99; return nil }
	split := func() (fit, validation []int32) {
		ready := tr.run.(*typedRun[float32]).ready
		return sorted(ready.Fit.Index), sorted(ready.Validation.Index)
	}
	fit, validation := split()

	must(tr.goBack(over.ID, other))
	if m := tr.run.validate(); m.Cost != *end.ValCost || m.Accuracy != *end.ValAccuracy {
		t.Errorf("cost %v, accuracy %v of the validation set, its parent's %v and %v", m.Cost, m.Accuracy, *end.ValCost, *end.ValAccuracy)
	}
	if f, v := split(); !slices.Equal(f, fit) || !slices.Equal(v, validation) {
		t.Error("a branch with another seed has another split")
	}

	must(tr.goBack(middle.ID, unchanged))
	parent := rest(t, tr)
	must(tr.goBack(middle.ID, other))
	own := rest(t, tr)
	if len(parent) != len(fit)-3*s.Batch || !slices.Equal(sorted(own), sorted(parent)) {
		t.Errorf("the epoch's last %d examples are not the %d that its parent has left", len(own), len(parent))
	}
	if slices.Equal(own, parent) {
		t.Error("another seed orders the examples as its parent does")
	}
	must(tr.control("batch")) // begins the next epoch
	first := tr.run.(*typedRun[float32]).view.Index[:s.Batch]
	if next := append(slices.Clone(first), rest(t, tr)...); !slices.Equal(sorted(next), fit) {
		t.Error("the next epoch has not each example once")
	}
	must(tr.goBack(middle.ID, unchanged))
	if again := rest(t, tr); !slices.Equal(again, parent) {
		t.Error("a branch with another seed has changed the order that its snapshot has")
	}
}

// A divergence names the step that could not be made, as train does, and on a branch the
// one of the whole training.
func TestDivergenceNamesItsStep(t *testing.T) {
	data := digits(t)
	s := settings()
	s.Batch, s.LearningRate, s.L2 = 240, 1000, 1000 // 2 steps an epoch
	_, err := experiment.Train(t.Context(), t.TempDir(), data, s, experiment.TrainOptions{Threads: 1})
	var want *train.DivergedError
	if !errors.As(err, &want) || want.Epoch < 2 {
		t.Fatalf("train: %v, want it to diverge after an epoch", err)
	}
	tr := chosen(t, data, s)
	must := musts(t)
	for range 2 {
		tries := tr.run.steps()
		for tr.phase != diverged {
			must(tr.control("batch"))
			tries++
		}
		if tries != want.Step || tr.message != want.Error() {
			t.Errorf("at try %d: %q, train says %q", tries, tr.message, want.Error())
		}
		must(tr.goBack(tr.snapshots[1].ID, unchanged))
	}
}

// A look's figures are those of the step on its examples, before the update.
func TestLookIsOfTheStep(t *testing.T) {
	data := digits(t)
	for _, norm := range []string{experiment.NormalisationNone, experiment.NormalisationBatch} {
		s := settings()
		s.Normalisation = norm
		tr := chosen(t, data, s)
		must := musts(t)
		must(tr.control("start"))
		tr.finish()
		must(tr.setRate(0.5)) // a step that shows
		net, err := tr.networkAt(-1)
		must(err)
		recorded, err := net.record(tr.run.fit().Slice(0, 200))
		must(err)
		step, l := recorded.(typedStep[float32]), recorded.look()

		caches := step.Trace.Caches
		logits, correct := caches[len(caches)-1].Out, 0
		for i := range step.Rows() {
			row := logits.Row(i)
			if slices.Index(row, slices.Max(row)) == int(step.Batch.Label(i)) {
				correct++
			}
		}
		if step.After.Correct == correct {
			t.Fatalf("%d are right before and after the step: this shows nothing", correct)
		}
		if l.Step != 30 || l.Examples != 200 || l.Accuracy != float64(correct)/200 || l.Cost != step.Cost.Data {
			t.Errorf("step %d, %d examples, cost %v, accuracy %v, want 30, 200, %v, %v", l.Step, l.Examples, l.Cost, l.Accuracy, step.Cost.Data, float64(correct)/200)
		}
		before := tr.run.position().float64s() // the training has not moved
		at := 0
		for i, layer := range step.Net.Layers() {
			one := l.Layers[i]
			same := func(what string, got histogram, values []float32) {
				t.Helper()
				if want := counted(values); got.Lo != want.Lo || got.Hi != want.Hi || !slices.Equal(got.Counts, want.Counts) {
					t.Errorf("%s of layer %d: %+v, want %+v", what, i+1, got, want)
				}
			}
			same("outputs", one.Output, caches[i].Out.Data)
			same("gradients", one.Gradient, caches[i].GradOut.Data)
			squares := 0.0
			for _, p := range layer.Params() {
				if strings.HasSuffix(p.Name, ".weight") {
					w := make([]float32, len(before[at]))
					for k, v := range before[at] {
						w[k] = float32(v)
					}
					same("weights", *one.Weights, w)
				}
				if !strings.Contains(p.Name, ".running_") {
					for _, g := range p.Grad {
						squares += float64(g) * float64(g)
					}
				}
				at++
			}
			if !nearly(one.GradientNorm, math.Sqrt(squares)) {
				t.Errorf("norm of the gradient of layer %d: %v, want %v", i+1, one.GradientNorm, math.Sqrt(squares))
			}
		}

		first, units, pixels := before[0], s.Hidden[0], data.Train.Features()
		largest := 0.0
		for _, w := range first {
			largest = max(largest, math.Abs(w))
		}
		if l.First.Largest != largest || l.First.Of != units || len(l.First.Weights) != units*pixels {
			t.Fatalf("images of %d units, %d bytes, the largest weight %v, want %v", l.First.Of, len(l.First.Weights), l.First.Largest, largest)
		}
		for unit := range units {
			for pixel := range pixels {
				if got := float64(int8(l.First.Weights[unit*pixels+pixel])); math.Abs(got-127*first[pixel*units+unit]/largest) > 0.5+1e-9 {
					t.Fatalf("pixel %d of unit %d is %v, the weight %v of %v", pixel, unit, got, first[pixel*units+unit], largest)
				}
			}
		}
	}
}

// counted is a histogram in 32 equal parts.
func counted(values []float32) histogram {
	h := histogram{Lo: float64(slices.Min(values)), Hi: float64(slices.Max(values)), Counts: make([]int, 32)}
	for _, v := range values {
		part := 0.0
		if h.Hi > h.Lo {
			part = 32 * ((float64(v) - h.Lo) / (h.Hi - h.Lo))
		}
		h.Counts[min(int(part), 31)]++
	}
	return h
}

// A prediction is doubted that is far from all examples, of which the network is unsure,
// or whose neighbours have other labels, in this order.
func TestDoubt(t *testing.T) {
	labelled := func(labels ...int) (all []near) {
		for _, l := range labels {
			all = append(all, near{Label: l})
		}
		return all
	}
	sure, torn := []float64{0.03, 0.95, 0.02}, []float64{0.3, 0.55, 0.15}
	for name, test := range map[string]struct {
		p    prediction
		want string
	}{
		"nothing":        {prediction{Probabilities: sure, Nearest: labelled(1, 1, 1, 2)}, ""},
		"half agree":     {prediction{Probabilities: sure, Nearest: labelled(1, 1, 2, 2)}, ""},
		"just sure":      {prediction{Probabilities: []float64{0.2, unsure, 0.2}, Nearest: labelled(1, 1)}, ""},
		"unsure":         {prediction{Probabilities: torn, Nearest: labelled(1, 1, 1, 1)}, "The network is unsure: its likeliest class has a probability of 55 %."},
		"one neighbour":  {prediction{Probabilities: sure, Nearest: labelled(2, 1, 2, 0, 3)}, "Of the 5 nearest training examples only 1 has the label 1."},
		"few neighbours": {prediction{Probabilities: sure, Nearest: labelled(2, 1, 2, 0, 1)}, "Of the 5 nearest training examples only 2 have the label 1."},
		"both":           {prediction{Probabilities: torn, Nearest: labelled(2, 2)}, "The network is unsure"},
		"far": {prediction{Probabilities: torn, Nearest: labelled(2, 2), Far: true, Distance: 9.26, Typical: &typical{Of: 400, Median: 3, P95: 5, P99: 7.5}},
			"the nearest is 9.3 away, while 99 % of 400 test examples have one within 7.5. The network has no class for \"none of these\", so its probability of 55 % says little."},
	} {
		test.p.Predicted = 1
		if got := doubt(&test.p); (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// serving is a server without a port.
type serving struct {
	*server
	t       *testing.T
	handler http.Handler
}

func serve(t *testing.T, o Options) serving {
	s := newServer(t.Context(), o, slog.New(slog.DiscardHandler))
	go s.owner.own(t.Context())
	return serving{s, t, s.mux()}
}

func (s serving) post(path string, body, into any) int {
	s.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.ask(httptest.NewRequest("POST", path, bytes.NewReader(text)), into)
}

func (s serving) ask(r *http.Request, into any) int {
	s.t.Helper()
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	s.handler.ServeHTTP(w, r)
	if into != nil {
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			s.t.Fatalf("%s: %v", w.Body, err)
		}
	}
	return w.Code
}

// wants ends the test where a command is refused.
func (s serving) wants(path string, body, into any) {
	s.t.Helper()
	if code := s.post(path, body, into); code != 200 {
		s.t.Fatalf("%s %v: status %d", path, body, code)
	}
}

// The yardstick has the quantiles of the test examples' distances, and far is what is
// beyond the last of them.
func TestFar(t *testing.T) {
	data := digits(t)
	n := newNeighbours(data)
	n.measure(nil)
	var distances []float64
	for i := range data.Test.Len() {
		distances = append(distances, n.nearest(data.Test.Image(i), 1)[0].Distance)
	}
	slices.Sort(distances)
	if want := (typical{100, distances[50], distances[95], distances[99]}); *n.typical != want || want.P95 == want.P99 {
		t.Errorf("yardstick %+v, want %+v", *n.typical, want)
	}

	s := serve(t, Options{Data: data})
	s.wants("/api/configure", settings(), nil)
	s.neighbours[data.Name] = n
	n.once.Do(func() {}) // it is measured
	image := data.Test.Image(7)
	d := n.nearest(image, 1)[0].Distance
	for p99, far := range map[float64]bool{d - 0.1: true, d: false, d + 0.1: false} {
		n.typical = &typical{Of: 100, Median: d - 2, P95: d - 1, P99: p99}
		var p prediction
		s.wants("/api/predict", object{"at": -1, "pixels": image}, &p)
		if p.Distance != d || p.Far != far || strings.Contains(p.Doubt, "unlike") != far {
			t.Errorf("%v away, 99 %% within %v: far %v, %q", p.Distance, p99, p.Far, p.Doubt)
		}
	}
}

// The curves have a point where the learning rate changes, so that no mean is over steps of
// two rates.
func TestPointWhereTheRateChanges(t *testing.T) {
	s, ctx := serve(t, Options{Data: digits(t)}), t.Context()
	// points returns those of eight steps, with another rate after the fifth, and then of a
	// branch from step 5 with a third.
	points := func(every int) []point {
		c := settings()
		s.wants("/api/configure", c, nil)
		if err := s.owner.do(ctx, func() error { s.owner.training.pointEvery, s.owner.training.every = every, 1; return nil }); err != nil {
			t.Fatal(err)
		}
		steps := func(n int) {
			for range n {
				s.wants("/api/control", object{"action": "batch"}, nil)
			}
		}
		steps(5)
		s.wants("/api/rate", object{"learning_rate": 0.4}, nil)
		s.wants("/api/rate", object{"learning_rate": 0.3}, nil)
		steps(3)
		var e everything
		s.ask(httptest.NewRequest("GET", "/api/state", nil), &e)
		s.wants("/api/branch", object{"snapshot": e.Snapshots[5].ID, "settings": object{"learning_rate": 0.2}}, nil)
		steps(3)
		s.ask(httptest.NewRequest("GET", "/api/state", nil), &e)
		return e.Points
	}
	each, some := points(1), points(4)
	rate := settings().LearningRate
	mean := func(of []point) (sum float64) {
		for _, p := range of {
			sum += p.TrainCost / float64(len(of))
		}
		return sum
	}
	want := []struct {
		branch, step int
		rate, cost   float64
	}{
		{0, 4, rate, mean(each[:4])}, {0, 5, rate, each[4].TrainCost}, {0, 8, 0.3, mean(each[5:8])},
		{1, 5, rate, each[4].TrainCost}, {1, 8, 0.2, mean(each[8:11])},
	}
	if len(some) != len(want) {
		t.Fatalf("%d points, want %d: %+v", len(some), len(want), some)
	}
	for i, w := range want {
		if p := some[i]; p.Branch != w.branch || p.Step != w.step || p.Rate != w.rate || math.Abs(p.TrainCost-w.cost) > 1e-12 {
			t.Errorf("point %d is %+v, want %+v", i, p, w)
		}
	}
}

// Where points are further apart than epochs, the one where the rate changes at an epoch's
// end has a look, as all have that end one.
func TestRateChangesAtTheEndOfAnEpoch(t *testing.T) {
	s := serve(t, Options{Data: digits(t)})
	var now state
	s.wants("/api/configure", settings(), &now)
	if err := s.owner.do(t.Context(), func() error { s.owner.training.pointEvery = 2 * now.PerEpoch; return nil }); err != nil {
		t.Fatal(err)
	}
	for range now.PerEpoch {
		s.wants("/api/control", object{"action": "batch"}, nil)
	}
	s.wants("/api/rate", object{"learning_rate": 0.3}, nil)
	s.wants("/api/control", object{"action": "batch"}, nil)
	var e everything
	s.ask(httptest.NewRequest("GET", "/api/state", nil), &e)
	if len(e.Points) != 1 || e.Points[0].Step != now.PerEpoch || !e.Points[0].Ends || e.Points[0].ValCost == nil {
		t.Errorf("points %+v, want one at step %d with a look", e.Points, now.PerEpoch)
	}
}

// The curves have no number that JSON has not, whatever the costs were.
func TestPointOfHugeCosts(t *testing.T) {
	s := serve(t, Options{Data: digits(t)})
	s.wants("/api/configure", settings(), nil)
	if err := s.owner.do(t.Context(), func() error {
		s.owner.training.since = sums{cost: math.Inf(1), seen: 3}
		s.owner.training.point(false)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var e everything
	if code := s.ask(httptest.NewRequest("GET", "/api/state", nil), &e); code != 200 || len(e.Points) != 1 || e.Points[0].TrainCost != math.MaxFloat64 {
		t.Errorf("status %d, points %+v", code, e.Points)
	}
}

// A request that computes much waits for its turn, and not for ever; nothing is computed for
// one who has gone.
func TestTurns(t *testing.T) {
	s := serve(t, Options{Data: digits(t)})
	s.wants("/api/configure", settings(), nil)
	s.waits = 20 * time.Millisecond
	for range maxWorking {
		s.working <- struct{}{}
	}
	ask := func() *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "/api/look", strings.NewReader(`{"at": -1}`))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		return w
	}
	if w := ask(); w.Code != 503 || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "ask again") {
		t.Errorf("status %d, %v, %s", w.Code, w.Header(), w.Body)
	}
	for range maxWorking {
		<-s.working
	}
	if w := ask(); w.Code != 200 {
		t.Errorf("a free place: status %d, %s", w.Code, w.Body)
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	for range 20 { // a free place, and nobody who waits
		if _, err := s.mayWork(gone); !errors.Is(err, context.Canceled) || len(s.working) > 0 {
			t.Fatalf("%v, %d places taken", err, len(s.working))
		}
	}
}

// An answer may take longer to compute than to be sent.
func TestSlowAnswers(t *testing.T) {
	s := serve(t, Options{Data: digits(t)})
	server := httptest.NewUnstartedServer(s.answer(func(*http.Request) (any, error) {
		time.Sleep(300 * time.Millisecond)
		return "late", nil
	}))
	server.Config.WriteTimeout = 50 * time.Millisecond
	server.Start()
	defer server.Close()
	r, err := http.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if text, err := io.ReadAll(r.Body); err != nil || string(text) != `"late"` {
		t.Errorf("%q, %v", text, err)
	}
}

// A look says of which training and branch it is: that of now, or that of the snapshot.
func TestLookNamesItsBranch(t *testing.T) {
	s := serve(t, Options{Data: digits(t)})
	var e everything
	look := func(at, training, branch int) {
		t.Helper()
		var l look
		s.wants("/api/look", object{"at": at}, &l)
		if l.Training != training || l.Branch != branch {
			t.Errorf("at %d: training %d, branch %d, want %d, %d", at, l.Training, l.Branch, training, branch)
		}
	}
	for training := 1; training <= 2; training++ {
		s.wants("/api/configure", settings(), nil)
		s.wants("/api/control", object{"action": "batch"}, nil)
		s.ask(httptest.NewRequest("GET", "/api/state", nil), &e)
		for branch := 1; branch <= 2; branch++ {
			s.wants("/api/branch", object{"snapshot": e.Snapshots[1].ID}, nil)
			s.wants("/api/control", object{"action": "batch"}, nil)
		}
		look(-1, training, 2)
		s.ask(httptest.NewRequest("GET", "/api/state", nil), &e)
		for _, kept := range e.Snapshots {
			look(kept.ID, training, kept.Branch)
		}
	}
}

// Mistakes are those of the network that is asked about: another step, branch, training or
// a step that failed is never answered with what was evaluated before.
func TestEvaluationsAreNotStale(t *testing.T) {
	data := digits(t)
	s := serve(t, Options{Data: data})
	ctx := t.Context()
	answers := map[string]bool{}
	check := func(when string, at int) {
		t.Helper()
		var want *evaluated
		if err := s.owner.do(ctx, func() error {
			net, err := s.owner.training.networkAt(at)
			want = net.evaluate(data.Name, data.Test)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		for range 2 { // made, and kept
			var got struct {
				Step           int
				Cost, Accuracy *float64
				Confusion      [][]int
			}
			code := s.post("/api/mistakes", object{"at": at, "order": "most"}, &got)
			if want.cost == nil { // nor are its probabilities finite
				if code != 422 {
					t.Errorf("%s: status %d, want 422", when, code)
				}
				continue
			}
			same := func(a, b *float64) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }
			if code != 200 || got.Step != want.steps || !same(got.Cost, want.cost) || !same(got.Accuracy, want.accuracy) || !slices.EqualFunc(got.Confusion, want.confusion, slices.Equal) {
				t.Errorf("%s: status %d, an evaluation of another network, step %d, want %d", when, code, got.Step, want.steps)
			}
		}
		text := "not finite"
		if want.cost != nil {
			text = fmt.Sprint(*want.cost)
		}
		answers[text] = true
	}
	configure := func(seed uint64) {
		t.Helper()
		c := settings()
		c.Seed = seed
		s.wants("/api/configure", c, nil)
	}
	step := func() { t.Helper(); s.wants("/api/control", object{"action": "batch"}, nil) }
	configure(3)
	check("no step made", -1)
	step()
	check("after a step", -1)
	step()
	check("after two", -1)
	var e everything
	s.ask(httptest.NewRequest("GET", "/api/state", nil), &e)
	for _, kept := range e.Snapshots {
		check(fmt.Sprintf("the snapshot of step %d", kept.Step), kept.ID)
	}
	s.wants("/api/branch", object{"snapshot": e.Snapshots[1].ID, "settings": object{"learning_rate": 0.7}}, nil)
	step()
	check("step 2 of a branch", -1)
	check("step 2 of its parent", e.Snapshots[2].ID)
	if err := s.owner.do(ctx, func() error {
		ready := s.owner.training.run.(*typedRun[float32]).ready
		ready.Trainer.SetRate(3e38)
		for i := range ready.Net.Params()[1].Value { // biases: large activations have large gradients
			ready.Net.Params()[1].Value[i] = 1000
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	step() // the parameters are not finite
	var after everything
	if s.ask(httptest.NewRequest("GET", "/api/state", nil), &after); after.State.Phase != diverged || after.State.Step != 2 {
		t.Fatalf("%s at step %d", after.State.Phase, after.State.Step)
	}
	check("after a step that failed", -1)
	last := after.Snapshots[len(after.Snapshots)-1]
	if last.Branch != 1 || last.Step != 2 {
		t.Fatalf("the last snapshot is %+v", last)
	}
	check("the snapshot before it", last.ID)
	configure(4)
	check("another training", -1)
	step()
	check("a step of another training", -1)
	s.ask(httptest.NewRequest("GET", "/api/state", nil), &after)
	for _, kept := range after.Snapshots {
		check(fmt.Sprintf("the snapshot of step %d of another training", kept.Step), kept.ID)
	}
	if len(answers) != 7 {
		t.Errorf("%d networks were asked about, want 7", len(answers))
	}
}

// What computes much waits for a place.
func TestWorkWaits(t *testing.T) {
	data := digits(t)
	s := serve(t, Options{Data: data, Out: t.TempDir()})
	s.wants("/api/configure", settings(), nil)
	var seen struct{ ID int }
	s.wants("/api/see", object{"at": -1, "set": "test", "example": 1, "batch": 1}, &seen)
	image := data.Test.Image(1)
	for range maxWorking {
		s.working <- struct{}{}
	}
	for name, ask := range map[string]struct {
		f    func(*http.Request) (any, error)
		body any
	}{
		"possible":   {s.postPossible, settings()},
		"look":       {s.postLook, object{"at": -1}},
		"see":        {s.postSee, object{"at": -1, "set": "test", "example": 1, "batch": 1}},
		"check":      {s.postCheck, object{"id": seen.ID, "ref": "1.dense.bias:0", "convention": "rows"}},
		"predict":    {s.postPredict, object{"at": -1, "pixels": image}},
		"saliency":   {s.postSaliency, object{"at": -1, "pixels": image, "class": -1}},
		"activating": {s.postActivating, object{"at": -1, "layer": 1, "unit": 0}},
		"mistakes":   {s.postMistakes, object{"at": -1, "order": "most"}},
		"finished":   {s.getFinished, nil},
		"results":    {s.getStudyResults, nil},
	} {
		text, err := json.Marshal(ask.body)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if _, err := ask.f(httptest.NewRequestWithContext(ctx, "POST", "/", bytes.NewReader(text))); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s without a free place: %v, want it to wait", name, err)
		}
		cancel()
	}
	<-s.working
	var check explain.CheckText
	s.wants("/api/check", object{"id": seen.ID, "ref": "1.dense.bias:0", "convention": "rows"}, &check)
	if len(s.working) != maxWorking-1 {
		t.Errorf("%d places are taken, want %d: what is done gives its place back", len(s.working), maxWorking-1)
	}
}

// Of more finished studies than are told the oldest are left out.
func TestFinishedAreTheNewest(t *testing.T) {
	out := t.TempDir()
	began := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range mostFinished + 3 {
		started := began.Add(time.Duration(i) * time.Hour)
		dir := filepath.Join(out, fmt.Sprintf("s%03d", 7*i%(mostFinished+3))) // names in another order
		file := filepath.Join(dir, "results.json")
		text := fmt.Sprintf(`{"study": "s%d", "title": "t", "dataset": {"name": "d"}, "started": %q, "experiments": [{"name": "a"}]}`, i, started.Format(time.RFC3339))
		if err := errors.Join(os.Mkdir(dir, 0o777), os.WriteFile(file, []byte(text), 0o666), os.Chtimes(file, started, started)); err != nil {
			t.Fatal(err)
		}
	}
	s := serve(t, Options{Data: digits(t), Out: out})
	var all []finishedInfo
	if code := s.ask(httptest.NewRequest("GET", "/api/finished", nil), &all); code != 200 || len(all) != mostFinished {
		t.Fatalf("status %d, %d studies, want %d", code, len(all), mostFinished)
	}
	for i, f := range all {
		if want := fmt.Sprintf("s%d", mostFinished+2-i); f.Study != want {
			t.Fatalf("study %d is %s, want %s: the latest first", i, f.Study, want)
		}
	}
}

// Of a long history the first look and the last are kept, those between at equal distances.
func TestLongHistory(t *testing.T) {
	for _, looks := range []int{1, 2, mostLooks, mostLooks + 1, mostLooks + 2, 2 * mostLooks, 2500} {
		text := "epoch,step,train_cost,val_cost,val_accuracy,sum_of_weights\n"
		for i := range looks {
			text += fmt.Sprintf("%d,%d,0.5,%d,0.25,3\n", i+1, 10*(i+1), i)
		}
		h, err := readHistory("run", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		n := len(h.Epoch)
		if n < min(looks, mostLooks/2) || n > mostLooks+1 || h.Epoch[0] != 1 || h.Epoch[n-1] != looks || h.Step[n-1] != 10*looks || *h.ValCost[n-1] != float64(looks-1) {
			t.Errorf("%d looks: %d are kept, from epoch %d to %d", looks, n, h.Epoch[0], h.Epoch[n-1])
		}
		for i := 2; i < n-1; i++ {
			if h.Epoch[i]-h.Epoch[i-1] != h.Epoch[1]-h.Epoch[0] {
				t.Fatalf("%d looks: epochs %d, %d, %d", looks, h.Epoch[0], h.Epoch[1], h.Epoch[i])
			}
		}
	}
}

// The token of an address opens the page, and nothing is changed by it: that takes the
// cookie or a header.
func TestTokenOfTheAddressOnlyReads(t *testing.T) {
	g := newGuard("0.0.0.0", 80, "secret", http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), slog.New(slog.DiscardHandler))
	for _, test := range []struct {
		method, query, header, value string
		want                         int
		cookie                       bool
	}{
		{"GET", "?token=secret", "", "", 200, true},
		{"POST", "?token=secret", "", "", 401, false},
		{"HEAD", "?token=secret", "", "", 401, false},
		{"GET", "?token=secre", "", "", 401, false},
		{"GET", "?token=", "", "", 401, false},
		{"POST", "", "", "", 401, false},
		{"POST", "", "Cookie", tokenCookie + "=secret", 200, false},
		{"POST", "", "Cookie", tokenCookie + "=other", 401, false},
		{"POST", "", "Authorization", "Bearer secret", 200, false},
		{"POST", "", "Authorization", "secret", 401, false},
	} {
		r := httptest.NewRequest(test.method, "/api/control"+test.query, nil)
		r.Host = "10.0.0.1:80"
		if test.header != "" {
			r.Header.Set(test.header, test.value)
		}
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		if cookie := w.Header().Get("Set-Cookie") != ""; w.Code != test.want || cookie != test.cookie {
			t.Errorf("%s %s, %s %s: status %d, cookie %v, want %d, %v", test.method, test.query, test.header, test.value, w.Code, cookie, test.want, test.cookie)
		}
	}
}
