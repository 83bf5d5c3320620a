package studio

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"glassnet/dataset"
	"glassnet/experiment"
	"glassnet/internal/usererr"
	"glassnet/train"
)

// The phases of a training.
const (
	idle     = "idle"     // prepared, no step made
	running  = "running"  // steps are made
	paused   = "paused"   // none are made, more can be
	done     = "done"     // the last epoch is over
	diverged = "diverged" // a step left the finite numbers; one can go back to a snapshot
	failed   = "failed"   // a fault of this program; one can begin anew
)

// state is what the page shows of the training: a value, no pointer into the run.
type state struct {
	Phase    string              `json:"phase"`
	Message  string              `json:"message,omitempty"`
	Dataset  string              `json:"dataset"`
	Settings experiment.Settings `json:"settings"`
	Layers   []layerInfo         `json:"layers"`
	Classes  int                 `json:"classes"`
	Width    int                 `json:"width"`
	Height   int                 `json:"height"`
	Examples [3]int              `json:"examples"` // training, validation, test
	Branch   int                 `json:"branch"`
	Epoch    int                 `json:"epoch"` // begun
	Step     int                 `json:"step"`
	PerEpoch int                 `json:"steps_per_epoch"`
	Rate     float64             `json:"learning_rate"`
	Speed    float64             `json:"steps_per_second"`
}

// layerInfo is a layer with its shapes.
type layerInfo struct {
	Kind       string `json:"kind"`
	In         int    `json:"in"`
	Out        int    `json:"out"`
	Parameters int    `json:"parameters"`
}

// point is one point of the curves: means over the examples since the point before.
type point struct {
	Branch        int      `json:"branch"`
	Step          int      `json:"step"`
	TrainCost     float64  `json:"train_cost"`
	TrainAccuracy float64  `json:"train_accuracy"`
	ValCost       *float64 `json:"val_cost"` // at the end of an epoch
	ValAccuracy   *float64 `json:"val_accuracy"`
	Rate          float64  `json:"learning_rate"`
}

// snapshotInfo is a place in a training to which one can go back.
type snapshotInfo struct {
	ID     int `json:"id"` // no two have the same, whatever the training
	Branch int `json:"branch"`
	Step   int `json:"step"`
}

// owner is the goroutine that trains. Only its training changes, and only by itself:
// others have it done by do.
type owner struct {
	commands chan func()
	ended    chan struct{} // closed when it takes no more commands
	hub      *hub
	data     *dataset.Data
	threads  int
	log      *slog.Logger

	training *training // nil before the first is chosen
	nextID   int       // of a snapshot
}

func newOwner(data *dataset.Data, threads int, log *slog.Logger) *owner {
	return &owner{
		commands: make(chan func()), ended: make(chan struct{}), hub: &hub{watchers: map[*watcher]bool{}},
		data: data, threads: threads, log: log,
	}
}

// own makes steps and does what it is sent until ctx is done.
func (o *owner) own(ctx context.Context) {
	defer close(o.ended)
	for {
		if o.training == nil || o.training.phase != running {
			select {
			case <-ctx.Done():
				return
			case command := <-o.commands:
				command()
			}
			continue
		}
		select {
		case <-ctx.Done():
			return
		case command := <-o.commands:
			command()
		default:
			o.guarded(func() error { o.training.advance(); return nil })
		}
	}
}

// guarded does f; when it panics the training has failed, and the server lives on.
func (o *owner) guarded(f func() error) (err error) {
	defer func() {
		if e := recover(); e != nil {
			o.log.Error("panic while training", "panic", e, "stack", string(debug.Stack()))
			err = errors.New("panic while training")
			if o.training != nil {
				o.training.phase, o.training.message = failed, "glassnet has a fault here; its log says more"
			}
		}
	}()
	return f()
}

// do has the owner run f between two steps and waits for it.
func (o *owner) do(ctx context.Context, f func() error) error {
	result := make(chan error, 1)
	select {
	case o.commands <- func() { result <- o.guarded(f) }:
		return <-result
	case <-o.ended:
		return statusError{http.StatusServiceUnavailable, errors.New("the studio is ending")}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// training is one training with all that is known of it.
type training struct {
	owner    *owner
	settings experiment.Settings
	run      run
	phase    string
	message  string
	branch   int
	branches int
	until    int // the step at which to pause; 0: none

	points     []point
	news       []point // that watchers have not been told
	pointEvery int     // steps between two points; an epoch's end has one, too
	sum        float64 // of the cost since the last point
	correct    int
	seen       int

	snapshots []snapshot
	every     int // steps between two snapshots
	most      int // snapshots

	told     time.Time // when the watchers were told last
	toldStep int
	speed    float64
}

// snapshot is a position from which training goes on bit for bit.
type snapshot struct {
	snapshotInfo
	position position
}

// run is a training at either number type.
type run interface {
	step() (train.Cost, int, error) // one batch, and how many examples it had
	validate() *train.Metrics       // nil without a validation set
	epochOver() bool
	position() position
	restore(position)
	setRate(float64)
	rate() float64
	epoch() int
	steps() int
	perEpoch() int
	layers() []layerInfo
	examples() (fit, validation int)
	bytes() int // of a position
	record(view dataset.View) (func() (explained, error), error)
}

// How much is kept of a training. When there is more of something, every second of it
// goes, and from then on half as much is taken.
const (
	maxSnapshots     = 256
	maxSnapshotBytes = 512 << 20
	maxPoints        = 4096
	maxParameters    = 1 << 24
)

// tellEvery is the time between two messages to the watchers.
const tellEvery = 100 * time.Millisecond

// configure begins anew. It refuses settings that the studio does not follow.
func (o *owner) configure(s experiment.Settings) error {
	s.Dataset = o.data.Name
	if err := s.Validate(); err != nil {
		return err
	}
	if s.Stop != experiment.StopNone || s.LookEvery != 0 {
		return usererr.New("stop = %q, look_every = %d: here one stops by hand, and looks at the validation set at each epoch's end", s.Stop, s.LookEvery).
			Try("stop = %q and look_every = 0", experiment.StopNone)
	}
	width, parameters := o.data.Train.Features(), 0
	for _, units := range append(slices.Clone(s.Hidden), o.data.Train.Classes) {
		parameters += (width + 1) * units
		width = units
	}
	if parameters > maxParameters {
		return usererr.New("a network of %d parameters, want at most %d in the studio", parameters, maxParameters).Try("glassnet train, which takes larger ones")
	}
	run, err := newRun(o.data, s, o.threads)
	if err != nil {
		return err
	}
	t := &training{
		owner: o, settings: s, run: run, phase: idle,
		pointEvery: max(1, run.perEpoch()/20), every: max(1, run.perEpoch()/10),
		most: max(2, min(maxSnapshots, maxSnapshotBytes/run.bytes())),
	}
	t.snapshot()
	o.training = t
	t.tell(true)
	return nil
}

// chosen returns the training, or an error when there is none.
func (o *owner) chosen() (*training, error) {
	if o.training == nil {
		return nil, usererr.New("no training: choose one first")
	}
	return o.training, nil
}

func (o *owner) state() state {
	if o.training == nil {
		return state{Phase: idle, Dataset: o.data.Name, Settings: experiment.Settings{Precision: "float32", Seed: 1, Config: experiment.Default()}, Layers: []layerInfo{}}
	}
	return o.training.state()
}

// advance makes one step.
func (t *training) advance() {
	cost, n, err := t.run.step()
	if err != nil {
		t.phase, t.message = diverged, err.Error()
		t.tell(true)
		return
	}
	t.sum += cost.Data * float64(n)
	t.correct += cost.Correct
	t.seen += n
	over := t.run.epochOver()
	// Where fewer are taken than an epoch has, the ends of epochs are left out, too.
	takes := func(every int) bool {
		return t.run.steps()%every == 0 || over && every <= t.run.perEpoch()
	}
	if takes(t.pointEvery) {
		t.point(over)
	}
	if takes(t.every) {
		t.snapshot()
	}
	switch {
	case over && t.run.epoch() >= t.settings.Epochs:
		t.phase = done
		t.snapshot()
	case t.run.steps() == t.until:
		t.phase, t.until = paused, 0
	}
	t.tell(t.phase != running)
}

// point adds to the curves; at the end of an epoch with a look at the validation set.
func (t *training) point(look bool) {
	p := point{
		Branch: t.branch, Step: t.run.steps(), Rate: t.run.rate(),
		TrainCost: t.sum / float64(t.seen), TrainAccuracy: float64(t.correct) / float64(t.seen),
	}
	t.sum, t.correct, t.seen = 0, 0, 0
	if look {
		if m := t.run.validate(); m != nil {
			p.ValCost, p.ValAccuracy = &m.Cost, &m.Accuracy
		}
	}
	t.points, t.news = append(t.points, p), append(t.news, p)
	if len(t.points) > maxPoints {
		t.points = everySecond(t.points)
		t.pointEvery = t.sparser(t.pointEvery)
	}
}

// snapshot keeps the position, unless the last one is of the same.
func (t *training) snapshot() {
	if n := len(t.snapshots); n > 0 && t.snapshots[n-1].Step == t.run.steps() && t.snapshots[n-1].Branch == t.branch {
		return
	}
	if len(t.snapshots) >= t.most {
		t.snapshots = everySecond(t.snapshots)
		t.every = t.sparser(t.every)
	}
	t.snapshots = append(t.snapshots, snapshot{snapshotInfo{t.owner.nextID, t.branch, t.run.steps()}, t.run.position()})
	t.owner.nextID++
}

// everySecond keeps the first of all, the third and so on, and lets go of the rest.
func everySecond[E any](all []E) []E {
	kept := all[:0]
	for i, e := range all {
		if i%2 == 0 {
			kept = append(kept, e)
		}
	}
	clear(all[len(kept):])
	return kept
}

// sparser doubles a distance in steps, up to the length of the whole training.
func (t *training) sparser(every int) int {
	return min(2*every, max(every, t.settings.Epochs*t.run.perEpoch()))
}

// tell sends what is new to the watchers, at most every tellEvery unless it must.
func (t *training) tell(must bool) {
	passed := time.Since(t.told)
	if !must && passed < tellEvery {
		return
	}
	if steps := t.run.steps() - t.toldStep; steps > 0 {
		t.speed = float64(steps) / passed.Seconds()
	}
	t.told, t.toldStep = time.Now(), t.run.steps()
	t.owner.hub.send("state", t.state())
	if len(t.news) > 0 {
		t.owner.hub.send("points", t.news)
		t.news = t.news[:0]
	}
}

func (t *training) state() state {
	fit, validation := t.run.examples()
	data := t.owner.data
	return state{
		Phase: t.phase, Message: t.message, Dataset: data.Name, Settings: t.settings, Layers: t.run.layers(),
		Classes: data.Train.Classes, Width: data.Train.Width, Height: data.Train.Height,
		Examples: [3]int{fit, validation, data.Test.Len()},
		Branch:   t.branch, Epoch: t.run.epoch(), Step: t.run.steps(), PerEpoch: t.run.perEpoch(),
		Rate: t.run.rate(), Speed: t.speed,
	}
}

// control does what the buttons say.
func (t *training) control(action string) error {
	switch action {
	case "pause":
		if t.phase == running {
			t.phase = paused
		}
	case "start", "batch", "epoch":
		if t.phase == done || t.phase == diverged || t.phase == failed {
			return usererr.New("the training is %s: go back to a snapshot or begin anew", t.phase)
		}
		t.phase, t.until = running, 0
		switch action {
		case "batch":
			t.until = t.run.steps() + 1
			t.advance()
		case "epoch":
			t.until = (t.run.steps()/t.run.perEpoch() + 1) * t.run.perEpoch()
		}
	default:
		return usererr.New("action %.40q, want start, pause, batch or epoch", action)
	}
	t.tell(true)
	return nil
}

// goTo goes back to a snapshot. What is done from there on is a branch of its own.
func (t *training) goTo(id int) error {
	i := slices.IndexFunc(t.snapshots, func(s snapshot) bool { return s.ID == id })
	if i < 0 {
		return usererr.New("snapshot %d is not kept", id)
	}
	t.run.restore(t.snapshots[i].position)
	t.branches++
	t.branch = t.branches
	t.phase, t.message, t.until = paused, "", 0
	if t.run.epochOver() && t.run.epoch() >= t.settings.Epochs {
		t.phase = done
	}
	t.sum, t.correct, t.seen = 0, 0, 0
	t.toldStep = t.run.steps()
	t.tell(true)
	return nil
}

// setRate changes the learning rate of the steps to come.
func (t *training) setRate(rate float64) error {
	s := t.settings
	s.LearningRate = rate
	if err := s.Validate(); err != nil {
		return err
	}
	t.run.setRate(rate)
	t.tell(true)
	return nil
}

// hub sends events to watchers. It never waits: who does not read loses the oldest.
type hub struct {
	mu       sync.Mutex
	watchers map[*watcher]bool
}

type watcher struct{ events chan []byte }

// maxWatchers is how many streams there may be, buffered how many events each holds.
const (
	maxWatchers = 16
	buffered    = 64
)

func (h *hub) join() (*watcher, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.watchers) >= maxWatchers {
		return nil, fmt.Errorf("%d pages are watching already", maxWatchers)
	}
	w := &watcher{make(chan []byte, buffered)}
	h.watchers[w] = true
	return w, nil
}

func (h *hub) leave(w *watcher) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.watchers, w)
}

func (h *hub) send(event string, value any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.watchers) == 0 {
		return
	}
	text := fmt.Appendf(nil, "event: %s\ndata: %s\n\n", event, marshal(value))
	for w := range h.watchers {
		for {
			select {
			case w.events <- text:
			default:
				select {
				case <-w.events: // the oldest
				default:
				}
				continue
			}
			break
		}
	}
}
