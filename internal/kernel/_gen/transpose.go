package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// transposePanel writes the packing of a factor that is stored the other way
// round: a square as wide as a register has lanes at a time. Rows are interleaved
// by numbers until each quarter of a register holds one column of 16 bytes' worth
// of rows; then the quarters are moved together.
func (g generator) transposePanel() {
	lanes := g.lanes(64)
	g.function("TransposePanel", fmt.Sprintf("dst *%[1]s, columns int, src *%[1]s, stride, inner int", g.number.name),
		fmt.Sprintf("computes dst[p·columns + j] = src[j·stride + p] for j < %d and p < inner, a multiple of %[1]d.", lanes))
	dst, columns, src, stride, inner := load("dst"), load("columns"), load("src"), load("stride"), load("inner")
	g.scale(columns, stride)
	pair := func(f func(...operand.Op), a, b reg.VecVirtual) reg.VecVirtual {
		z := ZMM()
		f(b, a, z)
		return z
	}
	shuffle := func(imm int, a, b reg.VecVirtual) reg.VecVirtual {
		z := ZMM()
		if g.size == 4 {
			VSHUFF32X4(operand.U8(imm), b, a, z)
		} else {
			VSHUFF64X2(operand.U8(imm), b, a, z)
		}
		return z
	}
	loop, done := label("loop"), label("done")
	loop.here()
	CMPQ(inner, operand.U8(lanes))
	JLT(done.ref())
	row := GP64()
	MOVQ(src, row)
	group := 16 / g.size // rows whose numbers fill a quarter
	var quarters [4][]reg.VecVirtual
	for q := range quarters {
		var r []reg.VecVirtual
		for range group {
			z := ZMM()
			g.load(mem(row), z)
			ADDQ(stride, row)
			r = append(r, z)
		}
		if g.size == 4 {
			low, high := pair(VUNPCKLPS, r[0], r[1]), pair(VUNPCKHPS, r[0], r[1])
			low2, high2 := pair(VUNPCKLPS, r[2], r[3]), pair(VUNPCKHPS, r[2], r[3])
			quarters[q] = []reg.VecVirtual{pair(VUNPCKLPD, low, low2), pair(VUNPCKHPD, low, low2), pair(VUNPCKLPD, high, high2), pair(VUNPCKHPD, high, high2)}
		} else {
			quarters[q] = []reg.VecVirtual{pair(VUNPCKLPD, r[0], r[1]), pair(VUNPCKHPD, r[0], r[1])}
		}
	}
	const even, odd = 0x88, 0xdd // quarters 0 and 2, or 1 and 3, of both
	columnsOf := make([]reg.VecVirtual, lanes)
	for i := range group {
		for half, imm := range []int{even, odd} {
			a, b := shuffle(imm, quarters[0][i], quarters[1][i]), shuffle(imm, quarters[2][i], quarters[3][i])
			columnsOf[half*group+i] = shuffle(even, a, b)
			columnsOf[(2+half)*group+i] = shuffle(odd, a, b)
		}
	}
	for _, c := range columnsOf {
		g.load(c, mem(dst))
		ADDQ(columns, dst)
	}
	ADDQ(operand.U8(64), src)
	SUBQ(operand.U8(lanes), inner)
	JMP(loop.ref())
	done.here()
	VZEROUPPER()
	RET()
}

// pack writes the packing of a panel of such registers: rows of width numbers, filled
// up with zeros.
func (g generator) pack(registers []int) {
	g.function(fmt.Sprintf("Pack%dx", total(registers)/g.size), fmt.Sprintf("dst, src *%s, stride, inner, width int", g.number.name),
		"copies inner rows of width numbers from src, stride apart, to dst, where a row is as long as the panel is wide; the rest is 0.")
	dst, src, stride, inner, width := load("dst"), load("src"), load("stride"), load("inner"), load("width")
	g.scale(stride)
	var masks []reg.OpmaskVirtual
	zero := GP64()
	XORQ(zero, zero)
	for _, bytes := range registers {
		masks = append(masks, g.firstLanes(width))
		SUBQ(operand.U8(g.lanes(bytes)), width)
		CMOVQLT(zero, width)
	}
	loop, done := label("loop"), label("done")
	loop.here()
	TESTQ(inner, inner)
	JZ(done.ref())
	from, to := mem(src), mem(dst)
	for i, bytes := range registers {
		v := vector(bytes)
		g.maskedLoad(from, masks[i], v)
		g.load(v, to)
		from, to = from.Offset(bytes), to.Offset(bytes)
	}
	ADDQ(stride, src)
	ADDQ(operand.U32(total(registers)), dst)
	DECQ(inner)
	JMP(loop.ref())
	done.here()
	VZEROUPPER()
	RET()
}
