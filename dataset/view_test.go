package dataset

import (
	"slices"
	"strings"
	"testing"

	"glassnet/matrix"
)

// four holds four 1x2 images.
func four() *Set {
	return &Set{
		Width: 2, Height: 1, Classes: 3,
		Pixels: []byte{0, 255, 51, 0, 102, 1, 0, 0},
		Labels: []uint8{2, 0, 1, 0},
	}
}

// A share is the decimal number that was typed, not the binary one below it.
func TestSplitOfDecimals(t *testing.T) {
	s := &Set{Width: 1, Height: 1, Classes: 2, Pixels: make([]byte, 100), Labels: make([]uint8, 100)}
	for share, want := range map[float64]int{0.29: 29, 0.57: 57, 0.58: 58, 0.2: 20, 0.999: 99, 0.005: 0} {
		_, validation, err := Split(s, All(s).Index, share)
		if validation.Len() != want || (err == nil) != (want > 0) {
			t.Errorf("Split of 100 at %v: %d for validation, error %v, want %d", share, validation.Len(), err, want)
		}
	}
}

func TestSplit(t *testing.T) {
	s := four()
	fit, validation, err := Split(s, []int32{3, 1, 0, 2}, 0.25)
	if err != nil {
		t.Fatal(err)
	}
	if want := []int32{3}; !slices.Equal(validation.Index, want) {
		t.Errorf("validation = %v, want the first of the order, %v", validation.Index, want)
	}
	if want := []int32{1, 0, 2}; !slices.Equal(fit.Index, want) {
		t.Errorf("training = %v, want %v", fit.Index, want)
	}
	if got, want := fit.PerClass(), []int{1, 1, 1}; !slices.Equal(got, want) {
		t.Errorf("PerClass = %v, want %v", got, want)
	}
	if got := fit.Label(1); got != 2 {
		t.Errorf("Label(1) = %d, want 2", got)
	}
}

func TestSplitRefuses(t *testing.T) {
	for _, test := range []struct {
		share float64
		order []int32
		want  string
	}{
		{-0.1, []int32{0}, "want a number in [0, 1)"},
		{1, []int32{0}, "want a number in [0, 1)"},
		{0.2, []int32{0, 1}, "is no example"},
		{0, nil, "no examples to train on"},
	} {
		_, _, err := Split(four(), test.order, test.share)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("Split(%v, %v) = %v, want an error with %q", test.order, test.share, err, test.want)
		}
	}
}

func TestPixelsAndLabels(t *testing.T) {
	view := All(four()).Slice(1, 3)
	x := matrix.Unpack(matrix.New[float64](3, 2), view.Pixels())
	if want := []float64{float64(float32(51) / 255), 0, float64(float32(102) / 255), float64(float32(1) / 255)}; !slices.Equal(x.Data, want) {
		t.Errorf("pixels = %v, want %v", x.Data, want)
	}
	if labels, want := view.CopyLabels(make([]uint8, 3)), []uint8{0, 1}; !slices.Equal(labels, want) {
		t.Errorf("labels = %v, want %v", labels, want)
	}
}
