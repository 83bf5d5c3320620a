//go:build amd64 && !purego

package kernel

import "testing"

// Each piece of a panel is packed as a panel of its own, which must be exactly as wide.
func testPieces[T Float](t *testing.T, v *vectors[T]) {
	for _, p := range v.panels {
		inLines := v.inLines(p.columns)
		for _, columns := range []int{inLines, p.columns - inLines} {
			if got := v.narrowest(max(columns, 1)).columns; columns > 0 && got != columns {
				t.Errorf("a piece of %d columns of a panel of %d is packed as one of %d", columns, p.columns, got)
			}
		}
	}
}

func TestPiecesArePanels(t *testing.T) {
	testPieces(t, &avx512For32)
	testPieces(t, &avx512For64)
	testPieces(t, &avx2For32)
	testPieces(t, &avx2For64)
}
