//go:build amd64 && !purego

package kernel

import "testing"

// Each piece of a panel is packed as a panel of its own, which must be exactly as wide; a
// strip must be as high as the tiles that read it.
func testPieces[T Float](t *testing.T, v *vectors[T]) {
	for _, p := range v.panels {
		inLines := v.inLines(p.columns)
		for _, columns := range []int{inLines, p.columns - inLines} {
			if got := v.narrowest(max(columns, 1)).columns; columns > 0 && got != columns {
				t.Errorf("a piece of %d columns of a panel of %d is packed as one of %d", columns, p.columns, got)
			}
		}
	}
	if got := v.pairPanelOf(v.manyPairs).columns; got != v.manyPairs {
		t.Errorf("many pairs take panels of %d columns, want %d", got, v.manyPairs)
	}
	if height := v.widest().heights[0]; v.strip.columns != height {
		t.Errorf("strips of %d rows are read by tiles of %d rows", v.strip.columns, height)
	}
}

func TestPiecesArePanels(t *testing.T) {
	testPieces(t, &avx512For32)
	testPieces(t, &avx512For64)
	testPieces(t, &avx2For32)
	testPieces(t, &avx2For64)
}
