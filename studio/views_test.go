package studio

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"image"
	"image/color"
	"image/png"
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
)

// trained opens a studio whose training is over.
func trained(t *testing.T, s experiment.Settings) page {
	t.Helper()
	p := open(t)
	if code := p.post("/api/configure", s, nil); code != 200 {
		t.Fatal(code)
	}
	p.post("/api/control", object{"action": "start"}, nil)
	p.until(done)
	return p
}

// A branch whose batches would take all memory is refused, as such a training is.
func TestBranchWithHugeBatches(t *testing.T) {
	s := settings()
	s.Hidden = []int{520}
	p := open(t)
	if code := p.post("/api/configure", s, nil); code != 200 {
		t.Fatal(code)
	}
	var e everything
	p.get("/api/state", &e)
	for batch, want := range map[int]int{50: 200, 1 << 16: 422} {
		if code := p.post("/api/branch", object{"snapshot": e.Snapshots[0].ID, "settings": object{"batch": batch}}, nil); code != want {
			t.Errorf("batches of %d: status %d, want %d", batch, code, want)
		}
	}
}

// A branch has the settings of its snapshot's branch but for what it changes; what
// cannot change is refused.
func TestBranch(t *testing.T) {
	s := settings()
	p := trained(t, s)
	var e everything
	p.get("/api/state", &e)
	parent := e.Points
	from := e.Snapshots[5]
	end := func(change object) (points []point, last branchInfo) {
		t.Helper()
		if code := p.post("/api/branch", object{"snapshot": from.ID, "settings": change}, nil); code != 200 {
			t.Fatal(code, change)
		}
		p.post("/api/control", object{"action": "start"}, nil)
		p.until(done)
		p.get("/api/state", &e)
		for _, one := range e.Points {
			if one.Branch == e.State.Branch {
				one.Branch = 0
				points = append(points, one)
			}
		}
		return points, e.Branches[e.State.Branch]
	}
	same := func(points []point) bool {
		return len(points) <= len(parent) && slices.EqualFunc(points, parent[len(parent)-len(points):], func(a, b point) bool {
			return a.Step == b.Step && a.TrainCost == b.TrainCost && (a.ValCost == nil || *a.ValCost == *b.ValCost)
		})
	}
	points, branch := end(object{})
	if len(points) != len(parent)-5 || !same(points) || branch.Change != "nothing changed" || branch.Step != from.Step || branch.Parent != 0 {
		t.Errorf("nothing changed: %d points, %+v", len(points), branch)
	}
	if e.State.LastStep != e.State.Step {
		t.Errorf("done after step %d, told of %d", e.State.Step, e.State.LastStep)
	}
	for change, settings := range map[string]object{
		"learning rate 0.2":             {"learning_rate": 0.2},
		"L2 0.1":                        {"l2": 0.1},
		"batches of 20":                 {"batch": 20},
		"another order of the examples": {"seed": 99},
		"learning rate 0.3, 4 epochs":   {"learning_rate": 0.3, "epochs": 4},
	} {
		points, branch := end(settings)
		if branch.Change != change || same(points) {
			t.Errorf("%s: %+v, the same points: %v", change, branch, same(points))
		}
	}
	for _, bad := range []object{{"hidden": []int{3}}, {"learning_rate": -1}, {"normalisation": "batch"}, {"precision": "float64"}, {"dataset": "mnist"}, {"batch": 0}} {
		if code := p.post("/api/branch", object{"snapshot": from.ID, "settings": bad}, nil); code != 422 {
			t.Errorf("%v: status %d, want 422", bad, code)
		}
	}
	if code := p.post("/api/branch", object{"snapshot": from.ID, "settings": object{"unknown": 1}}, nil); code != 400 {
		t.Errorf("unknown setting: status %d, want 400", code)
	}
	if end(object{"batch": 20}); e.State.LastStep != e.State.Step {
		t.Errorf("batches of 20: done after step %d, told of %d", e.State.Step, e.State.LastStep)
	}
	if last := e.Points[len(e.Points)-1]; !last.Ends || last.Epoch != e.State.Settings.Epochs {
		t.Errorf("the last point is %+v, want one that ends the last epoch", last)
	}
}

// musts returns a function that ends the test at an error.
func musts(t *testing.T) func(error) {
	return func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// A branch begins with its snapshot's learning rate, changed on the way or not, and in the
// middle between two points of the curves: where nothing changes it has its parent's.
func TestBranchFromTheMiddle(t *testing.T) {
	s := settings()
	s.Batch, s.Epochs = 5, 1 // 96 steps: a point every 4, a snapshot every 9
	tr := chosen(t, digits(t), s)
	must := musts(t)
	for range 3 {
		must(tr.control("batch"))
	}
	must(tr.setRate(0.02))
	must(tr.control("start"))
	tr.finish()
	parent, from := slices.Clone(tr.points), tr.snapshots[3]
	if from.Step%tr.pointEvery == 0 {
		t.Fatalf("the snapshot at step %d is at a point", from.Step)
	}
	must(tr.goBack(from.ID, unchanged))
	if tr.settings.LearningRate != 0.02 || tr.branches[1].Change != "nothing changed" {
		t.Errorf("rate %v, %s", tr.settings.LearningRate, tr.branches[1].Change)
	}
	must(tr.control("start"))
	tr.finish()
	own := tr.points[len(parent):]
	for i, p := range parent[len(parent)-len(own):] {
		if own[i].Step != p.Step || own[i].TrainCost != p.TrainCost || own[i].TrainAccuracy != p.TrainAccuracy {
			t.Errorf("point %d is %+v, its parent's %+v", i, own[i], p)
		}
	}
	must(tr.goBack(from.ID, func(s *experiment.Settings) error { s.LearningRate = 0.1; return nil }))
	if tr.run.rate() != 0.1 || tr.branches[2].Change != "learning rate 0.1" {
		t.Errorf("rate %v, %s", tr.run.rate(), tr.branches[2].Change)
	}
}

// A branch with other batches ends the epoch that it began in where its examples end: one
// that is left alone is no batch under batch normalisation, and an epoch's button stops there.
func TestBranchOfOtherBatches(t *testing.T) {
	s := settings()
	s.Normalisation, s.Batch, s.Epochs = experiment.NormalisationBatch, 7, 3
	tr := chosen(t, digits(t), s)
	must := musts(t)
	for range 7 {
		must(tr.control("batch")) // 49 examples of 480
	}
	tr.snapshot()
	from := tr.snapshots[len(tr.snapshots)-1]
	must(tr.goBack(from.ID, func(s *experiment.Settings) error { s.Batch = 43; return nil }))
	for epoch := 1; epoch <= s.Epochs; epoch++ {
		must(tr.control("epoch"))
		for tr.phase == running {
			if next := tr.run.next(nil).Len(); next < 2 {
				t.Fatalf("step %d: the next batch has %d examples", tr.run.steps()+1, next)
			}
			tr.advance()
		}
		if !tr.run.epochOver() || tr.run.epoch() != epoch || tr.phase == failed {
			t.Errorf("epoch %d: %s after step %d of epoch %d, over: %v", epoch, tr.phase, tr.run.steps(), tr.run.epoch(), tr.run.epochOver())
		}
	}
	if tr.phase != done {
		t.Errorf("phase %s", tr.phase)
	}
}

// What a network answers that has left the finite numbers is an error with a way on.
func TestNotFinite(t *testing.T) {
	s := &server{log: slog.New(slog.DiscardHandler)}
	w := httptest.NewRecorder()
	s.send(w, http.StatusOK, math.NaN())
	if w.Code != 422 || !strings.Contains(w.Body.String(), "go back to a snapshot") {
		t.Errorf("status %d, %s", w.Code, w.Body)
	}
	w = httptest.NewRecorder()
	s.send(w, http.StatusOK, func() {}) // what no answer may be is a fault of the program
	if w.Code != 500 || strings.Contains(w.Body.String(), "finite") {
		t.Errorf("status %d, %s", w.Code, w.Body)
	}
}

// A look, a recorded step and an evaluation at a snapshot are those of the network as
// it was, and stay so while the training goes on.
func TestSnapshotsAreLookedAt(t *testing.T) {
	s := settings()
	s.Normalisation = experiment.NormalisationBatch
	p := trained(t, s)
	var e everything
	p.get("/api/state", &e)
	at := func(id int) (l look, m struct {
		Step      int
		Accuracy  float64
		Examples  int
		Confusion [][]int
	}, seen struct {
		ID, Step int
		explain.Overview
	}) {
		t.Helper()
		for path, answer := range map[string]any{"/api/look": &l, "/api/mistakes": &m, "/api/see": &seen} {
			body := object{"at": id}
			switch path {
			case "/api/mistakes":
				body["order"] = "most"
			case "/api/see":
				body["set"], body["example"], body["batch"] = "test", 3, 40
			}
			if code := p.post(path, body, answer); code != 200 {
				t.Fatal(path, code)
			}
		}
		return
	}
	first := e.Snapshots[2]
	l, m, seen := at(first.ID)
	if l.Step != first.Step || m.Step != first.Step || seen.Step != first.Step {
		t.Errorf("steps %d, %d, %d, want %d", l.Step, m.Step, seen.Step, first.Step)
	}
	now, mNow, seenNow := at(-1)
	if now.Step != 30 || mNow.Step != 30 || now.Cost >= l.Cost || mNow.Accuracy <= m.Accuracy || seenNow.Cost == seen.Cost {
		t.Errorf("now: step %d, cost %v after %v, accuracy %v after %v", now.Step, now.Cost, l.Cost, mNow.Accuracy, m.Accuracy)
	}
	p.post("/api/branch", object{"snapshot": first.ID}, nil)
	if back, mBack, seenBack := at(-1); back.Cost != l.Cost || mBack.Accuracy != m.Accuracy || seenBack.Cost != seen.Cost {
		t.Errorf("back at step %d the cost is %v, want %v", first.Step, back.Cost, l.Cost)
	}
	if len(l.Layers) != 7 || l.First == nil || len(l.First.Weights) != 16*784 || l.First.Largest <= 0 {
		t.Errorf("%d layers, first weights %+v", len(l.Layers), l.First)
	}
	for _, layer := range l.Layers {
		sum := 0
		for _, n := range layer.Output.Counts {
			sum += n
		}
		if sum != layer.Units*l.Examples || (layer.Weights != nil) != (layer.Kind == "dense") {
			t.Errorf("layer %d: a histogram of %d of %d outputs", layer.Layer, sum, layer.Units*l.Examples)
		}
	}
	sum := 0
	for _, row := range m.Confusion {
		for _, n := range row {
			sum += n
		}
	}
	if sum != m.Examples {
		t.Errorf("%d of %d examples in the confusion matrix", sum, m.Examples)
	}
	for _, path := range []string{"/api/look", "/api/predict", "/api/saliency", "/api/activating"} {
		if code := p.post(path, object{"at": 9999}, nil); code != 404 {
			t.Errorf("%s of a snapshot that is not kept: status %d", path, code)
		}
	}
}

// A cell of the confusion matrix has its examples, the most sure or the least sure first.
func TestMistakes(t *testing.T) {
	p := trained(t, settings())
	type answer struct {
		Confusion [][]int
		Total     int
		Shown     []guess
	}
	var all, cell answer
	if code := p.post("/api/mistakes", object{"at": -1, "mistaken": true, "order": "most"}, &all); code != 200 {
		t.Fatal(code)
	}
	wrong := 0
	for label, row := range all.Confusion {
		for predicted, n := range row {
			p.post("/api/mistakes", object{"at": -1, "label": label, "predicted": predicted, "order": "least"}, &cell)
			if cell.Total != n || len(cell.Shown) != n {
				t.Errorf("label %d, predicted %d: %d examples, want %d", label, predicted, cell.Total, n)
			}
			for i, g := range cell.Shown {
				if g.Label != label || g.Predicted != predicted || i > 0 && g.Confidence < cell.Shown[i-1].Confidence {
					t.Errorf("%+v in the cell of label %d, predicted %d, place %d", g, label, predicted, i)
				}
			}
			if label != predicted {
				wrong += n
			}
		}
	}
	if all.Total != wrong || wrong == 0 {
		t.Errorf("%d mistakes, want %d", all.Total, wrong)
	}
	if code := p.post("/api/mistakes", object{"at": -1, "order": "worst"}, nil); code != 422 {
		t.Error(code)
	}
}

// drawnPNG is a drawing of a one: a dark stroke on a light ground.
func drawnPNG(side int) []byte {
	img := image.NewGray(image.Rect(0, 0, side, side))
	for i := range img.Pix {
		img.Pix[i] = 255
	}
	for y := side / 5; y < side*4/5; y++ {
		for x := side * 9 / 20; x < side*11/20; x++ {
			img.SetGray(x, y, color.Gray{Y: 0})
		}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// A drawing is brought to the data's form in stages, classified, and compared with the
// training examples; what is unlike all of them is said to be.
func TestPredict(t *testing.T) {
	p := trained(t, settings())
	var one prediction
	if code := p.post("/api/predict", object{"at": -1, "png": drawnPNG(280)}, &one); code != 200 {
		t.Fatal(code)
	}
	last := one.Stages[len(one.Stages)-1]
	img, err := png.Decode(bytes.NewReader(last.PNG))
	if err != nil {
		t.Fatal(err)
	}
	if grey, ok := img.(*image.Gray); len(one.Stages) < 4 || !ok || !bytes.Equal(grey.Pix, one.Pixels) || last.Width != 28 || !strings.Contains(last.What, "centred") {
		t.Errorf("stages %d, the last %q", len(one.Stages), last.What)
	}
	sum := 0.0
	for _, v := range one.Probabilities {
		sum += v
	}
	if math.Abs(sum-1) > 1e-5 || len(one.Logits) != 10 || one.Entropy < 0 || one.Entropy > math.Log(10) {
		t.Errorf("probabilities sum to %v, entropy %v", sum, one.Entropy)
	}
	data := digits(t)
	for _, image := range [][]byte{one.Pixels, data.Test.Image(5)} {
		got := newNeighbours(data).nearest(image, 5)
		var want []near
		for i := range data.Train.Len() {
			square := 0.0
			for j, v := range data.Train.Image(i) {
				d := (float64(v) - float64(image[j])) / 255
				square += d * d
			}
			want = append(want, near{i, int(data.Train.Labels[i]), math.Sqrt(square)})
		}
		slices.SortStableFunc(want, func(a, b near) int { return int(math.Copysign(1, a.Distance-b.Distance)) })
		for i, g := range got {
			if g.Example != want[i].Example || math.Abs(g.Distance-want[i].Distance) > 1e-9 {
				t.Errorf("neighbour %d is %+v, want %+v", i, g, want[i])
			}
		}
	}
	square := bytes.Repeat([]byte{255}, 784)
	var doubted prediction
	for range 1000 { // until the yardstick is there
		if p.post("/api/predict", object{"at": -1, "pixels": square}, &doubted); doubted.Typical != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if !doubted.Far || !strings.Contains(doubted.Doubt, "unlike every training example") {
		t.Errorf("a full square is not doubted: %v, %+v", doubted.Distance, doubted.Typical)
	}
	var digit prediction
	far := 0
	for i := range 50 {
		if p.post("/api/predict", object{"at": -1, "pixels": data.Test.Image(i)}, &digit); digit.Far {
			far++
		}
	}
	if far > 5 {
		t.Errorf("%d of 50 test digits are called far", far)
	}
	huge := drawnPNG(1025)
	for name, bad := range map[string]object{
		"nothing": {"at": -1}, "both": {"at": -1, "png": drawnPNG(28), "pixels": square}, "few pixels": {"at": -1, "pixels": []byte{1}},
		"no PNG": {"at": -1, "png": []byte("GIF89a")}, "too large": {"at": -1, "png": huge}, "cut off": {"at": -1, "png": drawnPNG(280)[:200]},
		"no ink": {"at": -1, "png": blank(280)},
	} {
		if code := p.post("/api/predict", bad, nil); code != 422 {
			t.Errorf("%s: status %d, want 422", name, code)
		}
	}
}

func blank(side int) []byte {
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, side, side))); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// A drawn digit is opened as an example of a set is; parameters around the step are
// those of the step.
func TestDrawnIsSeen(t *testing.T) {
	p := trained(t, settings())
	data := digits(t)
	body := object{"at": -1, "set": "train", "batch": 3, "pixels": data.Test.Image(4), "label": int(data.Test.Labels[4])}
	var seen struct {
		ID, Rows, Label int
		Pixels          []byte
		Loss            float64
	}
	if code := p.post("/api/see", body, &seen); code != 200 || seen.Rows != 3 || !bytes.Equal(seen.Pixels, data.Test.Image(4)) || seen.Label != int(data.Test.Labels[4]) {
		t.Fatal(code, seen.Rows, seen.Label)
	}
	var loss explain.Opened
	p.post("/api/open", object{"id": seen.ID, "ref": "loss", "convention": "rows"}, &loss)
	if loss.Value != seen.Loss || loss.Value <= 0 {
		t.Errorf("loss %v, want %v", loss.Value, seen.Loss)
	}
	var whole, unit param
	if code := p.post("/api/param", object{"id": seen.ID, "name": "3.dense.weight"}, &whole); code != 200 || len(whole.Before) != 128 {
		t.Fatal(code, whole)
	}
	p.post("/api/param", object{"id": seen.ID, "name": "3.dense.weight", "unit": 2}, &unit)
	for i, v := range unit.Before {
		at := i*8 + 2
		want := float64(float32(v) - float32(0.1)*float32(unit.Gradient[i]))
		if v != whole.Before[at] || unit.After[i] != whole.After[at] || math.Abs(unit.After[i]-want) > 1e-6 {
			t.Fatalf("weight %d: %v, %v, %v", i, v, unit.Gradient[i], unit.After[i])
		}
	}
	for _, bad := range []object{
		{"id": seen.ID, "name": "9.dense.weight"}, {"id": seen.ID, "name": "3.dense.weight", "unit": 8}, {"id": seen.ID, "name": "3.dense.weight", "unit": -1},
	} {
		if code := p.post("/api/param", bad, nil); code != 422 {
			t.Errorf("%v: status %d", bad, code)
		}
	}
	for key, value := range map[string]any{"pixels": []byte{1, 2}, "label": 10, "batch": 0} {
		other := object{}
		for k, v := range body {
			other[k] = v
		}
		other[key] = value
		if code := p.post("/api/see", other, nil); code != 422 {
			t.Errorf("%s %v: status %d", key, value, code)
		}
	}
	var images struct {
		Pixels []byte
		Labels []int
	}
	if code := p.post("/api/images", object{"set": "test", "examples": []int{4, 2}}, &images); code != 200 || !bytes.Equal(images.Pixels[:784], data.Test.Image(4)) || images.Labels[1] != int(data.Test.Labels[2]) {
		t.Error(code)
	}
	for _, bad := range []object{{"set": "test", "examples": []int{100}}, {"set": "test", "examples": []int{-1}}, {"set": "x", "examples": []int{}}, {"set": "test", "examples": make([]int, 300)}} {
		if code := p.post("/api/images", bad, nil); code != 422 {
			t.Errorf("%v: status %d", bad, code)
		}
	}
	var maps struct{ Gradient, Occlusion []float64 }
	if code := p.post("/api/saliency", object{"at": -1, "pixels": data.Test.Image(4), "class": -1}, &maps); code != 200 || len(maps.Gradient) != 784 || len(maps.Occlusion) != 784 {
		t.Error(code)
	}
	var most []struct {
		Example, Label int
		Value          float64
	}
	if code := p.post("/api/activating", object{"at": -1, "layer": 1, "unit": 3}, &most); code != 200 || len(most) != mostActivating || most[0].Value < most[1].Value {
		t.Error(code, most)
	}
}

// The step that is recorded on the training's next batch is the step that it makes next:
// all parameters after it, bit for bit, also at the end of an epoch and at a snapshot.
func TestNextStepIsTheStep(t *testing.T) {
	for _, norm := range []string{experiment.NormalisationNone, experiment.NormalisationBatch} {
		s := settings()
		s.Normalisation = norm
		p := open(t)
		p.post("/api/configure", s, nil)
		at := -1
		for step := range 25 {
			if step == 12 {
				var e everything
				p.get("/api/state", &e)
				at = e.Snapshots[10].ID // the end of the first epoch
			}
			var seen, after struct{ ID, Rows, Step int }
			if code := p.post("/api/see", object{"at": at, "set": "next", "batch": 256}, &seen); code != 200 || seen.Rows != 50 && seen.Rows != 30 {
				t.Fatal(code, seen)
			}
			if at >= 0 {
				p.post("/api/branch", object{"snapshot": at}, nil)
				at = -1
			}
			p.post("/api/control", object{"action": "batch"}, nil)
			p.post("/api/see", object{"at": -1, "set": "next", "batch": 256}, &after)
			names := []string{"1.dense.weight", "1.dense.bias"}
			if norm == experiment.NormalisationBatch { // whose dense layers have no bias
				names = []string{"1.dense.weight", "2.batch_norm.gamma", "2.batch_norm.running_variance"}
			}
			for _, name := range names {
				var before, now param
				unit := 3
				p.post("/api/param", object{"id": seen.ID, "name": name, "unit": unit}, &before)
				p.post("/api/param", object{"id": after.ID, "name": name, "unit": unit}, &now)
				if len(now.Before) == 0 || !slices.Equal(before.After, now.Before) {
					t.Fatalf("%s, step %d: %s is not what was told", norm, step+1, name)
				}
			}
		}
	}
}

const tiny = `
name = "tiny"
question = "Does the learning rate matter?"
dataset = "drawn-digits"
seeds = [1, 2]
timing_repeats = 0

[common]
hidden = [8]
epochs = 2
batch = 50

[[experiment]]
name = "slow"
learning_rate = 0.001

[[experiment]]
name = "fast"
learning_rate = 0.1

[[comparison]]
a = "slow"
b = "fast"
primary = true
`

// A study is run from its text; its results, its report and its folder are there.
func TestStudies(t *testing.T) {
	out := t.TempDir()
	p := openWith(t, Options{Data: digits(t), Out: out})
	var list []studyInfo
	if code := p.get("/api/studies", &list); code != 200 || len(list) < 4 || list[0].Name != "published" || list[0].Text == "" {
		t.Fatal(code, list)
	}
	if code := p.get("/api/study/results", nil); code != 404 {
		t.Errorf("results before any study: status %d", code)
	}
	var state studyState
	if code := p.post("/api/study", object{"text": tiny}, &state); code != 200 || state.Name != "tiny" {
		t.Fatal(code, state)
	}
	if code := p.post("/api/study", object{"text": tiny}, nil); code != 422 {
		t.Errorf("a second study beside the first: status %d", code)
	}
	ended := func() {
		t.Helper()
		for range 3000 {
			if p.get("/api/study", &state); state.Phase != studyRunning && state.Phase != studyStopping {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatal("the study does not end")
	}
	ended()
	if state.Phase != studyDone || len(state.Runs) != 4 || !state.Runs[0].Done {
		t.Fatalf("%+v", state)
	}
	var results struct {
		Results   experiment.Results
		Histories []runHistory
	}
	if code := p.get("/api/study/results", &results); code != 200 || len(results.Results.Experiments) != 2 || len(results.Histories) != 4 || len(results.Results.Comparisons) == 0 {
		t.Fatal(code)
	}
	for _, h := range results.Histories {
		if len(h.Epoch) != 2 || h.Epoch[1] != 2 || h.ValCost[1] == nil || h.SumOfWeights[0] == nil {
			t.Errorf("%+v", h)
		}
	}
	r, err := http.Get(p.url + "/study/report.html")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(r.Body)
	if r.StatusCode != 200 || r.Header.Get("Content-Security-Policy") != reportPolicy || !bytes.Contains(text, []byte("Does the learning rate matter?")) {
		t.Errorf("report: status %d", r.StatusCode)
	}
	for _, name := range []string{"results.json", "results.csv", "report.html", "study.toml", "runs/fast-seed2/model.safetensors"} {
		if _, err := os.Stat(filepath.Join(state.Folder, name)); err != nil || !strings.HasPrefix(state.Folder, out) {
			t.Error(err)
		}
	}
	for name, bad := range map[string]object{
		"unknown":         {"name": "../published"},
		"none":            {},
		"both":            {"name": "published", "text": tiny},
		"wrong text":      {"text": "nonsense = ["},
		"a path":          {"text": strings.Replace(tiny, `"drawn-digits"`, `"/etc"`, 1)},
		"a bad name":      {"text": strings.Replace(tiny, `"tiny"`, `"../../tiny"`, 1)},
		"no epochs":       {"text": tiny, "epochs": 0},
		"a large network": {"text": strings.Replace(tiny, "[8]", "[9000, 9000]", 1)},
	} {
		if code := p.post("/api/study", bad, nil); code != 422 {
			t.Errorf("%s: status %d, want 422", name, code)
		}
	}
	testFinished(t, out, filepath.Base(state.Folder))
	long := strings.Replace(tiny, "epochs = 2", "epochs = 100000", 1)
	if code := p.post("/api/study", object{"text": long}, &state); code != 200 {
		t.Fatal(code)
	}
	p.post("/api/study/stop", object{}, &state)
	if ended(); state.Phase != studyStopped {
		t.Errorf("stopped: %+v", state)
	}
	p.post("/api/study", object{"text": strings.Replace(long, `"drawn-digits"`, `"mnist"`, 1), "epochs": 1}, &state)
	if ended(); state.Phase != studyDone || state.Runs[0].MaxEpochs != 1 {
		t.Errorf("shortened: %+v", state)
	}
	p.get("/api/study/results", &results)
	if want := "glassnet study study.toml --epochs 1 --dataset drawn-digits"; results.Results.Command != want {
		t.Errorf("command %q, want %q", results.Results.Command, want)
	}
	// A folder of data is not found by the name that it has in the studio.
	folder := *digits(t)
	folder.Name = "my digits"
	q := openWith(t, Options{Data: &folder, Dataset: "'sets/my digits'", Out: out, Threads: 1})
	for _, about := range []string{"mnist", "my digits"} {
		q.post("/api/study", object{"text": strings.Replace(tiny, "drawn-digits", about, 1), "epochs": 1}, &state)
		for state.Phase == studyRunning {
			time.Sleep(10 * time.Millisecond)
			q.get("/api/study", &state)
		}
		results.Results.Command = ""
		q.get("/api/study/results", &results)
		if want := "glassnet study study.toml --epochs 1 --dataset 'sets/my digits'"; results.Results.Command != want {
			t.Errorf("about %s: command %q, want %q; %+v", about, results.Results.Command, want, state)
		}
	}
	if err := os.WriteFile(filepath.Join(out, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var refused struct{ Error, Try string }
	other := openWith(t, Options{Data: digits(t), Out: filepath.Join(out, "file")})
	if code := other.post("/api/study", object{"text": tiny}, &refused); code != 422 || !strings.Contains(refused.Try, "--out") {
		t.Errorf("a folder that cannot be made: status %d, %+v", code, refused)
	}
	p.post("/api/study", object{"text": long}, nil) // the server's end ends it
}

// The page's files are served with their types, and nothing else is.
func TestPage(t *testing.T) {
	p := open(t)
	for path, kind := range map[string]string{
		"/": "text/html; charset=utf-8", "/index.html": "text/html; charset=utf-8", "/icon.svg": "image/svg+xml",
		"/assets/studio.js": "text/javascript; charset=utf-8", "/assets/style.css": "text/css; charset=utf-8",
	} {
		r, err := http.Get(p.url + path)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if r.StatusCode != 200 || r.Header.Get("Content-Type") != kind || len(text) == 0 {
			t.Errorf("%s: status %d, type %q, %d bytes", path, r.StatusCode, r.Header.Get("Content-Type"), len(text))
		}
		if kind == "text/html; charset=utf-8" && (bytes.Contains(text, []byte("style=")) || bytes.Contains(text, []byte("<style")) || !bytes.Contains(text, []byte(`src="./assets/studio.js"`))) {
			t.Errorf("%s has styles or scripts in itself", path)
		}
	}
	for _, path := range []string{"/assets", "/assets/", "/index.html/", "/web/dist/index.html", "/page.go"} {
		if code := p.get(path, nil); code != 404 {
			t.Errorf("%s: status %d", path, code)
		}
	}
	size := 0
	for _, name := range []string{"index.html", "icon.svg", "assets/studio.js", "assets/style.css"} {
		text, err := dist.ReadFile("web/dist/" + name)
		if err != nil {
			t.Fatal(err)
		}
		size += len(text)
	}
	if size > 3<<19 {
		t.Errorf("the page's files have %d bytes, want at most 1.5 MB", size)
	}
}

// Data sets are chosen by name: what is no name of one is not looked for.
func TestDataSets(t *testing.T) {
	asked := []string{}
	first, other := digits(t), digits(t)
	other.Name = "mnist"
	s := newSets(first, nil)
	if _, err := s.load(t.Context(), "mnist"); err == nil {
		t.Error("a data set that nobody can find")
	}
	s = newSets(first, func(_ context.Context, name string) (*dataset.Data, error) {
		asked = append(asked, name)
		return other, nil
	})
	for _, name := range []string{"/etc/passwd", "../mnist", "MNIST", "mnist/"} {
		if _, err := s.load(t.Context(), name); err == nil {
			t.Errorf("%q is a data set", name)
		}
	}
	for range 2 {
		if data, err := s.load(t.Context(), "mnist"); err != nil || data != other {
			t.Error(data, err)
		}
	}
	if data, err := s.load(t.Context(), ""); err != nil || data != first || len(asked) != 1 {
		t.Error(err, asked)
	}
}

// Pixels and drawings are base64 in JSON, as the page sends them.
func TestBase64(t *testing.T) {
	p := trained(t, settings())
	r, err := http.Post(p.url+"/api/predict", "application/json", strings.NewReader(`{"at":-1,"png":"`+base64.StdEncoding.EncodeToString(drawnPNG(100))+`"}`))
	if err != nil {
		t.Fatal(err)
	}
	if code := p.decode(r, nil); code != 200 {
		t.Error(code)
	}
}

// testFinished starts another studio on the folder of a study that was finished.
func testFinished(t *testing.T, out, folder string) {
	t.Helper()
	// As glassnet study leaves them: two studies side by side, below one report.
	typed := filepath.Join(out, "typed")
	if err := os.CopyFS(filepath.Join(typed, "tiny"), os.DirFS(filepath.Join(out, folder))); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(typed, "tiny", "report.html")); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"typed/report.html": "above", "broken/results.json": "{", "other/results.json": `{"study": "x"}`, "results.json": "{}", "report.html": "not below a folder", "empty/file": "",
		"twice/results.json": `{"study": "x", "experiments": [{"name": "a"}, {"name": "a"}]}`,
		// What the page takes for granted is made empty where it is missing.
		"bare/results.json": `{"study": "tiny", "title": "t", "dataset": {"name": "d"}, "started": "2026-01-01T00:00:00Z", "experiments": [{"name": "a"}]}`,
		"bad/results.json":  `{"study": "tiny", "title": "t", "dataset": {"name": "d"}, "started": "2026-01-01T00:00:00Z", "experiments": [{"name": "a", "runs": [{"dir": "r"}]}]}`,
		"bad/r/history.csv": "epoch,step\n1,1\n",
	} {
		name = filepath.Join(out, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o777), os.WriteFile(name, []byte(text), 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(out, "bare", "report.html"), 0o777); err != nil {
		t.Fatal(err)
	}
	large := filepath.Join(out, "large", "results.json")
	if err := errors.Join(os.Mkdir(filepath.Dir(large), 0o777), os.WriteFile(large, nil, 0o666), os.Truncate(large, maxFile+1)); err != nil {
		t.Fatal(err)
	}
	p := openWith(t, Options{Data: digits(t), Out: out})
	var all []finishedInfo
	if code := p.get("/api/finished", &all); code != 200 || len(all) != 4 {
		t.Fatalf("status %d, %+v, want four studies", code, all)
	}
	for _, last := range all[2:] {
		if last.Folder != "bare" && last.Folder != "bad" || last.Report {
			t.Errorf("the oldest are %+v", all[2:])
		}
	}
	all = all[:2]
	var bare struct{ Results map[string]any }
	if code := p.get("/api/study/results?folder=bare", &bare); code != 200 || bare.Results["seeds"] == nil {
		t.Errorf("bare: status %d, %v", code, bare.Results["seeds"])
	} else if e := bare.Results["experiments"].([]any)[0].(map[string]any); e["runs"] == nil || e["summary"] == nil {
		t.Errorf("bare: %v", e)
	}
	if code := p.get("/study/report.html?folder=bare", nil); code != 404 {
		t.Errorf("a report that is a folder: status %d", code)
	}
	for _, folder := range []string{"bad", "large", "twice", "other", "broken"} {
		if code := p.get("/api/study/results?folder="+folder, nil); code != 422 {
			t.Errorf("%s: status %d, want 422", folder, code)
		}
	}
	told := map[string]bool{}
	for _, f := range all {
		told[f.Folder] = true
		if f.Study != "tiny" || f.Title == "" || f.Dataset == "" || f.Started.IsZero() || !f.Report {
			t.Errorf("%+v", f)
		}
		var results struct {
			Results   experiment.Results
			Histories []runHistory
		}
		if code := p.get("/api/study/results?folder="+f.Folder, &results); code != 200 || results.Results.Study != "tiny" || len(results.Histories) != 4 {
			t.Errorf("%s: status %d, %d histories", f.Folder, code, len(results.Histories))
		}
		r, err := http.Get(p.url + "/study/report.html?folder=" + f.Folder)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if want := map[bool]string{true: "above", false: "Does the learning rate matter?"}[f.Folder == "typed/tiny"]; r.StatusCode != 200 || !bytes.Contains(text, []byte(want)) {
			t.Errorf("report of %s: status %d, want %q in it", f.Folder, r.StatusCode, want)
		}
	}
	if !told[folder] || !told["typed/tiny"] {
		t.Errorf("told of %v", told)
	}
	for _, bad := range []string{"..", "../" + filepath.Base(out), "/etc", ".", "typed/tiny/runs", "typed/../" + folder, "nowhere", "broken%00", "C:%5C", "..%5C..", "empty", "typed"} {
		for _, path := range []string{"/api/study/results?folder=", "/study/report.html?folder="} {
			if code := p.get(path+bad, nil); code == 200 && !(bad == "typed" && path[1] == 's') {
				t.Errorf("%s%s: status 200", path, bad)
			}
		}
	}
}
