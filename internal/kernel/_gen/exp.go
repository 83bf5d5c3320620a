package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// exp writes the exponentials of package elementary for eight numbers at a time,
// operation by operation as Exp32 and Exp64 have them, so that the bits are the
// same. In float64, numbers below -708 and above 709 take another path there and
// are for the caller to look after.
func (g generator) exp() {
	g.function("Exp", fmt.Sprintf("v *%s, n int, powers *[128][2]float64, constants *[16]float64", g.number.name),
		"replaces each of n numbers by e^v.")
	v, n, powers := load("v"), load("n"), load("powers")
	constants := load("constants")
	bcast := func(i int) reg.VecVirtual {
		z := ZMM()
		VBROADCASTSD(mem(constants).Offset(8*i), z)
		return z
	}
	// The order of Constants in internal/elementary.
	steps, round, head, tail := bcast(0), bcast(1), bcast(2), bcast(3)
	var inverse [5]reg.VecVirtual // 1/2!, 1/3!, ... 1/6!
	for i := range inverse {
		inverse[i] = bcast(4 + i)
	}
	lowest, highest, infinity := bcast(9), bcast(10), ZMM()
	bits := GP64()
	MOVQ(operand.U64(math.Float64bits(math.Inf(1))), bits)
	VPBROADCASTQ(bits, infinity)
	low7 := ZMM()
	MOVQ(operand.U32(127), bits)
	VPBROADCASTQ(bits, low7)

	op := func(f func(...operand.Op), a, b reg.VecVirtual) reg.VecVirtual { // a op b
		z := ZMM()
		f(b, a, z)
		return z
	}
	mul := func(a, b reg.VecVirtual) reg.VecVirtual { return op(VMULPD, a, b) }
	add := func(a, b reg.VecVirtual) reg.VecVirtual { return op(VADDPD, a, b) }
	sub := func(a, b reg.VecVirtual) reg.VecVirtual { return op(VSUBPD, a, b) }

	body := func(mask reg.OpmaskVirtual) {
		x := ZMM()
		if g.size == 4 {
			narrow := YMM()
			if mask == nil {
				VMOVUPS(mem(v), narrow)
			} else {
				VMOVUPS_Z(mem(v), mask, narrow)
			}
			VCVTPS2PD(narrow, x)
		} else if mask == nil {
			VMOVUPD(mem(v), x)
		} else {
			VMOVUPD_Z(mem(v), mask, x)
		}
		whole := sub(add(mul(x, steps), round), round)
		k, place := ZMM(), ZMM()
		VCVTTPD2QQ(whole, k)
		VPANDQ(low7, k, place)
		VPSLLQ(operand.U8(1), place, place)
		VPSRAQ(operand.U8(7), k, k)
		VPSLLQ(operand.U8(52), k, k)
		gather := func(offset int) reg.VecVirtual {
			all, z := K(), ZMM()
			KXNORW(all, all, all)
			VPXORQ(z, z, z)
			VGATHERQPD(operand.Mem{Base: powers, Index: place, Scale: 8, Disp: offset}, all, z)
			return z
		}
		powerHead, powerTail := gather(0), gather(8)
		var y reg.VecVirtual
		if g.size == 4 {
			r := sub(sub(x, mul(whole, head)), mul(whole, tail))
			r2 := mul(r, r)
			p := add(r, mul(r2, add(add(inverse[0], mul(r, inverse[1])), mul(r2, add(inverse[2], mul(r, inverse[3]))))))
			y = add(powerHead, add(powerTail, mul(add(powerHead, powerTail), p)))
		} else {
			a, b := sub(x, mul(whole, head)), mul(whole, tail)
			r := sub(a, b)
			rTail := sub(sub(a, r), b)
			r2 := mul(r, r)
			q := add(rTail, mul(r2, add(add(inverse[0], mul(r, inverse[1])),
				mul(r2, add(add(inverse[2], mul(r, inverse[3])), mul(r2, inverse[4]))))))
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
		if g.size == 4 {
			narrow := YMM()
			over, under, zero := K(), K(), ZMM()
			VCMPPD(operand.U8(14), highest, x, over) // greater
			VCMPPD(operand.U8(1), lowest, x, under)  // less
			VPXORQ(zero, zero, zero)
			VMOVAPD(infinity, over, y)
			VMOVAPD(zero, under, y)
			VCVTPD2PS(y, narrow)
			if mask == nil {
				VMOVUPS(narrow, mem(v))
			} else {
				VMOVUPS(narrow, mask, mem(v))
			}
		} else {
			g.put(y, mem(v), mask)
		}
	}
	loop, last, done := label("loop"), label("last"), label("done")
	loop.here()
	CMPQ(n, operand.U8(8))
	JLT(last.ref())
	body(nil)
	ADDQ(operand.U8(8*g.size), v)
	SUBQ(operand.U8(8), n)
	JMP(loop.ref())
	last.here()
	TESTQ(n, n)
	JZ(done.ref())
	body(g.firstLanes(n))
	done.here()
	VZEROUPPER()
	RET()
}
