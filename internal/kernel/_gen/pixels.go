package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// constant puts bytes into the read-only data of the file.
func constant(name string, values ...byte) operand.Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i, v := range values {
		DATA(i, operand.U8(v))
	}
	return m
}

// interleaved returns n pairs of lanes for a two-source permutation: lane first+i
// of the first source beside the same lane of the second.
func interleaved(lanes, first int) (order []byte) {
	for i := range lanes / 2 {
		order = append(order, byte(first+i), byte(lanes+first+i))
	}
	return order
}

// compress writes the search for the pixels that are not 0: a register full of
// pixels at a time, those that are not 0 moved together with their positions and
// stored as entries.
func (g generator) compress() {
	lanes := g.lanes(64)
	g.function("Compress", "entries, pixels *byte, n int) (count int",
		"lists the pixels that are not 0 among n, with their intensities. There must be room for n entries and one register more.")
	entries, pixels, n := load("entries"), load("pixels"), load("n")
	prefix := g.set.name + g.short
	iota8 := []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}[:lanes]
	position, step, low, high := ZMM(), ZMM(), ZMM(), ZMM()
	widen := func(m operand.Mem, z reg.VecVirtual) {
		if g.size == 4 {
			VPMOVZXBD(m, z)
		} else {
			VPMOVZXBQ(m, z)
		}
	}
	widen(constant(prefix+"Positions", iota8...), position)
	widen(constant(prefix+"Low", interleaved(lanes, 0)...), low)
	widen(constant(prefix+"High", interleaved(lanes, lanes/2)...), high)
	scalar := GP64()
	MOVQ(operand.U32(lanes), scalar)
	if g.size == 4 {
		VPBROADCASTD(scalar.As32(), step)
	} else {
		VPBROADCASTQ(scalar, step)
	}
	// b/255 rounded to nearest: q = b·(1/255), then one step of Newton's method on
	// the remainder b - 255q; a test compares all 256.
	whole, inverse := ZMM(), ZMM()
	MOVL(operand.U32(0x437f0000), scalar.As32()) // 255
	VPBROADCASTD(scalar.As32(), whole)
	MOVL(operand.U32(0x3b808081), scalar.As32()) // 1/255
	VPBROADCASTD(scalar.As32(), inverse)
	begin := GP64()
	MOVQ(entries, begin)

	all, some := K(), K()
	ones := GP64()
	MOVQ(operand.I32(-1), ones)
	KMOVQ(ones, all)

	loop, tail, work, skip, done := label("loop"), label("tail"), label("work"), label("skip"), label("done")
	bytes := XMM()
	loop.here()
	CMPQ(n, operand.U8(lanes))
	JLT(tail.ref())
	if lanes == 16 {
		VMOVDQU(mem(pixels), bytes)
	} else {
		VMOVQ(mem(pixels), bytes)
	}
	work.here()
	VPTEST(bytes, bytes)
	JZ(skip.ref())
	var value reg.VecVirtual = ZMM()
	if g.size == 4 {
		VPMOVZXBD(bytes, value)
		VPTESTMD(value, value, some)
		VCVTDQ2PS(value, value)
	} else {
		v := YMM()
		VPMOVZXBD(bytes, v)
		VPTESTMD(v, v, some)
		VCVTDQ2PS(v, v)
		value = v
	}
	part := func(v reg.VecVirtual) reg.Register { return narrow(v, int(value.Size())) }
	quotient := vector(int(value.Size()))
	VMULPS(part(inverse), value, quotient)
	VFNMADD231PS(quotient, part(whole), value)
	VFMADD231PS(value, part(inverse), quotient)
	at, found := ZMM(), GP64()
	var pairs reg.VecVirtual = ZMM()
	KMOVW(some, found.As32())
	POPCNTL(found.As32(), found.As32())
	if g.size == 4 {
		VPCOMPRESSD_Z(position, some, at)
		VPCOMPRESSD_Z(quotient, some, quotient)
		VMOVDQU32(at, pairs)
		VPERMT2D(quotient, low, pairs)
		VMOVDQU32(pairs, mem(entries))
		VPERMT2D(quotient, high, at)
		VMOVDQU32(at, mem(entries).Offset(64))
		SHLQ(operand.U8(3), found)
	} else {
		wide := ZMM()
		VCVTPS2PD(quotient, wide)
		VPCOMPRESSQ_Z(position, some, at)
		VPCOMPRESSQ_Z(wide, some, wide)
		VMOVDQU64(at, pairs)
		VPERMT2Q(wide, low, pairs)
		VMOVDQU64(pairs, mem(entries))
		VPERMT2Q(wide, high, at)
		VMOVDQU64(at, mem(entries).Offset(64))
		SHLQ(operand.U8(4), found)
	}
	ADDQ(found, entries)
	skip.here()
	if g.size == 4 {
		VPADDD(step, position, position)
	} else {
		VPADDQ(step, position, position)
	}
	ADDQ(operand.U8(lanes), pixels)
	SUBQ(operand.U8(lanes), n)
	JMP(loop.ref())

	tail.here()
	TESTQ(n, n)
	JLE(done.ref())
	BZHIQ(n, ones, ones)
	KMOVQ(ones, all)
	VMOVDQU8_Z(mem(pixels), all, bytes)
	JMP(work.ref())
	done.here()
	SUBQ(begin, entries)
	SHRQ(operand.U8(map[int]int{4: 3, 8: 4}[g.size]), entries)
	Store(entries, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// transposeBytes writes the transposition of images: 16 rows by 8 columns at a
// time, by four rounds in which bytes of two rows are interleaved (a perfect
// shuffle each, of rows 8, 4, 2 and 1 apart).
func transposeBytes(s set) {
	name := s.name + "TransposeBytes"
	TEXT(name, NOSPLIT, "func(dst *byte, stride int, rows *[16]*byte, col, n int)")
	Doc(name + " copies columns [col, col+n) of 16 rows, n a multiple of 8, to rows of dst, stride bytes apart.")
	Pragma("noescape")
	dst, stride, rows, col, n := load("dst"), load("stride"), load("rows"), load("col"), load("n")
	loop, done := label("loop"), label("done")
	loop.here()
	CMPQ(n, operand.U8(8))
	JLT(done.ref())
	var bytes [8]reg.VecVirtual
	source := GP64()
	fetch := func(r int, x reg.VecVirtual) {
		MOVQ(mem(rows).Offset(8*r), source)
		VMOVQ(mem(source).Idx(col, 1), x)
	}
	for r := range bytes {
		bytes[r] = XMM()
		other := XMM()
		fetch(r, bytes[r])
		fetch(r+8, other)
		VPUNPCKLBW(other, bytes[r], bytes[r])
	}
	for distance := 4; distance > 0; distance /= 2 {
		var next [8]reg.VecVirtual
		for r := range distance {
			for half := range 8 / (2 * distance) {
				x, y := bytes[half*2*distance+r], bytes[half*2*distance+r+distance]
				high := XMM()
				VPUNPCKHBW(y, x, high)
				VPUNPCKLBW(y, x, x)
				next[half*2*distance+r], next[half*2*distance+r+distance] = x, high
			}
		}
		bytes = next
	}
	for c := range bytes {
		VMOVDQU(bytes[c], mem(dst))
		ADDQ(stride, dst)
	}
	ADDQ(operand.U8(8), col)
	SUBQ(operand.U8(8), n)
	JMP(loop.ref())
	done.here()
	RET()
}
