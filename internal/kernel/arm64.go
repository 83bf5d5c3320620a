//go:build arm64 && !purego

package kernel

// native lists the implementation of this architecture, all CPUs of which have
// NEON.
var native = []implementation{{"neon", true, neonFor32.table(), neonFor64.table()}}

var neonFor32 = vectors[float32]{
	panels: []panel[float32]{
		{4, []int{4, 2, 1}, []tileFunc[float32]{neonTile4x4x32, neonTile2x4x32, neonTile1x4x32}, summed(neonSparse1x4x32, neonSparse4x4x32), nil},
		{8, []int{4, 2, 1}, []tileFunc[float32]{neonTile4x8x32, neonTile2x8x32, neonTile1x8x32}, summed(neonSparse1x8x32, neonSparse4x8x32), nil},
		{16, []int{4, 2, 1}, []tileFunc[float32]{neonTile4x16x32, neonTile2x16x32, neonTile1x16x32}, summed(neonSparse1x16x32, neonSparse4x16x32), nil},
	},
	many:  16,
	lanes: 4,
	pairPanels: []pairPanel[float32]{
		{4, 4, neonPairsSum4x32, neonPairsFinish4x32, neonPairsGradient4x32, nil},
		{8, 8, neonPairsSum8x32, neonPairsFinish8x32, neonPairsGradient8x32, nil},
		{16, 16, neonPairsSum16x32, neonPairsFinish16x32, neonPairsGradient16x32, nil},
	},
	manyPairs: 16, together: 2,
	addScaled: neonAddScaled32, peak: neonPeak32,
	fallback: inner[float32]{addScaled: addScaled32},
}

var neonFor64 = vectors[float64]{
	panels: []panel[float64]{
		{2, []int{4, 2, 1}, []tileFunc[float64]{neonTile4x2x64, neonTile2x2x64, neonTile1x2x64}, summed(neonSparse1x2x64, neonSparse4x2x64), nil},
		{4, []int{4, 2, 1}, []tileFunc[float64]{neonTile4x4x64, neonTile2x4x64, neonTile1x4x64}, summed(neonSparse1x4x64, neonSparse4x4x64), nil},
		{8, []int{4, 2, 1}, []tileFunc[float64]{neonTile4x8x64, neonTile2x8x64, neonTile1x8x64}, summed(neonSparse1x8x64, neonSparse4x8x64), nil},
	},
	many:  8,
	lanes: 2,
	pairPanels: []pairPanel[float64]{
		{2, 2, neonPairsSum2x64, neonPairsFinish2x64, neonPairsGradient2x64, nil},
		{4, 4, neonPairsSum4x64, neonPairsFinish4x64, neonPairsGradient4x64, nil},
		{8, 8, neonPairsSum8x64, neonPairsFinish8x64, neonPairsGradient8x64, nil},
	},
	manyPairs: 8, together: 2,
	addScaled: neonAddScaled64, peak: neonPeak64,
	fallback: inner[float64]{addScaled: addScaled64},
}
