package nn

import (
	"fmt"
	"runtime"
	"sync"

	"glassnet/internal/kernel"
	"glassnet/matrix"
)

// Predictor tells the class of images. It may be used from many goroutines at
// once, also while nothing trains the network, and allocates nothing once each of
// them has been served.
type Predictor[T matrix.Float] struct {
	net        *Network[T]
	parameters int // numbers in all parameters of net
	batch      int
	pool       *kernel.Pool

	mu   sync.Mutex
	free []*prediction[T] // as many as there have been callers at once
}

// prediction is what one call needs. It is a task for the threads of a Predictor.
type prediction[T matrix.Float] struct {
	net    *Network[T]
	rows   int         // images that a thread passes together
	traces []*Trace[T] // by thread
	first  [1]int32    // the index of a single image
	sum    []T         // of the softmax, by image
	best   []int32     // classes, by image

	// Of the pass under way.
	images        matrix.Pixels
	probabilities []T
}

const (
	// worthThreads is the size of batches from which a second core helps, and
	// worthSharingImages the images times parameters.
	worthThreads       = 64
	worthSharingImages = 1 << 19
	// fewTogether is how many images a thread passes together at least.
	fewTogether = 16
)

// NewPredictor returns a Predictor for net that passes up to batch images [batch, features]
// through it at a time. 64 of them or more, if images times parameters reach 2¹⁹, are
// shared among all cores that other callers leave free.
// It panics when batch < 1.
func NewPredictor[T matrix.Float](net *Network[T], batch int) *Predictor[T] {
	if batch < 1 {
		panic(fmt.Sprintf("nn.NewPredictor: batches of %d images, want >= 1", batch))
	}
	threads := 1
	if batch >= worthThreads {
		threads = runtime.GOMAXPROCS(0)
	}
	p := &Predictor[T]{net: net, batch: batch, pool: kernel.PoolOf(threads)}
	for _, param := range net.params {
		p.parameters += len(param.Value)
	}
	return p
}

// take returns what one call needs, which the caller gives back to p.free.
func (p *Predictor[T]) take() *prediction[T] {
	p.mu.Lock()
	defer p.mu.Unlock()
	if last := len(p.free) - 1; last >= 0 {
		one := p.free[last]
		p.free = p.free[:last]
		return one
	}
	threads := p.pool.Threads()
	one := &prediction[T]{net: p.net, rows: min(p.batch, max((p.batch+threads-1)/threads, fewTogether)), sum: make([]T, p.batch), best: make([]int32, p.batch)}
	for range threads {
		one.traces = append(one.traces, p.net.NewTrace(TraceOptions{Batch: one.rows}))
	}
	return one
}

func (p *Predictor[T]) giveBack(one *prediction[T]) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, one)
}

// Predict fills probabilities [classes] with the softmax of the logits of one
// image [features], bytes from 0 to 255, and returns the class with the largest.
// It panics when a length does not fit the network.
func (p *Predictor[T]) Predict(probabilities []T, image []byte) (class int) {
	one := p.take()
	p.pass(one, probabilities, matrix.Pixels{Cols: len(image), Data: image, Index: one.first[:]})
	class = int(one.best[0])
	p.giveBack(one)
	return class
}

// PredictBatch is Predict for many images: probabilities is [images, classes]. It panics
// when a shape does not fit the network, or an image is not in images.Data.
func (p *Predictor[T]) PredictBatch(probabilities matrix.Matrix[T], images matrix.Pixels) {
	if _, classes := p.net.Widths(); probabilities.Rows != images.Rows() || probabilities.Cols != classes {
		panic(fmt.Sprintf("nn: room for probabilities %v of %d images, want [%d, %d]", probabilities, images.Rows(), images.Rows(), classes))
	}
	one := p.take()
	for lo := 0; lo < images.Rows(); lo += p.batch {
		hi := min(lo+p.batch, images.Rows())
		p.pass(one, probabilities.Data[lo*probabilities.Cols:hi*probabilities.Cols],
			matrix.Pixels{Cols: images.Cols, Data: images.Data, Index: images.Index[lo:hi]})
	}
	p.giveBack(one)
}

// pass fills probabilities and one.best for at most p.batch images.
func (p *Predictor[T]) pass(one *prediction[T], probabilities []T, images matrix.Pixels) {
	in, classes := p.net.Widths()
	if images.Cols != in || len(probabilities) != images.Rows()*classes {
		panic(fmt.Sprintf("nn: %d images of %d pixels and room for %d probabilities, want images of %d and room for %d classes of each",
			images.Rows(), images.Cols, len(probabilities), in, classes))
	}
	images.Check() // here, where who called can recover
	one.images, one.probabilities = images, probabilities
	p.pool.Run(one, images.Rows() >= worthThreads && images.Rows()*p.parameters >= worthSharingImages)
	one.images, one.probabilities = matrix.Pixels{}, nil
}

// Part passes some of the images through the network, each thread by itself.
func (one *prediction[T]) Part(i, parts int) {
	all := one.images.Rows()
	last := all * (i + 1) / parts
	for lo := all * i / parts; lo < last; lo += one.rows {
		hi := min(lo+one.rows, last)
		images := one.images
		images.Index = images.Index[lo:hi]
		logits := one.net.ForwardPixels(one.traces[i], images, Eval)
		kernel.Of[T]().Softmax(one.probabilities[lo*logits.Cols:hi*logits.Cols], logits.Data, one.sum[lo:hi], one.best[lo:hi])
	}
}
