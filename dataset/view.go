package dataset

import (
	"glassnet/internal/usererr"
	"glassnet/matrix"
)

// View is a selection of a set's examples in some order; it copies nothing. A
// batch is a View too.
type View struct {
	Set   *Set
	Index []int32 // example i of the view is example Index[i] of the set
}

// All returns the view of every example of s in the set's own order.
func All(s *Set) View {
	index := make([]int32, s.Len())
	for i := range index {
		index[i] = int32(i)
	}
	return View{s, index}
}

// Check returns an error unless the view's set has an image and a label below Classes for
// each of its examples. Views of sets that this package reads or draws have them.
func (v View) Check() error {
	s := v.Set
	switch {
	case s == nil && len(v.Index) > 0:
		return usererr.New("%d examples of no set", len(v.Index))
	case s == nil:
		return nil
	case s.Width < 1 || s.Height < 1:
		return usererr.New("images of %d x %d pixels, want 1 x 1 or more", s.Width, s.Height)
	case len(s.Pixels) != s.Len()*s.Features():
		return usererr.New("%d labels and %d pixels, want %d x %d pixels for each label", s.Len(), len(s.Pixels), s.Width, s.Height)
	}
	for i, example := range v.Index {
		if example < 0 || int(example) >= s.Len() {
			return usererr.New("example %d of the view is number %d of a set of %d", i, example, s.Len())
		}
		if label := s.Labels[example]; int(label) >= s.Classes {
			return usererr.New("example %d has the label %d, want one below %d", example, label, s.Classes)
		}
	}
	return nil
}

// Len is the number of examples in the view.
func (v View) Len() int { return len(v.Index) }

// Slice returns examples [lo, hi) of the view, sharing its index.
func (v View) Slice(lo, hi int) View { return View{v.Set, v.Index[lo:hi]} }

// Label returns the label of example i of the view.
func (v View) Label(i int) uint8 { return v.Set.Labels[v.Index[i]] }

// PerClass counts the examples of each class.
func (v View) PerClass() []int {
	counts := make([]int, v.Set.Classes)
	for _, i := range v.Index {
		counts[v.Set.Labels[i]]++
	}
	return counts
}

// Split divides the examples of s, put into the given order, into a validation
// set (the first of them) and a training set (the rest). share is the validation
// set's share, in [0, 1); it is an error when either part would be empty though
// share asks for it.
func Split(s *Set, order []int32, share float64) (fit, validation View, err error) {
	n := int(share*float64(len(order)) + 1e-9) // 0.29 of 100 are 29, though 0.29·100 < 29 in binary
	switch {
	case !(share >= 0 && share < 1):
		return View{}, View{}, usererr.New("validation share %v, want a number in [0, 1)", share)
	case share > 0 && n == 0:
		return View{}, View{}, usererr.New("validation share %v of %d examples is no example", share, len(order))
	case len(order) == n:
		return View{}, View{}, usererr.New("no examples to train on: %d in all, %d for validation", len(order), n)
	}
	return View{s, order[n:]}, View{s, order[:n]}, nil
}

// Pixels returns the images of the view, sharing the set's memory.
func (v View) Pixels() matrix.Pixels {
	return matrix.Pixels{Cols: v.Set.Features(), Data: v.Set.Pixels, Index: v.Index}
}

// CopyLabels copies the labels of the view into labels and returns the part that
// they fill. It panics when labels is too short.
func (v View) CopyLabels(labels []uint8) []uint8 {
	labels, all := labels[:v.Len()], v.Set.Labels
	for i, example := range v.Index {
		labels[i] = all[example]
	}
	return labels
}
