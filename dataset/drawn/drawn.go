// Package drawn draws the data set drawn-digits: 28x28 greyscale digits that
// look handwritten, made for when MNIST is not at hand. An example is drawn in
// six steps, each a short function:
//
//	choose   a digit's strokes, mixed from two of the models in the table forms
//	stray    control points moved by a careless hand
//	curve    a smooth line through them, roughened by shake
//	distort  bent, widened, slanted, turned; then place: sized and centred like MNIST
//	ink      the pen's stroke on the pixels, blurred by spread
//	expose   bytes, 0 paper to 255 ink, with noise on the ink
//
// No label is wrong on purpose. HARDNESS
//
// The bytes are the same on every machine: the drawing uses only operations
// that IEEE 754 rounds exactly (+, -, *, /, square root), and a product that
// is added is converted, float64(a*b) + c, which keeps the compiler from fusing
// the two. (Times or divided by a power of two is exact either way.)
package drawn

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"

	"glassnet/internal/usererr"
)

// StandardSeed is the seed of the digits that a user gets without asking.
const StandardSeed uint64 = 1

// Width and Height are the size of an example in pixels.
const Width, Height = 28, 28

// TrainSize and TestSize split the first 70,000 examples as MNIST is split:
// the training set, then the test set.
const TrainSize, TestSize = 60000, 10000

// MaxExamples is how many examples one call of Draw makes at most: 785 MB.
const MaxExamples = 1_000_000

// sums holds what SHA256 returns. After a change of the drawing the test of
// these prints the new ones.
var sums = map[uint64]string{
	1: "6ebb321916b1436da4098d34842fe2c9e6d43b3980968721187b8a78db0fde5a",
	2: "c959bd4607ec81a31d1354fc91cde8e45559922eea7e50c2b69cd3e3e8496061",
	3: "cdc46c9bb30a49d86b7e7e3c508b5a42efe0255e117dec5b466829e22cac74a9",
}

// SHA256 returns the fingerprint, in hex, of the first 70,000 examples of a
// seed, if this package knows it. It is that of dataset.Data: the SHA-256 over
// the SHA-256 sums (32 bytes each) of four IDX files, the images and labels of
// the training set, then those of the test set.
func SHA256(seed uint64) (hexDigest string, pinned bool) {
	hexDigest, pinned = sums[seed]
	return hexDigest, pinned
}

// chunk is the number of examples that a goroutine draws at a time: some 10 ms.
const chunk = 256

// Draw returns the examples first to first+n-1 of the endless sequence that a
// seed stands for: their pixels, [n, Height, Width], 0 paper to 255 ink, and
// labels, 0 to 9, each equally likely. An example depends on the seed and its
// place in the sequence alone. Draw uses all cores, about 30 µs for each
// example on one. It calls progress, if not nil, now and then with the number
// of examples that are done, from one goroutine at a time.
//
// A negative first or n, or an n above MaxExamples, is a user error. When ctx
// is done before the last example is, Draw returns ctx's error.
func Draw(ctx context.Context, seed uint64, first, n int, progress func(done, total int)) (pixels []byte, labels []uint8, err error) {
	if first < 0 || n < 0 || n > MaxExamples {
		return nil, nil, usererr.New("drawn-digits: %d examples from number %d asked for, want 0 to %d from number 0 or later", n, first, MaxExamples)
	}
	const size = Width * Height
	pixels, labels = make([]byte, n*size), make([]uint8, n)
	var next atomic.Int64
	var mutex sync.Mutex // guards done and the calls of progress
	done := 0
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for ctx.Err() == nil {
				end := int(next.Add(chunk))
				start := end - chunk
				if start >= n {
					return
				}
				end = min(end, n)
				for i := start; i < end; i++ {
					labels[i] = example(seed, uint64(first)+uint64(i), pixels[i*size:(i+1)*size])
				}
				mutex.Lock()
				done += end - start
				if progress != nil {
					progress(done, n)
				}
				mutex.Unlock()
			}
		})
	}
	workers.Wait()
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
	var lines [][]vertex
	for _, control := range choose(s, label) {
		line := h.curve(h.stray(s, control))
		h.shake(s, line)
		h.distort(line)
		lines = append(lines, line)
	}
	h.place(lines)
	var f field
	f.ink(&h, lines)
	f.spread(h.blur)
	f.expose(s, h.grain, pixels)
	return label
}
