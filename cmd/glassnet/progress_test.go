package main

import (
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/vbauerster/mpb/v8"

	"glassnet/experiment"
)

// Bars are drawn by a goroutine of mpb's while trainings report from others and
// the meter may be closed at any time: nothing of it may wait for anything else.
func TestBarsNeverBlock(t *testing.T) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 20 {
			m := newMeter(io.Discard, false)
			m.bars = mpb.New(mpb.WithOutput(io.Discard), mpb.WithAutoRefresh(), mpb.WithRefreshRate(time.Millisecond))
			var workers sync.WaitGroup
			for w := range 4 {
				workers.Go(func() {
					for i := range 200 {
						m.run(experiment.Progress{Run: fmt.Sprint(w), Epoch: i, MaxEpochs: 200, Done: i == 199 && w > 1})
						m.bytes("download", int64(i), 199)
					}
				})
			}
			workers.Wait()
			m.close() // two trainings are still under way
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("the meter is stuck")
	}
}
