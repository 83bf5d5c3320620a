package studio

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"glassnet/dataset"
	"glassnet/experiment"
	"glassnet/explain"
	"glassnet/internal/usererr"
	"glassnet/train"
)

// maxBody is how long the body of a request may be.
const maxBody = 256 << 10

// routes are all that the server answers to. GET only reads; what changes something is
// POST with a JSON body, which no form of another page can send.
func (s *server) routes() map[string]http.Handler {
	return map[string]http.Handler{
		"GET /api/state":         s.answer(s.getState),
		"GET /api/events":        http.HandlerFunc(s.getEvents),
		"POST /api/configure":    s.answer(s.postConfigure),
		"POST /api/possible":     s.answer(s.postPossible),
		"POST /api/control":      s.answer(s.postControl),
		"POST /api/rate":         s.answer(s.postRate),
		"POST /api/branch":       s.answer(s.postBranch),
		"POST /api/look":         s.answer(s.postLook),
		"POST /api/see":          s.answer(s.postSee),
		"POST /api/open":         s.answer(s.postOpen),
		"POST /api/param":        s.answer(s.postParam),
		"POST /api/check":        s.answer(s.postCheck),
		"POST /api/predict":      s.answer(s.postPredict),
		"POST /api/saliency":     s.answer(s.postSaliency),
		"POST /api/activating":   s.answer(s.postActivating),
		"POST /api/mistakes":     s.answer(s.postMistakes),
		"POST /api/images":       s.answer(s.postImages),
		"GET /api/studies":       s.answer(s.getStudies),
		"GET /api/study":         s.answer(s.getStudy),
		"GET /api/study/results": s.answer(s.getStudyResults),
		"GET /api/finished":      s.answer(s.getFinished),
		"POST /api/study":        s.answer(s.postStudy),
		"POST /api/study/stop":   s.answer(s.postStudyStop),
		"GET /study/report.html": http.HandlerFunc(s.getReport),
		"GET /":                  assets(),
	}
}

// mux serves the routes.
func (s *server) mux() http.Handler {
	mux := http.NewServeMux()
	for pattern, handler := range s.routes() {
		mux.Handle(pattern, handler)
	}
	return mux
}

// statusError is an error with the status that it is answered with.
type statusError struct {
	status int
	error
	retry time.Duration // after which to ask again; 0: not at all
}

func (e statusError) Unwrap() error { return e.error }

// answer turns a function into a handler: its result is sent as JSON, its error as
// {"error", "try"} with a status. What went wrong inside is logged, not sent.
func (s *server) answer(f func(r *http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The time for the answer begins with it, not while its numbers are computed.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
		if r.Method == http.MethodPost {
			if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
				s.send(w, http.StatusUnsupportedMediaType, map[string]string{"error": "want Content-Type: application/json"})
				return
			}
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		}
		value, err := f(r)
		var status statusError
		var diverged *train.DivergedError
		var tooLong *http.MaxBytesError
		user, isUser := usererr.Find(err)
		switch {
		case err == nil:
			s.send(w, http.StatusOK, value)
		case errors.As(err, &tooLong):
			s.send(w, http.StatusRequestEntityTooLarge, map[string]string{"error": "the request is too long"})
		case errors.As(err, &diverged):
			s.send(w, http.StatusUnprocessableEntity, map[string]string{"error": err.Error(), "try": "a smaller learning rate"})
		case errors.As(err, &status):
			if status.retry > 0 {
				w.Header().Set("Retry-After", strconv.Itoa(int(status.retry.Seconds())))
			}
			s.send(w, status.status, map[string]string{"error": err.Error()})
		case r.Context().Err() != nil: // who asked has gone
		case isUser:
			s.send(w, http.StatusUnprocessableEntity, map[string]string{"error": err.Error(), "try": user.Hint})
		default:
			s.log.Error("request failed", "path", r.URL.Path, "error", err)
			s.send(w, http.StatusInternalServerError, map[string]string{"error": "internal error"})
		}
	})
}

// send answers with JSON, which has no way to write a number that is not finite.
func (s *server) send(w http.ResponseWriter, status int, value any) {
	data, err := json.Marshal(value)
	var notFinite *json.UnsupportedValueError
	switch {
	case errors.As(err, &notFinite):
		status = http.StatusUnprocessableEntity
		data = []byte(`{"error":"the network has left the finite numbers","try":"go back to a snapshot"}`)
	case err != nil:
		s.log.Error("answer failed", "error", err)
		status, data = http.StatusInternalServerError, []byte(`{"error":"internal error"}`)
	}
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerWithin))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(data) // who has gone away needs no answer
}

// read decodes a request's JSON: known fields only, and nothing after it.
func read(r *http.Request, into any) error { return decode(r.Body, into) }

func decode(text io.Reader, into any) error {
	d := json.NewDecoder(text)
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, end := d.Token(); end != io.EOF {
			err = errors.New("text after the JSON value")
		}
	}
	var tooLong *http.MaxBytesError
	if err != nil && !errors.As(err, &tooLong) {
		return statusError{status: http.StatusBadRequest, error: errors.New("the request is not the JSON that is wanted here: " + err.Error())}
	}
	return err
}

// everything is what a page needs when it is opened.
type everything struct {
	State  state   `json:"state"`
	Points []point `json:"points"`
	keeps
}

func (s *server) getState(r *http.Request) (any, error) {
	e := everything{Points: []point{}, keeps: keeps{[]snapshotInfo{}, []branchInfo{}}}
	err := s.owner.do(r.Context(), func() error {
		e.State = s.owner.state()
		if t := s.owner.training; t != nil {
			e.Points = append(e.Points, t.points...)
			e.keeps = t.keeps()
		}
		return nil
	})
	return e, err
}

// writeWithin is how long one write to a watcher may take; who reads slower is let go.
const writeWithin = 10 * time.Second

// keepAlive is the time after which a watcher without news is sent a comment.
const keepAlive = 15 * time.Second

// getEvents is a stream of server-sent events: state, points, snapshots, study.
func (s *server) getEvents(w http.ResponseWriter, r *http.Request) {
	watcher, err := s.owner.hub.join()
	if err != nil {
		w.Header().Set("Retry-After", "10")
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer s.owner.hub.leave(watcher)
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	write := func(text []byte) bool {
		if err := control.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil {
			return false
		}
		if _, err := w.Write(text); err != nil {
			return false
		}
		return control.Flush() == nil
	}
	if !write([]byte(": here\n\n")) {
		return
	}
	alive := time.NewTicker(keepAlive)
	defer alive.Stop()
	for {
		select {
		case <-r.Context().Done():
			return
		case <-s.closing:
			return
		case <-alive.C:
			if !write([]byte(": still here\n\n")) {
				return
			}
		case text, open := <-watcher.events:
			if !open || !write(text) {
				return
			}
		}
	}
}

func (s *server) postConfigure(r *http.Request) (any, error) {
	data, settings, err := s.readSettings(r)
	if err != nil {
		return nil, err
	}
	return s.change(r, func() error { return s.owner.configure(data, settings) })
}

// postPossible refuses what postConfigure would, and changes nothing. It reads nothing of
// the owner that changes, so the training goes on meanwhile.
func (s *server) postPossible(r *http.Request) (any, error) {
	data, settings, err := s.readSettings(r)
	if err != nil {
		return nil, err
	}
	release, err := s.mayWork(r.Context())
	if err != nil {
		return nil, err
	}
	defer release()
	_, err = s.owner.prepare(data, &settings)
	return struct{}{}, err
}

// readSettings reads those of a training, and its data set.
func (s *server) readSettings(r *http.Request) (*dataset.Data, experiment.Settings, error) {
	settings := firstSettings("")
	if err := read(r, &settings); err != nil {
		return nil, settings, err
	}
	if settings.Hidden == nil { // null
		settings.Hidden = []int{}
	}
	data, err := s.sets.load(r.Context(), settings.Dataset)
	return data, settings, err
}

// change has the owner do something and returns the state after it.
func (s *server) change(r *http.Request, f func() error) (any, error) {
	var after state
	err := s.owner.change(r.Context(), func() error {
		err := f()
		after = s.owner.state()
		return err
	})
	return after, err
}

// changeTraining is change for the training that was chosen.
func (s *server) changeTraining(r *http.Request, f func(t *training) error) (any, error) {
	return s.change(r, func() error {
		t, err := s.owner.chosen()
		if err != nil {
			return err
		}
		return f(t)
	})
}

func (s *server) postControl(r *http.Request) (any, error) {
	var body struct {
		Action string `json:"action"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	return s.changeTraining(r, func(t *training) error { return t.control(body.Action) })
}

func (s *server) postRate(r *http.Request) (any, error) {
	var body struct {
		Rate float64 `json:"learning_rate"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	return s.changeTraining(r, func(t *training) error { return t.setRate(body.Rate) })
}

func (s *server) postBranch(r *http.Request) (any, error) {
	var body struct {
		Snapshot int             `json:"snapshot"`
		Settings json.RawMessage `json:"settings"` // those that change; none: nothing does
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	return s.changeTraining(r, func(t *training) error {
		return t.goBack(body.Snapshot, func(settings *experiment.Settings) error {
			if body.Settings == nil {
				return nil
			}
			settings.Hidden = slices.Clone(settings.Hidden)
			return decode(bytes.NewReader(body.Settings), settings)
		})
	})
}

// looked is how many training examples a look has.
const looked = 256

// postLook tells how the network fares on a few training examples, the same ones always.
func (s *server) postLook(r *http.Request) (any, error) {
	var body struct {
		At int `json:"at"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	release, err := s.mayWork(r.Context())
	if err != nil {
		return nil, err
	}
	defer release()
	var of look
	net, view, err := s.toSee(r.Context(), body.At, func(t *training) (dataset.View, error) {
		of.Training, of.Branch = t.number, t.branch
		if from, err := t.find(body.At); err == nil && from != nil {
			of.Branch = from.Branch
		}
		return t.run.fit(), nil
	})
	if err != nil {
		return nil, err
	}
	step, err := net.record(view.Slice(0, min(looked, view.Len())))
	if err != nil {
		return nil, err
	}
	l := step.look()
	l.Training, l.Branch = of.Training, of.Branch
	return l, nil
}

// postSee records the step that the training would make next on a batch of examples that
// begins with the one asked for, or with a drawn one, or on the batch that is really next,
// and returns its numbers and the id by which more of it is opened.
func (s *server) postSee(r *http.Request) (any, error) {
	var body struct {
		At      int    `json:"at"`
		Set     string `json:"set"` // train, test; next: the training's next batch
		Example int    `json:"example"`
		Batch   int    `json:"batch"`  // at most, of the next
		Pixels  []byte `json:"pixels"` // drawn: it stands before the examples
		Label   int    `json:"label"`  // of the drawn one
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	if body.Batch > maxSeen {
		return nil, usererr.New("a batch of %d, want 1 to %d", body.Batch, maxSeen)
	}
	release, err := s.mayWork(r.Context())
	if err != nil {
		return nil, err
	}
	defer release()
	net, view, err := s.toSee(r.Context(), body.At, func(t *training) (dataset.View, error) {
		if body.Set == "next" {
			from, err := t.positionAt(body.At)
			if err != nil {
				return dataset.View{}, err
			}
			next := t.run.next(from)
			return next.Slice(0, min(max(body.Batch, 1), next.Len())), nil
		}
		set, err := setOf(t.data, body.Set)
		if err != nil {
			return dataset.View{}, err
		}
		if body.Pixels != nil {
			if set, err = before(set, body.Pixels, body.Label, body.Batch); err != nil {
				return dataset.View{}, err
			}
			body.Example = 0
		}
		return explain.Follow(set, body.Example, body.Batch)
	})
	if err != nil {
		return nil, err
	}
	step, err := net.record(view)
	if err != nil {
		return nil, err
	}
	return struct {
		ID int `json:"id"`
		seen
	}{s.steps.keep(step), step.overview()}, nil
}

// toSee returns the network at a snapshot and the examples to look at, of one moment.
func (s *server) toSee(ctx context.Context, at int, choose func(*training) (dataset.View, error)) (net network, view dataset.View, err error) {
	err = s.owner.do(ctx, func() error {
		t, err := s.owner.chosen()
		if err != nil {
			return err
		}
		if view, err = choose(t); err != nil {
			return err
		}
		net, err = t.networkAt(at)
		return err
	})
	return net, view, err
}

// setOf returns the set of that name.
func setOf(data *dataset.Data, name string) (*dataset.Set, error) {
	switch name {
	case "train":
		return data.Train, nil
	case "test":
		return data.Test, nil
	}
	return nil, usererr.New("set %.40q, want train or test", name)
}

// before returns a set of n examples: the given image and the first of set.
func before(set *dataset.Set, image []byte, label, n int) (*dataset.Set, error) {
	switch {
	case len(image) != set.Features():
		return nil, usererr.New("%d pixels, want %d", len(image), set.Features())
	case label < 0 || label >= set.Classes:
		return nil, usererr.New("label %d, want 0 to %d", label, set.Classes-1)
	case n < 1 || n > set.Len():
		return nil, usererr.New("a batch of %d examples, want 1 to %d", n, set.Len())
	}
	return &dataset.Set{
		Width: set.Width, Height: set.Height, Classes: set.Classes,
		Pixels: append(slices.Clone(image), set.Pixels[:(n-1)*set.Features()]...),
		Labels: append([]uint8{uint8(label)}, set.Labels[:n-1]...),
	}, nil
}

func (s *server) postParam(r *http.Request) (any, error) {
	var body struct {
		ID   int    `json:"id"`
		Name string `json:"name"`
		Unit *int   `json:"unit"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	step, err := s.steps.find(body.ID)
	if err != nil {
		return nil, err
	}
	return step.param(body.Name, body.Unit)
}

func (s *server) postSaliency(r *http.Request) (any, error) {
	var body struct {
		At     int    `json:"at"`
		Pixels []byte `json:"pixels"`
		Class  int    `json:"class"` // -1: the one that is predicted
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	release, err := s.mayWork(r.Context())
	if err != nil {
		return nil, err
	}
	defer release()
	net, data, err := s.network(r.Context(), body.At)
	if err != nil {
		return nil, err
	}
	found, err := net.salient(r.Context(), body.Pixels, data.Train.Width, body.Class)
	if err != nil {
		return nil, err
	}
	return struct {
		Class              int       `json:"class"`
		Gradient           []float64 `json:"gradient"`
		GradientTimesInput []float64 `json:"gradient_times_input"`
		Occlusion          []float64 `json:"occlusion"`
		Patch              int       `json:"patch"`
		LeavesOut          bool      `json:"leaves_out"`
	}{found.Class, found.Gradient, found.GradientTimesInput, found.Occlusion, found.Patch, found.LeavesOut}, nil
}

func (s *server) postActivating(r *http.Request) (any, error) {
	var body struct {
		At    int `json:"at"`
		Layer int `json:"layer"`
		Unit  int `json:"unit"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	release, err := s.mayWork(r.Context())
	if err != nil {
		return nil, err
	}
	defer release()
	net, data, err := s.network(r.Context(), body.At)
	if err != nil {
		return nil, err
	}
	found, err := net.activating(r.Context(), data.Test, body.Layer, body.Unit)
	if err != nil {
		return nil, err
	}
	type activating struct {
		Example int     `json:"example"`
		Label   int     `json:"label"`
		Value   float64 `json:"value"`
	}
	all := []activating{}
	for _, a := range found {
		all = append(all, activating{a.Example, int(data.Test.Labels[a.Example]), a.Value})
	}
	return all, nil
}

// maxShown is how many guesses are told at once.
const maxShown = 240

// postMistakes tells how the network does on the test set, and which examples are in a
// cell of its confusion matrix.
func (s *server) postMistakes(r *http.Request) (any, error) {
	var body struct {
		At        int    `json:"at"`
		Label     *int   `json:"label"`
		Predicted *int   `json:"predicted"`
		Mistaken  bool   `json:"mistaken"`
		Order     string `json:"order"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	if body.Order != "most" && body.Order != "least" {
		return nil, usererr.New("order %.40q, want most or least", body.Order)
	}
	release, err := s.mayWork(r.Context())
	if err != nil {
		return nil, err
	}
	defer release()
	var key moment
	var e *evaluated
	var net network
	var data *dataset.Data
	err = s.owner.do(r.Context(), func() error {
		t, err := s.owner.chosen()
		if err != nil {
			return err
		}
		data = t.data
		key = moment{t.number, t.branch, t.run.steps(), t.phase == diverged || t.phase == failed}
		if from, err := t.find(body.At); err == nil && from != nil {
			key = moment{t.number, from.Branch, from.Step, false}
		}
		if e = s.evaluations.find(key); e == nil {
			net, err = t.networkAt(body.At)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if e == nil {
		e = net.evaluate(data.Name, data.Test)
		s.evaluations.keep(key, e)
	}
	chosen := e.choose(body.Label, body.Predicted, body.Mistaken, body.Order == "least")
	return struct {
		Step      int      `json:"step"`
		Examples  int      `json:"examples"`
		Cost      *float64 `json:"cost"`
		Accuracy  *float64 `json:"accuracy"`
		Confusion [][]int  `json:"confusion"`
		Total     int      `json:"total"`
		Shown     []guess  `json:"shown"`
	}{e.steps, data.Test.Len(), e.cost, e.accuracy, e.confusion, len(chosen), chosen[:min(len(chosen), maxShown)]}, nil
}

// moment is a step of a branch of a training; broken, when the one after it failed and has
// left other numbers than a snapshot has.
type moment struct {
	training, branch, step int
	broken                 bool
}

// evaluations keeps the last few.
type evaluations struct {
	mu   sync.Mutex
	keys []moment
	kept []*evaluated
}

const keptEvaluations = 8

// find returns nil when there is none.
func (c *evaluations) find(key moment) *evaluated {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.keys, key); i >= 0 {
		return c.kept[i]
	}
	return nil
}

func (c *evaluations) keep(key moment, e *evaluated) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys, c.kept = append(c.keys, key), append(c.kept, e)
	if len(c.keys) > keptEvaluations {
		c.keys, c.kept = slices.Delete(c.keys, 0, 1), slices.Delete(c.kept, 0, 1)
	}
}

// How many images are sent at once, and how many bytes.
const (
	maxImages     = 256
	maxImageBytes = 8 << 20
)

func (s *server) postImages(r *http.Request) (any, error) {
	var body struct {
		Set      string `json:"set"`
		Examples []int  `json:"examples"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	if len(body.Examples) > maxImages {
		return nil, usererr.New("%d images, want at most %d at once", len(body.Examples), maxImages)
	}
	var data *dataset.Data
	if err := s.owner.do(r.Context(), func() error { data = s.owner.data; return nil }); err != nil {
		return nil, err
	}
	set, err := setOf(data, body.Set)
	if err != nil {
		return nil, err
	}
	if size := len(body.Examples) * set.Features(); size > maxImageBytes {
		return nil, usererr.New("%d images of %d pixels, want at most %d at once", len(body.Examples), set.Features(), maxImageBytes/set.Features())
	}
	images := struct {
		Width  int    `json:"width"`
		Height int    `json:"height"`
		Labels []int  `json:"labels"`
		Pixels []byte `json:"pixels"`
	}{set.Width, set.Height, []int{}, []byte{}}
	for _, i := range body.Examples {
		if i < 0 || i >= set.Len() {
			return nil, usererr.New("example %d, want 0 to %d", i, set.Len()-1)
		}
		images.Labels = append(images.Labels, int(set.Labels[i]))
		images.Pixels = append(images.Pixels, set.Image(i)...)
	}
	return images, nil
}

// queueWithin is how long a request waits for its turn to compute.
const queueWithin = 20 * time.Second

// mayWork waits until one of the few places is free for a request that computes much;
// release gives it back.
func (s *server) mayWork(ctx context.Context) (release func(), err error) {
	waited := time.NewTimer(s.waits)
	defer waited.Stop()
	select {
	case s.working <- struct{}{}:
		if ctx.Err() != nil { // nobody waits for it
			<-s.working
			return nil, ctx.Err()
		}
		return func() { <-s.working }, nil
	case <-waited.C:
		return nil, statusError{http.StatusServiceUnavailable, errors.New("other requests are being computed: ask again in a moment"), 5 * time.Second}
	case <-s.closing:
		return nil, statusError{status: http.StatusServiceUnavailable, error: errors.New("the studio is ending")}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// maxWorking is how many requests compute at once.
const maxWorking = 2

// maxSeen is the largest batch that can be looked into.
const maxSeen = 256

// stepCache keeps the last recorded steps.
type stepCache struct {
	mu    sync.Mutex
	next  int
	first int // the oldest that is kept
	bytes int
	steps map[int]explained
}

// How many recorded steps are kept, and how many bytes they may take; the last is kept
// whatever it takes.
const (
	keptSteps = 32
	keptBytes = 512 << 20
)

func (c *stepCache) keep(s explained) (id int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.steps == nil {
		c.steps = map[int]explained{}
	}
	id = c.next
	c.next++
	c.steps[id] = s
	c.bytes += s.bytes()
	for c.first < id && (len(c.steps) > keptSteps || c.bytes > keptBytes) {
		c.bytes -= c.steps[c.first].bytes()
		delete(c.steps, c.first)
		c.first++
	}
	return id
}

func (c *stepCache) find(id int) (explained, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.steps[id]; s != nil {
		return s, nil
	}
	return nil, statusError{status: http.StatusNotFound, error: errors.New("this step is not kept any more: look at the example again")}
}

// opening names a number of a recorded step.
type opening struct {
	ID         int    `json:"id"`
	Ref        string `json:"ref"`
	Convention string `json:"convention"` // rows, columns
	Full       bool   `json:"full"`
}

func (s *server) opening(r *http.Request) (o opening, step explained, ref explain.Ref, c explain.Convention, err error) {
	if err = read(r, &o); err != nil {
		return
	}
	if c, err = explain.ParseConvention(o.Convention); err != nil {
		return
	}
	if ref, err = explain.ParseRef(o.Ref); err != nil {
		return
	}
	step, err = s.steps.find(o.ID)
	return
}

func (s *server) postOpen(r *http.Request) (any, error) {
	o, step, ref, convention, err := s.opening(r)
	if err != nil {
		return nil, err
	}
	f, err := step.open(ref, convention)
	if err != nil {
		return nil, err
	}
	style := explain.Brief
	if o.Full {
		style = explain.Style{Bits: step.bits()}
	}
	text := f.Text(style)
	text.Contributions = text.Contributions[:min(len(text.Contributions), mostTerms)]
	text.To = text.To[:min(len(text.To), mostTo)]
	return text, nil
}

// How much of a number with many parts is told.
const (
	mostTerms = 1024
	mostTo    = 64
)

func (s *server) postCheck(r *http.Request) (any, error) {
	_, step, ref, _, err := s.opening(r)
	if err != nil {
		return nil, err
	}
	release, err := s.mayWork(r.Context())
	if err != nil {
		return nil, err
	}
	defer release()
	return step.check(ref)
}
