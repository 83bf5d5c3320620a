package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// arithmetic is a number type's instructions beside those of the products.
type arithmetic struct {
	mul, sub, div, compare, and func(...operand.Op)
}

var arithmetics = map[string]arithmetic{
	"float32": {VMULPS, VSUBPS, VDIVPS, VCMPPS, VANDPS},
	"float64": {VMULPD, VSUBPD, VDIVPD, VCMPPD, VANDPD},
}

func (g generator) arithmetic() arithmetic { return arithmetics[g.number.name] }

// each writes a loop over the first n numbers of some arrays, a register at a
// time. Sets with masks take any n, the others a multiple of a register. body
// gets the addresses of the current numbers, and the mask of those that count.
func (g generator) each(n reg.GPVirtual, arrays []reg.GPVirtual, body func(at []operand.Mem, mask reg.OpmaskVirtual)) {
	lanes := g.lanes(g.bytes)
	var at []operand.Mem
	for _, a := range arrays {
		at = append(at, mem(a))
	}
	loop, tail, done := label("each"), label("eachtail"), label("eachdone")
	loop.here()
	CMPQ(n, operand.U8(lanes))
	JLT(tail.ref())
	body(at, nil)
	for _, a := range arrays {
		ADDQ(operand.U8(g.bytes), a)
	}
	SUBQ(operand.U8(lanes), n)
	JMP(loop.ref())
	tail.here()
	if g.masked {
		TESTQ(n, n)
		JZ(done.ref())
		body(at, g.firstLanes(n))
		done.here()
	}
}

// fetchToWrite fetches the cache line at m, which another core may have read, for writing: a
// store that waits for its line holds up all others. By PREFETCHW, which the assembler has
// no name for.
func fetchToWrite(m operand.Mem) {
	at := reg.RDI
	LEAQ(m, at)
	for _, code := range []uint8{0x0f, 0x0d, 0x0f} { // PREFETCHW (RDI)
		Instruction(&ir.Instruction{Opcode: "BYTE", Operands: []operand.Op{operand.U8(code)}})
	}
}

// fetchedToWrite is how many bytes ahead of its turn a line is fetched that will be written.
const fetchedToWrite = 2048

// fetchAheadToWrite fetches what comes some turns after m of n numbers left, unless it is
// beyond them, where another core's numbers may stand, or the gradient there is all 0: then
// it is not written (putChanged).
func (g generator) fetchAheadToWrite(m, grad operand.Mem, n reg.GPVirtual) {
	none := label("nonetofetch")
	CMPQ(n, operand.U32((fetchedToWrite+g.bytes)/g.size))
	JLT(none.ref())
	if g.masked {
		next, some := g.get(grad.Offset(fetchedToWrite), nil), K()
		VPTESTMD(next, next, some)
		KORTESTW(some, some)
		JZ(none.ref())
	}
	fetchToWrite(m.Offset(fetchedToWrite))
	none.here()
}

// firstLanes returns the mask of the first n lanes.
func (g generator) firstLanes(n reg.GPVirtual) reg.OpmaskVirtual {
	ones, k := GP64(), K()
	MOVQ(operand.I32(-1), ones)
	BZHIQ(n, ones, ones)
	KMOVQ(ones, k)
	return k
}

// get loads a register, 0 where mask leaves a lane out.
func (g generator) get(m operand.Mem, mask reg.OpmaskVirtual) reg.VecVirtual {
	v := vector(g.bytes)
	if mask == nil {
		g.load(m, v)
	} else {
		g.maskedLoad(m, mask, v)
	}
	return v
}

func (g generator) put(v reg.VecVirtual, m operand.Mem, mask reg.OpmaskVirtual) {
	if mask == nil {
		g.load(v, m)
	} else {
		g.load(v, mask, m)
	}
}

// putChanged is put where v differs from old, which is there already. A third of the pixels
// is 0 in a whole batch of digits, and their weights stay; another core that has read them
// need not be told, which costs more than the writing.
func (g generator) putChanged(v, old reg.VecVirtual, m operand.Mem, mask reg.OpmaskVirtual) {
	if !g.masked {
		g.put(v, m, mask)
		return
	}
	const notEqual = 4
	differ, same := K(), label("same")
	if mask != nil {
		same = "sametail"
	}
	if g.size == 4 {
		VPCMPUD(operand.U8(notEqual), v, old, differ)
	} else {
		VPCMPUQ(operand.U8(notEqual), v, old, differ)
	}
	KORTESTW(differ, differ)
	JZ(same.ref())
	g.put(v, m, mask)
	same.here()
}

// notNumbers returns a register that is not 0 when a number of vs is NaN.
func (g generator) notNumbers(vs []reg.VecVirtual) (some reg.GPVirtual) {
	const unordered = 3
	some = GP64()
	XORQ(some, some)
	for _, v := range vs {
		found := GP64()
		if g.masked {
			k := K()
			g.arithmetic().compare(operand.U8(unordered), v, v, k)
			KMOVQ(k, found)
		} else {
			g.arithmetic().compare(operand.U8(unordered), v, v, v)
			VMOVMSKPS(v, found.As32())
		}
		ORQ(found, some)
	}
	return some
}

// positive keeps v where x is above 0 or no number, and makes it 0 elsewhere.
func (g generator) positive(v, x, zero reg.VecVirtual) {
	const notLessEqualUnordered = 6
	if g.masked {
		k := K()
		g.arithmetic().compare(operand.U8(notLessEqualUnordered), zero, x, k)
		if g.size == 4 {
			VMOVAPS_Z(v, k, v)
		} else {
			VMOVAPD_Z(v, k, v)
		}
		return
	}
	above := vector(g.bytes)
	g.arithmetic().compare(operand.U8(notLessEqualUnordered), zero, x, above)
	g.arithmetic().and(v, above, v)
}

func (g generator) elementwise() {
	T := g.number.name
	a := g.arithmetic()
	zero := func() reg.VecVirtual {
		z := vector(g.bytes)
		g.zero(z)
		return z
	}

	g.function("ReLU", fmt.Sprintf("y, x *%s, n int", T), "computes y[j] = x[j] where that is above 0 or no number, 0 elsewhere.")
	y, x, n, z := load("y"), load("x"), load("n"), zero()
	g.each(n, []reg.GPVirtual{y, x}, func(at []operand.Mem, mask reg.OpmaskVirtual) {
		v := g.get(at[1], mask)
		g.positive(v, v, z)
		g.put(v, at[0], mask)
	})
	VZEROUPPER()
	RET()

	g.function("ReLUSlope", fmt.Sprintf("dx, grad, x *%s, n int", T), "computes dx[j] = grad[j] where x[j] is above 0 or no number, 0 elsewhere.")
	dx, gr := load("dx"), load("grad")
	x, n, z = load("x"), load("n"), zero()
	g.each(n, []reg.GPVirtual{dx, gr, x}, func(at []operand.Mem, mask reg.OpmaskVirtual) {
		v, x := g.get(at[1], mask), g.get(at[2], mask)
		g.positive(v, x, z)
		g.put(v, at[0], mask)
	})
	VZEROUPPER()
	RET()

	g.function("Update", fmt.Sprintf("w, grad *%s, n int, a %s) (bad int", T, T),
		"computes w[j] = fma(a, grad[j], w[j]) + 0; bad is not 0 when a result is infinite or no number.")
	w, gr, n := load("w"), load("grad"), load("n")
	scalar, factor, z := XMM(), vector(g.bytes), zero()
	Load(Param("a"), scalar)
	g.bcast(scalar, factor)
	sum := zero() // of w - w, which is 0 for a finite number and NaN for others
	g.each(n, []reg.GPVirtual{w, gr}, func(at []operand.Mem, mask reg.OpmaskVirtual) {
		if mask == nil {
			g.fetchAheadToWrite(at[0], at[1], n)
		}
		v, gv, d := g.get(at[0], mask), g.get(at[1], mask), vector(g.bytes)
		var old reg.VecVirtual
		if g.masked {
			old = vector(g.bytes)
			g.load(v, old)
		}
		g.fma(gv, factor, v)
		g.add(z, v, v)
		g.putChanged(v, old, at[0], mask)
		a.sub(v, v, d)
		g.add(d, sum, sum)
	})
	Store(g.notNumbers([]reg.VecVirtual{sum}), ReturnIndex(0))
	VZEROUPPER()
	RET()

	g.function("Divide", fmt.Sprintf("y, x *%s, n int, d %s", T, T), "computes y[j] = x[j]/d.")
	y, x, n = load("y"), load("x"), load("n")
	scalar, factor = XMM(), vector(g.bytes)
	Load(Param("d"), scalar)
	g.bcast(scalar, factor)
	g.each(n, []reg.GPVirtual{y, x}, func(at []operand.Mem, mask reg.OpmaskVirtual) {
		v := g.get(at[1], mask)
		a.div(factor, v, v)
		g.put(v, at[0], mask)
	})
	VZEROUPPER()
	RET()

	if g.masked {
		g.sumSquares()
	}

	g.columns("AddColumns", "sum, x", 1, "sum[j] += x[i, j]", func(c []reg.VecVirtual, row []operand.Mem, k reg.OpmaskVirtual) {
		g.add(g.get(row[0], k), c[0], c[0])
	}, true)
	g.columns("AddSquares", "sum, mean, x", 2, "sum[j] = fma(d, d, sum[j]), d = x[i, j] - mean[j]", func(c []reg.VecVirtual, row []operand.Mem, k reg.OpmaskVirtual) {
		d := g.get(row[0], k)
		a.sub(c[1], d, d)
		g.fma(d, d, c[0])
	}, true)
	g.columns("AddProducts", "sum, x, y", 1, "sum[j] = fma(x[i, j], y[i, j], sum[j])", func(c []reg.VecVirtual, row []operand.Mem, k reg.OpmaskVirtual) {
		g.fma(g.get(row[0], k), g.get(row[1], k), c[0])
	}, true)
	g.columns("Normalise", "mean, inverse, gamma, beta, h, y, x", 4,
		"h[i, j] = (x[i, j] - mean[j])·inverse[j] and y[i, j] = fma(gamma[j], h[i, j], beta[j])", func(c []reg.VecVirtual, row []operand.Mem, k reg.OpmaskVirtual) {
			v, y := g.get(row[2], k), vector(g.bytes)
			a.sub(c[0], v, v)
			a.mul(c[1], v, v)
			g.put(v, row[0], k)
			g.load(c[3], y)
			g.fma(c[2], v, y)
			g.put(y, row[1], k)
		}, false)
	g.columns("NormaliseSlope", "factor, direct, spread, dx, grad, h", 3,
		"dx[i, j] = factor[j]·((grad[i, j] - direct[j]) - h[i, j]·spread[j])", func(c []reg.VecVirtual, row []operand.Mem, k reg.OpmaskVirtual) {
			v, h := g.get(row[1], k), g.get(row[2], k)
			a.sub(c[1], v, v)
			a.mul(c[2], h, h)
			a.sub(h, v, v)
			a.mul(c[0], v, v)
			g.put(v, row[0], k)
		}, false)
}

// columns writes a loop over the rows of matrices for each register full of
// columns. The first perColumn parameters are vectors with a number for each
// column, of which the first is a sum that is loaded and stored when reduces is
// true; the others are [rows, stride] matrices.
func (g generator) columns(name, params string, perColumn int, doc string, body func(c []reg.VecVirtual, row []operand.Mem, k reg.OpmaskVirtual), reduces bool) {
	g.function(name, fmt.Sprintf("%s *%s, rows, cols, stride int", params, g.number.name),
		"computes "+doc+", row after row, for cols columns.")
	var arrays []reg.GPVirtual
	for _, p := range splitNames(params) {
		arrays = append(arrays, load(p))
	}
	cols, stride := load("cols"), load("stride")
	g.scale(stride)
	g.each(cols, arrays, func(at []operand.Mem, mask reg.OpmaskVirtual) {
		rowLoop, rowDone := label("rows"), label("rowsdone")
		if mask != nil {
			rowLoop, rowDone = "tailrows", "tailrowsdone"
		}
		var c []reg.VecVirtual
		for _, m := range at[:perColumn] {
			c = append(c, g.get(m, mask))
		}
		rows, offset := GP64(), GP64()
		Load(Param("rows"), rows)
		XORQ(offset, offset)
		var row []operand.Mem
		for _, m := range at[perColumn:] {
			row = append(row, m.Idx(offset, 1))
		}
		TESTQ(rows, rows)
		JZ(rowDone.ref())
		rowLoop.here()
		body(c, row, mask)
		ADDQ(stride, offset)
		DECQ(rows)
		JNZ(rowLoop.ref())
		rowDone.here()
		if reduces {
			g.put(c[0], at[0], mask)
		}
	})
	VZEROUPPER()
	RET()
}

func splitNames(params string) (names []string) {
	name := ""
	for _, r := range params + "," {
		switch r {
		case ',':
			names = append(names, name)
			name = ""
		case ' ':
		default:
			name += string(r)
		}
	}
	return names
}

// sumSquares writes a full reduction: number i joins partial sum i mod 64, and the
// partial sums are combined pairwise.
func (g generator) sumSquares() {
	const registers = 8
	g.function("SumSquares", fmt.Sprintf("v *%s, n int) (sum float64", g.number.name),
		"returns the sum of n squares in 64 interleaved partial sums.")
	v, n := load("v"), load("n")
	var acc []reg.VecVirtual
	for range registers {
		z := ZMM()
		VPXORQ(z, z, z)
		acc = append(acc, z)
	}
	// add joins the numbers of one block, those that left has a bit for.
	add := func(left reg.GPVirtual) {
		for r := range registers {
			x, m := ZMM(), mem(v).Offset(r*8*g.size)
			k := K()
			if left != nil {
				KMOVQ(left, k)
				SHRQ(operand.U8(8), left)
			}
			switch {
			case g.size == 4 && left == nil:
				VCVTPS2PD(m, x)
			case g.size == 4:
				VCVTPS2PD_Z(m, k, x)
			case left == nil:
				VMOVUPD(m, x)
			default:
				VMOVUPD_Z(m, k, x)
			}
			VFMADD231PD(x, x, acc[r])
		}
	}
	loop, tail, combine := label("loop"), label("tail"), label("combine")
	loop.here()
	CMPQ(n, operand.U8(64))
	JLT(tail.ref())
	add(nil)
	ADDQ(operand.U32(64*g.size), v)
	SUBQ(operand.U8(64), n)
	JMP(loop.ref())
	tail.here()
	TESTQ(n, n)
	JZ(combine.ref())
	left := GP64()
	MOVQ(operand.I32(-1), left)
	BZHIQ(n, left, left)
	add(left)
	combine.here()
	for width := registers / 2; width > 0; width /= 2 {
		for r := range width {
			VADDPD(acc[r+width], acc[r], acc[r])
		}
	}
	upper := YMM()
	VEXTRACTF64X4(operand.U8(1), acc[0], upper)
	sum := YMM()
	VADDPD(upper, acc[0].AsY(), sum)
	pair := XMM()
	VEXTRACTF128(operand.U8(1), sum, pair)
	VADDPD(pair, sum.AsX(), pair)
	high := XMM()
	VPERMILPD(operand.U8(1), pair, high)
	VADDSD(high, pair, pair)
	Store(pair, ReturnIndex(0))
	VZEROUPPER()
	RET()
}
