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
// ExpConstants.
type exponential struct {
	g                          generator
	powers, ones               reg.GPVirtual
	steps, round, head, tail   operand.Op
	inverse                    [5]operand.Op // 1/2!, 1/3!, ... 1/6!
	lowest, highest            operand.Op
	infinity, lowBits, nothing operand.Op
}

func (g generator) exponential() *exponential {
	e := &exponential{g: g, powers: load("powers")}
	infinity, lowBits, nothing := vector(g.bytes), vector(g.bytes), vector(g.bytes)
	constants := load("constants")
	for i, z := range []*operand.Op{&e.steps, &e.round, &e.head, &e.tail,
		&e.inverse[0], &e.inverse[1], &e.inverse[2], &e.inverse[3], &e.inverse[4], &e.lowest, &e.highest} {
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
		e.lowBits = constant4(g.full("LowBits"), 127)
		e.nothing = constant4(g.full("Nothing"), 0)
		return e
	}
	bits := GP64()
	MOVQ(operand.U64(math.Float64bits(math.Inf(1))), bits)
	VPBROADCASTQ(bits, infinity)
	MOVQ(operand.U32(127), bits)
	VPBROADCASTQ(bits, lowBits)
	e.ones = GP64()
	MOVQ(operand.I32(-1), e.ones)
	VPXORQ(nothing, nothing, nothing)
	e.infinity, e.lowBits, e.nothing = infinity, lowBits, nothing
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

	raised := add(mul(x, e.steps), e.round)
	whole := sub(raised, e.round)
	k, place := vector(g.bytes), vector(g.bytes)
	var powerHead, powerTail reg.VecVirtual
	if g.masked {
		VCVTTPD2QQ(whole, k)
		VPANDQ(e.lowBits, k, place)
		VPSLLQ(operand.U8(1), place, place)
		VPSRAQ(operand.U8(7), k, k)
		VPSLLQ(operand.U8(52), k, k)
		powerHead, powerTail = e.gather(place, 0), e.gather(place, 8)
	} else {
		VPSUBQ(e.round, raised, k) // the integer stands in the low bits
		VPAND(e.lowBits, k, place)
		VPSLLQ(operand.U8(1), place, place)
		VPSRLQ(operand.U8(7), k, k)
		VPSLLQ(operand.U8(52), k, k)
		powerHead, powerTail = e.pick(place)
	}
	i := e.inverse
	var y reg.VecVirtual
	if g.size == 4 {
		r := sub(sub(x, mul(whole, e.head)), mul(whole, e.tail))
		r2 := mul(r, r)
		p := add(r, mul(r2, add(add(i[0], mul(r, i[1])), mul(r2, add(i[2], mul(r, i[3]))))))
		y = add(powerHead, add(powerTail, mul(add(powerHead, powerTail), p)))
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
	const unordered, greater, less = 3, 14, 1
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

// pick loads heads and tails from the table of powers, an entry of both at a time.
func (e *exponential) pick(place reg.VecVirtual) (heads, tails reg.VecVirtual) {
	upper := XMM()
	VEXTRACTI128(operand.U8(1), place, upper)
	entry := func(half reg.Register, i int) operand.Mem {
		at := GP64()
		VPEXTRQ(operand.U8(i), half, at)
		return mem(e.powers).Idx(at, 8)
	}
	var pairs [2]reg.VecVirtual // entries i and i+2
	for i := range pairs {
		pairs[i] = YMM()
		VMOVUPD(entry(place.AsX(), i), pairs[i].AsX())
		VINSERTF128(operand.U8(1), entry(upper, i), pairs[i], pairs[i])
	}
	heads, tails = YMM(), YMM()
	VUNPCKLPD(pairs[1], pairs[0], heads)
	VUNPCKHPD(pairs[1], pairs[0], tails)
	return heads, tails
}

// exponentials writes the exponential of an array, without masks.
func (g generator) exponentials() {
	g.function("Exponentials", fmt.Sprintf("y, x *%s, n int, powers *[128][2]float64, constants *[16][4]float64) (low int", g.number.name),
		"computes y[i] = e^x[i] for n numbers, a multiple of one register. In float64, low is not 0 when an x was below -708 or above 709: the results are then wrong.")
	y, x, n := load("y"), load("x"), load("n")
	e := g.exponential()
	low := YMM()
	VXORPD(low, low, low)
	g.each(n, []reg.GPVirtual{y, x}, func(at []operand.Mem, _ reg.OpmaskVirtual) {
		if g.size == 8 {
			v, outside := g.get(at[1], nil), YMM()
			for _, bound := range []struct {
				comparison int
				at         operand.Mem
			}{{1, constant4(g.full("Lowest"), math.Float64bits(-708))}, {14, constant4(g.full("Highest"), math.Float64bits(709))}} {
				VCMPPD(operand.U8(bound.comparison), bound.at, v, outside)
				VORPD(outside, low, low)
			}
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
// rows are turned into registers once and turned back once.
func (g generator) softmax() {
	g.functionWithFrame("Softmax", fmt.Sprintf("p, z, sum *%s, best *int32, rows, cols int, powers *[128][2]float64, constants *[16]float64) (low int", g.number.name),
		"fills p with the softmax of z [rows, cols], sum with the sums of the exponentials and best with the places of the largest logits. In float64, low is not 0 when an exponent was below -708: the results are then wrong.")
	lanes := g.lanes(64)
	turned := AllocLocal(64 * maxClasses)
	a := g.arithmetic()
	e := g.exponential()
	p, z, sums, best := load("p"), load("z"), load("sum"), load("best")
	rows := load("rows")

	// Lane i reads from number i·cols on.
	places, factor, scalar := ZMM(), ZMM(), GP64()
	iota8 := make([]byte, lanes)
	for i := range iota8 {
		iota8[i] = byte(i)
	}
	Load(Param("cols"), scalar)
	if g.size == 4 {
		VPMOVZXBD(constant(g.set.name+g.short+"Lanes", iota8...), places)
		VPBROADCASTD(scalar.As32(), factor)
		VPMULLD(factor, places, places)
	} else {
		VPMOVZXBQ(constant(g.set.name+g.short+"Lanes", iota8...), places)
		VPBROADCASTQ(scalar, factor)
		VPMULLQ(factor, places, places)
	}
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
	at := func(base reg.GPVirtual) operand.Mem {
		LEAQ(mem(base).Idx(j, uint8(g.size)), address)
		return operand.Mem{Base: address, Index: places, Scale: uint8(g.size)}
	}
	gather := func(base reg.GPVirtual) reg.VecVirtual {
		k, v := K(), ZMM()
		KMOVQ(valid, k)
		VPXORQ(v, v, v)
		if g.size == 4 {
			VGATHERDPS(at(base), k, v)
		} else {
			VGATHERQPD(at(base), k, v)
		}
		return v
	}
	scatter := func(v reg.VecVirtual, base reg.GPVirtual) {
		k := K()
		KMOVQ(valid, k)
		if g.size == 4 {
			VSCATTERDPS(v, k, at(base))
		} else {
			VSCATTERQPD(v, k, at(base))
		}
	}

	// column is where column j is kept.
	column := func() operand.Mem {
		MOVQ(j, address)
		SHLQ(operand.U8(6), address)
		return turned.Idx(address, 1)
	}
	keep := func(v reg.VecVirtual) { g.load(v, column()) }
	kept := func() reg.VecVirtual {
		v := ZMM()
		g.load(column(), v)
		return v
	}

	next, done := label("next"), label("done")
	next.here()
	TESTQ(rows, rows)
	JLE(done.ref())
	some := GP64()
	MOVQ(operand.U32(lanes), some)
	CMPQ(rows, some)
	CMOVQLT(rows, some)
	MOVQ(operand.I32(-1), scalar)
	BZHIQ(some, scalar, scalar)
	KMOVQ(scalar, valid)

	XORQ(j, j)
	top, place := gather(z), ZMM()
	VPXORQ(place, place, place)
	keep(top)
	columns("largest", 1, func() {
		v, above, number := gather(z), K(), ZMM()
		keep(v)
		a.compare(operand.U8(30), top, v, above) // greater
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
	sum := ZMM()
	VPXORQ(sum, sum, sum)
	columns("exponentials", 0, func() {
		v := kept()
		a.sub(top, v, v)
		if g.size == 8 {
			bound, under := ZMM(), K()
			MOVQ(operand.U64(math.Float64bits(-708)), address)
			VPBROADCASTQ(address, bound)
			VCMPPD(operand.U8(1), bound, v, under) // less
			KORQ(under, low, low)
		}
		power := e.ofRegister(v)
		g.add(power, sum, sum)
		keep(power)
	})
	columns("quotients", 0, func() {
		v := kept()
		if g.size == 4 {
			VDIVPS(sum, v, v)
		} else {
			VDIVPD(sum, v, v)
		}
		scatter(v, p)
	})
	g.load(sum, valid, mem(sums))
	if g.size == 4 {
		VMOVDQU32(place, valid, mem(best))
	} else {
		VPMOVQD(place, valid, mem(best))
	}
	ADDQ(operand.U8(64), sums)
	ADDQ(operand.U8(4*lanes), best)
	Load(Param("cols"), end)
	SHLQ(operand.U8(6), end)
	ADDQ(end, p)
	ADDQ(end, z)
	SUBQ(operand.U8(lanes), rows)
	JMP(next.ref())
	done.here()
	KMOVQ(low, scalar)
	Store(scalar, ReturnIndex(0))
	VZEROUPPER()
	RET()
}
