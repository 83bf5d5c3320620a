package kernel

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Pool is a fixed set of goroutines that help the caller. Between two tasks of a
// training step they wait awake, some 50 µs of looking at one variable;
// after a longer pause they sleep. They end when the Pool is no longer reachable, which
// one of PoolOf always is.
type Pool struct {
	threads int
	shared  *shared
}

// shared is what the workers hold; it does not refer to the Pool, so that the
// Pool can be collected while they wait.
type shared struct {
	mu       sync.Mutex // one task at a time
	task     Task       // written before round
	round    atomic.Uint32
	pending  atomic.Int32 // parts that are not done
	patience int
	workers  []worker
	grace    time.Duration
	alone    atomic.Int64  // until when the caller does tasks alone, because workers came late, in nanoseconds as by sinceStart; 0: it does not
	last     time.Duration // how long that was the last time
	waited   time.Duration // that the caller has waited, after looking, within its part of the task under way
}

// worker is where one goroutine sleeps.
type worker struct {
	asleep atomic.Bool
	wake   chan struct{}
	_      [40]byte // a cache line of its own
}

// Task is a piece of work that splits into parts on a thread each, all at the same time, or
// is done as one part. They write to different memory, but for what one awaits of another.
type Task interface{ Part(i, parts int) }

// patience is how often a worker looks for work before it sleeps: some 50 µs.
const patience = 1 << 12

// NewPool returns a pool for that many threads, the caller's own included; for
// one thread it returns nil, which stands for the caller alone. It panics when
// threads < 1.
func NewPool(threads int) *Pool {
	if threads < 1 {
		panic(fmt.Sprintf("kernel.NewPool: %d threads, want >= 1", threads))
	}
	if threads == 1 {
		return nil
	}
	s := &shared{workers: make([]worker, threads-1), patience: patience, grace: grace}
	if threads > runtime.GOMAXPROCS(0) {
		s.patience = 0 // who waits awake would keep others from working
	}
	for i := range s.workers {
		s.workers[i].wake = make(chan struct{}, 1)
		go s.work(i)
	}
	p := &Pool{threads: threads, shared: s}
	runtime.AddCleanup(p, func(s *shared) { s.start(nil) }, s)
	return p
}

// Threads is the number of threads of the pool, 1 for nil.
func (p *Pool) Threads() int {
	if p == nil {
		return 1
	}
	return p.threads
}

// await returns when another part of the task under way has brought count to want. After
// some looking it lets others work, and notes how long, if it is in the caller's part.
func (p *Pool) await(count *atomic.Uint32, want uint32, caller bool) {
	for range p.shared.patience {
		if count.Load() == want {
			return
		}
		pause()
	}
	began := sinceStart()
	for count.Load() != want {
		letOthers(began)
	}
	if caller {
		p.shared.waited += sinceStart() - began
	}
}

// stayAwake is how long a thread waits for a late one before it sleeps for moments.
const stayAwake = 500 * time.Microsecond

// letOthers yields to other goroutines and, in a wait that began long ago, sleeps: the late
// thread may be on this one's core, and cannot begin before. When this one wakes, the system
// may move it to an idle core. The first sleep of a goroutine allocates.
func letOthers(began time.Duration) {
	if sinceStart()-began < stayAwake {
		runtime.Gosched()
		return
	}
	time.Sleep(stayAwake / 10)
}

// work does part i+1 of every task until the task nil.
func (s *shared) work(i int) {
	w := &s.workers[i]
	for round := uint32(1); ; round++ {
		s.await(w, round)
		t := s.task
		if t == nil {
			return
		}
		t.Part(i+1, len(s.workers)+1)
		s.pending.Add(-1)
	}
}

// await returns when the given round has begun.
func (s *shared) await(w *worker, round uint32) {
	for range s.patience {
		if s.round.Load() == round {
			return
		}
		pause()
	}
	for {
		// Swap, not Store: qemu 7 lets the load below overtake a store on arm64.
		w.asleep.Swap(true)
		if s.round.Load() == round && w.asleep.CompareAndSwap(true, false) {
			return // it began just now, and nobody has sent a wake
		}
		// Who has set asleep to false sends a wake. It may be meant for the round
		// before, which this worker found by itself.
		<-w.wake
		if s.round.Load() == round {
			return
		}
	}
}

// start gives t to all workers and reports whether all were awake.
func (s *shared) start(t Task) (awake bool) {
	awake = true
	s.task = t
	s.pending.Store(int32(len(s.workers)))
	s.round.Add(1)
	for i := range s.workers {
		if w := &s.workers[i]; w.asleep.CompareAndSwap(true, false) {
			w.wake <- struct{}{}
			awake = false
		}
	}
	return awake
}

// A worker that was awake is late when it is not done after twice the time that its
// caller took and waited awake, and grace. Then another program has its core, and the
// tasks after this one are faster without it: for a short while, twice as long each time it
// is late again. (A while, not a number of tasks: 16 of 50 ms would be most of a second.)
// Memory that has to come from the caller's core, after tasks that it did alone, makes
// a worker some 300 µs late; with less grace than that, these tasks led to the next ones.
const (
	grace      = time.Millisecond
	shortAlone = time.Millisecond
	longAlone  = 256 * time.Millisecond
)

// Run does all parts of t and returns when they are done: by all threads when
// split is true, no other caller is using the pool and its workers have not been
// late, else by the caller alone.
func (p *Pool) Run(t Task, split bool) {
	if p == nil || !split || !p.shared.mu.TryLock() {
		t.Part(0, 1)
		return
	}
	s := p.shared
	if s.late() {
		t.Part(0, 1)
		s.mu.Unlock()
		return
	}
	if s.alone.Load() > 0 {
		s.alone.Store(0) // no later task looks at the clock for it
	}
	s.waited = 0
	began := sinceStart()
	awake := s.start(t)
	t.Part(0, p.threads)
	var own, late time.Duration // own: with what the caller then waited awake; 0 when that was enough
	for looks := 0; s.pending.Load() > 0; looks++ {
		if looks < s.patience {
			pause()
			continue
		}
		if own == 0 {
			late = sinceStart()
			own = late - began - s.waited
		}
		letOthers(late)
	}
	s.task = nil
	if awake {
		whole := sinceStart() - began
		if own == 0 {
			own = whole - s.waited
		}
		s.judge(own, whole)
	}
	s.mu.Unlock()
	runtime.KeepAlive(p)
}

// Late says whether the caller would do a task alone now, because workers came late.
func (p *Pool) Late() bool { return p != nil && p.shared.late() }

func (s *shared) late() bool {
	until := s.alone.Load()
	return until > 0 && sinceStart() < time.Duration(until)
}

var processStart = time.Now()

// sinceStart reads the monotonic clock alone: 25 ns, where time.Now takes 50.
func sinceStart() time.Duration { return time.Since(processStart) }

// judge decides how long the caller does tasks alone. own is the time that it took and then
// waited awake, whole the time until all were done.
func (s *shared) judge(own, whole time.Duration) {
	if whole > 2*own+s.grace {
		s.last = min(max(shortAlone, 2*s.last), longAlone)
		s.alone.Store(int64(sinceStart() + s.last))
	} else {
		s.last /= 2
	}
}

var (
	poolsMu sync.Mutex
	pools   = map[int]*Pool{}
)

// PoolOf returns the pool that all callers with that many threads share, so that
// what follows each other, the step, the update, a look at the validation set,
// finds the same workers awake. It is kept for ever: one for each number of threads.
func PoolOf(threads int) *Pool {
	poolsMu.Lock()
	defer poolsMu.Unlock()
	if pools[threads] == nil {
		pools[threads] = NewPool(threads)
	}
	return pools[threads]
}
