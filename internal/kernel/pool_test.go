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

// late is a task whose worker is late, or not.
type late struct {
	slow  bool
	parts atomic.Int64 // done by workers
}

func (l *late) Part(i, _ int) {
	if i == 0 {
		return
	}
	if l.parts.Add(1); l.slow {
		time.Sleep(2 * time.Millisecond)
	}
}

// Workers that come late are left out of the tasks after that, of more and more of them,
// and taken in again when they come in time.
func TestPoolLeavesLateWorkersOut(t *testing.T) {
	p := NewPool(2)
	l := late{slow: true}
	run := func(n int) int64 {
		before := l.parts.Load()
		for range n {
			p.Run(&l, true)
		}
		return l.parts.Load() - before
	}
	if n := run(2000); n == 0 || n > 60 {
		t.Errorf("a late worker did a part of %d of 2,000 tasks, want a few", n)
	}
	l.slow = false
	var n int64
	for began := time.Now(); n < 1500 && time.Since(began) < 10*time.Second; {
		n = run(2000)
	}
	if n < 1500 {
		t.Errorf("a worker in time did a part of %d of 2,000 tasks, want nearly all", n)
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
