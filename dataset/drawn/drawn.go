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
// No label is wrong on purpose, 82 % of the pixels are 0 (MNIST: 81 %), and the
// set is about as hard as MNIST. Test accuracy in percent on the standard seed,
// trained on its 60,000 in batches of 128, one figure for each seed:
//
//	784-10                    Adam 0.001, 40 epochs   91.6
//	784-10                    SGD 0.009, 50 epochs    88.9
//	784-20-7-5-10 (ReLU, He)  SGD 0.009, 50 epochs    91.6  92.9  94.8  94.7  92.4
//	784-20-7-5-10 (ReLU, He)  SGD 0.009, 100 epochs   93.0  94.6  95.5  95.4  93.8
//	784-128-64-10 (ReLU, He)  SGD 0.1, 40 epochs      98.6
//	784-128-64-10 (ReLU, He)  Adam 0.001, 16 epochs   98.6  98.8  98.7
//
// (Adam is not a rule of this program: its figures were made outside it.)
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
	1: "7e81eeaf1f4956c5ff16e0cb3eea5a6530c3807aedecaab9af93fee0e77b1744",
	2: "dbd81f7ba2db0206136993aeb02902c5918a4edfdc20643c558e7db83894a1c3",
	3: "ca9f5c8eddb3e08988e020af9f179b624dba045520f9e69ec44399f7c8ce3d57",
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
