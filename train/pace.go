package train

import (
	"slices"
	"time"
)

// pace decides whether steps are made by all threads or by one: what two cores hand to
// each other may cost more than the second one gives, and that depends on the network,
// on which cores they are, and on what else they do. So both ways are tried, again and
// again. The bits are the same.
type pace struct {
	alone  bool          // how steps are made now
	keep   time.Duration // until both ways are tried again; not above 0 while they are
	kept   time.Duration // what keep was the last time
	steps  int           // that have been made this way in a trial
	tried  time.Duration // that these took
	second bool          // whether the other way has been tried before
	first  time.Duration // the median of that
	length int           // steps of that
	times  [timed]time.Duration
}

const (
	settling = 2  // steps of a trial that are not timed: data moves to the core that needs it
	timed    = 16 // steps of a trial that are; even, so that full and short batches in turn count alike
	fewTimed = 4  // as many are enough once a trial has taken longTrial: a long step has its own mean
	// PacedAfter is how many steps a Trainer with several threads makes, at most, until it
	// has tried both ways, all threads and one, and goes on in the faster one; more where
	// other programs keep workers late, since steps without them count in no trial.
	PacedAfter = 2 * (settling + timed)

	longTrial = 100 * time.Millisecond
	lostTrial = 10 * time.Millisecond // that steps take before a way may be given up that is far behind
	seldom    = 20                    // trials with the same result take one part of the time in so many, in the end
	firstKept = 2                     // times as long as its trial a first result is kept
	leastKept = 10 * time.Millisecond // whatever a coarse clock says
	mostKept  = time.Second           // a result is kept, or seldom times as long as its trial
)

// made takes the time of the last step, and whether it was made as it should be, and returns
// how the next one is made.
func (p *pace) made(took time.Duration, counts bool) (alone bool) {
	if p.keep > 0 {
		p.keep -= took
		return p.alone
	}
	if !counts { // settle again: data has moved to the caller's core
		p.steps, p.tried = 0, 0
		return p.alone
	}
	if p.steps >= settling {
		p.times[p.steps-settling] = took
	}
	p.steps++
	p.tried += took
	n := p.steps - settling
	if n < timed && (n < fewTimed || n%2 == 1 || p.tried < longTrial) && !p.lost(n) {
		return p.alone
	}
	p.steps, p.tried = 0, 0
	times := p.times[:n]
	slices.Sort(times)
	median := times[n/2]
	if !p.second {
		p.second, p.first, p.length, p.alone = true, median, settling+n, !p.alone
		return p.alone
	}
	// By medians: the program may have been stopped meanwhile.
	both := time.Duration(p.length)*p.first + time.Duration(settling+n)*median
	again := p.kept > 0 && median >= p.first // the way before the trial was faster, and still is
	if median >= p.first {
		p.alone = !p.alone
	}
	// The longer, the more trials have agreed: another program may have come between the two
	// ways of one.
	if again {
		p.kept = min(2*p.kept, max(seldom*both, mostKept))
	} else {
		p.kept = max(firstKept*both, leastKept)
	}
	p.keep, p.second = p.kept, false
	return p.alone
}

// lost says whether the second way of a trial is behind the first after n steps by so much
// that no more are needed: all took a quarter longer than the first one's median.
func (p *pace) lost(n int) bool {
	return p.second && n >= 2 && p.tried >= lostTrial && slices.Min(p.times[:n])*4 > p.first*5
}
