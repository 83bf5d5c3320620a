// Package drawn draws the data set "drawn-digits".
package drawn

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"glassnet/internal/usererr"
)

const StandardSeed uint64 = 1

const Width, Height = 28, 28

const TrainSize, TestSize = 60000, 10000

const MaxExamples = 1_000_000

// chunk is the number of examples that a goroutine draws at a time.
const chunk = 256

func Draw(ctx context.Context, seed uint64, first, n int, progress func(done, total int)) (pixels []byte, labels []uint8, err error) {
	if first < 0 || n < 0 || n > MaxExamples {
		return nil, nil, usererr.New("drawn digits: examples %d and the %d from there, want a first example of at least 0 and at most %d of them", first, n, MaxExamples)
	}
	pixels = make([]byte, n*Width*Height)
	labels = make([]uint8, n)
	var (
		next  atomic.Int64
		mu    sync.Mutex
		done  int
		group sync.WaitGroup
	)
	for range runtime.GOMAXPROCS(0) {
		group.Go(func() {
			for ctx.Err() == nil {
				end := int(next.Add(chunk))
				start := end - chunk
				if start >= n {
					return
				}
				end = min(end, n)
				for i := start; i < end; i++ {
					labels[i] = example(seed, uint64(first)+uint64(i), pixels[i*Width*Height:(i+1)*Width*Height])
				}
				mu.Lock()
				done += end - start
				if progress != nil {
					progress(done, n)
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if done < n {
		return nil, nil, ctx.Err()
	}
	return pixels, labels, nil
}

// example draws one example into pixels and returns its label.
func example(seed, index uint64, pixels []byte) (label uint8) {
	s := newStream(seed, index)
	label = uint8(s.below(10))
	h := newHand(s)
	strokes := choose(s, label)
	lines := make([][]vertex, len(strokes))
	for i, line := range strokes {
		lines[i] = h.curve(h.stray(s, line))
		h.shake(s, lines[i])
		h.distort(lines[i])
	}
	h.place(lines)
	var f field
	f.ink(&h, lines)
	f.spread(h.blur)
	f.expose(s, h.grain, pixels)
	return label
}
