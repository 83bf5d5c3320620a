package kernel

import (
	"fmt"
	"runtime"
	"sync"
)

// Pool is a fixed set of goroutines that help the caller of a product. They end
// when the Pool is no longer reachable.
type Pool struct {
	threads int
	shared  *shared
}

// shared is what the workers hold; it does not refer to the Pool, so that the
// Pool can be collected while they wait.
type shared struct {
	mu   sync.Mutex // one task at a time
	work []chan task
	done sync.WaitGroup
}

// task is a piece of work that splits into parts which write to different memory.
type task interface{ part(i, parts int) }

// NewPool returns a pool for that many threads, the caller's own included; for
// one thread it returns nil, which Engine takes as "no pool". It panics when
// threads < 1.
func NewPool(threads int) *Pool {
	if threads < 1 {
		panic(fmt.Sprintf("kernel.NewPool: %d threads, want >= 1", threads))
	}
	if threads == 1 {
		return nil
	}
	s := &shared{work: make([]chan task, threads-1)}
	for w := range s.work {
		work := make(chan task, 1)
		s.work[w] = work
		go func() {
			for t := range work {
				t.part(w+1, threads)
				s.done.Done()
			}
		}()
	}
	p := &Pool{threads: threads, shared: s}
	runtime.AddCleanup(p, func(s *shared) {
		for _, work := range s.work {
			close(work)
		}
	}, s)
	return p
}

// run has every worker do its part of t, does the first part itself, and returns
// when all are done.
func (p *Pool) run(t task) {
	s := p.shared
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done.Add(len(s.work))
	for _, work := range s.work {
		work <- t
	}
	t.part(0, p.threads)
	s.done.Wait()
	runtime.KeepAlive(p)
}
