package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// exponential is what the exponentials of package elementary need in registers, or
// in memory where there are too few of them: the constants in the order of
// Exp32Tables and Exp64Tables.
type exponential struct {
	g                          generator
	powers, ones               reg.GPVirtual
	table                      [2]reg.VecVirtual // powers of float32, with masks
	steps, round, head, tail   operand.Op
	inverse                    [6]operand.Op // 1/2!, 1/3!, ... 1/7!
	lowest, highest            operand.Op
	infinity, lowBits, nothing operand.Op
}

// log2Steps says how many powers the table has: 2^(j/16) for float32, 2^(j/128) for float64.
func (e *exponential) log2Steps() int {
	if e.g.size == 4 {
		return 4
	}
	return 7
}

func (g generator) exponential() *exponential {
	e := &exponential{g: g, powers: load("powers")}
	infinity, lowBits, nothing := vector(g.bytes), vector(g.bytes), vector(g.bytes)
	constants := load("constants")
	for i, z := range []*operand.Op{&e.steps, &e.round, &e.head, &e.tail,
		&e.inverse[0], &e.inverse[1], &e.inverse[2], &e.inverse[3], &e.inverse[4], &e.inverse[5], &e.lowest, &e.highest} {
		if z == &e.inverse[5] && g.size == 8 {
			continue
		}
		if !g.masked {
			*z = mem(constants).Offset(32 * i)
			continue
		}
		v := ZMM()
		VBROADCASTSD(mem(constants).Offset(8*i), v)
		*z = v
	}
	if !g.masked {
		e.infinity = constant4(g.full("Infinity"), math.Float64bits(math.Inf(1)))
		e.lowBits = constant4(g.full("LowBits"), 1<<e.log2Steps()-1)
		e.nothing = constant4(g.full("Nothing"), 0)
		return e
	}
	bits := GP64()
	if g.size == 4 {
		MOVQ(operand.U64(math.Float64bits(math.Inf(1))), bits)
		VPBROADCASTQ(bits, infinity)
		VPXORQ(nothing, nothing, nothing)
		for i := range e.table {
			e.table[i] = ZMM()
			VMOVUPD(mem(e.powers).Offset(64*i), e.table[i])
		}
		e.infinity, e.nothing = infinity, nothing
		return e
	}
	MOVQ(operand.U32(1<<e.log2Steps()-1), bits)
	VPBROADCASTQ(bits, lowBits)
	e.ones = GP64()
	MOVQ(operand.I32(-1), e.ones)
	e.lowBits = lowBits
	return e
}

// constant4 puts four times the same eight bytes into the read-only data.
func constant4(name string, value uint64) operand.Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 4 {
		DATA(8*i, operand.U64(value))
	}
	return m
}

// Comparisons of VCMPPD.
const less, unordered, greater = 1, 3, 14

// of returns e^x for a register of float64, operation by operation as Exp32 and
// Exp64 have it, so that the bits are the same. For float64, numbers below -708 and
// above 709 take another path there and are for the caller to look after.
func (e *exponential) of(x reg.VecVirtual) reg.VecVirtual {
	g := e.g
	op := func(f func(...operand.Op), a reg.VecVirtual, b operand.Op) reg.VecVirtual { // a op b
		z := vector(g.bytes)
		f(b, a, z)
		return z
	}
	mul := func(a reg.VecVirtual, b operand.Op) reg.VecVirtual { return op(VMULPD, a, b) }
	add := func(a, b operand.Op) reg.VecVirtual {
		if r, ok := a.(reg.VecVirtual); ok {
			return op(VADDPD, r, b)
		}
		return op(VADDPD, b.(reg.VecVirtual), a)
	}
	sub := func(a reg.VecVirtual, b operand.Op) reg.VecVirtual { return op(VSUBPD, a, b) }

	raised := add(mul(x, e.steps), e.round) // the integer stands in the low bits
	whole := sub(raised, e.round)
	place, k := vector(g.bytes), vector(g.bytes)
	var powerHead, powerTail reg.VecVirtual
	switch {
	case !g.masked:
		VPAND(e.lowBits, raised, place)
		powerHead, powerTail = e.pick(place)
	case g.size == 4:
		VMOVAPD(raised, place) // of which the four low bits count
		VPERMI2PD(e.table[1], e.table[0], place)
		powerHead = place
	default:
		VPANDQ(e.lowBits, raised, place)
		VPSLLQ(operand.U8(1), place, place)
		powerHead, powerTail = e.gather(place, 0), e.gather(place, 8)
	}
	VPSRLQ(operand.U8(e.log2Steps()), raised, k)
	VPSLLQ(operand.U8(52), k, k)
	i := e.inverse
	var y reg.VecVirtual
	if g.size == 4 {
		r := sub(sub(x, mul(whole, e.head)), mul(whole, e.tail))
		r2 := mul(r, r)
		p := add(r, mul(r2, add(add(i[0], mul(r, i[1])), mul(r2, add(add(i[2], mul(r, i[3])), mul(r2, add(i[4], mul(r, i[5]))))))))
		y = add(powerHead, mul(powerHead, p))
	} else {
		a, b := sub(x, mul(whole, e.head)), mul(whole, e.tail)
		r := sub(a, b)
		rTail := sub(sub(a, r), b)
		r2 := mul(r, r)
		q := add(rTail, mul(r2, add(add(i[0], mul(r, i[1])), mul(r2, add(add(i[2], mul(r, i[3])), mul(r2, i[4]))))))
		r1 := vector(g.bytes)
		if g.masked {
			narrow := YMM()
			VCVTPD2PS(r, narrow)
			VCVTPS2PD(narrow, r1)
		} else {
			narrow := XMM()
			VCVTPD2PSY(r, narrow)
			VCVTPS2PD(narrow, r1)
		}
		rest := add(sub(r, r1), q)
		product := mul(powerHead, r1)
		sum := add(powerHead, product)
		cut := add(sub(powerHead, sum), product)
		y = add(sum, add(cut, add(powerTail, add(mul(powerTail, r1), mul(add(powerHead, powerTail), rest)))))
	}
	VPADDQ(k, y, y)
	e.replace(y, x, unordered, x, x)
	if g.size == 4 {
		e.replace(y, x, greater, e.highest, e.infinity)
		e.replace(y, x, less, e.lowest, e.nothing)
	}
	return y
}

// replace sets y to value where x compares so with bound.
func (e *exponential) replace(y, x reg.VecVirtual, comparison int, bound, value operand.Op) {
	if e.g.masked {
		k := K()
		VCMPPD(operand.U8(comparison), bound, x, k)
		VMOVAPD(value, k, y)
		return
	}
	where := YMM()
	VCMPPD(operand.U8(comparison), bound, x, where)
	VBLENDVPD(where, value, y, y)
}

// gather loads the number offset bytes from each entry of the table of powers.
func (e *exponential) gather(place reg.VecVirtual, offset int) reg.VecVirtual {
	all, z := K(), ZMM()
	KMOVQ(e.ones, all)
	VPXORQ(z, z, z)
	VGATHERQPD(operand.Mem{Base: e.powers, Index: place, Scale: 8, Disp: offset}, all, z)
	return z
}

// pick loads the entries of the table of powers one by one: numbers for float32, heads and
// tails for float64.
func (e *exponential) pick(place reg.VecVirtual) (heads, tails reg.VecVirtual) {
	if e.g.size == 8 {
		VPSLLQ(operand.U8(1), place, place)
	}
	upper := XMM()
	VEXTRACTI128(operand.U8(1), place, upper)
	entry := func(half reg.Register, i int) operand.Mem {
		at := GP64()
		VPEXTRQ(operand.U8(i), half, at)
		return mem(e.powers).Idx(at, 8)
	}
	heads, tails = YMM(), YMM()
	if e.g.size == 4 {
		high := XMM()
		VMOVSD(entry(place.AsX(), 0), heads.AsX())
		VMOVHPD(entry(place.AsX(), 1), heads.AsX(), heads.AsX())
		VMOVSD(entry(upper, 0), high)
		VMOVHPD(entry(upper, 1), high, high)
		VINSERTF128(operand.U8(1), high, heads, heads)
		return heads, nil
	}
	var pairs [2]reg.VecVirtual // entries i and i+2
	for i := range pairs {
		pairs[i] = YMM()
		VMOVUPD(entry(place.AsX(), i), pairs[i].AsX())
		VINSERTF128(operand.U8(1), entry(upper, i), pairs[i], pairs[i])
	}
	VUNPCKLPD(pairs[1], pairs[0], heads)
	VUNPCKHPD(pairs[1], pairs[0], tails)
	return heads, tails
}

// exponentials writes the exponential of an array, without masks.
func (g generator) exponentials() {
	g.function("Exponentials", fmt.Sprintf("y, x *%s, n int, powers *float64, constants *[12][4]float64) (low int", g.number.name),
		"computes y[i] = e^x[i] for n numbers, a multiple of one register. In float64, low is not 0 when an x was below -708 or above 709: the results are then wrong.")
	y, x, n := load("y"), load("x"), load("n")
	e := g.exponential()
	low := YMM()
	VXORPD(low, low, low)
	g.each(n, []reg.GPVirtual{y, x}, func(at []operand.Mem, _ reg.OpmaskVirtual) {
		if g.size == 8 {
			v, outside := g.get(at[1], nil), YMM()
			VCMPPD(operand.U8(less), e.lowest, v, outside)
			VORPD(outside, low, low)
			VCMPPD(operand.U8(greater), e.highest, v, outside)
			VORPD(outside, low, low)
			g.put(e.of(v), at[0], nil)
			return
		}
		for half := range 2 {
			v, narrow := YMM(), XMM()
			VCVTPS2PD(at[1].Offset(16*half), v)
			VCVTPD2PSY(e.of(v), narrow)
			VMOVUPS(narrow, at[0].Offset(16*half))
		}
	})
	bad := GP64()
	VMOVMSKPD(low, bad.As32())
	Store(bad, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// ofRegister is of for a full register of the number type.
func (e *exponential) ofRegister(x reg.VecVirtual) reg.VecVirtual {
	if e.g.size == 8 {
		return e.of(x)
	}
	low, high, upper := ZMM(), ZMM(), YMM()
	VCVTPS2PD(x.AsY(), low)
	VEXTRACTF64X4(operand.U8(1), x, upper)
	VCVTPS2PD(upper, high)
	low, high = e.of(low), e.of(high)
	y, narrow := ZMM(), YMM()
	VCVTPD2PS(low, y.AsY())
	VCVTPD2PS(high, narrow)
	VINSERTF64X4(operand.U8(1), narrow, y, y)
	return y
}

// maxClasses is how many columns fit the frame of Softmax, one register each.
const maxClasses = 256

// softmax writes the softmax of rows of logits, as many at a time as a register
// has lanes: lane i is row i, so that every row is summed in its own order. The
// rows are transposed into the frame, a register for each column, and back.
func (g generator) softmax() {
	g.functionWithFrame("Softmax", fmt.Sprintf("p, z, sum *%s, best *int32, rows, cols int, powers *float64, constants *[12]float64) (low int", g.number.name),
		"fills p with the softmax of z [rows, cols], sum with the sums of the exponentials and best with the places of the largest logits. In float64, low is not 0 when an exponent was below -708: the results are then wrong.")
	lanes := g.lanes(64)
	transposed := AllocLocal(64 * maxClasses)
	a := g.arithmetic()
	p, z, sums, best := load("p"), load("z"), load("sum"), load("best")
	rows := load("rows")

	stride, scalar := load("cols"), GP64()
	g.scale(stride)
	valid, low := K(), K()
	MOVQ(operand.U32(0), scalar)
	KMOVQ(scalar, low)
	j, end := GP64(), GP64()
	columns := func(name string, from int, body func()) {
		loop, done := label(name), label(name+"done")
		MOVQ(operand.U32(from), j)
		Load(Param("cols"), end)
		loop.here()
		CMPQ(j, end)
		JGE(done.ref())
		body()
		INCQ(j)
		JMP(loop.ref())
		done.here()
	}
	address := GP64()

	// column is where column j is kept.
	column := func() operand.Mem {
		MOVQ(j, address)
		SHLQ(operand.U8(6), address)
		return transposed.Idx(address, 1)
	}
	keep := func(v reg.VecVirtual) { g.load(v, column()) }
	kept := func() reg.VecVirtual {
		v := ZMM()
		g.load(column(), v)
		return v
	}

	// squares walks the rows of a matrix, as many columns at a time as a register has lanes;
	// mask has those that there are. Instead of a row beyond the last, body gets the last
	// one again; written again, it gets the same numbers, for its lanes were read from it.
	some := GP64()
	squares := func(name string, base reg.GPVirtual, body func(row func(i int) operand.Mem, mask reg.OpmaskVirtual)) {
		loop, done := label(name), label(name+"done")
		XORQ(j, j)
		loop.here()
		Load(Param("cols"), end)
		SUBQ(j, end)
		JLE(done.ref())
		left := GP64()
		MOVQ(operand.U32(lanes), left)
		CMPQ(end, left)
		CMOVQLT(end, left)
		at, step := GP64(), GP64()
		LEAQ(mem(base).Idx(j, uint8(g.size)), at)
		body(func(i int) operand.Mem {
			if i > 0 {
				XORQ(step, step)
				CMPQ(some, operand.U8(i))
				CMOVQGT(stride, step)
				ADDQ(step, at)
			}
			return mem(at)
		}, g.firstLanes(left))
		ADDQ(operand.U8(lanes), j)
		JMP(loop.ref())
		done.here()
	}

	next, done := label("next"), label("done")
	next.here()
	TESTQ(rows, rows)
	JLE(done.ref())
	MOVQ(operand.U32(lanes), some)
	CMPQ(rows, some)
	CMOVQLT(rows, some)
	MOVQ(operand.I32(-1), scalar)
	BZHIQ(some, scalar, scalar)
	KMOVQ(scalar, valid)

	squares("in", z, func(row func(int) operand.Mem, mask reg.OpmaskVirtual) {
		to := column()
		for i, v := range g.transposed(func(i int) reg.VecVirtual { return g.get(row(i), mask) }) {
			g.put(v, to.Offset(64*i), nil)
		}
	})
	XORQ(j, j)
	top, place := kept(), ZMM()
	VPXORQ(place, place, place)
	columns("largest", 1, func() {
		v, above, number := kept(), K(), ZMM()
		a.compare(operand.U8(greater), top, v, above)
		if g.size == 4 {
			VMOVAPS(v, above, top)
			VPBROADCASTD(j.As32(), number)
			VMOVDQA32(number, above, place)
		} else {
			VMOVAPD(v, above, top)
			VPBROADCASTQ(j, number)
			VMOVDQA64(number, above, place)
		}
	})
	e := g.exponential() // not earlier: transposed needs all registers
	sum := ZMM()
	VPXORQ(sum, sum, sum)
	columns("exponentials", 0, func() {
		v := kept()
		a.sub(top, v, v)
		if g.size == 8 {
			under := K()
			VCMPPD(operand.U8(less), e.lowest, v, under)
			KORQ(under, low, low)
		}
		power := e.ofRegister(v)
		g.add(power, sum, sum)
		keep(power)
	})
	columns("quotients", 0, func() {
		v := kept()
		a.div(sum, v, v)
		keep(v)
	})
	squares("out", p, func(row func(int) operand.Mem, mask reg.OpmaskVirtual) {
		from := column()
		for i, v := range g.transposed(func(i int) reg.VecVirtual { return g.get(from.Offset(64*i), nil) }) {
			g.put(v, row(i), mask)
		}
	})
	g.load(sum, valid, mem(sums))
	if g.size == 4 {
		VMOVDQU32(place, valid, mem(best))
	} else {
		VPMOVQD(place, valid, mem(best))
	}
	ADDQ(operand.U8(64), sums)
	ADDQ(operand.U8(4*lanes), best)
	IMUL3Q(operand.U8(lanes), stride, address)
	ADDQ(address, p)
	ADDQ(address, z)
	SUBQ(operand.U8(lanes), rows)
	JMP(next.ref())
	done.here()
	KMOVQ(low, scalar)
	Store(scalar, ReturnIndex(0))
	VZEROUPPER()
	RET()
}
