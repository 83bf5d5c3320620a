package matrix

import "fmt"

// Pixels is a batch of images kept as bytes, one example per row: example i is
// Data[Index[i]*Cols : (Index[i]+1)*Cols], and a byte stands for byte/255 rounded
// to float32, a number in [0, 1]. It copies nothing. What stands behind Index in its
// memory, if anything, is taken for the examples that will be wanted next: they are
// fetched from memory early, and may be anything.
type Pixels struct {
	Cols  int // pixels of an example
	Data  []byte
	Index []int32
}

// Rows is the number of examples.
func (p Pixels) Rows() int { return len(p.Index) }

// Check panics when an example is not in Data: before its rows are read on other
// goroutines, where nobody could recover.
func (p Pixels) Check() {
	if p.Cols == 0 {
		return
	}
	images := uint(len(p.Data) / p.Cols)
	for i, image := range p.Index {
		if uint(image) >= images {
			panic(fmt.Sprintf("matrix: example %d of the batch is image %d of %d", i, image, images))
		}
	}
}

// Row returns the bytes of example i, sharing p's memory. It panics when they are
// not in Data.
func (p Pixels) Row(i int) []byte {
	first := int(p.Index[i]) * p.Cols
	return p.Data[first : first+p.Cols : first+p.Cols]
}

// Intensity returns b/255 rounded to float32: what the byte b of an image stands
// for, in both number types, so that both see the same input.
func Intensity(b byte) float32 { return intensities[b] }

var intensities = func() (v [256]float32) {
	for b := range v {
		v[b] = float32(b) / 255
	}
	return v
}()

// Unpack fills the first rows of x [>= rows, cols] with the intensities of p and
// returns them. It panics when x is too small.
func Unpack[T Float](x Matrix[T], p Pixels) Matrix[T] {
	if x.Cols != p.Cols {
		panic(fmt.Sprintf("matrix.Unpack: images of %d pixels into %v", p.Cols, x))
	}
	x = x.Head(p.Rows())
	for i := range x.Rows {
		row := x.Row(i)
		for j, b := range p.Row(i) {
			row[j] = T(intensities[b])
		}
	}
	return x
}
