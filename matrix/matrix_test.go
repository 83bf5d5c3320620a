package matrix_test

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"testing"

	"glassnet/matrix"
)

func Example() {
	x := matrix.FromRows([]float64{1, 2, 3}, []float64{4, 5, 6}) // two examples, three features
	fmt.Println(x, x.Row(1), x.At(0, 2))
	fmt.Println(x.Transposed(), x.Transposed().Row(2))
	// Output:
	// [2, 3] [4 5 6] 3
	// [3, 2] [3 6]
}

func TestHeadSharesMemory(t *testing.T) {
	m := matrix.FromRows([]float32{1, 2}, []float32{3, 4}, []float32{5, 6})
	h := m.Head(2)
	h.Row(1)[0] = 30
	if want := []float32{1, 2, 30, 4, 5, 6}; !slices.Equal(m.Data, want) {
		t.Errorf("after writing through Head(2): %v, want %v", m.Data, want)
	}
	if h.Rows != 2 || h.Cols != 2 || len(h.Data) != 4 {
		t.Errorf("Head(2) = %v with %d values, want [2, 2] with 4", h, len(h.Data))
	}
}

func TestCloneSharesNothing(t *testing.T) {
	m := matrix.FromRows([]float64{1, 2})
	c := m.Clone()
	c.Data[0] = 9
	if m.Data[0] != 1 {
		t.Errorf("writing to a clone changed the original to %v", m.Data)
	}
}

func TestRowCannotGrowIntoTheNext(t *testing.T) {
	m := matrix.FromRows([]float64{1}, []float64{2})
	_ = append(m.Row(0), 7)
	if m.At(1, 0) != 2 {
		t.Error("append to row 0 overwrote row 1")
	}
}

func TestEmpty(t *testing.T) {
	if m := matrix.FromRows[float32](); m.Rows != 0 || m.Cols != 0 {
		t.Errorf("FromRows() = %v, want [0, 0]", m)
	}
}

func TestMisusePanics(t *testing.T) {
	tests := map[string]func(){
		"New(-1, 2)":                   func() { matrix.New[float32](-1, 2) },
		"New(2, -1)":                   func() { matrix.New[float32](2, -1) },
		"New of more than an int":      func() { matrix.New[float32](math.MaxInt/2, 3) },
		"New that would wrap to 0":     func() { matrix.New[float32](1<<(bits.UintSize/2), 1<<(bits.UintSize/2)) },
		"Head(2) of 1 with room for 2": func() { matrix.New[float32](2, 2).Head(1).Head(2) },
		"ragged FromRows":              func() { matrix.FromRows([]float64{1}, []float64{1, 2}) },
		"Head(3) of 2":                 func() { matrix.New[float32](2, 2).Head(3) },
		"Head(-1)":                     func() { matrix.New[float32](2, 2).Head(-1) },
	}
	for name, f := range tests {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Errorf("%s did not panic", name)
				}
			}()
			f()
		})
	}
}
