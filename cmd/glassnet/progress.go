package main

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"glassnet/experiment"
)

// meter shows how far things have come: bars on a terminal, plain lines now and
// then elsewhere, nothing when quiet.
type meter struct {
	w     io.Writer
	bars  *mpb.Progress // nil: plain lines
	quiet bool

	mu   sync.Mutex
	runs map[string]*runBar
	byte struct {
		stage string
		bar   *mpb.Bar
		last  time.Time
	}
}

// runBar is one running training.
type runBar struct {
	bar    *mpb.Bar
	status string
	last   time.Time // of its last plain line
}

// plainEvery is the time between two plain lines about the same thing.
const plainEvery = 10 * time.Second

func newMeter(w io.Writer, quiet bool) *meter {
	m := &meter{w: w, quiet: quiet, runs: map[string]*runBar{}}
	if f, ok := w.(*os.File); ok && !quiet && term.IsTerminal(int(f.Fd())) {
		m.bars = mpb.New(mpb.WithOutput(w), mpb.WithWidth(30), mpb.WithRefreshRate(200*time.Millisecond))
	}
	return m
}

// close leaves the bars as they are and waits until they are drawn.
func (m *meter) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bars == nil {
		return
	}
	for _, r := range m.runs {
		r.bar.Abort(false)
	}
	if m.byte.bar != nil {
		m.byte.bar.Abort(false)
	}
	m.bars.Wait()
}

// bytes shows a download or a drawing.
func (m *meter) bytes(stage string, done, total int64) {
	if m.quiet {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bars == nil {
		if now := time.Now(); stage != m.byte.stage || now.Sub(m.byte.last) > plainEvery || done == total {
			if !(stage == m.byte.stage && m.byte.last.IsZero()) {
				fmt.Fprintf(m.w, "%s: %d of %d\n", stage, done, total)
			}
			m.byte.stage, m.byte.last = stage, now
		}
		return
	}
	if stage != m.byte.stage {
		if m.byte.bar != nil {
			m.byte.bar.Abort(false)
		}
		m.byte.stage = stage
		m.byte.bar = m.bars.AddBar(total,
			mpb.PrependDecorators(decor.Name(stage, decor.WCSyncSpaceR)),
			mpb.AppendDecorators(decor.Percentage(), decor.Name(" "), decor.OnComplete(decor.AverageETA(decor.ET_STYLE_GO), "")))
	}
	m.byte.bar.SetTotal(total, false)
	m.byte.bar.SetCurrent(done)
	if total > 0 && done >= total {
		m.byte.bar.SetTotal(total, true)
	}
}

// run shows a training: epoch, cost, accuracy and time left.
func (m *meter) run(p experiment.Progress) {
	if m.quiet {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r, known := m.runs[p.Run]
	if !known {
		r = &runBar{}
		m.runs[p.Run] = r
		if m.bars != nil {
			r.bar = m.bars.AddBar(int64(p.MaxEpochs),
				mpb.BarRemoveOnComplete(),
				mpb.PrependDecorators(decor.Name(p.Run, decor.WCSyncSpaceR)),
				mpb.AppendDecorators(
					decor.Any(func(decor.Statistics) string { m.mu.Lock(); defer m.mu.Unlock(); return r.status }, decor.WCSyncSpaceR),
					decor.AverageETA(decor.ET_STYLE_GO)))
		}
	}
	r.status = fmt.Sprintf("epoch %d/%d  cost %.4f  accuracy %.4f ", p.Epoch, p.MaxEpochs, p.Cost, p.Accuracy)
	switch {
	case m.bars != nil && p.Done:
		r.bar.SetTotal(int64(p.MaxEpochs), true)
	case m.bars != nil:
		r.bar.SetCurrent(int64(p.Epoch))
	case p.Done:
		fmt.Fprintf(m.w, "%s: done after %d steps (%s): cost %.4f, accuracy %.4f\n", p.Run, p.Step, p.Stopped, p.Cost, p.Accuracy)
	case time.Since(r.last) > plainEvery:
		fmt.Fprintf(m.w, "%s: %s\n", p.Run, r.status)
		r.last = time.Now()
	}
}

// note prints a line for people.
func (m *meter) note(line string) {
	if !m.quiet && m.bars == nil {
		fmt.Fprintln(m.w, line)
	}
}
