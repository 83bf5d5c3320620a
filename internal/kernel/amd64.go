//go:build amd64 && !purego

package kernel

import "golang.org/x/sys/cpu"

// native lists the implementations of this architecture, the fastest first. The
// flags of cpu.X86 include what the operating system saves (XGETBV).
var native = []implementation{
	{"avx512", hasAVX2() && cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL &&
		cpu.X86.HasAVX512VBMI2, avx512For32.table(), avx512For64.table()},
	{"avx2", hasAVX2(), avx2For32.table(), avx2For64.table()},
}

func hasAVX2() bool { return cpu.X86.HasAVX2 && cpu.X86.HasFMA && cpu.X86.HasBMI2 && cpu.X86.HasPOPCNT }

var avx512For32 = vectors[float32]{
	panels: []panel[float32]{
		{8, []int{12, 8, 4, 2, 1}, []tileFunc[float32]{avx512Tile12x8x32, avx512Tile8x8x32, avx512Tile4x8x32, avx512Tile2x8x32, avx512Tile1x8x32},
			summed(avx512Sparse1x8x32, avx512Sparse4x8x32), avx512Pack8x32},
		{16, []int{12, 8, 4, 2, 1}, []tileFunc[float32]{avx512Tile12x16x32, avx512Tile8x16x32, avx512Tile4x16x32, avx512Tile2x16x32, avx512Tile1x16x32},
			summed(avx512Sparse1x16x32, avx512Sparse4x16x32), avx512Pack16x32},
		{24, []int{12, 8, 4, 2, 1}, []tileFunc[float32]{avx512Tile12x24x32, avx512Tile8x24x32, avx512Tile4x24x32, avx512Tile2x24x32, avx512Tile1x24x32},
			summed(avx512Sparse1x24x32, avx512Sparse4x24x32), avx512Pack24x32},
		{32, []int{12, 8, 4, 2, 1}, []tileFunc[float32]{avx512Tile12x32x32, avx512Tile8x32x32, avx512Tile4x32x32, avx512Tile2x32x32, avx512Tile1x32x32},
			summed(avx512Sparse1x32x32, avx512Sparse4x32x32), avx512Pack32x32},
		{40, []int{8, 4, 2, 1}, []tileFunc[float32]{avx512Tile8x40x32, avx512Tile4x40x32, avx512Tile2x40x32, avx512Tile1x40x32},
			summed(avx512Sparse1x40x32, avx512Sparse4x40x32), avx512Pack40x32},
	},
	many: 32, strip: &panel[float32]{columns: 12, pack: avx512Pack12x32}, stripsFrom: large, groupBytes: 3 << 18,
	masked: true, cut: true, lanes: 16,
	addScaled: avx512AddScaled32, peak: avx512Peak32, transposePanel: avx512TransposePanel32,
	compress: avx512Compress,
	pairPanels: []pairPanel[float32]{
		{8, 8, avx512PairsSum8x32, avx512PairsFinish8x32, avx512PairsGradient8x32, avx512Pack8x32},
		{16, 16, avx512PairsSum16x32, avx512PairsFinish16x32, avx512PairsGradient16x32, avx512Pack16x32},
		{20, 32, avx512PairsSum20x32, avx512PairsFinish20x32, avx512PairsGradient20x32, avx512Pack32x32},
		{24, 32, avx512PairsSum24x32, avx512PairsFinish24x32, avx512PairsGradient24x32, avx512Pack32x32},
		{32, 32, avx512PairsSum32x32, avx512PairsFinish32x32, avx512PairsGradient32x32, avx512Pack32x32},
		{40, 48, avx512PairsSum40x32, avx512PairsFinish40x32, avx512PairsGradient40x32, avx512Pack48x32},
		{48, 48, avx512PairsSum48x32, avx512PairsFinish48x32, avx512PairsGradient48x32, avx512Pack48x32},
		{64, 64, avx512PairsSum64x32, avx512PairsFinish64x32, avx512PairsGradient64x32, avx512Pack64x32},
	},
	manyPairs: 64, together: 2, listPairs: avx512ListPairs, joinLists: avx512JoinLists, claim: claim, fetchToWrite: fetchToWrite,
	fallback: inner[float32]{addScaled: addScaled32},
	assembly: &assembly[float32]{
		update: avx512Update32, relu: avx512ReLU32, reluSlope: avx512ReLUSlope32,
		addColumns: avx512AddColumns32, addSquares: avx512AddSquares32, addProducts: avx512AddProducts32,
		normalise: avx512Normalise32, normaliseSlope: avx512NormaliseSlope32, divide: avx512Divide32,
		sumSquares: avx512SumSquares32, softmax: avx512Softmax32,
	},
}

var avx512For64 = vectors[float64]{
	panels: []panel[float64]{
		{4, []int{12, 8, 4, 2, 1}, []tileFunc[float64]{avx512Tile12x4x64, avx512Tile8x4x64, avx512Tile4x4x64, avx512Tile2x4x64, avx512Tile1x4x64},
			summed(avx512Sparse1x4x64, avx512Sparse4x4x64), avx512Pack4x64},
		{8, []int{12, 8, 4, 2, 1}, []tileFunc[float64]{avx512Tile12x8x64, avx512Tile8x8x64, avx512Tile4x8x64, avx512Tile2x8x64, avx512Tile1x8x64},
			summed(avx512Sparse1x8x64, avx512Sparse4x8x64), avx512Pack8x64},
		{12, []int{12, 8, 4, 2, 1}, []tileFunc[float64]{avx512Tile12x12x64, avx512Tile8x12x64, avx512Tile4x12x64, avx512Tile2x12x64, avx512Tile1x12x64},
			summed(avx512Sparse1x12x64, avx512Sparse4x12x64), avx512Pack12x64},
		{16, []int{12, 8, 4, 2, 1}, []tileFunc[float64]{avx512Tile12x16x64, avx512Tile8x16x64, avx512Tile4x16x64, avx512Tile2x16x64, avx512Tile1x16x64},
			summed(avx512Sparse1x16x64, avx512Sparse4x16x64), avx512Pack16x64},
		{20, []int{8, 4, 2, 1}, []tileFunc[float64]{avx512Tile8x20x64, avx512Tile4x20x64, avx512Tile2x20x64, avx512Tile1x20x64},
			summed(avx512Sparse1x20x64, avx512Sparse4x20x64), avx512Pack20x64},
	},
	many: 16, strip: &panel[float64]{columns: 12, pack: avx512Pack12x64}, stripsFrom: large, groupBytes: 3 << 18,
	masked: true, cut: true, lanes: 8,
	addScaled: avx512AddScaled64, peak: avx512Peak64, transposePanel: avx512TransposePanel64,
	compress: avx512Compress,
	pairPanels: []pairPanel[float64]{
		{4, 4, avx512PairsSum4x64, avx512PairsFinish4x64, avx512PairsGradient4x64, avx512Pack4x64},
		{8, 8, avx512PairsSum8x64, avx512PairsFinish8x64, avx512PairsGradient8x64, avx512Pack8x64},
		{10, 16, avx512PairsSum10x64, avx512PairsFinish10x64, avx512PairsGradient10x64, avx512Pack16x64},
		{12, 16, avx512PairsSum12x64, avx512PairsFinish12x64, avx512PairsGradient12x64, avx512Pack16x64},
		{16, 16, avx512PairsSum16x64, avx512PairsFinish16x64, avx512PairsGradient16x64, avx512Pack16x64},
		{20, 24, avx512PairsSum20x64, avx512PairsFinish20x64, avx512PairsGradient20x64, avx512Pack24x64},
		{24, 24, avx512PairsSum24x64, avx512PairsFinish24x64, avx512PairsGradient24x64, avx512Pack24x64},
		{32, 32, avx512PairsSum32x64, avx512PairsFinish32x64, avx512PairsGradient32x64, avx512Pack32x64},
	},
	manyPairs: 32, together: 2, listPairs: avx512ListPairs, joinLists: avx512JoinLists, claim: claim, fetchToWrite: fetchToWrite,
	fallback: inner[float64]{addScaled: addScaled64},
	assembly: &assembly[float64]{
		update: avx512Update64, relu: avx512ReLU64, reluSlope: avx512ReLUSlope64,
		addColumns: avx512AddColumns64, addSquares: avx512AddSquares64, addProducts: avx512AddProducts64,
		normalise: avx512Normalise64, normaliseSlope: avx512NormaliseSlope64, divide: avx512Divide64,
		sumSquares: avx512SumSquares64, softmax: avx512Softmax64,
	},
}

var avx2For32 = vectors[float32]{
	panels: []panel[float32]{
		{4, []int{12, 8, 4, 2, 1}, []tileFunc[float32]{avx2Tile12x4x32, avx2Tile8x4x32, avx2Tile4x4x32, avx2Tile2x4x32, avx2Tile1x4x32},
			summed(avx2Sparse1x4x32, avx2Sparse4x4x32), avx2Pack4x32},
		{8, []int{12, 8, 4, 2, 1}, []tileFunc[float32]{avx2Tile12x8x32, avx2Tile8x8x32, avx2Tile4x8x32, avx2Tile2x8x32, avx2Tile1x8x32},
			summed(avx2Sparse1x8x32, avx2Sparse4x8x32), avx2Pack8x32},
		{12, []int{6, 4, 2, 1}, []tileFunc[float32]{avx2Tile6x12x32, avx2Tile4x12x32, avx2Tile2x12x32, avx2Tile1x12x32},
			summed(avx2Sparse1x12x32, avx2Sparse4x12x32), avx2Pack12x32},
		{16, []int{6, 4, 2, 1}, []tileFunc[float32]{avx2Tile6x16x32, avx2Tile4x16x32, avx2Tile2x16x32, avx2Tile1x16x32},
			summed(avx2Sparse1x16x32, avx2Sparse4x16x32), avx2Pack16x32},
		{20, []int{4, 2, 1}, []tileFunc[float32]{avx2Tile4x20x32, avx2Tile2x20x32, avx2Tile1x20x32},
			summed(avx2Sparse1x20x32, avx2Sparse4x20x32), avx2Pack20x32},
		{24, []int{4, 2, 1}, []tileFunc[float32]{avx2Tile4x24x32, avx2Tile2x24x32, avx2Tile1x24x32},
			summed(avx2Sparse1x24x32, avx2Sparse4x24x32), avx2Pack24x32},
	},
	many: 24, strip: &panel[float32]{columns: 4, pack: avx2Pack4x32}, cut: true,
	lanes:     8,
	addScaled: avx2AddScaled32, peak: avx2Peak32, transposePanel: avx2TransposePanel32,
	compress: avx2Compress,
	pairPanels: []pairPanel[float32]{
		{4, 4, avx2PairsSum4x32, avx2PairsFinish4x32, avx2PairsGradient4x32, nil},
		{8, 8, avx2PairsSum8x32, avx2PairsFinish8x32, avx2PairsGradient8x32, nil},
		{12, 16, avx2PairsSum12x32, avx2PairsFinish12x32, avx2PairsGradient12x32, nil},
		{16, 16, avx2PairsSum16x32, avx2PairsFinish16x32, avx2PairsGradient16x32, nil},
		{20, 32, avx2PairsSum20x32, avx2PairsFinish20x32, avx2PairsGradient20x32, nil},
		{24, 32, avx2PairsSum24x32, avx2PairsFinish24x32, avx2PairsGradient24x32, nil},
		{32, 32, avx2PairsSum32x32, avx2PairsFinish32x32, avx2PairsGradient32x32, nil},
		{36, 48, avx2PairsSum36x32, avx2PairsFinish36x32, avx2PairsGradient36x32, nil},
		{40, 48, avx2PairsSum40x32, avx2PairsFinish40x32, avx2PairsGradient40x32, nil},
	},
	manyPairs: 32, together: 1, listPairs: avx2ListPairs, joinLists: avx2JoinLists, claim: claim, fetchToWrite: fetchToWrite,
	fallback: inner[float32]{addScaled: addScaled32},
	assembly: &assembly[float32]{
		update: avx2Update32, relu: avx2ReLU32, reluSlope: avx2ReLUSlope32,
		addColumns: avx2AddColumns32, addSquares: avx2AddSquares32, addProducts: avx2AddProducts32,
		normalise: avx2Normalise32, normaliseSlope: avx2NormaliseSlope32, divide: avx2Divide32,
		exponentials: avx2Exponentials32,
	},
}

var avx2For64 = vectors[float64]{
	panels: []panel[float64]{
		{2, []int{12, 8, 4, 2, 1}, []tileFunc[float64]{avx2Tile12x2x64, avx2Tile8x2x64, avx2Tile4x2x64, avx2Tile2x2x64, avx2Tile1x2x64},
			summed(avx2Sparse1x2x64, avx2Sparse4x2x64), avx2Pack2x64},
		{4, []int{12, 8, 4, 2, 1}, []tileFunc[float64]{avx2Tile12x4x64, avx2Tile8x4x64, avx2Tile4x4x64, avx2Tile2x4x64, avx2Tile1x4x64},
			summed(avx2Sparse1x4x64, avx2Sparse4x4x64), avx2Pack4x64},
		{6, []int{6, 4, 2, 1}, []tileFunc[float64]{avx2Tile6x6x64, avx2Tile4x6x64, avx2Tile2x6x64, avx2Tile1x6x64},
			summed(avx2Sparse1x6x64, avx2Sparse4x6x64), avx2Pack6x64},
		{8, []int{6, 4, 2, 1}, []tileFunc[float64]{avx2Tile6x8x64, avx2Tile4x8x64, avx2Tile2x8x64, avx2Tile1x8x64},
			summed(avx2Sparse1x8x64, avx2Sparse4x8x64), avx2Pack8x64},
		{10, []int{4, 2, 1}, []tileFunc[float64]{avx2Tile4x10x64, avx2Tile2x10x64, avx2Tile1x10x64},
			summed(avx2Sparse1x10x64, avx2Sparse4x10x64), avx2Pack10x64},
		{12, []int{4, 2, 1}, []tileFunc[float64]{avx2Tile4x12x64, avx2Tile2x12x64, avx2Tile1x12x64},
			summed(avx2Sparse1x12x64, avx2Sparse4x12x64), avx2Pack12x64},
	},
	many: 12, strip: &panel[float64]{columns: 4, pack: avx2Pack4x64}, cut: true,
	lanes:     4,
	addScaled: avx2AddScaled64, peak: avx2Peak64, transposePanel: avx2TransposePanel64,
	compress: avx2Compress,
	pairPanels: []pairPanel[float64]{
		{2, 2, avx2PairsSum2x64, avx2PairsFinish2x64, avx2PairsGradient2x64, nil},
		{4, 4, avx2PairsSum4x64, avx2PairsFinish4x64, avx2PairsGradient4x64, nil},
		{6, 8, avx2PairsSum6x64, avx2PairsFinish6x64, avx2PairsGradient6x64, nil},
		{8, 8, avx2PairsSum8x64, avx2PairsFinish8x64, avx2PairsGradient8x64, nil},
		{10, 16, avx2PairsSum10x64, avx2PairsFinish10x64, avx2PairsGradient10x64, nil},
		{12, 16, avx2PairsSum12x64, avx2PairsFinish12x64, avx2PairsGradient12x64, nil},
		{16, 16, avx2PairsSum16x64, avx2PairsFinish16x64, avx2PairsGradient16x64, nil},
		{18, 24, avx2PairsSum18x64, avx2PairsFinish18x64, avx2PairsGradient18x64, nil},
		{20, 24, avx2PairsSum20x64, avx2PairsFinish20x64, avx2PairsGradient20x64, nil},
	},
	manyPairs: 16, together: 1, listPairs: avx2ListPairs, joinLists: avx2JoinLists, claim: claim, fetchToWrite: fetchToWrite,
	fallback: inner[float64]{addScaled: addScaled64},
	assembly: &assembly[float64]{
		update: avx2Update64, relu: avx2ReLU64, reluSlope: avx2ReLUSlope64,
		addColumns: avx2AddColumns64, addSquares: avx2AddSquares64, addProducts: avx2AddProducts64,
		normalise: avx2Normalise64, normaliseSlope: avx2NormaliseSlope64, divide: avx2Divide64,
		exponentials: avx2Exponentials64,
	},
}
