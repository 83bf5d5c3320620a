package kernel

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// count is a task that counts its parts; some take their time, so that workers
// fall asleep at every point of a round.
type count struct {
	parts [8]atomic.Int64
	round int
}

func (c *count) Part(i, parts int) {
	c.parts[i].Add(1)
	if (c.round+i)%97 == 0 {
		time.Sleep(50 * time.Microsecond)
	}
}

func TestPoolDoesEveryPartOnce(t *testing.T) {
	for _, threads := range []int{2, 3, 8} {
		for _, procs := range []int{1, 2, runtime.GOMAXPROCS(0)} {
			before := runtime.GOMAXPROCS(procs)
			p := NewPool(threads) // its patience depends on the number of cores
			p.shared.grace = time.Hour
			var c count
			const rounds = 5000
			for c.round = range rounds {
				p.Run(&c, true)
				for i := range threads {
					if n := c.parts[i].Load(); n != int64(c.round+1) {
						t.Fatalf("%d threads on %d cores, round %d: part %d was done %d times", threads, procs, c.round+1, i, n)
					}
				}
				if c.round%101 == 0 {
					time.Sleep(200 * time.Microsecond) // longer than the workers' patience
				}
			}
			runtime.GOMAXPROCS(before)
		}
	}
}

// Callers that share a pool do not wait for each other: who finds it busy works
// alone.
func TestPoolServesManyCallers(t *testing.T) {
	p := NewPool(2)
	var callers sync.WaitGroup
	for range 4 {
		callers.Go(func() {
			var c count
			for c.round = range 2000 {
				p.Run(&c, true)
			}
			if c.parts[0].Load() != 2000 {
				t.Errorf("part 0 was done %d times, want 2000", c.parts[0].Load())
			}
		})
	}
	callers.Wait()
}

// Workers that come late are left out of the tasks after that, for twice as long each
// time up to a bound, and are forgiven as fast when they come in time.
func TestPoolLeavesLateWorkersOut(t *testing.T) {
	const own = 50 * time.Microsecond
	s := &shared{grace: grace}
	// judge returns for how long the caller is alone after a task.
	judge := func(whole time.Duration) (least, most time.Duration) {
		s.alone.Store(0)
		before := sinceStart()
		s.judge(own, whole)
		after := sinceStart()
		until := time.Duration(s.alone.Load())
		if until == 0 {
			return 0, 0
		}
		return until - after, until - before
	}
	for i, c := range []struct{ whole, alone time.Duration }{
		{own, 0},
		{2*own + grace, 0},
		{2*own + grace + 1, shortAlone},
		{time.Second, 2 * shortAlone},
		{time.Second, 4 * shortAlone},
		{own, 0},
		{time.Second, 4 * shortAlone},
		{own, 0}, {own, 0}, {own, 0},
		{time.Second, shortAlone},
	} {
		if least, most := judge(c.whole); least > c.alone || most < c.alone {
			t.Errorf("after task %d of %v: alone for %v to %v, want %v", i, c.whole, least, most, c.alone)
		}
	}
	for range 64 {
		s.judge(own, time.Second)
	}
	if least, most := judge(time.Second); least > longAlone || most < longAlone {
		t.Errorf("always late: alone for %v to %v, want %v", least, most, longAlone)
	}
}

// long is a task of so long for each part.
type long time.Duration

func (l long) Part(int, int) {
	for began := time.Now(); time.Since(began) < time.Duration(l); {
	}
}

// A worker that takes as long as its caller is not late, however long that is. Other
// programs may make it late, but not each time.
func TestPoolKeepsWorkersOfLongTasks(t *testing.T) {
	if runtime.GOMAXPROCS(0) < 2 {
		t.Skip("one core: two threads take turns on it")
	}
	p := NewPool(2)
	p.Run(long(0), true)
	for range 20 {
		if p.Run(long(2*grace), true); p.shared.alone.Load() == 0 {
			return
		}
		p.shared.alone.Store(0)
	}
	t.Error("after each of 20 tasks of 2 ms its worker was left out")
}

// awaited is a task of which part 0 awaits part 1, which takes long.
type awaited struct {
	pool *Pool
	done atomic.Uint32
}

func (a *awaited) Part(i, parts int) {
	if i > 0 || parts == 1 {
		long(10*grace).Part(i, parts)
		a.done.Store(1)
		return
	}
	a.pool.await(&a.done, 1, true)
}

// A worker is late, too, where its caller waits for it within the task.
func TestPoolLeavesOutWhoIsAwaited(t *testing.T) {
	if runtime.GOMAXPROCS(0) < 2 {
		t.Skip("one core: two threads take turns on it")
	}
	p := NewPool(2)
	// Where other programs have the cores, the worker may sleep again before the second task.
	const tries = 1000
	for range tries {
		p.Run(long(0), true) // wakes the worker
		if p.Run(&awaited{pool: p}, true); p.shared.alone.Load() > 0 {
			return
		}
	}
	t.Errorf("after each of %d tasks whose worker took 10 ms, and its caller nothing, it was in time", tries)
}

// Until the time in alone the caller does tasks alone, then shares them again.
func TestPoolDoesTasksAlone(t *testing.T) {
	p := NewPool(2)
	p.shared.grace = time.Hour
	var c count
	for round, late := range []bool{true, true, false, true, false, false} {
		until := sinceStart()
		if late {
			until += time.Hour
		}
		p.shared.alone.Store(int64(until))
		if p.Late() != late {
			t.Errorf("before task %d Late is %v, want %v", round, p.Late(), late)
		}
		before := c.parts[1].Load()
		p.Run(&c, true)
		if shared := c.parts[1].Load() > before; shared == late {
			t.Errorf("task %d: shared is %v, where workers are late that is %v", round, shared, late)
		}
		if alone := p.shared.alone.Load() > 0; alone != late {
			t.Errorf("after task %d: whether the clock is to be asked is %v, want %v", round, alone, late)
		}
	}
}

func TestPoolOfIsShared(t *testing.T) {
	first, again := PoolOf(3), PoolOf(3)
	if first != again || first.Threads() != 3 {
		t.Error("PoolOf(3) gives another pool each time, or one of another size")
	}
	if single := PoolOf(1); single != nil || single.Threads() != 1 {
		t.Error("PoolOf(1) is not the pool of one thread, nil")
	}
}
