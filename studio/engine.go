package studio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"reflect"
	"runtime/debug"
	"slices"
	"strings"
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
	Training int                 `json:"training"` // counts them; 0: none was chosen yet
	Phase    string              `json:"phase"`
	Message  string              `json:"message,omitempty"`
	Dataset  string              `json:"dataset"`
	Datasets []string            `json:"datasets"`           // that can be chosen
	Fallback bool                `json:"fallback,omitempty"` // Dataset stands in for MNIST, which could not be had
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
	LastStep int                 `json:"last_step"` // after which the training is done
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
	Epoch         int      `json:"epoch"` // begun
	Ends          bool     `json:"ends"`  // whether it ends that epoch
}

// snapshotInfo is a place in a training to which one can go back.
type snapshotInfo struct {
	ID     int  `json:"id"` // no two have the same, whatever the training
	Branch int  `json:"branch"`
	Step   int  `json:"step"`
	Epoch  int  `json:"epoch"` // begun
	Ends   bool `json:"ends"`  // whether none of that epoch is left; so before the first, too
}

// branchInfo is a branch of a training and where it leaves its parent.
type branchInfo struct {
	Branch   int                 `json:"branch"`
	Parent   int                 `json:"parent"` // -1: the branch that began it all
	Step     int                 `json:"step"`
	Settings experiment.Settings `json:"settings"`
	Change   string              `json:"change"` // against the parent, in words
}

// owner is the goroutine that trains. Only its training changes, and only by itself:
// others have it done by change, and look by do.
type owner struct {
	commands chan func()
	ended    chan struct{} // closed when it takes no more commands
	hub      *hub
	data     *dataset.Data // of the training, or of the first
	datasets []string      // that can be chosen
	threads  int
	log      *slog.Logger

	training  *training // nil before the first is chosen
	trainings int       // chosen so far
	nextID    int       // of a snapshot
}

func newOwner(data *dataset.Data, datasets []string, threads int, log *slog.Logger) *owner {
	return &owner{
		commands: make(chan func()), ended: make(chan struct{}), hub: &hub{log: log, watchers: map[*watcher]bool{}},
		data: data, datasets: datasets, threads: threads, log: log,
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
			_ = o.guarded(func() error { o.training.advance(); return nil })
		}
	}
}

// errPanic stands for a panic, of which the log says more.
var errPanic = errors.New("a fault of glassnet")

// caught does f and turns a panic into an error, so that the server lives on. A panic of
// another goroutine, a helper of the kernels for one, still ends the program.
func caught(log *slog.Logger, f func() error) (err error) {
	defer func() {
		if e := recover(); e != nil {
			log.Error("panic", "panic", e, "stack", string(debug.Stack()))
			err = errPanic
		}
	}()
	return f()
}

// guarded does f, which changes the training; when it panics the training has failed.
func (o *owner) guarded(f func() error) error {
	err := caught(o.log, f)
	if errors.Is(err, errPanic) && o.training != nil {
		o.training.phase, o.training.message = failed, "glassnet has a fault here; its log says more"
		_ = caught(o.log, func() error { o.training.tell(true); return nil })
	}
	return err
}

// change has the owner run f, which changes the training, and waits for it.
func (o *owner) change(ctx context.Context, f func() error) error {
	return o.do(ctx, func() error { return o.guarded(f) })
}

// do has the owner run f between two steps and waits for it. f only looks.
func (o *owner) do(ctx context.Context, f func() error) error {
	result := make(chan error, 1)
	select {
	case o.commands <- func() { result <- caught(o.log, f) }:
		return <-result
	case <-o.ended:
		return statusError{status: http.StatusServiceUnavailable, error: errors.New("the studio is ending")}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// training is one training with all that is known of it.
type training struct {
	owner    *owner
	number   int
	data     *dataset.Data
	settings experiment.Settings // of the branch
	seed     uint64              // that the initial weights and the split come from
	run      run
	phase    string
	message  string
	branch   int
	branches []branchInfo
	until    int  // the step at which to pause; 0: none
	toEnd    bool // pause at the end of the epoch

	points     []point
	news       []point // that watchers have not been told
	pointEvery int     // steps between two points; an epoch's end has one, too
	since      sums

	snapshots []snapshot
	kept      bool // the watchers have not been told of all snapshots and branches
	every     int  // steps between two snapshots
	most      int  // snapshots

	told     time.Time // when the watchers were told last
	toldStep int
	speed    float64
}

// snapshot is a position from which training goes on bit for bit.
type snapshot struct {
	snapshotInfo
	position position
	since    sums
}

// sums are those over the examples since the last point of the curves, all of steps with
// the same learning rate.
type sums struct {
	cost    float64
	correct int
	seen    int
	rate    float64
}

// run is a training at either number type.
type run interface {
	step() (train.Cost, int, error) // one batch, and how many examples it had
	validate() *train.Metrics       // nil without a validation set
	epochOver() bool
	position() position
	restore(position)
	reorder(seed uint64) // orders the examples anew from here on
	setRate(float64)
	rate() float64
	epoch() int
	steps() int
	perEpoch() int
	lastStep(epochs int) int
	layers() []layerInfo
	examples() (fit, validation int)
	bytes() int // of a position
	// A copy of the network as it is at a position, or now when that is nil.
	network(*position) (network, error)
	fit() dataset.View
	next(*position) dataset.View // the batch of the step after it
}

// How much is kept of a training. When there are more points, every second goes, and
// from then on half as many are taken; for each snapshot too many, one goes.
const (
	maxSnapshots     = 256
	maxSnapshotBytes = 512 << 20
	maxPoints        = 4096
	maxBranches      = 256
	maxParameters    = 1 << 23
	maxNumbers       = 1 << 24 // of a batch in all layers; a pass there and back holds four to seven times as many
)

// tellEvery is the time between two messages to the watchers: who reads numbers wants
// no more of them, and each has a page drawn anew, on cores that could train.
const tellEvery = 250 * time.Millisecond

// prepare makes the run of a training on data and has s name it. It refuses settings that
// the studio does not follow.
func (o *owner) prepare(data *dataset.Data, s *experiment.Settings) (run, error) {
	s.Dataset = data.Name
	if err := s.Validate(); err != nil {
		return nil, err
	}
	if s.Stop != experiment.StopNone || s.LookEvery != 0 {
		return nil, usererr.New("stop = %q, look_every = %d: here one stops by hand, and looks at the validation set at each epoch's end", s.Stop, s.LookEvery).
			Try("stop = %q and look_every = 0", experiment.StopNone)
	}
	if err := fits(data, s.Config); err != nil {
		return nil, err
	}
	return newRun(data, *s, o.threads)
}

// configure begins anew on data, if prepare does not refuse.
func (o *owner) configure(data *dataset.Data, s experiment.Settings) error {
	run, err := o.prepare(data, &s)
	if err != nil {
		return err
	}
	o.trainings++
	o.data = data
	o.training = &training{
		owner: o, number: o.trainings, data: data, settings: s, seed: s.Seed, run: run, phase: idle,
		branches:   []branchInfo{{Parent: -1, Settings: s, Change: "the beginning"}},
		pointEvery: max(1, run.perEpoch()/20), every: max(1, run.perEpoch()/10),
		most: max(2, min(maxSnapshots, maxSnapshotBytes/run.bytes())),
	}
	o.training.snapshot()
	o.training.tell(true)
	return nil
}

// fits refuses networks that are too large to be kept many times, and batches too large
// to be passed through them.
func fits(data *dataset.Data, c experiment.Config) error {
	width, parameters, numbers := data.Train.Features(), int64(0), int64(0)
	for _, units := range append(slices.Clone(c.Hidden), data.Train.Classes) {
		parameters += int64(width+1) * int64(units)
		numbers += int64(max(c.Batch, maxSeen)) * int64(units)
		width = units
	}
	if numbers > maxNumbers {
		return usererr.New("a batch of %d in layers of these widths is %d numbers, want at most %d in the studio", max(c.Batch, maxSeen), numbers, maxNumbers).
			Try("narrower layers, a smaller batch, or the command line, which takes larger ones")
	}
	if parameters > maxParameters {
		return usererr.New("a network of %d parameters, want at most %d in the studio", parameters, maxParameters).Try("the command line, which takes larger ones")
	}
	return nil
}

// firstSettings are those that a page begins with.
func firstSettings(data string) experiment.Settings {
	return experiment.Settings{Dataset: data, Precision: "float32", Seed: 1, Config: experiment.Default()}
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
		return state{
			Phase: idle, Dataset: o.data.Name, Datasets: o.datasets, Fallback: o.data.Fallback, Settings: firstSettings(o.data.Name), Layers: []layerInfo{},
			Classes: o.data.Train.Classes, Width: o.data.Train.Width, Height: o.data.Train.Height,
			Examples: [3]int{o.data.Train.Len(), 0, o.data.Test.Len()},
		}
	}
	return o.training.state()
}

// advance makes one step.
func (t *training) advance() {
	if t.since.seen > 0 && t.since.rate != t.run.rate() { // so the curves say where it changed
		t.point(t.run.epochOver())
	}
	t.since.rate = t.run.rate()
	cost, n, err := t.run.step()
	if err != nil {
		t.phase, t.message = diverged, err.Error()
		t.tell(true)
		return
	}
	t.since.cost += cost.Data * float64(n)
	t.since.correct += cost.Correct
	t.since.seen += n
	over := t.run.epochOver()
	// Within an epoch every so many steps and at its end, or every so many epochs.
	takes := func(every int) bool {
		if epochs := every / t.run.perEpoch(); epochs > 1 {
			return over && t.run.epoch()%epochs == 0
		}
		return over || t.run.steps()%every == 0
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
	case t.run.steps() == t.until || over && t.toEnd:
		t.phase, t.until, t.toEnd = paused, 0, false
	}
	t.tell(t.phase != running)
}

// point adds to the curves; at the end of an epoch with a look at the validation set.
func (t *training) point(look bool) {
	p := point{ // of huge costs even the mean may be beyond what a number holds, but for this
		Branch: t.branch, Step: t.run.steps(), Rate: t.since.rate, Epoch: t.run.epoch(), Ends: t.run.epochOver(),
		TrainCost: min(t.since.cost/float64(t.since.seen), math.MaxFloat64), TrainAccuracy: float64(t.since.correct) / float64(t.since.seen),
	}
	t.since = sums{}
	if look {
		if m := t.run.validate(); m != nil {
			p.ValCost, p.ValAccuracy = finite(m.Cost), finite(m.Accuracy)
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
		t.thin()
	}
	t.snapshots = append(t.snapshots, snapshot{snapshotInfo{t.owner.nextID, t.branch, t.run.steps(), t.run.epoch(), t.run.epochOver()}, t.run.position(), t.since})
	t.owner.nextID++
	t.kept = true
}

// endsWeigh is how much rather the end of an epoch is kept than a step within one.
const endsWeigh = 8

// thin lets go of the snapshot that is missed least: whose neighbours on its branch are
// closest. The first and the last of a branch stay while there are others.
func (t *training) thin() {
	least, gap := 1, math.MaxInt
	for i := 1; i < len(t.snapshots)-1; i++ {
		before, it, after := t.snapshots[i-1], t.snapshots[i], t.snapshots[i+1]
		if before.Branch != it.Branch || after.Branch != it.Branch {
			continue
		}
		g := after.Step - before.Step
		if it.Ends {
			g *= endsWeigh
		}
		if g < gap {
			least, gap = i, g
		}
	}
	t.snapshots = slices.Delete(t.snapshots, least, least+1)
	if gap > 2*t.every && gap != math.MaxInt {
		t.every = t.sparser(t.every)
	}
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

// sparser doubles a distance in steps, up to the length of the whole training. Beyond
// an epoch it is a number of them.
func (t *training) sparser(every int) int {
	twice, epoch := 2*every, t.run.perEpoch()
	if every < epoch && twice > epoch {
		twice = epoch
	}
	return min(twice, max(every, t.settings.Epochs*epoch))
}

// tell sends what is new to the watchers, at most every tellEvery unless it must.
func (t *training) tell(must bool) {
	passed := time.Since(t.told)
	if !must && passed < tellEvery {
		return
	}
	if steps := t.run.steps() - t.toldStep; steps > 0 && passed > 0 { // of a coarse clock it may be 0
		t.speed = float64(steps) / passed.Seconds()
	}
	t.told, t.toldStep = time.Now(), t.run.steps()
	t.owner.hub.send("state", t.state())
	if len(t.news) > 0 {
		t.owner.hub.send("points", t.news)
		t.news = t.news[:0]
	}
	if t.kept {
		t.owner.hub.send("snapshots", t.keeps())
		t.kept = false
	}
}

// keeps are the places to which one can go back, and the branches that they are on.
type keeps struct {
	Snapshots []snapshotInfo `json:"snapshots"`
	Branches  []branchInfo   `json:"branches"`
}

func (t *training) keeps() keeps {
	k := keeps{Snapshots: make([]snapshotInfo, len(t.snapshots)), Branches: slices.Clone(t.branches)}
	for i, s := range t.snapshots {
		k.Snapshots[i] = s.snapshotInfo
	}
	return k
}

func (t *training) state() state {
	fit, validation := t.run.examples()
	data := t.data
	return state{
		Training: t.number, Phase: t.phase, Message: t.message, Dataset: data.Name, Datasets: t.owner.datasets, Fallback: data.Fallback,
		Settings: t.settings, Layers: t.run.layers(),
		Classes: data.Train.Classes, Width: data.Train.Width, Height: data.Train.Height,
		Examples: [3]int{fit, validation, data.Test.Len()},
		Branch:   t.branch, Epoch: t.run.epoch(), Step: t.run.steps(), PerEpoch: t.run.perEpoch(), LastStep: t.run.lastStep(t.settings.Epochs),
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
	case "stop":
		if t.phase == running || t.phase == paused {
			t.snapshot()
			t.phase = done
		}
	case "start", "batch", "epoch":
		if t.phase == done || t.phase == diverged || t.phase == failed {
			return usererr.New("the training is %s: go back to a snapshot or begin anew", t.phase)
		}
		t.phase, t.until, t.toEnd = running, 0, action == "epoch"
		if action == "batch" {
			t.until = t.run.steps() + 1
			t.advance()
		}
	default:
		return usererr.New("action %.40q, want start, pause, batch, epoch or stop", action)
	}
	t.tell(true)
	return nil
}

// find returns the snapshot of that id; -1 is now, which is nil.
func (t *training) find(id int) (*snapshot, error) {
	if id == -1 {
		return nil, nil
	}
	i := slices.IndexFunc(t.snapshots, func(s snapshot) bool { return s.ID == id })
	if i < 0 {
		return nil, statusError{status: http.StatusNotFound, error: fmt.Errorf("snapshot %d is not kept", id)}
	}
	return &t.snapshots[i], nil
}

// goBack goes to a snapshot; what is done from there on is a branch of its own. change
// alters the settings of the snapshot's branch. Where it changes nothing, the branch
// has the bits of its parent.
func (t *training) goBack(id int, change func(*experiment.Settings) error) error {
	from, err := t.find(id)
	switch {
	case err != nil:
		return err
	case from == nil:
		return usererr.New("snapshot -1: want one to go back to")
	case len(t.branches) >= maxBranches:
		return usererr.New("this training has %d branches, and no room for more", maxBranches).Try("begin a new training")
	}
	before := t.branches[from.Branch].Settings
	before.LearningRate = from.position.rate // it may have been changed on the way
	after := before
	if err := change(&after); err != nil {
		return err
	}
	words, err := changes(before, after)
	if err != nil {
		return err
	}
	if err := fits(t.data, after.Config); err != nil {
		return err
	}
	of := after
	of.Seed = t.seed // of the split
	run, err := newRun(t.data, of, t.owner.threads)
	if err != nil {
		return err
	}
	run.restore(from.position)
	if after.LearningRate != before.LearningRate {
		run.setRate(after.LearningRate)
	}
	if after.Seed != before.Seed {
		run.reorder(after.Seed)
	}
	t.run, t.settings, t.branch = run, after, len(t.branches)
	t.branches = append(t.branches, branchInfo{t.branch, from.Branch, from.Step, after, words})
	t.phase, t.message, t.until, t.toEnd = paused, "", 0, false
	if t.run.epochOver() && t.run.epoch() >= t.settings.Epochs {
		t.phase = done
	}
	t.since = from.since
	t.toldStep = t.run.steps()
	t.snapshot()
	t.tell(true)
	return nil
}

// changes says in words what differs between the settings of a branch and its parent's;
// an error when it is more than a branch can change.
func changes(before, after experiment.Settings) (string, error) {
	if err := after.Validate(); err != nil {
		return "", err
	}
	var words []string
	change := func(differs bool, format string, args ...any) {
		if differs {
			words = append(words, fmt.Sprintf(format, args...))
		}
	}
	change(after.LearningRate != before.LearningRate, "learning rate %g", after.LearningRate)
	change(after.L2 != before.L2, "L2 %g", after.L2)
	change(after.Batch != before.Batch, "batches of %d", after.Batch)
	change(after.Epochs != before.Epochs, "%d epochs", after.Epochs)
	change(after.Seed != before.Seed, "another order of the examples")
	if after.Seed != before.Seed && !after.Shuffle {
		return "", usererr.New("another seed changes nothing here: the examples are not shuffled")
	}
	rest := after
	rest.LearningRate, rest.L2, rest.Batch, rest.Epochs, rest.Seed = before.LearningRate, before.L2, before.Batch, before.Epochs, before.Seed
	if !reflect.DeepEqual(rest, before) {
		return "", usererr.New("a branch can change learning_rate, l2, batch, epochs and seed; the rest is the training's").Try("begin a new training")
	}
	if len(words) == 0 {
		return "nothing changed", nil
	}
	return strings.Join(words, ", "), nil
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

// hub sends events to watchers. It never waits: the stream of one who does not read ends,
// and a page that connects again asks for everything first.
type hub struct {
	log      *slog.Logger
	mu       sync.Mutex
	watchers map[*watcher]bool // false: its stream is ending, and counts until it has ended
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
	if err != nil { // no state or point of a training has numbers that JSON has not
		h.log.Error("event failed", "event", event, "error", err)
		return
	}
	text := fmt.Appendf(nil, "event: %s\ndata: %s\n\n", event, data)
	for w, follows := range h.watchers {
		if !follows {
			continue
		}
		select {
		case w.events <- text:
		default:
			h.watchers[w] = false
			close(w.events)
		}
	}
}
