package main

import (
	"fmt"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"

	"glassnet/experiment"
)

// meter shows how far things have come: bars on a terminal, plain lines now and
// then elsewhere, nothing when quiet.
//
// mpb draws from a goroutine of its own, which also serves the calls on a bar: so
// what it calls, the decorators, takes no lock.
type meter struct {
	w     io.Writer
	bars  *mpb.Progress // nil: plain lines
	quiet bool

	mu    sync.Mutex
	shown map[string]*shown
}

// shown is one thing whose progress is shown: a training, a download.
type shown struct {
	bar    *mpb.Bar               // nil: plain lines
	status atomic.Pointer[string] // beside the bar
	last   time.Time              // of the last plain line
}

// plainEvery is the time between two plain lines about the same thing.
const plainEvery = 10 * time.Second

func newMeter(w io.Writer, quiet bool) *meter {
	m := &meter{w: w, quiet: quiet, shown: map[string]*shown{}}
	if !quiet && terminal(w) != nil {
		m.bars = mpb.New(mpb.WithOutput(w), mpb.WithWidth(30), mpb.WithRefreshRate(200*time.Millisecond))
	}
	return m
}

// of returns what is shown under name, and adds a bar for it at the first call.
func (m *meter) of(name string, total int64) *shown {
	s, known := m.shown[name]
	if known {
		return s
	}
	s = &shown{}
	m.shown[name] = s
	if m.bars != nil {
		s.status.Store(new(string))
		s.bar = m.bars.AddBar(total, mpb.BarRemoveOnComplete(),
			mpb.PrependDecorators(decor.Name(name, decor.WCSyncSpaceR)),
			mpb.AppendDecorators(
				decor.Any(func(decor.Statistics) string { return *s.status.Load() }, decor.WCSyncSpaceR),
				decor.AverageETA(decor.ET_STYLE_GO)))
	}
	return s
}

// show moves the bar of name, or prints a plain line when the last is old enough.
func (m *meter) show(name, status string, done, total int64, finished bool, lastLine string) {
	if m.quiet {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.of(name, total)
	switch {
	case m.bars != nil:
		s.status.Store(&status)
		s.bar.SetTotal(total, false)
		s.bar.SetCurrent(done)
		if finished {
			s.bar.SetTotal(-1, true)
		}
	case finished:
		fmt.Fprintf(m.w, "%s: %s\n", name, lastLine)
	case time.Since(s.last) > plainEvery:
		fmt.Fprintf(m.w, "%s: %s\n", name, status)
		s.last = time.Now()
	}
}

// bytes shows a download or a drawing.
func (m *meter) bytes(stage string, done, total int64) {
	line := fmt.Sprintf("%d of %d", done, total)
	m.show(stage, line, done, total, total > 0 && done >= total, line)
}

// run shows a training: epoch, cost, accuracy and time left.
func (m *meter) run(p experiment.Progress) {
	status := fmt.Sprintf("epoch %d/%d  cost %.4f  accuracy %.4f", p.Epoch, p.MaxEpochs, p.Cost, p.Accuracy)
	last := fmt.Sprintf("done after %d steps (%s)", p.Step, p.Stopped)
	if !math.IsNaN(p.Cost) {
		last += fmt.Sprintf(": cost %.4f, accuracy %.4f", p.Cost, p.Accuracy)
	}
	m.show(p.Run, status, int64(p.Epoch), int64(p.MaxEpochs), p.Done, last)
}

// close takes the bars that are left off the screen and waits until it is done.
func (m *meter) close() {
	if m.bars == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.shown {
		s.bar.Abort(true)
	}
	m.bars.Wait()
}

// note prints a line for people.
func (m *meter) note(line string) {
	if !m.quiet && m.bars == nil {
		fmt.Fprintln(m.w, line)
	}
}
