package matrix_test

import (
	"math"
	"slices"
	"testing"

	"glassnet/matrix"
)

func TestPixels(t *testing.T) {
	p := matrix.Pixels{Cols: 2, Data: []byte{0, 51, 255, 1, 102, 0}, Index: []int32{2, 0}}
	if p.Rows() != 2 || !slices.Equal(p.Row(0), []byte{102, 0}) || !slices.Equal(p.Row(1), []byte{0, 51}) {
		t.Errorf("rows of %v are %v and %v", p, p.Row(0), p.Row(1))
	}
	x := matrix.Unpack(matrix.New[float64](3, 2), p)
	if want := []float64{float64(float32(102) / 255), 0, 0, float64(float32(51) / 255)}; x.Rows != 2 || !slices.Equal(x.Data, want) {
		t.Errorf("Unpack = %v %v, want %v", x, x.Data, want)
	}
	for b := range 256 {
		if got, want := matrix.Intensity(byte(b)), float32(b)/255; got != want {
			t.Errorf("Intensity(%d) = %v, want %v", b, got, want)
		}
	}
}

func TestUnpackPanicsOnMisuse(t *testing.T) {
	p := matrix.Pixels{Cols: 2, Data: make([]byte, 4), Index: []int32{0, 1}}
	for _, x := range []matrix.Matrix[float32]{matrix.New[float32](1, 2), matrix.New[float32](2, 3)} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Unpack into %v did not panic", x)
				}
			}()
			matrix.Unpack(x, p)
		}()
	}
}

func TestFinite(t *testing.T) {
	big := []float32{math.MaxFloat32, -math.MaxFloat32, 0, 1}
	if !matrix.Finite(big) {
		t.Errorf("Finite(%v) = false, want true", big)
	}
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))} {
		if matrix.Finite(append([]float32{1, bad}, big...)) {
			t.Errorf("Finite with a %v = true, want false", bad)
		}
	}
}

func TestPixelsCheck(t *testing.T) {
	data := make([]byte, 6)
	matrix.Pixels{Cols: 2, Data: data, Index: []int32{2, 0, 1, 2}}.Check()
	matrix.Pixels{Cols: 2, Data: data}.Check()
	matrix.Pixels{Cols: 0, Index: []int32{7}}.Check() // no pixel is read
	for _, image := range []int32{-1, 3, 1 << 30} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("image %d of 3: no panic", image)
				}
			}()
			matrix.Pixels{Cols: 2, Data: data, Index: []int32{0, image}}.Check()
		}()
	}
}
