package studio

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
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
func (s *server) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /api/state", s.answer(s.getState))
	mux.Handle("GET /api/events", http.HandlerFunc(s.getEvents))
	mux.Handle("POST /api/configure", s.answer(s.postConfigure))
	mux.Handle("POST /api/control", s.answer(s.postControl))
	mux.Handle("POST /api/rate", s.answer(s.postRate))
	mux.Handle("POST /api/goto", s.answer(s.postGoto))
	mux.Handle("POST /api/see", s.answer(s.postSee))
	mux.Handle("POST /api/open", s.answer(s.postOpen))
	mux.Handle("POST /api/check", s.answer(s.postCheck))
	return mux
}

// statusError is an error with the status that it is answered with.
type statusError struct {
	status int
	error
}

func (e statusError) Unwrap() error { return e.error }

// answer turns a function into a handler: its result is sent as JSON, its error as
// {"error", "try"} with a status. What went wrong inside is logged, not sent.
func (s *server) answer(f func(r *http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
				send(w, http.StatusUnsupportedMediaType, map[string]string{"error": "want Content-Type: application/json"})
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
			send(w, http.StatusOK, value)
		case errors.As(err, &tooLong):
			send(w, http.StatusRequestEntityTooLarge, map[string]string{"error": "the request is too long"})
		case errors.As(err, &diverged):
			send(w, http.StatusUnprocessableEntity, map[string]string{"error": err.Error(), "try": "a smaller learning rate"})
		case errors.As(err, &status):
			send(w, status.status, map[string]string{"error": err.Error()})
		case isUser:
			send(w, http.StatusUnprocessableEntity, map[string]string{"error": err.Error(), "try": user.Hint})
		default:
			s.log.Error("request failed", "path", r.URL.Path, "error", err)
			send(w, http.StatusInternalServerError, map[string]string{"error": "internal error"})
		}
	})
}

func send(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(marshal(value)) // who has gone away needs no answer
}

// marshal returns JSON; null for what has none, which would be a fault of this package.
func marshal(value any) []byte {
	data, err := json.Marshal(value)
	if err != nil {
		return []byte("null")
	}
	return data
}

// read decodes a request's JSON: known fields only, and nothing after it.
func read(r *http.Request, into any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, end := d.Token(); end != io.EOF {
			err = errors.New("text after the JSON value")
		}
	}
	var tooLong *http.MaxBytesError
	if err != nil && !errors.As(err, &tooLong) {
		return statusError{http.StatusBadRequest, errors.New("the request is not the JSON that is wanted here: " + err.Error())}
	}
	return err
}

// everything is what a page needs when it is opened.
type everything struct {
	State     state          `json:"state"`
	Points    []point        `json:"points"`
	Snapshots []snapshotInfo `json:"snapshots"`
}

func (s *server) getState(r *http.Request) (any, error) {
	e := everything{Points: []point{}, Snapshots: []snapshotInfo{}}
	err := s.owner.do(r.Context(), func() error {
		e.State = s.owner.state()
		if t := s.owner.training; t != nil {
			e.Points = append(e.Points, t.points...)
			for _, one := range t.snapshots {
				e.Snapshots = append(e.Snapshots, one.snapshotInfo)
			}
		}
		return nil
	})
	return e, err
}

// writeWithin is how long one write to a watcher may take; who reads slower is let go.
const writeWithin = 10 * time.Second

// keepAlive is the time after which a watcher without news is sent a comment.
const keepAlive = 15 * time.Second

// getEvents is a stream of server-sent events: state, points.
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
		case text := <-watcher.events:
			if !write(text) {
				return
			}
		}
	}
}

func (s *server) postConfigure(r *http.Request) (any, error) {
	settings := experiment.Settings{Precision: "float32", Seed: 1, Config: experiment.Default()}
	if err := read(r, &settings); err != nil {
		return nil, err
	}
	return s.change(r, func() error { return s.owner.configure(settings) })
}

// change has the owner do something and returns the state after it.
func (s *server) change(r *http.Request, f func() error) (any, error) {
	var after state
	err := s.owner.do(r.Context(), func() error {
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

func (s *server) postGoto(r *http.Request) (any, error) {
	var body struct {
		Snapshot int `json:"snapshot"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	return s.changeTraining(r, func(t *training) error { return t.goTo(body.Snapshot) })
}

// postSee records the training's next step on a batch of examples that begins with the
// one asked for, and returns its numbers and the id by which more of it is opened.
func (s *server) postSee(r *http.Request) (any, error) {
	var body struct {
		Set     string `json:"set"` // train, test
		Example int    `json:"example"`
		Batch   int    `json:"batch"`
	}
	if err := read(r, &body); err != nil {
		return nil, err
	}
	set := map[string]*dataset.Set{"train": s.owner.data.Train, "test": s.owner.data.Test}[body.Set]
	switch {
	case set == nil:
		return nil, usererr.New("set %.40q, want train or test", body.Set)
	case body.Batch > maxSeen:
		return nil, usererr.New("a batch of %d, want 1 to %d", body.Batch, maxSeen)
	}
	view, err := explain.Follow(set, body.Example, body.Batch)
	if err != nil {
		return nil, err
	}
	release, err := s.mayWork(r.Context())
	if err != nil {
		return nil, err
	}
	defer release()
	var record func() (explained, error)
	err = s.owner.do(r.Context(), func() error {
		t, err := s.owner.chosen()
		if err != nil {
			return err
		}
		record, err = t.run.record(view)
		return err
	})
	if err != nil {
		return nil, err
	}
	step, err := record()
	if err != nil {
		return nil, err
	}
	return struct {
		ID int `json:"id"`
		seen
	}{s.steps.keep(step), step.overview()}, nil
}

// mayWork waits until one of the few places is free for a request that computes much;
// release gives it back.
func (s *server) mayWork(ctx context.Context) (release func(), err error) {
	select {
	case s.working <- struct{}{}:
		return func() { <-s.working }, nil
	case <-s.closing:
		return nil, statusError{http.StatusServiceUnavailable, errors.New("the studio is ending")}
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
	return nil, statusError{http.StatusNotFound, errors.New("this step is not kept any more: look at the example again")}
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
