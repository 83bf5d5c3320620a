// Command gen writes the assembly of glassnet/internal/kernel: the same loops for
// AVX-512 and for AVX2 with FMA, by avo, and for NEON, in float32 and float64.
// Every loop obeys the arithmetic contract of that package: one fused multiply-add
// per term, in increasing inner index.
//
//	go generate ./internal/kernel
package main

import (
	"flag"
	"fmt"
	"os"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	name := flag.String("isa", "", "instruction set: avx512, avx2 or neon")
	flag.Parse()
	if *name == "neon" {
		value := func(name string) string { return flag.Lookup(name).Value.String() }
		if err := generateNEON(value("out"), value("stubs"), value("pkg")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	set, ok := sets[*name]
	if !ok {
		fmt.Fprintf(os.Stderr, "unknown instruction set %q, want avx512, avx2 or neon\n", *name)
		os.Exit(2)
	}
	ConstraintExpr("!purego")
	for _, t := range numbers {
		g := generator{set, t}
		for _, p := range set.panels {
			for _, rows := range p.rows {
				g.tile(rows, p.registers)
			}
			g.sparse(4, p.registers)
			g.sparse(1, p.registers)
			g.pack(p.registers)
		}
		for _, p := range set.pairs {
			g.pairsSum(p)
			g.pairsFinish(p)
			g.pairsGradient(set.together, p)
		}
		if set.masked {
			if g.size == 4 {
				g.pack([]int{32, 16}) // strips of 12 rows; float64 has a panel of 12 columns
			}
			g.pack([]int{64, 64, 64})
			g.pack([]int{64, 64, 64, 64})
		}
		g.addScaled()
		g.elementwise()
		g.peak()
		if set.masked {
			g.softmax()
		} else {
			g.exponentials()
		}
		g.transposePanel()
	}
	joinLists(set)
	if set.masked {
		listPairs(set)
		compress(set)
	} else {
		fronts := frontsTable(set)
		compress8(set, fronts)
		listPairs8(set, fronts)
	}
	if set.name == "avx2" {
		pause()
		claim()
		fetchLinesToWrite()
	}
	Generate()
}

// set is an instruction set.
type set struct {
	name   string
	bytes  int // of its widest register
	panels []panel
	masked bool // loads and stores can leave lanes out

	pairs    [][]int // registers of the panels for pairs of pixels: up to what all registers hold
	together int     // pairs whose gradients are summed together
}

// panel is a number of columns that are computed together.
type panel struct {
	registers []int // that one row takes, in bytes each
	rows      []int // of the register tiles, largest first
}

var (
	low, high = []int{4, 2, 1}, []int{6, 4, 2, 1}
	highest   = []int{12, 8, 4, 2, 1}
	high8     = []int{8, 4, 2, 1}
)

var sets = map[string]set{
	// 32 registers: 12 rows of two accumulators, a row of the panel, a broadcast.
	// A half register beside a full one saves a quarter of the time for 17 to 24
	// columns, and a quarter of one, where rows of pairs are only added to, more for 20.
	"avx512": {"avx512", 64, []panel{{[]int{32}, highest}, {[]int{64}, highest}, {[]int{64, 32}, highest}, {[]int{64, 64}, highest}, {[]int{64, 64, 32}, high8}}, true,
		[][]int{{32}, {64}, {64, 16}, {64, 32}, {64, 64}, {64, 64, 32}, {64, 64, 64}, {64, 64, 64, 64}}, 2},
	// 16 registers: 12 rows of one accumulator, 6 of two or 4 of three. Without masks
	// there are panels that end in half a register, so that few are not full.
	"avx2": {"avx2", 32, []panel{{[]int{16}, highest}, {[]int{32}, highest}, {[]int{32, 16}, high}, {[]int{32, 32}, high},
		{[]int{32, 32, 16}, low}, {[]int{32, 32, 32}, low}}, false,
		[][]int{{16}, {32}, {32, 16}, {32, 32}, {32, 32, 16}, {32, 32, 32}, {32, 32, 32, 32}, {32, 32, 32, 32, 16}, {32, 32, 32, 32, 32}}, 1},
}

// number is a number type with its instructions.
type number struct {
	name   string // of the Go type
	short  string // in the names of functions
	size   int
	load   func(...operand.Op)
	bcast  func(...operand.Op)
	fma    func(...operand.Op) // a, b, c: c = a·b + c
	fma213 func(...operand.Op) // a, b, c: c = b·c + a
	add    func(...operand.Op)
	xor    func(...operand.Op)
}

var numbers = []number{
	{"float32", "32", 4, VMOVUPS, VBROADCASTSS, VFMADD231PS, VFMADD213PS, VADDPS, VXORPS},
	{"float64", "64", 8, VMOVUPD, VBROADCASTSD, VFMADD231PD, VFMADD213PD, VADDPD, VXORPD},
}

type generator struct {
	set
	number
}

// lanes is how many numbers a register of that many bytes holds.
func (g generator) lanes(bytes int) int { return bytes / g.size }

// function begins an assembly function.
func (g generator) function(name, signature, doc string) { // signature without its parentheses
	TEXT(g.full(name), NOSPLIT, "func("+signature+")")
	Doc(g.full(name) + " " + doc)
	Pragma("noescape")
}

// functionWithFrame is function for one that may need more stack than there is.
func (g generator) functionWithFrame(name, signature, doc string) {
	TEXT(g.full(name), 0, "func("+signature+")")
	Doc(g.full(name) + " " + doc)
	Pragma("noescape")
}

// full is the full name of a function: avx512Tile32x12x64.
func (g generator) full(name string) string { return g.set.name + name + g.short }

func vector(bytes int) reg.VecVirtual {
	switch bytes {
	case 64:
		return ZMM()
	case 32:
		return YMM()
	}
	return XMM()
}

func load(name string) reg.GPVirtual { return Load(Param(name), GP64()).(reg.GPVirtual) }

func mem(base reg.Register) operand.Mem { return operand.Mem{Base: base} }

// scale turns a stride counted in numbers into bytes.
func (g generator) scale(strides ...reg.GPVirtual) {
	shift := operand.U8(2)
	if g.size == 8 {
		shift = 3
	}
	for _, s := range strides {
		SHLQ(shift, s)
	}
}

// zero clears an accumulator.
func (g generator) zero(v reg.VecVirtual) {
	if v.Size() == 64 || g.masked {
		VPXORQ(v, v, v)
		return
	}
	g.xor(v, v, v)
}

// tailMask returns a mask of the first lanes of the last register of a row, of
// which width numbers are used in all; nil when the set has no masks.
func (g generator) tailMask(widths []int) reg.OpmaskVirtual {
	if !g.masked {
		return nil
	}
	used := load("width")
	for _, w := range widths[:len(widths)-1] {
		SUBQ(operand.U32(g.lanes(w)), used)
	}
	ones := GP64()
	MOVQ(operand.I32(-1), ones)
	BZHIQ(used, ones, ones)
	k := K()
	KMOVQ(ones, k)
	return k
}

// loadRow loads the registers of one row from m, the last one under mask.
func (g generator) loadRow(row []reg.VecVirtual, m operand.Mem, mask reg.OpmaskVirtual) {
	for v, r := range row {
		if v == len(row)-1 && mask != nil {
			g.maskedLoad(m, mask, r)
		} else {
			g.load(m, r)
		}
		m = m.Offset(int(r.Size()))
	}
}

func (g generator) maskedLoad(m operand.Mem, k reg.OpmaskVirtual, r reg.VecVirtual) {
	if g.size == 4 {
		VMOVUPS_Z(m, k, r)
	} else {
		VMOVUPD_Z(m, k, r)
	}
}

// storeRow adds the bias, once, and stores the row, the last register under mask.
func (g generator) storeRow(row, bias []reg.VecVirtual, m operand.Mem, mask reg.OpmaskVirtual) {
	for v, r := range row {
		g.add(r, narrow(bias[v], int(r.Size())), r)
		if v == len(row)-1 && mask != nil {
			g.load(r, mask, m)
		} else {
			g.load(r, m)
		}
		m = m.Offset(int(r.Size()))
	}
}

func (g generator) row(widths []int) []reg.VecVirtual {
	var row []reg.VecVirtual
	for _, w := range widths {
		row = append(row, vector(w))
	}
	return row
}

func total(widths []int) (bytes int) {
	for _, w := range widths {
		bytes += w
	}
	return bytes
}

// panelAhead is how many rows ahead a tile fetches its panel, be that packed or not.
const panelAhead = 24

// tile writes the register tile of a dense product: rows x (total of widths)
// numbers of y are summed in registers over the whole inner index.
func (g generator) tile(rows int, widths []int) {
	g.function(fmt.Sprintf("Tile%dx%dx", rows, total(widths)/g.size),
		fmt.Sprintf("y *%[1]s, ys int, a *%[1]s, ar, ai int, b *%[1]s, bs int, bias *%[1]s, inner, width int, value *%[1]s, factor %[1]s) (bad int", g.number.name),
		fmt.Sprintf("computes y[r, j] = Σ_p a[r·ar + p·ai]·b[p·bs + j] + bias[j] for %d rows and width columns. If value is not nil, its rows, which are ys apart too, become fma(factor, y, value) + 0; bad is not 0 when a number of them is infinite or NaN.", rows))
	y, ys := load("y"), load("ys")
	a, ar, ai := load("a"), load("ar"), load("ai")
	b, bs := load("b"), load("bs")
	inner := load("inner")
	g.scale(ys, ar, ai, bs)
	mask := g.tailMask(widths)

	// Row r is reached from every third row: base, base + ar, base + 2ar.
	bases := []reg.GPVirtual{a}
	for len(bases)*3 < rows {
		next := GP64()
		LEAQ(operand.Mem{Base: ar, Index: ar, Scale: 2}, next)
		ADDQ(bases[len(bases)-1], next)
		bases = append(bases, next)
	}
	at := func(r int) operand.Mem {
		m := mem(bases[r/3])
		if r%3 > 0 {
			m = m.Idx(ar, uint8(r%3))
		}
		return m
	}
	ahead := GP64()
	if total(widths) >= line {
		IMUL3Q(operand.U32(panelAhead), bs, ahead)
	}
	var acc [][]reg.VecVirtual
	for range rows {
		acc = append(acc, g.row(widths))
		for _, v := range acc[len(acc)-1] {
			g.zero(v)
		}
	}
	// eachRow calls do with each row of a matrix whose rows are ys apart.
	eachRow := func(first reg.GPVirtual, do func(r int, m operand.Mem)) {
		row := GP64()
		MOVQ(first, row)
		for r := range rows {
			do(r, mem(row))
			if r < rows-1 {
				ADDQ(ys, row)
			}
		}
	}
	alone := label("alone")
	value := load("value")
	TESTQ(value, value)
	JZ(alone.ref())
	eachRow(value, func(_ int, m operand.Mem) {
		for at := 0; at < total(widths); at += line {
			fetchToWrite(m.Offset(at))
		}
	})
	alone.here()
	panel := g.row(widths)
	loop, done := label("loop"), label("done")
	TESTQ(inner, inner)
	JZ(done.ref())
	loop.here()
	g.loadRow(panel, mem(b), mask)
	if total(widths) >= line {
		for at := 0; at < total(widths); at += line {
			PREFETCHT0(mem(b).Idx(ahead, 1).Offset(at))
		}
	}
	for r := range rows {
		value := vector(widths[0])
		g.broadcast(at(r), value)
		for v, column := range panel {
			g.fma(column, narrow(value, widths[v]), acc[r][v])
		}
	}
	for _, base := range bases {
		ADDQ(ai, base)
	}
	ADDQ(bs, b)
	DECQ(inner)
	JNZ(loop.ref())
	done.here()
	bias := load("bias")
	g.loadRow(panel, mem(bias), mask)
	eachRow(y, func(r int, m operand.Mem) { g.storeRow(acc[r], panel, m, mask) })
	bad, stay := GP64(), label("stay")
	XORQ(bad, bad)
	value = load("value")
	TESTQ(value, value)
	JZ(stay.ref())
	f := g.newFusedUpdate(widths)
	f.begin()
	eachRow(value, func(r int, m operand.Mem) { f.update(acc[r], m, mask) })
	MOVQ(f.notFinite(), bad)
	stay.here()
	Store(bad, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// fusedUpdate writes the update of rows of weights whose gradients are in registers.
type fusedUpdate struct {
	generator
	differences  map[int]reg.VecVirtual // by width of a register: sums of w - w, which is 0 for a finite number and NaN for others
	all          []reg.VecVirtual       // these, in order
	factor, zero reg.VecVirtual         // from begin on
}

// newFusedUpdate is for rows of these registers, the widest first.
func (g generator) newFusedUpdate(registers []int) *fusedUpdate {
	f := &fusedUpdate{generator: g, differences: map[int]reg.VecVirtual{}}
	for _, width := range registers {
		if f.differences[width] == nil {
			f.differences[width] = vector(width)
			f.all = append(f.all, f.differences[width])
			g.zero(f.differences[width])
		}
	}
	return f
}

// begin takes the parameter factor.
func (f *fusedUpdate) begin() {
	widest := int(f.all[0].Size())
	f.factor, f.zero = vector(widest), vector(widest)
	f.generator.zero(f.zero)
	f.broadcast(parameter("factor").(operand.Mem), f.factor)
}

// update computes w = fma(factor, gradient, w) + 0 for a row of weights at m, in the registers
// of the gradient: others there may be none.
func (f *fusedUpdate) update(gradient []reg.VecVirtual, m operand.Mem, mask reg.OpmaskVirtual) {
	for i, d := range gradient {
		width := int(d.Size())
		k := mask // of the last register only
		if i < len(gradient)-1 {
			k = nil
		}
		w := operand.Op(m)
		if k != nil {
			part := vector(width)
			f.maskedLoad(m, k, part)
			w = part
		}
		f.fma213(w, narrow(f.factor, width), d)
		f.add(narrow(f.zero, width), d, d)
		f.put(d, m, k)
		f.arithmetic().sub(d, d, d)
		f.add(d, f.differences[width], f.differences[width])
		m = m.Offset(width)
	}
}

// notFinite is not 0 if a number of the updated weights is infinite or NaN.
func (f *fusedUpdate) notFinite() reg.GPVirtual { return f.notNumbers(f.all) }

// broadcast loads one number into all lanes.
func (g generator) broadcast(m operand.Mem, v reg.VecVirtual) {
	if g.size == 8 && v.Size() == 16 {
		VMOVDDUP(m, v)
		return
	}
	g.bcast(m, v)
}

// narrow is the lower part of a register.
func narrow(v reg.VecVirtual, bytes int) reg.Register {
	switch {
	case int(v.Size()) == bytes:
		return v
	case bytes == 16:
		return v.AsX()
	}
	return v.AsY()
}

// label is a place to jump to.
type label string

func (l label) here()                 { Label(string(l)) }
func (l label) ref() operand.LabelRef { return operand.LabelRef(l) }

// line is a cache line in bytes.
const line = 64

// cut divides the registers of a row into those that fill cache lines and the rest.
func cut(registers []int) (lines, rest []int) {
	n := len(registers)
	for total(registers[:n])%line != 0 {
		n--
	}
	return registers[:n], registers[n:]
}

// piece is a part of a row: registers that stand in an array of their own.
type piece struct {
	base      reg.GPVirtual // where the array begins
	registers []int
	first     int // of them in the row
}

// pieces are the parts of a row that fill cache lines, and the rest.
func pieces(registers []int, lines, rest reg.GPVirtual) (all []piece) {
	l, r := cut(registers)
	for _, p := range []piece{{lines, l, 0}, {rest, r, len(l)}} {
		if len(p.registers) > 0 {
			all = append(all, p)
		}
	}
	return all
}

// row is where row at16/16 of the piece is, rows standing side by side.
func (p piece) row(at16 reg.GPVirtual) operand.Mem {
	switch n := total(p.registers) / 16; n {
	case 1, 2, 4, 8:
		return mem(p.base).Idx(at16, uint8(n))
	default:
		bytes := GP64()
		IMUL3Q(operand.U32(n), at16, bytes)
		return mem(p.base).Idx(bytes, 1)
	}
}

// entry loads an entry of a list: its place, and what its byte stands for in all lanes.
func (g generator) entry(m operand.Mem, values reg.GPVirtual, bytes int) (place reg.GPVirtual, value reg.VecVirtual) {
	place, value = GP64(), vector(bytes)
	pixel := GP64()
	MOVL(m, place.As32())
	MOVBLZX(place.As8(), pixel.As32())
	SHRL(operand.U8(placeShift), place.As32())
	g.broadcast(mem(values).Idx(pixel, uint8(g.size)), value)
	return place, value
}

// eachEntry writes a loop that counts t up to what is at m, if it is below.
func eachEntry(name string, t reg.GPVirtual, m operand.Mem, body func()) {
	end := GP64()
	MOVQ(m, end)
	loop, done := label("loop"+name), label("done"+name)
	CMPQ(t, end)
	JGE(done.ref())
	loop.here()
	body()
	INCQ(t)
	CMPQ(t, end)
	JNE(loop.ref())
	done.here()
}

// sparse writes the sum of scaled rows: each compressed row picks rows of b and
// scales them. Several are interleaved so that the additions of one do not wait
// for each other; those of b then stand side by side.
func (g generator) sparse(lists int, widths []int) {
	strides := "whose rows are bs and rs apart"
	if lists > 1 {
		strides = "whose rows stand side by side"
	}
	lines, rest := cut(widths)
	g.function(fmt.Sprintf("Sparse%dx%dx", lists, total(widths)/g.size),
		fmt.Sprintf("rows *byte, groups, left int, b *%[1]s, bs int, rest *%[1]s, rs int, bias, values *%[1]s, width int", g.number.name),
		fmt.Sprintf("computes row.y[left + j] = Σ_t values[byte]·b[place, j] + bias[j], place and byte of row.entries[t], for groups of %d rows and width columns, of which the first %d are in b and up to %d in rest, %s; the last row of a group has the count of all.", lists, g.lanes(total(lines)), g.lanes(total(rest)), strides))
	const y, first, count, size = 0, 8, 16, 24 // of sparseRow
	row, groups, values := load("rows"), load("groups"), load("values")
	var b, bs, tail, rs reg.GPVirtual
	if len(lines) > 0 {
		b, bs = load("b"), load("bs")
		g.scale(bs)
	}
	if len(rest) > 0 {
		tail, rs = load("rest"), load("rs")
		g.scale(rs)
	}
	mask := g.tailMask(widths)
	next, done := label("next"), label("done")
	next.here()
	SUBQ(operand.U8(1), groups)
	JLT(done.ref())
	var entries []reg.GPVirtual
	var acc [][]reg.VecVirtual
	for r := range lists {
		e := GP64()
		MOVQ(mem(row).Offset(size*r+first), e)
		entries = append(entries, e)
		acc = append(acc, g.row(widths))
		for _, v := range acc[r] {
			g.zero(v)
		}
	}
	t := GP64()
	XORQ(t, t)
	eachEntry("Entry", t, mem(row).Offset(size*(lists-1)+count), func() {
		for r, e := range entries {
			at, value := g.entry(mem(e).Idx(t, 4), values, widths[0])
			if lists > 1 {
				SHLL(operand.U8(4), at.As32())
			}
			for _, p := range pieces(widths, b, tail) {
				var m operand.Mem
				if lists > 1 {
					m = p.row(at)
				} else {
					bytes := GP64()
					MOVQ(at, bytes)
					if p.first == 0 && len(lines) > 0 {
						IMULQ(bs, bytes)
					} else {
						IMULQ(rs, bytes)
					}
					m = mem(p.base).Idx(bytes, 1)
				}
				for i, width := range p.registers {
					v := p.first + i
					if lists == 1 && v == len(acc[r])-1 && mask != nil {
						g.fma(m, narrow(value, width), mask, acc[r][v])
					} else {
						g.fma(m, narrow(value, width), acc[r][v])
					}
					m = m.Offset(width)
				}
			}
		}
	})
	bias, left := load("bias"), load("left")
	panel := g.row(widths)
	g.loadRow(panel, mem(bias), mask)
	for r := range lists {
		to := GP64()
		MOVQ(mem(row).Offset(size*r+y), to)
		g.storeRow(acc[r], panel, mem(to).Idx(left, uint8(g.size)), mask)
	}
	ADDQ(operand.U32(size*lists), row)
	JMP(next.ref())
	done.here()
	VZEROUPPER()
	RET()
}

// addScaled writes y = fma(a, x, y).
func (g generator) addScaled() {
	const unroll = 4
	g.function("AddScaled", fmt.Sprintf("y, x *%[1]s, n int, a %[1]s", g.number.name),
		"computes y[j] = fma(a, x[j], y[j]) for n numbers, a multiple of one register.")
	y, x, n := load("y"), load("x"), load("n")
	scalar, a := XMM(), vector(g.bytes)
	Load(Param("a"), scalar)
	g.bcast(scalar, a)
	lanes := g.lanes(g.bytes)
	step := func(registers int) {
		for u := range registers {
			v := vector(g.bytes)
			g.load(mem(y).Offset(u*g.bytes), v)
			g.fma(mem(x).Offset(u*g.bytes), a, v)
			g.load(v, mem(y).Offset(u*g.bytes))
		}
		ADDQ(operand.U32(registers*g.bytes), y)
		ADDQ(operand.U32(registers*g.bytes), x)
		SUBQ(operand.U32(registers*lanes), n)
	}
	blocks, singles, done := label("blocks"), label("singles"), label("done")
	blocks.here()
	CMPQ(n, operand.U32(unroll*lanes))
	JLT(singles.ref())
	step(unroll)
	JMP(blocks.ref())
	singles.here()
	CMPQ(n, operand.U32(lanes))
	JLT(done.ref())
	step(1)
	JMP(singles.ref())
	done.here()
	VZEROUPPER()
	RET()
}

// pause writes the hint that a loop is only waiting.
func pause() {
	TEXT("pause", NOSPLIT, "func()")
	Doc("pause passes a moment without taking much from a neighbouring thread.")
	PAUSE()
	RET()
}

// claim writes a loop that makes cache lines this core's.
func claim() {
	TEXT("claim", NOSPLIT, "func(p *byte, lines int)")
	Doc("claim writes the first word of each cache line back to where it has read it.")
	Pragma("noescape")
	p, lines := load("p"), load("lines")
	const together = 4
	each := func(name string, count int) {
		loop, done := label(name), label(name+"done")
		loop.here()
		SUBQ(operand.U8(count), lines)
		JLT(done.ref())
		var words []reg.GPVirtual
		for i := range count {
			words = append(words, GP64())
			MOVQ(mem(p).Offset(line*i), words[i])
		}
		for i, word := range words {
			MOVQ(word, mem(p).Offset(line*i))
		}
		ADDQ(operand.U32(line*count), p)
		JMP(loop.ref())
		done.here()
		ADDQ(operand.U8(count), lines)
	}
	each("some", together)
	each("rest", 1)
	RET()
}

// fetchLinesToWrite writes a loop that fetches cache lines for writing.
func fetchLinesToWrite() {
	TEXT("fetchToWrite", NOSPLIT, "func(p *byte, lines int)")
	Doc("fetchToWrite fetches cache lines that other cores may have read, for writing.")
	Pragma("noescape")
	p, lines := load("p"), load("lines")
	loop, done := label("loop"), label("done")
	loop.here()
	SUBQ(operand.U8(1), lines)
	JLT(done.ref())
	fetchToWrite(mem(p))
	ADDQ(operand.U8(line), p)
	JMP(loop.ref())
	done.here()
	RET()
}

// peak writes a loop of nothing but fused multiply-adds, as many at once as the CPU
// can have under way.
func (g generator) peak() {
	sums := 12
	if g.masked {
		sums = 24
	}
	g.function("Peak", "n int) (flops int", "makes n rounds of independent fused multiply-adds and returns the floating-point operations of a round.")
	n := load("n")
	var acc []reg.VecVirtual
	for range sums {
		v := vector(g.bytes)
		g.zero(v)
		acc = append(acc, v)
	}
	one := vector(g.bytes)
	g.zero(one)
	loop := label("loop")
	loop.here()
	for _, v := range acc {
		g.fma(one, one, v)
	}
	DECQ(n)
	JG(loop.ref())
	flops := GP64()
	MOVQ(operand.U32(2*sums*g.lanes(g.bytes)), flops)
	Store(flops, ReturnIndex(0))
	VZEROUPPER()
	RET()
}
