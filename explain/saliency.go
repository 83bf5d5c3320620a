package explain

import (
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
}

// Salient computes the maps of an image for a class, or for the class that net
// predicts when class is -1. patch is the side of the square that occlusion blanks,
// from 1. Running statistics are used, as in prediction.
func Salient[T matrix.Float](net *nn.Network[T], image []byte, width, class, patch int) (*Saliency, error) {
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
	// Image 0 is the image itself, image 1+p has the patch around pixel p blanked.
	height := in / width
	set := &dataset.Set{Width: width, Height: height, Classes: classes, Pixels: append([]byte(nil), image...)}
	for p := range in {
		set.Pixels = append(set.Pixels, image...)
		blank(set.Pixels[(1+p)*in:], width, height, p%width-(patch-1)/2, p/width-(patch-1)/2, patch)
	}
	set.Labels = make([]uint8, 1+in)
	all := dataset.All(set)

	trace := net.NewTrace(nn.TraceOptions{Batch: 1 + in, Backward: true, GradIn: true})
	logits := net.Forward(trace, matrix.Unpack(matrix.New[T](1, in), all.Slice(0, 1).Pixels()), nn.Eval)
	if class == -1 {
		class = nn.Argmax(logits.Row(0))
	}
	g := matrix.New[T](1, classes)
	g.Data[class] = 1
	s := &Saliency{Class: class, Patch: patch}
	for p, v := range net.Backward(trace, g).Row(0) {
		s.Gradient = append(s.Gradient, float64(v))
		s.GradientTimesInput = append(s.GradientTimesInput, float64(v)*float64(T(matrix.Intensity(image[p]))))
	}
	logits = net.ForwardPixels(trace, all.Pixels(), nn.Eval)
	p := make([]T, classes)
	nn.Softmax(p, logits.Row(0))
	whole := p[class]
	for i := range in {
		nn.Softmax(p, logits.Row(1+i))
		s.Occlusion = append(s.Occlusion, float64(whole-p[class]))
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

// Excited is an example with the output of a unit for it.
type Excited struct {
	Example int // in the view's set
	Value   float64
}

// MostExciting returns the n examples of view for which output unit of layer, from 1,
// is largest, the largest first and of equal ones the earlier.
func MostExciting[T matrix.Float](net *nn.Network[T], view dataset.View, layer, unit, n, threads int) ([]Excited, error) {
	if layer < 1 || layer > len(net.Layers()) {
		return nil, usererr.New("layer %d, want 1 to %d", layer, len(net.Layers()))
	}
	if _, width := net.Layers()[layer-1].Widths(); unit < 0 || unit >= width {
		return nil, usererr.New("unit %d of layer %d, want 0 to %d", unit, layer, width-1)
	}
	const together = 256
	trace := net.NewTrace(nn.TraceOptions{Batch: together, Threads: threads})
	var best []Excited
	for lo := 0; lo < view.Len(); lo += together {
		batch := view.Slice(lo, min(lo+together, view.Len()))
		net.ForwardPixels(trace, batch.Pixels(), nn.Eval)
		out := trace.Caches[layer-1].Out
		for i := range batch.Len() {
			e := Excited{int(batch.Index[i]), float64(out.At(i, unit))}
			at := len(best)
			for at > 0 && best[at-1].Value < e.Value {
				at--
			}
			if at < n {
				best = append(best, Excited{})
				copy(best[at+1:], best[at:])
				best[at] = e
				best = best[:min(len(best), n)]
			}
		}
	}
	return best, nil
}
