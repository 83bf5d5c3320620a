// Package matrix holds a dense row-major matrix of float32 or float64, and images as
// bytes. In a batch a row is an example and a column a feature.
package matrix

import (
	"fmt"
	"math"
)

// Float is the number type of a network. float32 is the default of the command
// line; float64 replays the published study and checks gradients.
type Float interface{ float32 | float64 }

// Matrix is a row-major matrix: element (r, c) is Data[r*Cols+c].
type Matrix[T Float] struct {
	Rows, Cols int
	Data       []T
}

// New returns a rows x cols matrix of zeros. It panics when a size is negative, or
// rows·cols more than an int holds.
func New[T Float](rows, cols int) Matrix[T] {
	if rows < 0 || cols < 0 || cols > 0 && rows > math.MaxInt/cols {
		panic(fmt.Sprintf("matrix.New: shape [%d, %d], want sizes >= 0 whose product is an int", rows, cols))
	}
	return Matrix[T]{Rows: rows, Cols: cols, Data: make([]T, rows*cols)}
}

// FromRows copies rows, which must all have the same length, into a matrix.
func FromRows[T Float](rows ...[]T) Matrix[T] {
	if len(rows) == 0 {
		return Matrix[T]{}
	}
	m := New[T](len(rows), len(rows[0]))
	for r, row := range rows {
		if len(row) != m.Cols {
			panic(fmt.Sprintf("matrix.FromRows: row %d has %d columns, want %d", r, len(row), m.Cols))
		}
		copy(m.Row(r), row)
	}
	return m
}

// At returns element (r, c).
func (m Matrix[T]) At(r, c int) T { return m.Row(r)[c] }

// Row returns row r, sharing m's memory.
func (m Matrix[T]) Row(r int) []T {
	return m.Data[r*m.Cols : (r+1)*m.Cols : (r+1)*m.Cols]
}

// Head returns the first rows of m, sharing m's memory: the view that a short
// last batch needs. It panics when m has fewer rows.
func (m Matrix[T]) Head(rows int) Matrix[T] {
	if rows < 0 || rows > m.Rows {
		panic(fmt.Sprintf("matrix.Head: %d rows of a [%d, %d] matrix", rows, m.Rows, m.Cols))
	}
	return Matrix[T]{Rows: rows, Cols: m.Cols, Data: m.Data[:rows*m.Cols]}
}

// Clone returns a copy that shares nothing with m.
func (m Matrix[T]) Clone() Matrix[T] {
	return Matrix[T]{Rows: m.Rows, Cols: m.Cols, Data: append([]T(nil), m.Data...)}
}

// Transposed returns a new [Cols, Rows] matrix: the step between the two layouts
// of the literature, x [batch, features] here and A [features, batch] in the
// column-vector convention.
func (m Matrix[T]) Transposed() Matrix[T] {
	t := New[T](m.Cols, m.Rows)
	for r := range m.Rows {
		for c, v := range m.Row(r) {
			t.Data[c*m.Rows+r] = v
		}
	}
	return t
}

// String gives the shape only; a batch is too large to print.
func (m Matrix[T]) String() string { return fmt.Sprintf("[%d, %d]", m.Rows, m.Cols) }

// Convert returns a copy of v in another number type: exact from float32 to float64,
// rounded to nearest the other way.
func Convert[To, From Float](v []From) []To {
	converted := make([]To, len(v))
	for i, x := range v {
		converted[i] = To(x)
	}
	return converted
}

// Finite reports whether no value is infinite or NaN: v-v is 0 for a finite v and
// NaN for all others, and NaN survives every addition.
func Finite[T Float](values []T) bool {
	var sum T
	for _, v := range values {
		sum += v - v
	}
	return sum == 0
}
