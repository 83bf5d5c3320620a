package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The first layer on a batch of images, by pairs of neighbouring pixels. A pair has the
// list of the images in which either pixel is not 0; an entry is image<<16 | second<<8 |
// first, the bytes of the two. A pair costs little more than a pixel: in handwriting
// both are mostly 0 together, and what is loaded for the one serves the other.

const ( // as in the package
	imageShift = 16 // how far left the image of an entry stands
	inBlock    = 64 // images that are listed together
)

// stride is how many bytes a row of so many takes where rows are to begin with cache
// lines, or to share one without reaching over its end.
func stride(bytes int) int {
	s := 16
	for s < bytes && s < line {
		s *= 2
	}
	if bytes > line {
		s = (bytes + line - 1) / line * line
	}
	return s
}

// times multiplies r by a number of bytes over 8: the result is an index to be scaled by 8.
func times(bytes int, r reg.GPVirtual) {
	if bytes%3 == 0 {
		LEAL(operand.Mem{Base: r, Index: r, Scale: 2}, r.As32())
		bytes /= 3
	}
	shift := 0
	for 8<<shift < bytes {
		shift++
	}
	if shift > 0 {
		SHLL(operand.U8(shift), r.As32())
	}
}

// pairEntry loads an entry: where row image of rows that are so many bytes apart is,
// over 8, and what its bytes stand for in all lanes. Only AX to DX have a second byte that
// an instruction can take by itself.
func (g generator) pairEntry(m operand.Mem, values reg.GPVirtual, apart, bytes int) (row reg.GPVirtual, first, second reg.VecVirtual) {
	row, first, second = GP64(), vector(bytes), vector(bytes)
	MOVL(m, reg.EAX)
	MOVBLZX(reg.AL, reg.ECX)
	MOVBLZX(reg.AH, reg.EDX)
	SHRL(operand.U8(imageShift), reg.EAX)
	g.broadcast(mem(values).Idx(reg.RCX, uint8(g.size)), first)
	g.broadcast(mem(values).Idx(reg.RDX, uint8(g.size)), second)
	MOVL(reg.EAX, row.As32())
	times(apart, row)
	return row, first, second
}

// pairsForward writes the products of a block of images: each pair adds its two rows
// of w, scaled, to the sums of its images, which stay in the first-level cache.
func (g generator) pairsForward(registers []int) {
	apart := stride(total(registers))
	g.function(fmt.Sprintf("PairsForward%dx", g.lanes(total(registers))),
		fmt.Sprintf("y *%[1]s, ys int, sums *%[1]s, images, first int, entries *uint32, starts *int32, pairs int, w *%[1]s, ws int, bias, values *%[1]s, width int, ahead *uintptr, more int", g.number.name),
		fmt.Sprintf("computes y[i·ys + j] = Σ_q (values[first]·w[2q, j] + values[second]·w[2q+1, j]) + bias[j] over the entries [starts[q], starts[q+1]) of each pair q that are for image first+i, for so many images and width columns; if more is not 0, what is in y is added to the sum, before the bias. In sums, rows are %d numbers apart. Meanwhile it fetches 64 images; ahead has the addresses of their first cache lines.", apart/g.size))
	sums, values := load("sums"), load("values")
	to, left := GP64(), GP64()
	clear, cleared := label("clear"), label("cleared")
	zero := g.row(registers)
	for _, v := range zero {
		g.zero(v)
	}
	MOVQ(sums, to)
	Load(Param("images"), left)
	clear.here()
	SUBQ(operand.U8(1), left)
	JLT(cleared.ref())
	m := mem(to)
	for i, width := range registers {
		g.load(zero[i], m)
		m = m.Offset(width)
	}
	ADDQ(operand.U32(apart), to)
	JMP(clear.ref())
	cleared.here()

	mask := g.tailMask(registers)
	y, entries, starts, pairs, w, ws := GP64(), load("entries"), load("starts"), load("pairs"), load("w"), load("ws")
	g.scale(ws)
	Load(Param("first"), y) // row image of these is that of sums
	IMUL3Q(operand.U32(apart), y, y)
	NEGQ(y)
	ADDQ(sums, y)
	rows := [2][]reg.VecVirtual{g.row(registers), g.row(registers)}
	next, skip, done := label("next"), label("skip"), label("done")
	e, end, turn, offset := GP64(), GP64(), load("ahead"), GP64()
	XORQ(offset, offset)
	MOVLQSX(mem(starts), end)
	LEAQ(mem(entries).Idx(end, 4), end)
	next.here()
	SUBQ(operand.U8(1), pairs)
	JLT(done.ref())
	fetchAhead(turn, offset)
	ADDQ(operand.U8(4), starts)
	MOVQ(end, e)
	MOVLQSX(mem(starts), end)
	LEAQ(mem(entries).Idx(end, 4), end)
	CMPQ(e, end)
	JEQ(skip.ref())
	g.loadRow(rows[0], mem(w), mask)
	g.loadRow(rows[1], mem(w).Idx(ws, 1), mask)
	loop := label("loop")
	loop.here()
	at, a, b := g.pairEntry(mem(e), values, apart, registers[0])
	var row []reg.VecVirtual
	m = mem(y).Idx(at, 8)
	for i, width := range registers {
		sum := vector(width)
		g.load(m, sum)
		g.fma(narrow(a, width), rows[0][i], sum)
		g.fma(narrow(b, width), rows[1][i], sum)
		if g.masked {
			row = append(row, sum)
		} else { // at once: 16 registers do not hold the sums of the widest panel
			g.load(sum, m)
		}
		m = m.Offset(width)
	}
	m = mem(y).Idx(at, 8)
	for i, sum := range row {
		g.load(sum, m)
		m = m.Offset(registers[i])
	}
	ADDQ(operand.U8(4), e)
	CMPQ(e, end)
	JNE(loop.ref())
	skip.here()
	LEAQ(mem(w).Idx(ws, 2), w)
	JMP(next.ref())
	done.here()
	fetchLast(offset)

	add, alone, added := label("add"), label("alone"), label("added")
	sums = load("sums")
	more := load("more")
	bias, columns := load("bias"), g.row(registers)
	g.loadRow(columns, mem(bias), nil)
	to, ys := GP64(), load("ys")
	g.scale(ys)
	Load(Param("y"), to)
	Load(Param("images"), left)
	add.here()
	SUBQ(operand.U8(1), left)
	JLT(added.ref())
	row = g.row(registers)
	g.loadRow(row, mem(sums), nil)
	CMPQ(more, operand.U8(0))
	JEQ(alone.ref())
	before := g.row(registers)
	g.loadRow(before, mem(to), mask)
	for i := range row {
		g.add(row[i], before[i], row[i])
	}
	alone.here()
	g.storeRow(row, columns, mem(to), mask)
	ADDQ(operand.U32(apart), sums)
	ADDQ(ys, to)
	JMP(add.ref())
	added.here()
	VZEROUPPER()
	RET()
}

// fetchAhead fetches a cache line of some images ahead, and of the next ones the next time:
// the first line of all, then the second, and so on. Done for each pair, it is as fast as
// the pixels: two of each image are as many bytes as it fetches.
func fetchAhead(turn, offset reg.GPVirtual) {
	const some = 2 * inBlock / line
	for i := range some {
		at := GP64()
		MOVQ(mem(turn).Offset(8*i), at)
		PREFETCHT1(mem(at).Idx(offset, 1))
	}
	ADDQ(operand.U32(8*some), turn)
	ahead, next, end := load("ahead"), GP64(), GP64()
	LEAQ(mem(ahead).Offset(8*inBlock), end)
	LEAQ(mem(offset).Offset(line), next)
	CMPQ(turn, end)
	CMOVQEQ(next, offset)
	CMOVQEQ(ahead, turn)
}

// fetchLast fetches one line more of all images, the next that fetchAhead would come to:
// an image begins somewhere in its first line.
func fetchLast(offset reg.GPVirtual) {
	turn, end := load("ahead"), GP64()
	LEAQ(mem(turn).Offset(8*inBlock), end)
	loop := label("last")
	loop.here()
	at := GP64()
	MOVQ(mem(turn), at)
	PREFETCHT1(mem(at).Idx(offset, 1))
	ADDQ(operand.U8(8), turn)
	CMPQ(turn, end)
	JNE(loop.ref())
}

// pairsGradient writes the gradient of the rows of w, two for each pair: sums of rows
// of g, kept in registers. So many pairs are interleaved that the additions of one do
// not wait for each other.
func (g generator) pairsGradient(together int, registers []int) {
	apart := stride(total(registers))
	g.function(fmt.Sprintf("PairsGradient%dx", g.lanes(total(registers))),
		fmt.Sprintf("pairs *byte, groups, left int, grad, values *%[1]s, width int, more int", g.number.name),
		fmt.Sprintf("computes pair.d0[left + j] = Σ values[first]·grad[image, j] + 0 and pair.d1[left + j] = Σ values[second]·grad[image, j] + 0 over pair.entries and width columns, beginning with what is there if more is not 0, for groups of %d pairs; the last of a group has the count of all. Rows of grad are %d numbers apart.", together, apart/g.size))
	const d0, d1, list, count, size = 0, 8, 16, 24, 32 // of pairRow
	pair, groups, left, gs, values := load("pairs"), load("groups"), load("left"), load("grad"), load("values")
	mask := g.tailMask(registers)
	next, done := label("next"), label("done")
	next.here()
	SUBQ(operand.U8(1), groups)
	JLT(done.ref())
	var acc [][]reg.VecVirtual // of both rows of each pair
	var entries []reg.GPVirtual
	for r := range together {
		e := GP64()
		MOVQ(mem(pair).Offset(size*r+list), e)
		entries = append(entries, e)
		acc = append(acc, g.row(registers), g.row(registers))
	}
	// sums are where the sums of row r of the group go.
	sums := func(r int) operand.Mem {
		to := GP64()
		MOVQ(mem(pair).Offset(size*(r/2)+[]int{d0, d1}[r%2]), to)
		return mem(to).Idx(left, uint8(g.size))
	}
	fresh, begun := label("fresh"), label("begun")
	more := load("more")
	TESTQ(more, more)
	JZ(fresh.ref())
	for r := range acc {
		g.loadRow(acc[r], sums(r), mask)
	}
	JMP(begun.ref())
	fresh.here()
	for r := range acc {
		for _, v := range acc[r] {
			g.zero(v)
		}
	}
	begun.here()
	eachEntry(mem(pair).Offset(size*(together-1)+count), func(t reg.GPVirtual) {
		for r, e := range entries {
			at, a, b := g.pairEntry(mem(e).Idx(t, 4), values, apart, registers[0])
			m := mem(gs).Idx(at, 8)
			for i, width := range registers {
				row := vector(width)
				g.load(m, row)
				g.fma(narrow(a, width), row, acc[2*r][i])
				g.fma(narrow(b, width), row, acc[2*r+1][i])
				m = m.Offset(width)
			}
		}
	})
	zero := g.row(registers)
	for _, v := range zero {
		g.zero(v)
	}
	for r := range acc {
		g.storeRow(acc[r], zero, sums(r), mask)
	}
	ADDQ(operand.U32(size*together), pair)
	JMP(next.ref())
	done.here()
	VZEROUPPER()
	RET()
}

const (
	listPairsParams = "entries *uint32, starts *int32, images **byte, first, n int"
	listPairsDoc    = "lists the pairs of columns [0, n), n a multiple of 16, of a block of 64 images: those of pair q in entries from starts[q] to starts[q+1], of which starts[0] is given. The first of them is image first. 64 numbers beyond the last entry are written too."
)

// listColumns writes the loop of a search for pairs over so many columns at a time:
// read takes the bytes of a block's images, list writes the entries of pair q of these
// columns to e and moves it behind them.
func listColumns(columns int, entries, starts reg.GPVirtual, read func(column, scratch reg.GPVirtual), list func(q int, e reg.GPVirtual)) {
	n, e, column, scratch := load("n"), GP64(), GP64(), GP64()
	MOVLQSX(mem(starts), e)
	LEAQ(mem(entries).Idx(e, 4), e)
	XORQ(column, column)
	loop, done := label("loop"), label("done")
	loop.here()
	CMPQ(column, n)
	JGE(done.ref())
	read(column, scratch)
	for q := range columns / 2 {
		list(q, e)
		MOVQ(e, scratch)
		SUBQ(entries, scratch)
		SHRQ(operand.U8(2), scratch)
		MOVL(scratch.As32(), mem(starts).Offset(4*(q+1)))
	}
	ADDQ(operand.U8(4*columns/2), starts)
	ADDQ(operand.U8(columns), column)
	JMP(loop.ref())
	done.here()
	VZEROUPPER()
	RET()
}

// listPairs writes the search for the pairs. Of 16 columns at a time, the bytes of a
// block's images are brought together by pixel, and what is not 0 moved together by
// an instruction, without a branch on what it is; only a pair that no image of the block
// has is passed over.
func listPairs(s set) {
	const columns, slots, lanes = 16, 16, 4
	g := generator{s, number{}}
	g.function("ListPairs", listPairsParams, listPairsDoc)
	entries, starts, images := load("entries"), load("starts"), load("images")
	// Slot 4u+s of lane j is for image 16u+4j+s: so register u of entries has 16 images
	// in their order.
	image := func(slot, lane int) int { return 16*(slot/4) + 4*lane + slot%4 }
	var order [2]reg.VecVirtual // of slots 0 to 7 and 8 to 15, as words
	first := ZMM()
	VPBROADCASTW(load("first").As32(), first)
	for half := range order {
		var bytes []byte
		for lane := range lanes {
			for slot := range 8 {
				bytes = append(bytes, byte(image(8*half+slot, lane)), 0)
			}
		}
		order[half] = ZMM()
		VPADDW(constant(fmt.Sprintf("%sImages%d", s.name, half), bytes...), first, order[half])
	}
	ones, scalar := ZMM(), GP64()
	MOVQ(operand.U32(1<<imageShift-1), scalar)
	VPBROADCASTD(scalar.As32(), ones) // the two bytes of an entry
	var lane [lanes]reg.OpmaskVirtual
	for l := 1; l < lanes; l++ {
		lane[l] = K()
		MOVQ(operand.U32(0xf<<(4*l)), scalar)
		KMOVW(scalar.As32(), lane[l])
	}
	var x [slots]reg.VecVirtual
	read := func(column, source reg.GPVirtual) {
		for slot := range x {
			x[slot] = ZMM()
			for l := range lanes {
				MOVQ(mem(images).Offset(8*image(slot, l)), source)
				if l == 0 {
					VBROADCASTI32X4(mem(source).Idx(column, 1), x[slot])
				} else {
					VBROADCASTI32X4(mem(source).Idx(column, 1), lane[l], x[slot])
				}
			}
		}
		// Four perfect shuffles of 16 rows of 16 bytes, lane by lane, turn them round.
		for range 4 {
			var y [slots]reg.VecVirtual
			for i := range slots / 2 {
				y[2*i], y[2*i+1] = ZMM(), x[i]
				VPUNPCKLBW(x[i+8], x[i], y[2*i])
				VPUNPCKHBW(x[i+8], x[i], x[i])
			}
			x = y
		}
	}
	list := func(q int, e reg.GPVirtual) {
		a, b := x[2*q], x[2*q+1]
		none := label(fmt.Sprintf("none%d", q))
		either, some, found := ZMM(), K(), GP64()
		VPORQ(a, b, either)
		VPTESTMB(either, either, some)
		KORTESTQ(some, some)
		JZ(none.ref())
		for half := range order {
			bytes := ZMM()
			if half == 0 {
				VPUNPCKLBW(b, a, bytes)
			} else {
				VPUNPCKHBW(b, a, bytes)
			}
			for quarter := range 2 {
				entry := ZMM()
				if quarter == 0 {
					VPUNPCKLWD(order[half], bytes, entry)
				} else {
					VPUNPCKHWD(order[half], bytes, entry)
				}
				VPTESTMD(ones, entry, some)
				KMOVW(some, found.As32())
				POPCNTL(found.As32(), found.As32())
				VPCOMPRESSD_Z(entry, some, entry)
				VMOVDQU32(entry, mem(e))
				LEAQ(mem(e).Idx(found, 4), e)
			}
		}
		none.here()
	}
	listColumns(columns, entries, starts, read, list)
}

// listPairs8 is listPairs without masks: of 8 columns at a time, whose bytes are turned
// round 16 images at a time, the entries of 8 images are moved to the front by the
// permutation that a table has for those that are not 0.
func listPairs8(s set, fronts operand.Mem) {
	const columns, lanes = 8, 8
	g := generator{s, number{}}
	g.functionWithFrame("ListPairs", listPairsParams, listPairsDoc)
	turned := AllocLocal(columns * inBlock) // column by column
	var order []byte                        // images as in entries
	for i := range inBlock {
		order = append(order, 0, 0, byte(i), 0)
	}
	images := constant(s.name+"Images", order...)
	entries, starts, block := load("entries"), load("starts"), load("images")
	table, scalar := GP64(), GP64()
	LEAQ(fronts, table)
	zero, first := YMM(), YMM()
	VPXOR(zero, zero, zero)
	Load(Param("first"), scalar)
	SHLQ(operand.U8(imageShift), scalar)
	VMOVQ(scalar, first.AsX())
	VPBROADCASTD(first.AsX(), first)
	read := func(column, source reg.GPVirtual) {
		for some := 0; some < inBlock; some += 16 {
			var x [columns]reg.VecVirtual
			fetch := func(image int, v reg.VecVirtual) {
				MOVQ(mem(block).Offset(8*(some+image)), source)
				VMOVQ(mem(source).Idx(column, 1), v)
			}
			for r := range x {
				x[r] = XMM()
				other := XMM()
				fetch(r, x[r])
				fetch(r+8, other)
				VPUNPCKLBW(other, x[r], x[r])
			}
			for distance := 4; distance > 0; distance /= 2 {
				var next [columns]reg.VecVirtual
				for r := range distance {
					for half := range columns / (2 * distance) {
						a, b := x[half*2*distance+r], x[half*2*distance+r+distance]
						high := XMM()
						VPUNPCKHBW(b, a, high)
						VPUNPCKLBW(b, a, a)
						next[half*2*distance+r], next[half*2*distance+r+distance] = a, high
					}
				}
				x = next
			}
			for c := range x {
				VMOVDQU(x[c], turned.Offset(c*inBlock+some))
			}
		}
	}
	list := func(q int, e reg.GPVirtual) {
		either, nothing := YMM(), label(fmt.Sprintf("none%d", q))
		VMOVDQU(turned.Offset(2*q*inBlock), either)
		for at := g.bytes; at < 2*inBlock; at += g.bytes {
			VPOR(turned.Offset(2*q*inBlock+at), either, either)
		}
		VPTEST(either, either)
		JZ(nothing.ref())
		for i := 0; i < inBlock; i += lanes {
			entry, second, none, to, bits := YMM(), YMM(), YMM(), YMM(), GP64()
			VPMOVZXBD(turned.Offset(2*q*inBlock+i), entry)
			VPMOVZXBD(turned.Offset((2*q+1)*inBlock+i), second)
			VPSLLD(operand.U8(8), second, second)
			VPOR(second, entry, entry)
			VPCMPEQD(zero, entry, none)
			VMOVMSKPS(none, bits.As32())
			XORL(operand.U32(0xff), bits.As32())
			VPMOVZXBD(mem(table).Idx(bits, 8), to)
			VPADDD(images.Offset(4*i), first, second)
			VPOR(second, entry, entry)
			VPERMD(entry, to, entry)
			VMOVDQU(entry, mem(e))
			POPCNTL(bits.As32(), bits.As32())
			LEAQ(mem(e).Idx(bits, 4), e)
		}
		nothing.here()
	}
	listColumns(columns, entries, starts, read, list)
}

// joinLists writes the joining of the lists that blocks have of the same pairs.
func joinLists(s set) {
	g := generator{s, number{}}
	g.function("JoinLists", "to *uint32, pairs *byte, order *int32, from, count int, blocks *byte, parts int",
		"copies the entries that each of so many blocks has of pair from+order[i] to where those of the pair before end, and as many zeros behind them as pairs[i].count wants; it sets pairs[i].entries. 32 numbers beyond the last may be written.")
	const list, longest, size = 16, 24, 32                 // of pairRow
	const blockEntries, blockStarts, blockSize = 0, 24, 48 // of pairBlock
	to, pair, order, count := load("to"), load("pairs"), load("order"), load("count")
	zero := vector(g.bytes)
	if g.masked {
		VPXORQ(zero, zero, zero)
	} else {
		VPXOR(zero, zero, zero)
	}
	move := func(from, to operand.Op) {
		if g.masked {
			VMOVDQU32(from, to)
		} else {
			VMOVDQU(from, to)
		}
	}
	const chunk = 64
	next, done := label("next"), label("done")
	next.here()
	SUBQ(operand.U8(1), count)
	JLT(done.ref())
	q, from := GP64(), load("from")
	MOVLQSX(mem(order), q)
	ADDQ(from, q)
	MOVQ(to, mem(pair).Offset(list))
	block, parts := load("blocks"), load("parts")
	e := GP64() // where the next entry goes
	MOVQ(to, e)
	MOVQ(mem(pair).Offset(longest), from)
	LEAQ(mem(to).Idx(from, 4), to)
	blocks, joined := label("blocks"), label("joined")
	blocks.here()
	SUBQ(operand.U8(1), parts)
	JLT(joined.ref())
	source, end := GP64(), GP64()
	starts := GP64()
	MOVQ(mem(block).Offset(blockStarts), starts)
	MOVLQSX(mem(starts).Idx(q, 4), source)
	MOVLQSX(mem(starts).Idx(q, 4).Offset(4), end)
	MOVQ(mem(block).Offset(blockEntries), starts)
	SUBQ(source, end)
	LEAQ(mem(starts).Idx(source, 4), source)
	LEAQ(mem(e).Idx(end, 4), end)
	copies := label("copies")
	copies.here()
	for half := range 2 {
		for at := 0; at < chunk; at += g.bytes {
			v := vector(g.bytes)
			move(mem(source).Offset(half*chunk+at), v)
			move(v, mem(e).Offset(half*chunk+at))
		}
	}
	ADDQ(operand.U32(2*chunk), source)
	ADDQ(operand.U32(2*chunk), e)
	CMPQ(e, end)
	JLT(copies.ref())
	MOVQ(end, e)
	ADDQ(operand.U8(blockSize), block)
	JMP(blocks.ref())
	joined.here()
	zeros, zeroed := label("zeros"), label("zeroed")
	zeros.here()
	CMPQ(e, to)
	JGE(zeroed.ref())
	for at := 0; at < chunk; at += g.bytes {
		move(zero, mem(e).Offset(at))
	}
	ADDQ(operand.U8(chunk), e)
	JMP(zeros.ref())
	zeroed.here()
	ADDQ(operand.U8(4), order)
	ADDQ(operand.U8(size), pair)
	JMP(next.ref())
	done.here()
	VZEROUPPER()
	RET()
}
