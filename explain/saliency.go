package explain

import (
	"context"
	"slices"

	"glassnet/dataset"
	"glassnet/internal/usererr"
	"glassnet/matrix"
	"glassnet/nn"
)

// Saliency says which pixels of one image speak for a class. All maps have one value
// for each pixel, above 0 where it speaks for the class.
type Saliency struct {
	Class int
	// Gradient is dz/dx, z the logit of the class (Simonyan et al., "Deep Inside
	// Convolutional Networks", 2013).
	Gradient []float64
	// GradientTimesInput is x·dz/dx: for a network of linear pieces without biases
	// it sums to z.
	GradientTimesInput []float64
	// Occlusion is how much the probability of the class falls when a square around
	// the pixel is blanked (Zeiler and Fergus, "Visualizing and Understanding
	// Convolutional Networks", 2013).
	Occlusion []float64
	Patch     int // side of that square
	// LeavesOut is true of a network with the published normalisation, whose backward pass
	// leaves its derivative out: Gradient is then what that pass gives, and not dz/dx.
	LeavesOut bool
}

// mostTogether is how many images go through the network at once, at most.
const mostTogether = 256

// Salient computes the maps of an image, width pixels wide, for a class, or for the
// class that net predicts when class is -1. patch is the side of the square that
// occlusion blanks, from 1 to width. Running statistics are used, as in prediction;
// threads 0 means 1. The error is ctx's when that ends, else a user error.
func Salient[T matrix.Float](ctx context.Context, net *nn.Network[T], image []byte, width, class, patch, threads int) (*Saliency, error) {
	in, classes := net.Widths()
	switch {
	case len(image) != in || width < 1 || in%width != 0:
		return nil, usererr.New("an image of %d pixels, %d wide, for a network that takes %d", len(image), width, in)
	case class < -1 || class >= classes:
		return nil, usererr.New("class %d, want 0 to %d", class, classes-1)
	case patch < 1 || patch > width:
		return nil, usererr.New("a patch of %d pixels, want 1 to %d", patch, width)
	}
	net, err := nn.Copy[T](net) // whose gradients are written
	if err != nil {
		return nil, err
	}
	pixels := matrix.Pixels{Cols: in, Data: image, Index: []int32{0}}
	trace := net.NewTrace(nn.TraceOptions{Batch: 1, Backward: true, GradIn: true, Threads: threads})
	logits := net.Forward(trace, matrix.Unpack(matrix.New[T](1, in), pixels), nn.Eval)
	if class == -1 {
		class = nn.Argmax(logits.Row(0))
	}
	p := make([]T, classes)
	nn.Softmax(p, logits.Row(0))
	whole := p[class]
	g := matrix.New[T](1, classes)
	g.Data[class] = 1
	s := &Saliency{Class: class, Patch: patch, LeavesOut: leavesOut(net)}
	for i, v := range net.Backward(trace, g).Row(0) {
		s.Gradient = append(s.Gradient, float64(v))
		s.GradientTimesInput = append(s.GradientTimesInput, float64(v)*float64(T(matrix.Intensity(image[i]))))
	}

	together := net.Together(mostTogether)
	blanked := matrix.Pixels{Cols: in, Data: make([]byte, together*in)}
	trace = net.NewTrace(nn.TraceOptions{Batch: together, Threads: threads})
	for first := 0; first < in; first += together {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		blanked.Index = blanked.Index[:0]
		for i := first; i < min(first+together, in); i++ {
			one := blanked.Data[(i-first)*in : (i-first+1)*in]
			copy(one, image)
			blank(one, width, in/width, i%width-(patch-1)/2, i/width-(patch-1)/2, patch)
			blanked.Index = append(blanked.Index, int32(i-first))
		}
		logits := net.ForwardPixels(trace, blanked, nn.Eval)
		for i := range blanked.Index {
			nn.Softmax(p, logits.Row(i))
			s.Occlusion = append(s.Occlusion, float64(whole-p[class]))
		}
	}
	return s, nil
}

// blank clears the square of that side at (left, top), as far as it is in the image.
func blank(image []byte, width, height, left, top, side int) {
	for y := max(top, 0); y < min(top+side, height); y++ {
		for x := max(left, 0); x < min(left+side, width); x++ {
			image[y*width+x] = 0
		}
	}
}

// Activating is an example with the output of a unit for it.
type Activating struct {
	Example int // in the view's set
	Value   float64
}

// MaximallyActivating returns the n examples of view for which an output of net, of unit
// in layer, from 1, is largest, the largest first and of equal ones the earlier. The
// outputs are those of prediction: running statistics are used. threads 0 means 1. The
// error is ctx's when that ends, else a user error: there is no such unit, or the
// examples do not fit net.
func MaximallyActivating[T matrix.Float](ctx context.Context, net *nn.Network[T], view dataset.View, layer, unit, n, threads int) ([]Activating, error) {
	if layer < 1 || layer > len(net.Layers()) {
		return nil, usererr.New("layer %d, want 1 to %d", layer, len(net.Layers()))
	}
	if _, width := net.Layers()[layer-1].Widths(); unit < 0 || unit >= width {
		return nil, usererr.New("unit %d of layer %d, want 0 to %d", unit, layer, width-1)
	}
	if view.Len() == 0 {
		return nil, usererr.New("no examples")
	}
	if err := view.Check(); err != nil {
		return nil, err
	}
	if in, _ := net.Widths(); view.Set.Features() != in {
		return nil, usererr.New("examples of %d features for a network that takes %d", view.Set.Features(), in)
	}
	together := net.Together(mostTogether)
	trace := net.NewTrace(nn.TraceOptions{Batch: together, Threads: threads})
	var best []Activating
	for lo := 0; lo < view.Len(); lo += together {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		batch := view.Slice(lo, min(lo+together, view.Len()))
		net.ForwardPixels(trace, batch.Pixels(), nn.Eval)
		out := trace.Caches[layer-1].Out
		for i := range batch.Len() {
			e := Activating{int(batch.Index[i]), float64(out.At(i, unit))}
			at := len(best)
			for at > 0 && best[at-1].Value < e.Value {
				at--
			}
			if at < n {
				best = slices.Insert(best, at, e)
				best = best[:min(len(best), n)]
			}
		}
	}
	return best, nil
}
