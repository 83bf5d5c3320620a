package studio

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
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
	Idle     = "idle"     // prepared, no step made
	Running  = "running"  // steps are made
	Paused   = "paused"   // none are made, more can be
	Done     = "done"     // the last epoch is over
	Diverged = "diverged" // a step left the finite numbers; go back to a snapshot
)

// State is what the page shows of the training: a value, no pointer into the run.
type State struct {
	Phase    string              `json:"phase"`
	Message  string              `json:"message,omitempty"`
	Dataset  string              `json:"dataset"`
	Settings experiment.Settings `json:"settings"`
	Layers   []LayerInfo         `json:"layers"`
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

// LayerInfo is a layer with its shapes.
type LayerInfo struct {
	Kind       string `json:"kind"`
	In         int    `json:"in"`
	Out        int    `json:"out"`
	Parameters int    `json:"parameters"`
}

// Point is one point of the curves.
type Point struct {
	Branch        int      `json:"branch"`
	Step          int      `json:"step"`
	TrainCost     float64  `json:"train_cost"`
	TrainAccuracy float64  `json:"train_accuracy"`
	ValCost       *float64 `json:"val_cost"` // at the end of an epoch
	ValAccuracy   *float64 `json:"val_accuracy"`
	Rate          float64  `json:"learning_rate"`
}

// SnapshotInfo is a place in the training to which one can go back.
type SnapshotInfo struct {
	ID     int `json:"id"`
	Branch int `json:"branch"`
	Step   int `json:"step"`
}

// owner is the goroutine that trains.
type owner struct {
	commands chan func()
	hub      *hub

	data      *dataset.Data
	threads   int
	settings  experiment.Settings
	run       run // nil before the first configure
	phase     string
	message   string
	branch    int
	branches  int
	rate      float64
	stopAfter int // the step after which to pause; 0: none

	points        []Point
	snapshots     []snapshot
	nextID        int
	every         int // steps between two snapshots
	mostSnapshots int

	told       time.Time // when the watchers were told last
	toldStep   int
	speed      float64
	sum        float64 // of the cost since the last point
	correct    int
	seen       int
	pointEvery int
}

// snapshot is a position from which training goes on bit for bit.
type snapshot struct {
	SnapshotInfo
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
	epoch() int
	steps() int
	perEpoch() int
	layers() []LayerInfo
	examples() (fit, validation int)
	bytes() int // of a position
	record(view dataset.View) (func() (explained, error), error)
}

// How many positions are kept, and how many bytes they may take; when there are more,
// every second one goes and half as many are taken from then on.
const (
	maxSnapshots     = 256
	maxSnapshotBytes = 512 << 20
)

// tellEvery is the time between two messages to the watchers.
const tellEvery = 100 * time.Millisecond

func (o *owner) own(ctx context.Context) {
	for {
		if o.phase != Running {
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
			o.advance()
		}
	}
}

// do has the owner run f between two steps and waits for it.
func (o *owner) do(ctx context.Context, f func() error) error {
	done := make(chan error, 1)
	select {
	case o.commands <- func() { done <- f() }:
	case <-ctx.Done():
		return ctx.Err()
	}
	return <-done
}

// advance makes one step.
func (o *owner) advance() {
	cost, n, err := o.run.step()
	if err != nil {
		o.phase, o.message = Diverged, err.Error()
		o.tell(true)
		return
	}
	o.sum += cost.Data * float64(n)
	o.correct += cost.Correct
	o.seen += n
	over := o.run.epochOver()
	if over || o.run.steps()%o.pointEvery == 0 {
		o.point(over)
	}
	if over || o.run.steps()%o.every == 0 {
		o.snapshot()
	}
	if over && o.run.epoch() >= o.settings.Epochs {
		o.phase = Done
	} else if o.run.steps() == o.stopAfter {
		o.phase, o.stopAfter = Paused, 0
	}
	o.tell(o.phase != Running)
}

// point adds to the curves; at the end of an epoch with a look at the validation set.
func (o *owner) point(look bool) {
	p := Point{
		Branch: o.branch, Step: o.run.steps(), Rate: o.rate,
		TrainCost: o.sum / float64(o.seen), TrainAccuracy: float64(o.correct) / float64(o.seen),
	}
	o.sum, o.correct, o.seen = 0, 0, 0
	if look {
		if m := o.run.validate(); m != nil {
			p.ValCost, p.ValAccuracy = &m.Cost, &m.Accuracy
		}
	}
	o.points = append(o.points, p)
	o.hub.send("point", p)
}

func (o *owner) snapshot() {
	s := snapshot{SnapshotInfo{o.nextID, o.branch, o.run.steps()}, o.run.position()}
	o.nextID++
	o.snapshots = append(o.snapshots, s)
	if len(o.snapshots) > o.mostSnapshots {
		kept := o.snapshots[:0]
		for i, s := range o.snapshots {
			if i%2 == 0 || i == len(o.snapshots)-1 {
				kept = append(kept, s)
			}
		}
		clear(o.snapshots[len(kept):])
		o.snapshots = kept
		o.every *= 2
	}
}

// tell sends the state to the watchers, at most every tellEvery unless it must.
func (o *owner) tell(must bool) {
	passed := time.Since(o.told)
	if !must && passed < tellEvery {
		return
	}
	if steps := o.run.steps() - o.toldStep; steps > 0 && passed > 0 {
		o.speed = float64(steps) / passed.Seconds()
	}
	o.told, o.toldStep = time.Now(), o.run.steps()
	o.hub.send("state", o.state())
}

func (o *owner) state() State {
	if o.run == nil {
		return State{Phase: Idle, Settings: o.settings, Dataset: o.data.Name}
	}
	fit, validation := o.run.examples()
	return State{
		Phase: o.phase, Message: o.message, Dataset: o.data.Name, Settings: o.settings, Layers: o.run.layers(),
		Classes: o.data.Train.Classes, Width: o.data.Train.Width, Height: o.data.Train.Height,
		Examples: [3]int{fit, validation, o.data.Test.Len()},
		Branch:   o.branch, Epoch: o.run.epoch(), Step: o.run.steps(), PerEpoch: o.run.perEpoch(),
		Rate: o.rate, Speed: o.speed,
	}
}

// configure begins anew.
func (o *owner) configure(s experiment.Settings) error {
	s.Dataset = o.data.Name
	if err := s.Validate(); err != nil {
		return err
	}
	run, err := newRun(o.data, s, o.threads)
	if err != nil {
		return err
	}
	*o = owner{commands: o.commands, hub: o.hub, data: o.data, threads: o.threads, settings: s, run: run, phase: Idle, rate: s.LearningRate}
	o.pointEvery = max(1, run.perEpoch()/20)
	o.every = max(1, run.perEpoch()/10)
	o.mostSnapshots = max(2, min(maxSnapshots, maxSnapshotBytes/run.bytes()))
	o.snapshot()
	o.tell(true)
	return nil
}

// control does what the buttons say.
func (o *owner) control(action string) error {
	if o.run == nil {
		return usererr.New("no training: choose one first")
	}
	can := o.phase != Done && o.phase != Diverged
	switch action {
	case "pause":
		if o.phase == Running {
			o.phase = Paused
		}
	case "start", "batch", "epoch":
		if !can {
			return usererr.New("the training is %s: go back to a snapshot or begin anew", o.phase)
		}
		o.phase, o.stopAfter = Running, 0
		if action == "batch" {
			o.phase = Paused
			o.advance()
			if o.phase == Running {
				o.phase = Paused
			}
		}
		if action == "epoch" {
			o.stopAfter = (o.run.steps()/o.run.perEpoch() + 1) * o.run.perEpoch()
		}
	default:
		return usererr.New("action %.40q, want start, pause, batch or epoch", action)
	}
	o.tell(true)
	return nil
}

// goTo goes back to a snapshot. What is done from there on is a branch of its own.
func (o *owner) goTo(id int) error {
	i := slices.IndexFunc(o.snapshots, func(s snapshot) bool { return s.ID == id })
	if i < 0 {
		return usererr.New("snapshot %d is not kept", id)
	}
	o.run.restore(o.snapshots[i].position)
	o.rate = o.snapshots[i].position.rate
	o.branches++
	o.branch = o.branches
	o.phase, o.message, o.stopAfter = Paused, "", 0
	if o.run.epochOver() && o.run.epoch() >= o.settings.Epochs {
		o.phase = Done
	}
	o.sum, o.correct, o.seen = 0, 0, 0
	o.tell(true)
	return nil
}

func (o *owner) setRate(rate float64) error {
	if !(rate > 0 && rate <= 1e3) || math.IsInf(rate, 0) {
		return usererr.New("learning rate %v, want a number > 0, at most 1000", rate)
	}
	if o.run == nil {
		return usererr.New("no training: choose one first")
	}
	o.run.setRate(rate)
	o.rate = rate
	o.tell(true)
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
	data, err := json.Marshal(value)
	if err != nil {
		data = []byte("null")
	}
	text := fmt.Appendf(nil, "event: %s\ndata: %s\n\n", event, data)
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
