package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// transposed returns the columns of a square as wide as a register has lanes, of which load
// gets the rows in order. Rows are interleaved by numbers until each 16 bytes of a register
// hold one column of as many rows; then those of a column are moved together.
func (g generator) transposed(load func(row int) reg.VecVirtual) []reg.VecVirtual {
	pair := func(f func(...operand.Op), a, b reg.VecVirtual) reg.VecVirtual {
		z := vector(g.bytes)
		f(b, a, z)
		return z
	}
	group := 16 / g.size // rows whose numbers fill 16 bytes
	sixteens := make([][]reg.VecVirtual, g.bytes/16)
	for q := range sixteens {
		var r []reg.VecVirtual
		for i := range group {
			r = append(r, load(q*group+i))
		}
		if g.size == 4 {
			low, high := pair(VUNPCKLPS, r[0], r[1]), pair(VUNPCKHPS, r[0], r[1])
			low2, high2 := pair(VUNPCKLPS, r[2], r[3]), pair(VUNPCKHPS, r[2], r[3])
			sixteens[q] = []reg.VecVirtual{pair(VUNPCKLPD, low, low2), pair(VUNPCKHPD, low, low2), pair(VUNPCKLPD, high, high2), pair(VUNPCKHPD, high, high2)}
		} else {
			sixteens[q] = []reg.VecVirtual{pair(VUNPCKLPD, r[0], r[1]), pair(VUNPCKHPD, r[0], r[1])}
		}
	}
	return g.regroup(sixteens)
}

// transposePanel writes the packing of a factor that is stored the other way round, a
// square at a time.
func (g generator) transposePanel() {
	lanes := g.lanes(g.bytes)
	g.function("TransposePanel", fmt.Sprintf("dst *%[1]s, columns int, src *%[1]s, stride, inner int", g.number.name),
		fmt.Sprintf("computes dst[p·columns + j] = src[j·stride + p] for j < %d and p < inner, a multiple of %[1]d.", lanes))
	dst, columns, src, stride, inner := load("dst"), load("columns"), load("src"), load("stride"), load("inner")
	g.scale(columns, stride)
	loop, done := label("loop"), label("done")
	loop.here()
	CMPQ(inner, operand.U8(lanes))
	JLT(done.ref())
	row := GP64()
	MOVQ(src, row)
	columnRegisters := g.transposed(func(int) reg.VecVirtual {
		z := g.get(mem(row), nil)
		ADDQ(stride, row)
		return z
	})
	for _, c := range columnRegisters {
		g.load(c, mem(dst))
		ADDQ(columns, dst)
	}
	ADDQ(operand.U8(g.bytes), src)
	SUBQ(operand.U8(lanes), inner)
	JMP(loop.ref())
	done.here()
	VZEROUPPER()
	RET()
}

// regroup moves the 16 bytes of each column together: those at place q of column
// p·group + i are those at place p of sixteens[q][i].
func (g generator) regroup(sixteens [][]reg.VecVirtual) []reg.VecVirtual {
	group := len(sixteens[0])
	columns := make([]reg.VecVirtual, len(sixteens)*group)
	shuffle := func(imm int, a, b reg.VecVirtual) reg.VecVirtual {
		z := vector(g.bytes)
		switch {
		case !g.masked:
			VPERM2F128(operand.U8(imm), b, a, z)
		case g.size == 4:
			VSHUFF32X4(operand.U8(imm), b, a, z)
		default:
			VSHUFF64X2(operand.U8(imm), b, a, z)
		}
		return z
	}
	for i := range group {
		if !g.masked {
			const firsts, seconds = 0x20, 0x31 // of both
			columns[i] = shuffle(firsts, sixteens[0][i], sixteens[1][i])
			columns[group+i] = shuffle(seconds, sixteens[0][i], sixteens[1][i])
			continue
		}
		const even, odd = 0x88, 0xdd // places 0 and 2, or 1 and 3, of both
		for half, imm := range []int{even, odd} {
			a, b := shuffle(imm, sixteens[0][i], sixteens[1][i]), shuffle(imm, sixteens[2][i], sixteens[3][i])
			columns[half*group+i] = shuffle(even, a, b)
			columns[(2+half)*group+i] = shuffle(odd, a, b)
		}
	}
	return columns
}

// fetchedRows is how many rows before their use pack fetches them: each may lie on a
// page of its own, where the CPU fetches nothing ahead by itself.
const fetchedRows = 16

// pack writes the packing of a panel of such registers: rows of width numbers, filled
// up with zeros; or without masks, full ones only.
func (g generator) pack(registers []int) {
	doc := "copies inner rows of width numbers from src, stride apart, to dst, where a row is as long as the panel is wide; the rest is 0."
	if !g.masked {
		doc = "copies inner rows of as many numbers as the panel is wide, which width must be too, from src, stride apart, to dst."
	}
	g.function(fmt.Sprintf("Pack%dx", total(registers)/g.size), fmt.Sprintf("dst, src *%s, stride, inner, width int", g.number.name), doc)
	dst, src, stride, inner, width := load("dst"), load("src"), load("stride"), load("inner"), load("width")
	g.scale(stride)
	var masks []reg.OpmaskVirtual
	if g.masked {
		zero := GP64()
		XORQ(zero, zero)
		for _, bytes := range registers {
			masks = append(masks, g.firstLanes(width))
			SUBQ(operand.U8(g.lanes(bytes)), width)
			CMOVQLT(zero, width)
		}
	}
	ahead := GP64()
	IMUL3Q(operand.U8(fetchedRows), stride, ahead)
	loop, done := label("loop"), label("done")
	loop.here()
	TESTQ(inner, inner)
	JZ(done.ref())
	from, to := mem(src), mem(dst)
	for at := 0; at < total(registers); at += line {
		PREFETCHT0(from.Idx(ahead, 1).Offset(at))
	}
	for i, bytes := range registers {
		v := vector(bytes)
		if g.masked {
			g.maskedLoad(from, masks[i], v)
		} else {
			g.load(from, v)
		}
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
