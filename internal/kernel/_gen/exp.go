package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// exponential is what the exponentials of package elementary need in registers:
// the constants in the order of ExpConstants.
type exponential struct {
	g                          generator
	powers, ones               reg.GPVirtual
	steps, round, head, tail   reg.VecVirtual
	inverse                    [5]reg.VecVirtual // 1/2!, 1/3!, ... 1/6!
	lowest, highest            reg.VecVirtual
	infinity, lowBits, nothing reg.VecVirtual
}

func (g generator) exponential() *exponential {
	e := &exponential{g: g, powers: load("powers"), infinity: ZMM(), lowBits: ZMM(), nothing: ZMM()}
	constants := load("constants")
	for i, z := range []*reg.VecVirtual{&e.steps, &e.round, &e.head, &e.tail,
		&e.inverse[0], &e.inverse[1], &e.inverse[2], &e.inverse[3], &e.inverse[4], &e.lowest, &e.highest} {
		*z = ZMM()
		VBROADCASTSD(mem(constants).Offset(8*i), *z)
	}
	bits := GP64()
	MOVQ(operand.U64(math.Float64bits(math.Inf(1))), bits)
	VPBROADCASTQ(bits, e.infinity)
	MOVQ(operand.U32(127), bits)
	VPBROADCASTQ(bits, e.lowBits)
	e.ones = GP64()
	MOVQ(operand.I32(-1), e.ones)
	VPXORQ(e.nothing, e.nothing, e.nothing)
	return e
}

// of returns e^x for eight float64, operation by operation as Exp32 and Exp64 have
// it, so that the bits are the same. For float64, numbers below -708 and above 709
// take another path there and are for the caller to look after.
func (e *exponential) of(x reg.VecVirtual) reg.VecVirtual {
	op := func(f func(...operand.Op), a, b reg.VecVirtual) reg.VecVirtual { // a op b
		z := ZMM()
		f(b, a, z)
		return z
	}
	mul := func(a, b reg.VecVirtual) reg.VecVirtual { return op(VMULPD, a, b) }
	add := func(a, b reg.VecVirtual) reg.VecVirtual { return op(VADDPD, a, b) }
	sub := func(a, b reg.VecVirtual) reg.VecVirtual { return op(VSUBPD, a, b) }

	whole := sub(add(mul(x, e.steps), e.round), e.round)
	k, place := ZMM(), ZMM()
	VCVTTPD2QQ(whole, k)
	VPANDQ(e.lowBits, k, place)
	VPSLLQ(operand.U8(1), place, place)
	VPSRAQ(operand.U8(7), k, k)
	VPSLLQ(operand.U8(52), k, k)
	gather := func(offset int) reg.VecVirtual {
		all, z := K(), ZMM()
		KMOVQ(e.ones, all)
		VPXORQ(z, z, z)
		VGATHERQPD(operand.Mem{Base: e.powers, Index: place, Scale: 8, Disp: offset}, all, z)
		return z
	}
	powerHead, powerTail := gather(0), gather(8)
	i := e.inverse
	var y reg.VecVirtual
	if e.g.size == 4 {
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
		narrow, r1 := YMM(), ZMM()
		VCVTPD2PS(r, narrow)
		VCVTPS2PD(narrow, r1)
		rest := add(sub(r, r1), q)
		product := mul(powerHead, r1)
		sum := add(powerHead, product)
		cut := add(sub(powerHead, sum), product)
		y = add(sum, add(cut, add(powerTail, add(mul(powerTail, r1), mul(add(powerHead, powerTail), rest)))))
	}
	VPADDQ(k, y, y)
	unordered := K()
	VCMPPD(operand.U8(3), x, x, unordered)
	VMOVAPD(x, unordered, y)
	if e.g.size == 4 {
		over, under := K(), K()
		VCMPPD(operand.U8(14), e.highest, x, over) // greater
		VCMPPD(operand.U8(1), e.lowest, x, under)  // less
		VMOVAPD(e.infinity, over, y)
		VMOVAPD(e.nothing, under, y)
	}
	return y
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
