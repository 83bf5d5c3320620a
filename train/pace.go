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
	alone  bool // how steps are made now
	keep   int  // steps until both ways are tried again; 0 while they are
	kept   int  // what keep was when it was last set
	steps  int  // that have been made this way in a trial
	second bool // whether the other way has been tried before
	first  time.Duration
	times  [timed]time.Duration
}

const (
	settling  = 2  // steps of a trial that are not timed: data moves to the core that needs it
	timed     = 15 // steps of a trial that are
	leastKept = 1 << 9
	mostKept  = 1 << 14 // a trial costs a thousandth then, and is made every few seconds
)

// made takes the time of the last step and sets how the next one is made.
func (p *pace) made(took time.Duration) {
	if p.keep > 0 {
		p.keep--
		return
	}
	if p.steps >= settling {
		p.times[p.steps-settling] = took
	}
	if p.steps++; p.steps < settling+timed {
		return
	}
	p.steps = 0
	slices.Sort(p.times[:])
	median := p.times[timed/2]
	if !p.second {
		p.second, p.first, p.alone = true, median, !p.alone
		return
	}
	p.second = false
	if median < p.first { // the other way is faster, from now on
		p.kept = leastKept
	} else {
		p.alone = !p.alone
		p.kept = min(max(leastKept, 2*p.kept), mostKept)
	}
	p.keep = p.kept
}
