package nn

import (
	"fmt"
	"sync"

	"glassnet/matrix"
)

// Predictor tells the class of images. It may be used from many goroutines at
// once, also while nothing trains the network, and allocates nothing once each of
// them has been served.
type Predictor[T matrix.Float] struct {
	net   *Network[T]
	batch int
	free  sync.Pool // of *prediction[T]
}

// prediction is what one call needs.
type prediction[T matrix.Float] struct {
	trace *Trace[T]
	index []int32
}

// NewPredictor returns a Predictor for net that passes up to batch images through
// it together. It panics when batch < 1.
func NewPredictor[T matrix.Float](net *Network[T], batch int) *Predictor[T] {
	if batch < 1 {
		panic(fmt.Sprintf("nn.NewPredictor: batches of %d images, want >= 1", batch))
	}
	p := &Predictor[T]{net: net, batch: batch}
	p.free.New = func() any {
		one := &prediction[T]{trace: net.NewTrace(TraceOptions{Batch: batch}), index: make([]int32, batch)}
		return one
	}
	return p
}

// Predict fills probabilities [classes] with the softmax of the logits of one
// image [features], bytes from 0 to 255, and returns the class with the largest.
// It panics when a length does not fit the network.
func (p *Predictor[T]) Predict(probabilities []T, image []byte) (class int) {
	one := p.free.Get().(*prediction[T])
	one.index[0] = 0
	logits := p.net.ForwardPixels(one.trace, matrix.Pixels{Cols: len(image), Data: image, Index: one.index[:1]}, Eval)
	class = softmaxRow(probabilities, logits.Row(0))
	p.free.Put(one)
	return class
}

// PredictBatch is Predict for many images: probabilities is [images, classes].
func (p *Predictor[T]) PredictBatch(probabilities matrix.Matrix[T], images matrix.Pixels) {
	one := p.free.Get().(*prediction[T])
	for lo := 0; lo < images.Rows(); lo += p.batch {
		hi := min(lo+p.batch, images.Rows())
		logits := p.net.ForwardPixels(one.trace, matrix.Pixels{Cols: images.Cols, Data: images.Data, Index: images.Index[lo:hi]}, Eval)
		for i := range logits.Rows {
			softmaxRow(probabilities.Row(lo+i), logits.Row(i))
		}
	}
	p.free.Put(one)
}

// softmaxRow fills p and returns the index of the largest logit.
func softmaxRow[T matrix.Float](p, logits []T) int {
	if len(p) != len(logits) {
		panic(fmt.Sprintf("nn: room for %d probabilities, want %d", len(p), len(logits)))
	}
	Softmax(p, logits)
	return Argmax(logits)
}
