package train

import (
	"sync/atomic"
	"testing"
	"time"

	"glassnet/dataset"
	"glassnet/nn"
	"glassnet/optim"
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
		p.made(took, true)
	}
	return n
}

// All but the steps of trials are made in the faster way, also when that changes.
func TestPaceTakesTheFasterWay(t *testing.T) {
	var p pace
	const steps = 100_000
	if n := paced(&p, steps, 2*time.Millisecond, time.Millisecond); n == 0 || n > steps/40 {
		t.Errorf("%d of %d steps were made alone, which takes twice as long", n, steps)
	}
	paced(&p, int(mostKept/time.Millisecond), time.Millisecond, 2*time.Millisecond)
	if n := paced(&p, steps, time.Millisecond, 2*time.Millisecond); n == steps || n < steps-steps/40 {
		t.Errorf("%d of %d steps were made alone, which takes half as long", n, steps)
	}
}

// A trial is decided by most of its steps: not by some that another program disturbed, nor
// by which way had the more short batches.
func TestPaceIsNotLedAstray(t *testing.T) {
	for name, took := range map[string]func(i int, alone bool) time.Duration{
		"one of four with all threads is disturbed": func(i int, alone bool) time.Duration {
			if !alone && i%4 == 0 {
				return time.Second
			}
			return time.Millisecond
		},
		"each second batch is short": func(i int, _ bool) time.Duration { return time.Duration(1+9*(i%2)) * time.Millisecond },
		"each second batch is long":  func(i int, _ bool) time.Duration { return time.Duration(10-9*(i%2)) * time.Millisecond },
		"each third batch is long":   func(i int, _ bool) time.Duration { return time.Duration(1+9*(i%3/2)) * time.Millisecond },
	} {
		var p pace
		kept := 0
		for i := range 50_000 {
			d := took(i, p.alone)
			if p.alone {
				d *= 2
			}
			if p.made(d, true); p.keep > 0 {
				kept++
				if p.alone {
					t.Fatalf("%s, step %d: alone, though all threads are faster", name, i)
				}
			}
		}
		if kept == 0 {
			t.Errorf("%s: nothing was ever decided", name)
		}
	}
}

// Long steps are tried in few, and a way that is far behind in fewer.
func TestPaceOfLongSteps(t *testing.T) {
	for _, c := range []struct {
		one, all time.Duration
		timed    int // steps by one thread that are, in the first trial
		alone    bool
		slower   int // of the next 2,000 steps so many, at most, are made in the slower way
	}{
		{100 * time.Millisecond, 60 * time.Millisecond, 2, false, 2_000 / 40},
		{120 * time.Millisecond, 100 * time.Millisecond, fewTimed, false, 2_000 / 33},
		{60 * time.Millisecond, 100 * time.Millisecond, fewTimed, true, 2_000 / 40},
	} {
		var p pace
		byOne, byAll := 0, 0
		for p.keep <= 0 {
			n := paced(&p, 1, c.one, c.all)
			byOne += n
			byAll += 1 - n
		}
		if byAll != settling+fewTimed || byOne != settling+c.timed || p.alone != c.alone {
			t.Errorf("%v by one thread, %v by all: tried in %d and %d steps, and then alone is %t; want %d, %d and %t",
				c.one, c.all, byOne, byAll, p.alone, settling+c.timed, settling+fewTimed, c.alone)
		}
		// The first result is not trusted long: other programs may have led it astray.
		if want := firstKept * (time.Duration(byAll)*c.all + time.Duration(byOne)*c.one); p.keep != want {
			t.Errorf("%v by one thread, %v by all: the first result is kept for %v, want %v", c.one, c.all, p.keep, want)
		}
		n := paced(&p, 2_000, c.one, c.all)
		if c.alone {
			n = 2_000 - n
		}
		if n == 0 || n > c.slower {
			t.Errorf("%v by one thread, %v by all: %d of 2,000 steps were made in the slower way, want 1 to %d", c.one, c.all, n, c.slower)
		}
	}
}

// A trial whose first way another program has disturbed does not decide for long.
func TestPaceForgetsAWrongTrial(t *testing.T) {
	var p pace
	const alone, together = 2 * time.Millisecond, time.Millisecond
	for p.keep <= 0 {
		paced(&p, 1, alone, 3*together) // all threads are disturbed, one alone is not
	}
	if !p.alone {
		t.Fatal("alone took less time, and was not chosen")
	}
	if n := paced(&p, 1000, alone, together); n > 150 {
		t.Errorf("%d of the next 1,000 steps were made alone, which takes twice as long", n)
	}
}

// A clock that stands still leads to no trial after the other.
func TestPaceWithoutAClock(t *testing.T) {
	var p pace
	if n := paced(&p, 1000, 0, 0); n > PacedAfter {
		t.Errorf("%d of 1,000 steps were made alone", n)
	}
}

// counting is a rule that counts its calls: one for each part of a parameter.
type counting struct {
	optim.SGD[float32]
	calls *atomic.Int32
}

func (c counting) Update(value, grad []float32, slots [][]float32, rate float64, step int) bool {
	c.calls.Add(1)
	return c.SGD.Update(value, grad, slots, rate, step)
}

// A step is made as the pace says.
func TestStepIsMadeAsPaced(t *testing.T) {
	net, err := nn.Build[float32](nn.Architecture{Input: 784, Layers: []nn.LayerSpec{{Kind: nn.KindDense, Units: 100, NoBias: true}}})
	if err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int32
	tr, err := New(net, Options[float32]{
		Loss: nn.CrossEntropy[float32]{}, Penalty: optim.L2[float32]{}, Rule: counting{calls: &calls}, Rate: 0.1, Batch: 4, Threads: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	set := &dataset.Set{Width: 28, Height: 28, Classes: 100, Pixels: make([]byte, 4*784), Labels: make([]uint8, 4)}
	step := func() int {
		calls.Store(0)
		if _, err := tr.Step(dataset.All(set)); err != nil {
			t.Fatal(err)
		}
		return int(calls.Load())
	}
	for _, alone := range []bool{false, true, false} {
		tr.pace = pace{alone: alone, keep: time.Hour}
		step() // after it the next one is made so
		most := 0
		want := map[bool]int{true: 1, false: 2}[alone]
		// Where another program has a core, late workers are left out of up to 4,096 tasks,
		// again and again.
		began := time.Now()
		for i := 0; i < 100 || most < want && time.Since(began) < time.Minute; i++ {
			most = max(most, step())
		}
		if most != want {
			t.Errorf("alone = %v: the update was made in %d parts, want %d", alone, most, want)
		}
	}
}

// Steps of a trial that workers were late for do not count: they are made alone.
func TestPaceCountsNoStepsWithoutWorkers(t *testing.T) {
	net, err := nn.Build[float32](nn.Architecture{Input: 784, Layers: []nn.LayerSpec{{Kind: nn.KindDense, Units: 100}}})
	if err != nil {
		t.Fatal(err)
	}
	tr, err := New(net, Options[float32]{
		Loss: nn.CrossEntropy[float32]{}, Penalty: optim.L2[float32]{}, Rule: optim.SGD[float32]{}, Rate: 0.1, Batch: 4, Threads: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	set := &dataset.Set{Width: 28, Height: 28, Classes: 100, Pixels: make([]byte, 4*784), Labels: make([]uint8, 4)}
	late := true
	tr.late = func() bool { return late }
	for _, c := range []struct {
		late, alone bool
		counted     int
	}{{true, false, 0}, {false, false, 1}, {false, false, 2}, {true, false, 0}, {true, true, 1}} { // a step that does not count begins anew
		late, tr.pace.alone = c.late, c.alone
		if _, err := tr.Step(dataset.All(set)); err != nil {
			t.Fatal(err)
		}
		if tr.pace.steps != c.counted {
			t.Errorf("late %v, alone %v: %d steps have counted, want %d", c.late, c.alone, tr.pace.steps, c.counted)
		}
	}
}
