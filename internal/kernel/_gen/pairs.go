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
	inStack    = 64 // images that are listed together
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

// pairsSum writes the sums of a block of images, or of a side of one: each pair adds its
// two rows of w, scaled, to the sums of its images, which stay in the first-level cache.
func (g generator) pairsSum(registers []int) {
	apart := stride(total(registers))
	g.function(fmt.Sprintf("PairsSum%dx", g.lanes(total(registers))),
		fmt.Sprintf("sums *%[1]s, images, first int, entries *uint32, starts, last *int32, sides int, w *%[1]s, ws int, values *%[1]s, width int, ahead *uintptr", g.number.name),
		fmt.Sprintf("computes sums[i, j] = Σ_q (values[first]·w[2q, j] + values[second]·w[2q+1, j]) over the entries [starts[2q], starts[2q+sides]) of each pair q that are for image first+i, for so many images and width columns; starts[2q] of the pair behind the last one is *last. In sums, rows are %d numbers apart. Meanwhile it fetches 64 images for each side; ahead has the addresses of their first cache lines.", apart/g.size))
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
	y, entries, starts, sides, w, ws := GP64(), load("entries"), load("starts"), load("sides"), load("w"), load("ws")
	g.scale(ws)
	Load(Param("first"), y) // row image of these is that of sums
	IMUL3Q(operand.U32(apart), y, y)
	NEGQ(y)
	ADDQ(sums, y)
	rows := [2][]reg.VecVirtual{g.row(registers), g.row(registers)}
	next, skip, done := label("next"), label("skip"), label("done")
	e, end, turn, offset := GP64(), GP64(), load("ahead"), GP64()
	XORQ(offset, offset)
	next.here()
	CMPQ(starts, parameter("last"))
	JEQ(done.ref())
	fetchAhead(turn, offset, sides)
	MOVLQSX(mem(starts), e)
	MOVLQSX(mem(starts).Idx(sides, 4), end)
	ADDQ(operand.U8(8), starts)
	LEAQ(mem(entries).Idx(e, 4), e)
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
	fetchLast(offset, sides)
	VZEROUPPER()
	RET()
}

// pairsFinish writes what becomes of the sums of some images.
func (g generator) pairsFinish(registers []int) {
	apart := stride(total(registers))
	g.function(fmt.Sprintf("PairsFinish%dx", g.lanes(total(registers))),
		fmt.Sprintf("y *%[1]s, ys int, sums *%[1]s, images int, bias *%[1]s, width int, more int", g.number.name),
		fmt.Sprintf("computes y[i·ys + j] = sums[i, j] + bias[j] for so many images and width columns; if more is not 0, what is in y is added to the sum, before the bias. In sums, rows are %d numbers apart.", apart/g.size))
	mask := g.tailMask(registers)
	add, alone, added := label("add"), label("alone"), label("added")
	sums, more, bias, columns := load("sums"), load("more"), load("bias"), g.row(registers)
	g.loadRow(columns, mem(bias), nil)
	to, left, ys := GP64(), GP64(), load("ys")
	g.scale(ys)
	Load(Param("y"), to)
	Load(Param("images"), left)
	add.here()
	SUBQ(operand.U8(1), left)
	JLT(added.ref())
	row := g.row(registers)
	g.loadRow(row, mem(sums), nil)
	TESTQ(more, more)
	JZ(alone.ref())
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

// parameter is where a parameter is, for what registers do not hold.
func parameter(name string) operand.Op {
	p, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return p.Addr
}

// fetchAhead fetches a cache line of some images ahead, and of the next ones the next time:
// the first line of all, then the second, and so on. Done for each pair, it is as fast as
// the pixels: two of each image of a side are as many bytes as it fetches.
func fetchAhead(turn, offset, sides reg.GPVirtual) {
	const some = 2 * inStack / line
	fetch := func() {
		for range some {
			at := GP64()
			MOVQ(mem(turn), at)
			PREFETCHT1(mem(at).Idx(offset, 1))
			ADDQ(operand.U8(8), turn)
		}
	}
	one := label("one")
	fetch()
	CMPQ(sides, operand.U8(1))
	JEQ(one.ref())
	fetch()
	one.here()
	ahead, next, end := load("ahead"), GP64(), GP64()
	lastAhead(ahead, sides, end)
	LEAQ(mem(offset).Offset(line), next)
	CMPQ(turn, end)
	CMOVQEQ(next, offset)
	CMOVQEQ(ahead, turn)
}

// lastAhead sets end behind the last of the addresses at ahead.
func lastAhead(ahead, sides, end reg.GPVirtual) {
	IMUL3Q(operand.U32(8*inStack), sides, end)
	ADDQ(ahead, end)
}

// fetchLast fetches one line more of all images, the next that fetchAhead would come to:
// an image begins somewhere in its first line.
func fetchLast(offset, sides reg.GPVirtual) {
	turn, end := load("ahead"), GP64()
	lastAhead(turn, sides, end)
	loop := label("lines")
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
		fmt.Sprintf("pairs *byte, groups, left int, grad, values *%[1]s, width, more, descend int, factor %[1]s) (bad int", g.number.name),
		fmt.Sprintf("computes pair.d0[left + j] = Σ values[first]·grad[image, j] + 0 and pair.d1[left + j] = Σ values[second]·grad[image, j] + 0 over pair.entries and width columns, beginning with what is there if more is not 0, for groups of %d pairs, of which none has more entries than the next. Rows of grad are %d numbers apart. If descend is not 0, pair.w0 and pair.w1 become fma(factor, d, w) + 0; bad is not 0 when one is infinite or NaN.", together, apart/g.size))
	const d0, d1, list, count, w0, w1, size = 0, 8, 16, 24, 32, 40, 48 // of pairRow
	pair, groups, left, gs, values := load("pairs"), load("groups"), load("left"), load("grad"), load("values")
	mask := g.tailMask(registers)
	f := g.newFusedUpdate(registers)
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
	// row is where a row of the group is, of gradients by {d0, d1}, of weights by {w0, w1}.
	row := func(r int, of [2]int) operand.Mem {
		to := GP64()
		MOVQ(mem(pair).Offset(size*(r/2)+of[r%2]), to)
		return mem(to).Idx(left, uint8(g.size))
	}
	sums, weights := [2]int{d0, d1}, [2]int{w0, w1}
	nothing := label("nothingtofetch")
	CMPQ(parameter("descend"), operand.U8(0))
	JEQ(nothing.ref())
	for r := range acc {
		m := row(r, weights)
		for at := 0; at < total(registers); at += line {
			fetchToWrite(m.Offset(at))
		}
	}
	nothing.here()
	fresh, begun := label("fresh"), label("begun")
	more := load("more")
	TESTQ(more, more)
	JZ(fresh.ref())
	for r := range acc {
		g.loadRow(acc[r], row(r, sums), mask)
	}
	JMP(begun.ref())
	fresh.here()
	for r := range acc {
		for _, v := range acc[r] {
			g.zero(v)
		}
	}
	begun.here()
	t := GP64()
	XORQ(t, t)
	for shortest := range together { // as many as this one has, of it and the longer ones
		eachEntry(fmt.Sprint(shortest), t, mem(pair).Offset(size*shortest+count), func() {
			for r := shortest; r < together; r++ {
				at, a, b := g.pairEntry(mem(entries[r]).Idx(t, 4), values, apart, registers[0])
				m := mem(gs).Idx(at, 8)
				for i, width := range registers {
					v := vector(width)
					g.load(m, v)
					g.fma(narrow(a, width), v, acc[2*r][i])
					g.fma(narrow(b, width), v, acc[2*r+1][i])
					m = m.Offset(width)
				}
			}
		})
	}
	f.begin()
	zero := make([]reg.VecVirtual, len(registers))
	for i := range zero {
		zero[i] = f.zero
	}
	for r := range acc {
		g.storeRow(acc[r], zero, row(r, sums), mask)
	}
	stay := label("stay")
	CMPQ(parameter("descend"), operand.U8(0))
	JEQ(stay.ref())
	for r := range acc {
		f.update(acc[r], row(r, weights), mask)
	}
	stay.here()
	ADDQ(operand.U32(size*together), pair)
	JMP(next.ref())
	done.here()
	Store(f.notFinite(), ReturnIndex(0))
	VZEROUPPER()
	RET()
}

const (
	listPairsParams = "entries *uint32, starts *int32, images **byte, first, second, stacks, border, n int"
	listPairsDoc    = "lists the pairs of columns [0, n), n a multiple of 16, of a block of one or two stacks of 64 images: those of pair q and a side in entries from starts[2q+side] to starts[2q+side+1], of which starts[0] is given. The stacks begin with image first and image second, the second side with image 8·border of the block; border is 16 if there is none. 16 numbers beyond the last entry may be written."
)

// listColumns writes the loop of a search for pairs over so many columns at a time, one stack
// after the other: read takes the bytes of its images to memory, turned, so that those of a pair
// stand together, and list writes the entries of a pair to e, moves it behind them and, where
// the border is on the way, secondSide to it.
func listColumns(columns int, entries, starts reg.GPVirtual, read func(images, column, scratch reg.GPVirtual, turned operand.Mem), list func(name string, turned operand.Mem, stack int, e, secondSide reg.GPVirtual)) {
	turned := GP64() // begins with a cache line
	LEAQ(AllocLocal(2*columns*inStack+line), turned)
	ADDQ(operand.U8(line-1), turned)
	ANDQ(operand.I8(-line), turned)
	stack := func(s int) operand.Mem { return mem(turned).Offset(s * columns * inStack) }
	e, column, scratch, secondSide := GP64(), GP64(), GP64(), GP64()
	MOVLQSX(mem(starts), e)
	LEAQ(mem(entries).Idx(e, 4), e)
	borderStack := load("border")
	SHRQ(operand.U8(3), borderStack)
	XORQ(column, column)
	loop, done := label("loop"), label("done")
	loop.here()
	CMPQ(column, parameter("n"))
	JGE(done.ref())
	for s := range 2 {
		images := load("images")
		one := label(fmt.Sprintf("one%d", s))
		if s > 0 {
			CMPQ(parameter("stacks"), operand.U8(1))
			JEQ(one.ref())
			ADDQ(operand.U32(8*inStack), images)
		}
		fetchNextLine(images, column, scratch, columns)
		read(images, column, scratch, stack(s))
		one.here()
	}
	for q := range columns / 2 {
		for s := range 2 {
			one := label(fmt.Sprintf("one%d_%d", q, s))
			if s > 0 {
				CMPQ(parameter("stacks"), operand.U8(1))
				JEQ(one.ref())
			}
			other := label(fmt.Sprintf("other%d_%d", q, s))
			CMPQ(borderStack, operand.U8(s))
			JNE(other.ref())
			MOVQ(e, secondSide) // for now
			other.here()
			list(fmt.Sprintf("%d_%d", q, s), stack(s).Offset(2*q*inStack), s, e, secondSide)
			one.here()
		}
		CMPQ(borderStack, operand.U8(2))
		CMOVQEQ(e, secondSide)
		for s, end := range []reg.GPVirtual{secondSide, e} {
			MOVQ(end, scratch)
			SUBQ(entries, scratch)
			SHRQ(operand.U8(2), scratch)
			MOVL(scratch.As32(), mem(starts).Offset(4*(2*q+s+1)))
		}
	}
	ADDQ(operand.U8(4*columns), starts)
	ADDQ(operand.U8(columns), column)
	JMP(loop.ref())
	done.here()
	VZEROUPPER()
	RET()
}

// fetchNextLine fetches for some images of a stack, others each time, what comes a cache line
// behind so many columns that are read now: what was fetched into the second-level cache
// while the batch before was summed may be gone, if another program runs on this core.
func fetchNextLine(images, column, scratch reg.GPVirtual, columns int) {
	some := inStack * columns / line
	turn := GP64()
	MOVQ(column, turn)
	ANDQ(operand.U8(line-columns), turn)
	LEAQ(mem(images).Idx(turn, 8), turn)
	for i := range some {
		MOVQ(mem(turn).Offset(8*i), scratch)
		PREFETCHT0(mem(scratch).Idx(column, 1).Offset(line))
	}
}

// listPairs writes the search for the pairs. Of 16 columns at a time, the pairs of a
// stack's images are brought together by their place, and what is not 0 moved together by
// an instruction, without a branch on what it is; only a pair that no image of the side
// has is passed over.
func listPairs(s set) {
	const columns, slots, lanes = 16, 16, 4
	g := generator{s, number{}}
	g.functionWithFrame("ListPairs", listPairsParams, listPairsDoc)
	entries, starts := load("entries"), load("starts")
	// Slot 4u+s of lane j is for image 16u+4j+s: so register u of entries has 16 images
	// in their order.
	image := func(slot, lane int) int { return 16*(slot/4) + 4*lane + slot%4 }
	var order [2][2]reg.VecVirtual // by stack, of slots 0 to 7 and 8 to 15, as words
	for half := range 2 {
		var bytes []byte
		for lane := range lanes {
			for slot := range 8 {
				bytes = append(bytes, byte(image(8*half+slot, lane)), 0)
			}
		}
		images := constant(fmt.Sprintf("%sImages%d", s.name, half), bytes...)
		for stack, name := range []string{"first", "second"} {
			order[stack][half] = ZMM()
			VPBROADCASTW(load(name).As32(), order[stack][half])
			VPADDW(images, order[stack][half], order[stack][half])
		}
	}
	// Where the second side begins: in which 16 images of the block, and which of these are
	// before it, none or the first eight.
	borderQuarter, borderMask := load("border"), load("border")
	SHRQ(operand.U8(1), borderQuarter)
	ANDQ(operand.U8(1), borderMask)
	IMUL3Q(operand.U32(0xff), borderMask, borderMask)
	ones, scalar := ZMM(), GP64()
	MOVQ(operand.U32(1<<imageShift-1), scalar)
	VPBROADCASTD(scalar.As32(), ones) // the two bytes of an entry
	var lane [lanes]reg.OpmaskVirtual
	for l := 1; l < lanes; l++ {
		lane[l] = K()
		MOVQ(operand.U32(0xf<<(4*l)), scalar)
		KMOVW(scalar.As32(), lane[l])
	}
	read := func(images, column, source reg.GPVirtual, turned operand.Mem) {
		var x [slots]reg.VecVirtual
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
		// Three perfect shuffles of 8 rows of 8 pairs, lane by lane, turn them round.
		for half := range 2 {
			x := x[slots/2*half:][:slots/2]
			for range 3 {
				var y [slots / 2]reg.VecVirtual
				for i := range len(y) / 2 {
					y[2*i], y[2*i+1] = ZMM(), x[i]
					VPUNPCKLWD(x[i+4], x[i], y[2*i])
					VPUNPCKHWD(x[i+4], x[i], x[i])
				}
				x = y[:]
			}
			for q := range x {
				VMOVDQU64(x[q], turned.Offset((2*q+half)*inStack))
			}
		}
	}
	list := func(name string, turned operand.Mem, stack int, e, secondSide reg.GPVirtual) {
		none := label("none" + name)
		either, some, found, before := ZMM(), K(), GP64(), GP64()
		halves := [2]reg.VecVirtual{ZMM(), ZMM()}
		for half, pairs := range halves {
			VMOVDQU64(turned.Offset(half*inStack), pairs)
		}
		VPORQ(halves[0], halves[1], either)
		VPTESTMB(either, either, some)
		KORTESTQ(some, some)
		JZ(none.ref())
		for half, pairs := range halves {
			for q := range 2 {
				entry := ZMM()
				if q == 0 {
					VPUNPCKLWD(order[stack][half], pairs, entry)
				} else {
					VPUNPCKHWD(order[stack][half], pairs, entry)
				}
				VPTESTMD(ones, entry, some)
				KMOVW(some, found.As32())
				whole := label(fmt.Sprintf("whole%s_%d", name, 2*half+q))
				CMPQ(borderQuarter, operand.U8(4*stack+2*half+q))
				JNE(whole.ref())
				MOVL(found.As32(), before.As32())
				ANDL(borderMask.As32(), before.As32())
				POPCNTL(before.As32(), before.As32())
				LEAQ(mem(e).Idx(before, 4), secondSide)
				whole.here()
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
	var order []byte // images as in entries
	for i := range inStack {
		order = append(order, 0, 0, byte(i), 0)
	}
	images := constant(s.name+"Images", order...)
	entries, starts, border := load("entries"), load("starts"), load("border")
	table := GP64()
	LEAQ(fronts, table)
	zero := YMM()
	VPXOR(zero, zero, zero)
	var first [2]reg.VecVirtual // image of a stack, as in entries
	for stack, name := range []string{"first", "second"} {
		scalar := load(name)
		first[stack] = YMM()
		SHLQ(operand.U8(imageShift), scalar)
		VMOVQ(scalar, first[stack].AsX())
		VPBROADCASTD(first[stack].AsX(), first[stack])
	}
	read := func(block, column, source reg.GPVirtual, turned operand.Mem) {
		for some := 0; some < inStack; some += 16 {
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
				VMOVDQU(x[c], turned.Offset(c*inStack+some))
			}
		}
	}
	list := func(name string, turned operand.Mem, stack int, e, secondSide reg.GPVirtual) {
		either, nothing := YMM(), label("none"+name)
		VMOVDQU(turned, either)
		for at := g.bytes; at < 2*inStack; at += g.bytes {
			VPOR(turned.Offset(at), either, either)
		}
		VPTEST(either, either)
		JZ(nothing.ref())
		for i := 0; i < inStack; i += lanes {
			whole := label(fmt.Sprintf("whole%s_%d", name, i/lanes))
			CMPQ(border, operand.U8((inStack*stack+i)/lanes))
			JNE(whole.ref())
			MOVQ(e, secondSide)
			whole.here()
			entry, other, none, to, bits := YMM(), YMM(), YMM(), YMM(), GP64()
			VPMOVZXBD(turned.Offset(i), entry)
			VPMOVZXBD(turned.Offset(inStack+i), other)
			VPSLLD(operand.U8(8), other, other)
			VPOR(other, entry, entry)
			VPCMPEQD(zero, entry, none)
			VMOVMSKPS(none, bits.As32())
			XORL(operand.U32(0xff), bits.As32())
			VPMOVZXBD(mem(table).Idx(bits, 8), to)
			VPADDD(images.Offset(4*i), first[stack], other)
			VPOR(other, entry, entry)
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
		"copies the entries that each of so many blocks has of pair from+order[i] to where those of the pair before end, and sets pairs[i].entries. 32 numbers beyond the last may be written.")
	const list, size = 16, 48                              // of pairRow
	const blockEntries, blockStarts, blockSize = 0, 24, 48 // of pairBlock
	to, pair, order, count := load("to"), load("pairs"), load("order"), load("count")
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
	blocks, joined := label("blocks"), label("joined")
	blocks.here()
	SUBQ(operand.U8(1), parts)
	JLT(joined.ref())
	source, end := GP64(), GP64()
	starts := GP64()
	MOVQ(mem(block).Offset(blockStarts), starts)
	MOVLQSX(mem(starts).Idx(q, 8), source)
	MOVLQSX(mem(starts).Idx(q, 8).Offset(8), end)
	MOVQ(mem(block).Offset(blockEntries), starts)
	SUBQ(source, end)
	LEAQ(mem(starts).Idx(source, 4), source)
	LEAQ(mem(to).Idx(end, 4), end)
	copies := label("copies")
	copies.here()
	for half := range 2 {
		for at := 0; at < chunk; at += g.bytes {
			v := vector(g.bytes)
			move(mem(source).Offset(half*chunk+at), v)
			move(v, mem(to).Offset(half*chunk+at))
		}
	}
	ADDQ(operand.U32(2*chunk), source)
	ADDQ(operand.U32(2*chunk), to)
	CMPQ(to, end)
	JLT(copies.ref())
	MOVQ(end, to)
	ADDQ(operand.U8(blockSize), block)
	JMP(blocks.ref())
	joined.here()
	ADDQ(operand.U8(4), order)
	ADDQ(operand.U8(size), pair)
	JMP(next.ref())
	done.here()
	VZEROUPPER()
	RET()
}
