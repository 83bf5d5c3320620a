package train

import (
	"testing"
	"time"
)

// paced makes steps which take as long as they do alone, or with all threads, and returns
// how many of them were made alone.
func paced(p *pace, steps int, alone, together time.Duration) (n int) {
	for range steps {
		took := together
		if p.alone {
			took = alone
			n++
		}
		p.made(took)
	}
	return n
}

// All but the steps of trials are made in the faster way, also when that changes.
func TestPaceTakesTheFasterWay(t *testing.T) {
	var p pace
	const steps = 100_000
	if n := paced(&p, steps, 2*time.Millisecond, time.Millisecond); n == 0 || n > steps/200 {
		t.Errorf("%d of %d steps were made alone, which takes twice as long", n, steps)
	}
	paced(&p, mostKept, time.Millisecond, 2*time.Millisecond)
	if n := paced(&p, steps, time.Millisecond, 2*time.Millisecond); n == steps || n < steps-steps/200 {
		t.Errorf("%d of %d steps were made alone, which takes half as long", n, steps)
	}
}

// A trial is decided by most of its steps, not by some that were disturbed.
func TestPaceIsNotLedAstray(t *testing.T) {
	var p pace
	for i := range 50_000 {
		took := time.Millisecond
		if p.alone {
			took = 2 * time.Millisecond
		} else if i%4 == 0 {
			took = time.Second
		}
		p.made(took)
		if p.keep > 0 && p.alone {
			t.Fatalf("step %d: alone, though three of four steps with all threads are faster", i)
		}
	}
}
