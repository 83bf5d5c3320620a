package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
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

// vpcompress is an instruction that avo does not know: it moves the bytes or words
// of src that k has a bit for to the front of dst and clears the rest.
func vpcompress(opcode string, src reg.VecVirtual, k reg.OpmaskVirtual) reg.VecVirtual {
	dst := ZMM()
	Instruction(&ir.Instruction{
		Opcode: opcode, Suffixes: []string{"Z"}, ISA: []string{"AVX512VBMI2"},
		Operands: []operand.Op{src, k, dst}, Inputs: []operand.Op{src, k}, Outputs: []operand.Op{dst},
	})
	return dst
}

// placeShift is how far left the place of an entry stands of its byte, as in the
// package.
const placeShift = 8

// compress writes the search for the pixels that are not 0. Of 64 pixels those
// that are not 0 are moved together with their places, by an instruction and
// without a branch on what they are; then a register of them at a time becomes
// entries.
func compress(s set) {
	const lanes = 16
	g := generator{s, number{}}
	g.function("Compress", "entries *uint32, capacity int, counts *int32, pixels *byte, stride int, index *int32, rows, ahead, known, n int",
		"lists the pixels that are not 0 in rows of n. Row r begins at pixels[index[r]·stride]; its entries at entries[r·capacity], with 0 in 16 beyond the last. While it reads row r it fetches row r+ahead, or the last of known.")
	entries, counts := load("entries"), load("counts")
	iota8 := make([]byte, 64)
	for i := range iota8 {
		iota8[i] = byte(i)
	}
	iota64, step, zero, scalar := ZMM(), ZMM(), ZMM(), GP64()
	VMOVDQU8(constant(s.name+"Places", iota8...), iota64)
	VPXORQ(zero, zero, zero)
	MOVQ(operand.U32(64<<placeShift), scalar)
	VPBROADCASTD(scalar.As32(), step)

	row, next := GP64(), GP64()
	XORQ(row, row)
	rows, begin := label("rows"), label("begin")
	chunks, tail, take, more, last, skip, rowDone, done := label("chunks"), label("tail"), label("take"), label("more"), label("last"), label("skip"), label("rowdone"), label("done")
	rows.here()
	pixels, ahead := beginRow(row, next, done)
	n, e := GP64(), GP64()
	Load(Param("n"), n)
	MOVQ(entries, e)
	first, bytes := ZMM(), ZMM()
	VPXORQ(first, first, first)
	JMP(begin.ref())

	skip.here()
	VPADDD(step, first, first)
	begin.here()
	chunks.here()
	CMPQ(n, operand.U8(64))
	JLT(tail.ref())
	VMOVDQU8(mem(pixels), bytes)
	PREFETCHT1(mem(pixels).Idx(ahead, 1))
	ADDQ(operand.U8(64), pixels)
	SUBQ(operand.U8(64), n)
	take.here()
	some, found := K(), GP64()
	VPTESTMB(bytes, bytes, some)
	KMOVQ(some, found)
	POPCNTQ(found, found)
	JZ(skip.ref())
	values, places := vpcompress("VPCOMPRESSB", bytes, some), vpcompress("VPCOMPRESSB", iota64, some)
	// convert makes entries of the next register of places and values.
	convert := func() {
		at, value := ZMM(), ZMM()
		VPMOVZXBD(places.AsX(), at)
		VPMOVZXBD(values.AsX(), value)
		VPSLLD(operand.U8(placeShift), at, at)
		VPADDD(first, at, at)
		VPORQ(value, at, at)
		VMOVDQU32(at, mem(e))
		VALIGNQ(operand.U8(lanes/8), values, values, values)
		VALIGNQ(operand.U8(lanes/8), places, places, places)
		ADDQ(operand.U8(64), e)
	}
	// Two thirds of the chunks with anything in them have more than one register
	// and few more than two: the second is always converted.
	convert()
	convert()
	SUBQ(operand.U8(2*lanes), found)
	JLE(last.ref())
	more.here()
	convert()
	SUBQ(operand.U8(lanes), found)
	JG(more.ref())
	last.here()
	SHLQ(operand.U8(2), found) // back to the last one, found <= 0 entries away
	ADDQ(found, e)
	VPADDD(step, first, first)
	JMP(chunks.ref())

	tail.here()
	TESTQ(n, n)
	JZ(rowDone.ref())
	VMOVDQU8_Z(mem(pixels), g.firstLanes(n), bytes)
	XORQ(n, n)
	JMP(take.ref())

	rowDone.here()
	VMOVDQU64(zero, mem(e))
	SUBQ(entries, e)
	SHRQ(operand.U8(2), e)
	MOVL(e.As32(), mem(counts).Idx(row, 4))
	Load(Param("capacity"), next)
	SHLQ(operand.U8(2), next)
	ADDQ(next, entries)
	INCQ(row)
	JMP(rows.ref())
	done.here()
	VZEROUPPER()
	RET()
}

// beginRow goes to done after the last row, or sets where the pixels of row are, and
// how many bytes ahead of them those of the image that is to be fetched meanwhile:
// images lie anywhere in memory. It uses scratch.
func beginRow(row, scratch reg.GPVirtual, done label) (pixels, ahead reg.GPVirtual) {
	Load(Param("rows"), scratch)
	CMPQ(row, scratch)
	JGE(done.ref())
	pixels, ahead = GP64(), GP64()
	index := GP64()
	Load(Param("known"), scratch)
	SUBQ(operand.U8(1), scratch)
	Load(Param("ahead"), ahead)
	ADDQ(row, ahead)
	CMPQ(ahead, scratch)
	CMOVQGT(scratch, ahead)
	Load(Param("index"), index)
	MOVLQSX(mem(index).Idx(row, 4), pixels)
	MOVLQSX(mem(index).Idx(ahead, 4), ahead)
	Load(Param("stride"), scratch)
	SUBQ(pixels, ahead)
	IMULQ(scratch, ahead)
	IMULQ(scratch, pixels)
	Load(Param("pixels"), scratch)
	ADDQ(scratch, pixels)
	return pixels, ahead
}

// frontsTable has for each byte of bits the places of those that are 1, in order.
func frontsTable(s set) operand.Mem {
	table := GLOBL(s.name+"Fronts", RODATA|NOPTR)
	for bits := range 256 {
		order, at := uint64(0), 0
		for i := range 8 {
			if bits>>i&1 == 1 {
				order |= uint64(i) << (8 * at)
				at++
			}
		}
		DATA(8*bits, operand.U64(order))
	}
	return table
}

// compress8 is compress without masks: 32 pixels are looked at together, and 8 at a time,
// made entries, those that are not 0 are moved to the front by the permutation that a
// table has for their bits.
func compress8(s set, table operand.Mem) {
	const lanes = 8
	g := generator{s, number{}}
	g.function("Compress", "entries *uint32, capacity int, counts *int32, pixels *byte, stride int, index *int32, rows, ahead, known, n int",
		"lists the pixels that are not 0 in rows of n. Row r begins at pixels[index[r]·stride]; its entries at entries[r·capacity], with 0 in 16 beyond the last. While it reads row r it fetches row r+ahead, or the last of known.")
	var first [4 * lanes]byte
	for i := range lanes {
		first[4*i+1] = byte(i) // << placeShift
	}
	entries, counts := load("entries"), load("counts")
	fronts, row := GP64(), GP64()
	LEAQ(table, fronts)
	zero := YMM()
	VPXOR(zero, zero, zero)
	step := constant4(s.name+"Step", lanes<<placeShift<<32|lanes<<placeShift)
	XORQ(row, row)
	rows, blocks, chunks, single, tail, bytes, rowDone, done := label("rows"), label("blocks"), label("chunks"), label("single"), label("tail"), label("bytes"), label("rowdone"), label("done")
	rows.here()
	scalar := GP64()
	pixels, ahead := beginRow(row, scalar, done)
	n, e := GP64(), GP64()
	Load(Param("n"), n)
	MOVQ(entries, e)
	places, bits := YMM(), GP64()
	VMOVDQU(constant(s.name+"Places", first[:]...), places)
	// found are the bits of the pixels that are not 0, at is where they are.
	found := func(at operand.Mem, v reg.VecVirtual) {
		if v.Size() == lanes*4 {
			VPCMPEQB(at, zero, v)
		} else {
			VMOVQ(at, v)
			VPCMPEQB(zero.AsX(), v, v)
		}
		VPMOVMSKB(v, bits.As32())
		NOTL(bits.As32())
	}
	front := func(at operand.Mem) { // no branch on what the pixels are: it would be guessed wrong
		all, order, some := YMM(), YMM(), GP64()
		VPMOVZXBD(at, all)
		VPOR(places, all, all)
		MOVBLZX(bits.As8(), some.As32())
		VPMOVZXBD(mem(fronts).Idx(some, 8), order)
		VPERMD(all, order, all)
		VMOVDQU(all, mem(e))
		POPCNTL(some.As32(), some.As32())
		LEAQ(mem(e).Idx(some, 4), e)
		VPADDD(step, places, places)
	}

	const block = 4 * lanes
	blocks.here()
	SUBQ(operand.U8(block), n)
	JLT(chunks.ref())
	PREFETCHT1(mem(pixels).Idx(ahead, 1))
	found(mem(pixels), YMM())
	for at := 0; at < block; at += lanes {
		front(mem(pixels).Offset(at))
		SHRL(operand.U8(lanes), bits.As32())
	}
	ADDQ(operand.U8(block), pixels)
	JMP(blocks.ref())

	chunks.here()
	PREFETCHT1(mem(pixels).Idx(ahead, 1))
	ADDQ(operand.U8(block), n)
	single.here()
	SUBQ(operand.U8(lanes), n)
	JLT(tail.ref())
	found(mem(pixels), XMM())
	front(mem(pixels))
	ADDQ(operand.U8(lanes), pixels)
	JMP(single.ref())

	tail.here()
	place, pixel := GP64(), GP64()
	MOVL(operand.U32(0), place.As32())
	VMOVD(places.AsX(), place.As32())
	bytes.here()
	CMPQ(n, operand.I8(-lanes))
	JEQ(rowDone.ref())
	MOVBLZX(mem(pixels), pixel.As32())
	ORL(place.As32(), pixel.As32())
	MOVL(pixel.As32(), mem(e))
	// Past an entry that counts, one whose byte is not 0.
	some := GP64()
	XORL(some.As32(), some.As32())
	TESTB(pixel.As8(), pixel.As8())
	SETNE(some.As8())
	LEAQ(mem(e).Idx(some, 4), e)
	ADDL(operand.U32(1<<placeShift), place.As32())
	INCQ(pixels)
	DECQ(n)
	JMP(bytes.ref())

	rowDone.here()
	VMOVDQU(zero, mem(e))
	VMOVDQU(zero, mem(e).Offset(32))
	SUBQ(entries, e)
	SHRQ(operand.U8(2), e)
	MOVL(e.As32(), mem(counts).Idx(row, 4))
	Load(Param("capacity"), scalar)
	SHLQ(operand.U8(2), scalar)
	ADDQ(scalar, entries)
	INCQ(row)
	JMP(rows.ref())
	done.here()
	VZEROUPPER()
	RET()
}
