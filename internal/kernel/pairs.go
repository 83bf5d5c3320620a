package kernel

import (
	"encoding/binary"
	"sync/atomic"
	"unsafe"

	"glassnet/matrix"
)

// Pairs lists what is not 0 in a batch of images, by pairs of neighbouring pixels. In
// handwriting both are mostly 0 together, and what is loaded for the one serves the
// other: a pair of MNIST's pixels has 17 % more entries than each of the two would have.
// (E. Im, K. Yelick and R. Vuduc, "Sparsity: Optimization Framework for Sparse Matrix
// Kernels", Int. J. High Perform. Comput. Appl. 18 (2004), call it register blocking.)
// The product of a first layer makes the lists, and the gradient of its weights uses
// them. An entry is image<<16 | second<<8 | first, the bytes of the two pixels.
//
// A pixel of 0 beside one that is not 0 is multiplied too: where a weight, or in the
// gradient a number of g, is infinite or NaN, a result is NaN that would otherwise be
// finite. The contract is about finite numbers.
type Pairs struct {
	images, cols int   // of what is listed
	height       int   // images of a stack; the last may have fewer
	count        int   // stacks that there are, and sides
	moved        []int // by block: images that the border of its sides is behind that of its stacks
	movedAmong   int   // for how many threads moved is; a pass by one keeps it
	each         int   // sides of a part; the last may have fewer
	sides        int   // of a block, and stacks: 2; 1 where these would be listed by two threads
	half         int   // pixels of the first half, which has sums of its own
	halves       [2]listed
	parted       bool         // halves has a list for each half, for two threads; else one for all pixels
	ahead        [2][]uintptr // by half: for each image of each stack, the first cache line of what is likely to come next; a line may begin before its memory
	threads      int
	pool         *Pool
	handed       []tally // by thread: the batches of which it has handed its sums to its partner
}

// listed lists the pixels [lo, hi) of all images.
type listed struct {
	lo, hi int
	blocks []pairBlock
}

// pairBlock lists the images of one or two sides that follow each other: of side s, pair q,
// counted from that of pixel lo, has the entries from starts[2q+s] to starts[2q+s+1]. So a
// side's entries can be summed alone and a block's together. An image counts from the first
// of its group. What is listed together are stacks of up to 64 images; the sides are these,
// but for the images that Move has moved.
type pairBlock struct {
	entries []uint32
	starts  []int32
}

// tally counts what a thread has come to, for others to await.
type tally struct {
	count atomic.Uint32
	_     [line - 4]byte // a cache line of its own
}

// MovedTogether is the number of images whose multiples Pairs.Move moves.
const MovedTogether = 8

// firstHalf is how many of k pixels are in the first half: the rows of weights that
// ParameterRows gives the first of two threads; none in float64, whose sums of a training are
// compared with numpy's.
func firstHalf[T Float](k int) int {
	if sizeOf[T]() > 4 {
		return 0
	}
	_, half := ParameterRows(k, 0, 2)
	return half
}

const (
	imageShift = 16
	inStack    = 64      // images at most of a stack
	mostSides  = 2       // of a block
	mostMoved  = 32      // images from one side to the other
	fewListed  = 3       // images from which it pays to list a stack at once
	inGroup    = 128     // images whose gradients are kept in the first-level cache together: whole blocks
	mostKept   = 1 << 17 // bytes of sums that wait for the partner's
	slack      = 32      // entries behind the last that listPairs and joinLists may read or write

	mostTogether = 2 // pairs whose gradients any implementation sums together
)

// pairPanel holds the functions for pairs and so many columns of the second factor.
type pairPanel[T Float] struct {
	columns int
	stride  int // from row to row of sums and of g
	// sum computes sums[i, j] = Σ_q (values[first]·w[2q, j] + values[second]·w[2q+1, j]) over
	// the entries [starts[2q], starts[2q+sides]) of each pair q that are for image first+i;
	// starts[2q] of the pair behind the last one is *last. Meanwhile it may fetch 64 images for
	// each side; ahead has the addresses of their first cache lines.
	sum func(sums *T, images, first int, entries *uint32, starts, last *int32, sides int, w *T, ws int, values *T, width int, ahead *uintptr)
	// finish computes y[i·ys + j] = sums[i, j] + bias[j]; if more is not 0, what is in y is
	// added to the sum, before the bias.
	finish func(y *T, ys int, sums *T, images int, bias *T, width, more int)
	// gradient computes pair.d0[left + j] = Σ values[first]·g[image, j] + 0, and pair.d1 with
	// second, over the entries of each pair, beginning with what is there if more is not 0.
	// A group has as many pairs as are summed together, none with more entries than the next.
	// If descend is not 0, w0 and w1 of a pair become fma(factor, d, w) + 0, by its d0 and d1;
	// bad is not 0 when one is infinite or NaN.
	gradient func(pairs *byte, groups, left int, g, values *T, width, more, descend int, factor T) (bad int)
	pack     func(dst, src *T, stride, inner, width int) // rows of g; nil: in Go
}

// pairRow says where the list of a pair is, where its two sums go, and where the weights are
// that follow these.
type pairRow[T Float] struct {
	d0, d1  *T
	entries *uint32
	count   int
	w0, w1  *T
}

// listPairsFunc lists the pairs of columns [0, n), n a multiple of 16, of a block of so many
// stacks of 64 images, from starts[0] on; the stacks begin with image first and image second,
// the second side with image 8·border of the block, or not if that is 16.
type listPairsFunc func(entries *uint32, starts *int32, images **byte, first, second, stacks, border, n int)

// begin makes room for the pairs of so many images, that threads are to list: each the
// same number of sides, as far as that goes. half is how many pixels the first half has.
// If all is as it was, nothing is written that the other threads would have to read again.
func (l *Pairs) begin(images, cols, half, threads int, pool *Pool) {
	if l.images == images && l.cols == cols && l.half == half && l.threads == threads && l.pool == pool {
		return
	}
	if l.images != images || threads > 1 && l.movedAmong != threads {
		clear(l.moved)
		l.movedAmong = threads
	}
	l.images, l.cols, l.half, l.threads, l.pool = images, cols, half, threads, pool
	l.parted = 0 < half && half < cols && threads > 1
	if len(l.handed) < threads {
		l.handed = make([]tally, threads)
	}
	l.each = max((images+inStack*threads-1)/(inStack*threads), 1)
	l.height = max((images+l.each*threads-1)/(l.each*threads), 1)
	l.height = (l.height + 15) / 16 * 16
	l.count = (images + l.height - 1) / l.height
	l.sides = 1
	if l.parted || threads == 1 || l.each%mostSides == 0 {
		l.sides = mostSides
	}
	blocks := (l.count + l.sides - 1) / l.sides
	for h := range l.ahead {
		grow(&l.ahead[h], blocks*l.sides*inStack)
	}
	grow(&l.moved, blocks)
	if l.parted {
		l.halves[0].begin(0, half, blocks, l.sides*l.height)
		l.halves[1].begin(half, cols, blocks, l.sides*l.height)
	} else {
		l.halves[0].begin(0, cols, blocks, l.sides*l.height)
	}
}

// begin makes room for the pixels [lo, hi) of so many blocks of so many images.
func (h *listed) begin(lo, hi, blocks, images int) {
	h.lo, h.hi = lo, hi
	h.blocks = h.blocks[:cap(h.blocks)]
	for len(h.blocks) < blocks {
		h.blocks = append(h.blocks, pairBlock{})
	}
	h.blocks = h.blocks[:blocks]
	for i := range h.blocks {
		b := &h.blocks[i]
		grow(&b.entries, h.pairs()*images+slack)
		grow(&b.starts, mostSides*(h.pairs()+1)) // one more than there are: where the second side of a pair behind the last would begin
	}
}

// pairs is how many pairs an image has; if its pixels are odd in number, the last has 0 for
// its second.
func (h *listed) pairs() int { return (h.hi - h.lo + 1) / 2 }

// lists returns the lists that there are.
func (l *Pairs) lists() []listed {
	if l.parted {
		return l.halves[:]
	}
	return l.halves[:1]
}

// share returns the sides of a part of the images.
func (l *Pairs) share(part, parts int) (first, last int) {
	if parts == 1 {
		return 0, l.count
	}
	return min(l.count, part*l.each), min(l.count, (part+1)*l.each)
}

// Rows returns the images [lo, hi) whose products a part computes, its partner's help
// included.
func (l *Pairs) Rows(part, parts int) (lo, hi int) {
	first, last := l.share(part, parts)
	return l.bounds(first, last-first)
}

// stack returns the images [lo, hi) of a stack.
func (l *Pairs) stack(i int) (lo, hi int) {
	return min(l.images, i*l.height), min(l.images, (i+1)*l.height)
}

// bounds returns the images [lo, hi) of so many sides.
func (l *Pairs) bounds(side, sides int) (lo, hi int) { return l.begins(side), l.begins(side + sides) }

// begins returns the first image of a side.
func (l *Pairs) begins(side int) int {
	at := side * l.height
	if l.parted && side%mostSides == 1 && side < l.count {
		at += l.moved[side/mostSides]
	}
	return min(l.images, at)
}

// Move moves the border between the rows of a part and of its partner from the next product
// on, so that the part has so many images more, or fewer where images < 0; a multiple of
// MovedTogether. The border stays within 32 images, and a quarter of those of both, of where
// it is at first, and each side keeps one at least. Move reports whether the border has moved:
// not where parts have several sides or no partner. Another number of images, or of threads,
// begins with none moved.
func (l *Pairs) Move(part, images int) (moved bool) {
	other, paired := l.partner(part, l.threads)
	if !paired || l.each != 1 || max(part, other) >= l.count {
		return false
	}
	if part > other {
		images = -images
	}
	m := &l.moved[part/mostSides]
	lo, border := l.stack(min(part, other))
	_, hi := l.stack(max(part, other))
	most := min(mostMoved, (hi-lo)/4)
	next := min(max(*m+images, -most), most, hi-1-border) / MovedTogether * MovedTogether
	moved = next != *m
	*m = next
	return moved
}

// partner returns the part that does the other half of the pixels for the images of both,
// or false where there is none, as for the last of an odd number.
func (l *Pairs) partner(part, parts int) (other int, paired bool) {
	return part ^ 1, l.parted && part^1 < parts
}

// group is how many sides form a group, 8, 4 or 2, and may be fewer in the last one.
func (l *Pairs) group() int { return inGroup / l.height }

// first is the number within its group of the first image of a side or, unmoved, a stack.
func (l *Pairs) first(side int) int { return l.begins(side) - side/l.group()*l.group()*l.height }

// together says whether the sums of a block, so many bytes for an image, take no more than
// half of a first-level cache of 32 KB; else a product takes one side after the other.
func (l *Pairs) together(bytes int) bool { return l.sides*l.height*bytes <= 1<<14 }

// list makes the lists of a block.
func (v *vectors[T]) list(s *Scratch[T], l *Pairs, p matrix.Pixels, h *listed, block int) {
	stack := block * l.sides // and side
	stacks := min(l.sides, l.count-stack)
	grow(&s.none, h.hi-h.lo)
	none, pixels := unsafe.SliceData(s.none), unsafe.Pointer(unsafe.SliceData(p.Data))
	known := p.Index[:cap(p.Index)]
	for k := range stacks {
		lo, hi := l.stack(stack + k)
		images := s.images[k*inStack:][:inStack]
		for i, image := range p.Index[lo:hi] { // whose Check has found them in Data
			images[i] = (*byte)(unsafe.Add(pixels, int(image)*p.Cols+h.lo))
		}
		for i := hi - lo; i < inStack; i++ {
			images[i] = none
		}
		// What stands behind a batch in the order of the images is most likely the batch after it.
		next := known[min(lo+p.Rows(), len(known)):min(hi+p.Rows(), len(known))]
		at := (stack + k) * inStack
		if h.lo == 0 {
			linesOf(l.ahead[0][at:][:inStack], p, next, 0, none)
		}
		if h.hi == l.cols {
			linesOf(l.ahead[1][at:][:inStack], p, next, l.half, none)
		}
	}
	b := &h.blocks[block]
	b.starts[0] = 0
	done := 0
	if lo, hi := l.bounds(stack, stacks); v.listPairs != nil && hi-lo >= fewListed {
		done = (h.hi - h.lo) / 16 * 16
		border := mostSides * inStack / MovedTogether
		if stacks == mostSides {
			inFirst := l.begins(stack+1) - lo // images of the first side
			border = (inFirst/l.height*inStack + inFirst%l.height) / MovedTogether
		}
		v.listPairs(unsafe.SliceData(b.entries), unsafe.SliceData(b.starts), &s.images[0], l.first(stack), l.first(stack)+l.height, stacks, border, done)
	}
	if done < h.hi-h.lo {
		listRest(b, l, p, h, stack, stacks, done)
	}
	clear(s.images[:]) // let go of the caller's memory
}

// linesOf finds the cache lines of p's pixel lo in some images, none's where there is no such
// image. (Not in one loop with other addresses: together they took some threads 2 µs more.)
func linesOf(lines []uintptr, p matrix.Pixels, images []int32, lo int, none *byte) {
	pixels, held := uintptr(unsafe.Pointer(unsafe.SliceData(p.Data))), uint(0)
	if p.Cols > 0 {
		held = uint(len(p.Data) / p.Cols)
	}
	nowhere := uintptr(unsafe.Pointer(none)) &^ (line - 1)
	for i := range lines {
		lines[i] = nowhere
		if i < len(images) && uint(images[i]) < held {
			lines[i] = (pixels + uintptr(int(images[i])*p.Cols+lo)) &^ (line - 1)
		}
	}
}

// listRest lists the pairs of the pixels of h from lo+done on, done being a multiple of 8, of
// the block of so many sides, and stacks, that begins with that of number side.
func listRest(b *pairBlock, l *Pairs, p matrix.Pixels, h *listed, side, sides, done int) {
	var lists [4][mostSides][inStack + mostMoved]uint32
	for from := h.lo + done; from < h.hi; from += 8 {
		var counts [4][mostSides]int
		for s := range sides {
			lo, hi := l.bounds(side+s, 1)
			for i := lo; i < hi; i++ {
				var word uint64 // 8 pixels
				if row := p.Row(i)[:h.hi]; from+8 <= h.hi {
					word = binary.LittleEndian.Uint64(row[from:])
				} else {
					for j, pixel := range row[from:] {
						word |= uint64(pixel) << (8 * j)
					}
				}
				image := uint32(l.first(side)+i-side*l.height) << imageShift
				for q := 0; word != 0; q++ {
					if both := uint32(word & 0xffff); both != 0 {
						lists[q][s][counts[q][s]] = image | both
						counts[q][s]++
					}
					word >>= 16
				}
			}
		}
		starts := b.starts[from-h.lo:]
		for q := 0; q < 4 && from+2*q < h.hi; q++ {
			for s := range mostSides {
				at := starts[2*q+s]
				copy(b.entries[at:], lists[q][s][:counts[q][s]])
				starts[2*q+s+1] = at + int32(counts[q][s])
			}
		}
	}
}

// pairPanelOf returns the narrowest panel that has so many columns, or the one for many.
func (v *vectors[T]) pairPanelOf(columns int) *pairPanel[T] {
	for i := range v.pairPanels {
		if v.pairPanels[i].columns >= columns {
			return &v.pairPanels[i]
		}
	}
	return v.pairPanelOf(v.manyPairs)
}

// listBlocks lists a part of a batch: its images, or with a partner a half of the pixels
// of the images of both.
func (v *vectors[T]) listBlocks(s *Scratch[T], p *product[T], part, parts int) {
	l := p.pairs
	first, last := l.share(part, parts)
	lists := l.lists()
	if other, paired := l.partner(part, parts); paired {
		from, until := l.share(other, parts)
		first, last = min(first, from), max(last, until)
		lists = lists[part%2 : part%2+1]
	}
	for h := range lists {
		for side := first; side < last; side += l.sides {
			v.list(s, l, p.pixels, &lists[h], side/l.sides)
		}
	}
}

// pairsForward computes a part of y = x·w + b, for its images. The first half of the pixels,
// up to h, and the second have sums of their own:
//
//	y[i, j] = (Σ_{p < h} x[i, p]·w[p, j] + Σ_{p >= h} x[i, p]·w[p, j]) + b[j]
//
// Two threads that are partners take a half each, for the images of both. So of two
// threads each reads only weights that it has written, and of any number only its own
// lists; what partners hand to each other is one sum for an image and column.
func (v *vectors[T]) pairsForward(s *Scratch[T], p *product[T], part, parts int) {
	l := p.pairs
	v.listBlocks(s, p, part, parts)
	first, last := l.share(part, parts)
	other, paired := l.partner(part, parts)
	if !paired {
		if l.half > 0 {
			v.sumHalf(s, p, 0, first, last, false)
		}
		v.sumHalf(s, p, 1, first, last, true)
		return
	}
	half := part % 2
	exchange := handover{own: &l.handed[part].count, other: &l.handed[other].count, pool: l.pool, caller: part == 0}
	from, until := l.share(other, parts)
	// Where each partner has one side, both are a block. If the sums of all columns fit the
	// cache, too, they are made in one go: the partner's are handed over, its own finished.
	if panel := v.pairPanelOf(p.n); l.each == 1 && 0 < p.n && p.n <= panel.columns && l.together(panel.stride*sizeOf[T]()) {
		h := v.halfOf(s, p, half, 0)
		all := sidesOf{min(first, from), max(last, until) - min(first, from)}
		h.sum(0, all)
		h.finish(0, all, sidesOf{from, until - from}, false)
		exchange.handOver()
		exchange.await()
		h.finish(0, all, sidesOf{first, last - first}, true)
		return
	}
	v.sumHalf(s, p, half, from, until, false)
	exchange.handOver()
	v.sumOwn(s, p, half, first, last, &exchange)
}

// handover is what two partners do once a batch: each hands the other the sums it made for it.
type handover struct {
	own, other *atomic.Uint32
	batch      uint32
	pool       *Pool
	caller     bool
}

// handOver says that one's own are there.
func (h *handover) handOver() { h.batch = h.own.Add(1) } // which is as many as the partner has

// there says whether the other's are.
func (h *handover) there() bool { return h.other.Load() == h.batch }

// await returns when they are.
func (h *handover) await() { h.pool.await(h.other, h.batch, h.caller) }

// sumHalf computes the sums of one half of the pixels for the images of sides [first, last),
// and where done is true adds those of the other half, which are in y, and the bias.
func (v *vectors[T]) sumHalf(s *Scratch[T], p *product[T], half, first, last int, done bool) {
	for left := 0; left < p.n && first < last; {
		h := v.halfOf(s, p, half, left)
		for side := first; side < last; {
			of := h.together(side, last)
			h.sum(0, of)
			h.finish(0, of, of, done)
			side += of.count
		}
		left += h.width
	}
}

// sumOwn is sumHalf where the partner's sums may not be in y yet: it awaits them no sooner
// than its own are made, or as many as there is room for.
func (v *vectors[T]) sumOwn(s *Scratch[T], p *product[T], half, first, last int, exchange *handover) {
	room := mostKept / sizeOf[T]() // numbers: more than the widest sums of a block take
	grow(&s.sums, room)
	if cap(s.kept) == 0 {
		// As long as it gets, so that no later step allocates, however late the partner is: for
		// sums of 64 images and 8 columns each. Where they are smaller, it waits earlier.
		s.kept = make([]keptSums[T], 0, room/(inStack*8))
	}
	at := 0
	add := func() {
		for i := range s.kept {
			k := &s.kept[i]
			k.half.finish(k.at, k.of, k.of, true)
		}
		clear(s.kept) // let go of the caller's memory
		s.kept, at = s.kept[:0], 0
	}
	for left := 0; left < p.n && first < last; {
		h := v.halfOf(s, p, half, left)
		for side := first; side < last; {
			of := h.together(side, last)
			if at+h.room(of) > room || len(s.kept) == cap(s.kept) {
				exchange.await()
				add()
			}
			h.sum(at, of)
			s.kept = append(s.kept, keptSums[T]{h, of, at})
			at += h.room(of)
			if exchange.there() {
				add()
			}
			side += of.count
		}
		left += h.width
	}
	exchange.await()
	add()
}

// sidesOf are so many sides from the first on.
type sidesOf struct{ first, count int }

// keptSums are sums that wait for those of the other half of the pixels.
type keptSums[T Float] struct {
	half halfPanel[T]
	of   sidesOf
	at   int // where they are in Scratch.sums
}

// halfPanel is a half of the pixels and some columns of a product.
type halfPanel[T Float] struct {
	v           *vectors[T]
	s           *Scratch[T]
	p           *product[T]
	panel       *pairPanel[T]
	half        int
	left, width int
	full        bool    // the panel's functions can take the columns from where they are, and to where they go
	list        *listed // which has this half
	from, until int     // its pairs there, [from, until)
	w           *T      // the weights of the first of them
	ws          int     // numbers from row to row of the weights
}

// halfOf returns what sums a half of the pixels for the columns from left on, as many as a
// panel has.
func (v *vectors[T]) halfOf(s *Scratch[T], p *product[T], half, left int) halfPanel[T] {
	l, n := p.pairs, p.n
	lo, hi := 0, l.half
	if half == 1 {
		lo, hi = l.half, p.k
	}
	list := &l.halves[0]
	if l.parted {
		list = &l.halves[half]
	}
	panel := v.pairPanelOf(n - left)
	width := min(panel.columns, n-left)
	h := halfPanel[T]{v: v, s: s, p: p, panel: panel, half: half, left: left, width: width, full: v.masked || width == panel.columns,
		list: list, from: (lo - list.lo) / 2, until: (hi - list.lo + 1) / 2}
	inner, weights := hi-lo, p.w[lo*n:hi*n]
	h.w, h.ws = address(weights, left), n
	if !h.full || inner%2 == 1 { // the pair of the last pixel wants a row more
		h.ws = panel.columns
		grow(&s.panel, (inner+1)*h.ws)
		clear(s.panel[:(inner+1)*h.ws])
		for r := range inner {
			copy(s.panel[r*h.ws:], weights[r*n+left:][:width])
		}
		h.w = &s.panel[0]
	}
	return h
}

// together returns the sides from side on, before last, that are summed together.
func (h *halfPanel[T]) together(side, last int) sidesOf {
	l := h.p.pairs
	if l.together(h.panel.stride * sizeOf[T]()) {
		return sidesOf{side, min(l.sides-side%l.sides, last-side)}
	}
	return sidesOf{side, 1}
}

// room is how many numbers the sums of some sides are.
func (h *halfPanel[T]) room(of sidesOf) int {
	lo, hi := h.p.pairs.bounds(of.first, of.count)
	return (hi - lo) * h.panel.stride
}

// sum sums the pixels of some sides of a block, in h.s.sums from at on: each pair adds its
// two rows of w, scaled, to the sums of its images, which the first-level cache holds.
func (h *halfPanel[T]) sum(at int, of sidesOf) {
	l, s, side := h.p.pairs, h.s, of.first
	lo, hi := l.bounds(side, of.count)
	if lo == hi {
		return
	}
	grow(&s.sums, at+(hi-lo)*h.panel.stride) // which has room where sums are kept
	ahead := &l.ahead[h.half][side*inStack]
	if h.left > 0 {
		if s.nowhere[0] == 0 {
			for i := range s.nowhere {
				s.nowhere[i] = uintptr(unsafe.Pointer(s))
			}
		}
		ahead = &s.nowhere[0]
	}
	b, place := &h.list.blocks[side/l.sides], side%l.sides
	starts := b.starts[mostSides*h.from+place : mostSides*h.until+place+1]
	h.panel.sum(&s.sums[at], hi-lo, l.first(side), unsafe.SliceData(b.entries), &starts[0], &starts[mostSides*(h.until-h.from)], of.count, h.w, h.ws, &h.v.values[0], h.width, ahead)
}

// finish writes to y the sums of some sides, out of those summed from at on. Where done is
// true it adds those of the other half, which are in y, and the bias.
func (h *halfPanel[T]) finish(at int, summed, of sidesOf, done bool) {
	l, s, p := h.p.pairs, h.s, h.p
	lo, hi := l.bounds(of.first, of.count)
	if lo == hi {
		return
	}
	more, bias := 0, []T(nil)
	if done {
		bias = p.b
		if l.half > 0 {
			more = 1
		}
	}
	biases := &s.padBias(bias, h.left, h.width, h.panel.columns)[0]
	sums := &s.sums[at+(lo-l.begins(summed.first))*h.panel.stride]
	if h.full {
		h.panel.finish(&p.y[lo*p.n+h.left], p.n, sums, hi-lo, biases, h.width, more)
		return
	}
	ys := h.panel.columns
	grow(&s.tile, (hi-lo)*ys)
	for i := range (hi - lo) * more {
		copy(s.tile[i*ys:], p.y[(lo+i)*p.n+h.left:][:h.width])
	}
	h.panel.finish(&s.tile[0], ys, sums, hi-lo, biases, h.width, more)
	for i := range hi - lo {
		copy(p.y[(lo+i)*p.n+h.left:][:h.width], s.tile[i*ys:])
	}
}

// pairsGradient computes a part of d = xᵀ·g: for each pair two sums of scaled rows of g,
// those of a group of images, which the first-level cache holds, after the other.
func (v *vectors[T]) pairsGradient(s *Scratch[T], p *product[T], part, parts int) {
	l, n := p.pairs, p.n
	top, bottom := p.rows(part, parts)
	if p.m == 0 {
		clear(p.y[top*n : bottom*n])
		return
	}
	if top == bottom || n == 0 {
		return
	}
	group := l.group() / l.sides // blocks
	for block := 0; block*l.sides < l.count; block += group {
		last := min(block+group, len(l.halves[0].blocks))
		lo, hi := l.bounds(block*l.sides, group*l.sides)
		more, descend := min(block, 1), 0
		if last == len(l.halves[0].blocks) && p.descends() {
			descend = 1
		}
		rows, ready := s.prepared.take(p, part, parts)
		if !ready {
			s.prepared.forget() // its memory is the next rows'
			rows = v.groupRows(s, p, part, parts, block, last)
		}
		if len(rows[0])+len(rows[1]) == 0 {
			continue
		}
		for left := 0; left < n; {
			panel := v.pairPanelOf(n - left)
			width := min(panel.columns, n-left)
			grow(&s.panel, (hi-lo)*panel.stride)
			v.packRows(s.panel, panel, p.w[lo*n:hi*n], n, left, width)
			for i := range rows {
				if len(rows[i]) == 0 {
					continue
				}
				if v.masked || width == panel.columns {
					if panel.gradient((*byte)(unsafe.Pointer(&rows[i][0])), len(rows[i])/v.together, left, &s.panel[0], &v.values[0], width, more, descend, p.factor) != 0 {
						p.descent.lost.Store(true)
					}
				} else {
					v.pairsThroughTile(s, p, panel, rows[i], left, width, more, descend)
				}
			}
			left += width
		}
	}
}

// prepared are the pairs of a part of a gradient, found before g is there.
type prepared[T Float] struct {
	of          *product[T] // nil: of none
	part, parts int
	rows        [2][]pairRow[T]
}

// take returns the rows if they are those of that part.
func (r *prepared[T]) take(p *product[T], part, parts int) (rows [2][]pairRow[T], ready bool) {
	if r.of != p || r.part != part || r.parts != parts {
		return rows, false
	}
	rows = r.rows
	r.forget()
	return rows, true
}

func (r *prepared[T]) forget() { r.of, r.rows = nil, [2][]pairRow[T]{} }

// preparePairs finds the pairs of a part of a gradient before g is there, while other threads
// are still at it, where the images are one group.
func (v *vectors[T]) preparePairs(s *Scratch[T], p *product[T], part, parts int) {
	l := p.pairs
	top, bottom := p.rows(part, parts)
	if p.m == 0 || p.n == 0 || top == bottom || l.count > l.group() {
		return
	}
	s.prepared.of, s.prepared.part, s.prepared.parts = p, part, parts
	s.prepared.rows = v.groupRows(s, p, part, parts, 0, len(l.halves[0].blocks))
}

// groupRows returns, by list, the pairs of a part of a gradient in a group of blocks, of which
// those before first were summed before.
func (v *vectors[T]) groupRows(s *Scratch[T], p *product[T], part, parts, first, last int) (rows [2][]pairRow[T]) {
	l := p.pairs
	top, bottom := p.rows(part, parts)
	// Weights may follow: whether they do is not known before all have met.
	descend := p.value != nil && last == len(l.halves[0].blocks)
	for i, h := range l.lists() {
		from, until := max(top, h.lo), min(bottom, h.hi)
		if from >= until {
			continue
		}
		from, until = (from-h.lo)/2, (until-h.lo+1)/2
		if v.claim != nil && parts > 1 && !(l.parted && parts == 2) { // of two partners each has listed all that it uses
			for _, b := range h.blocks[first:last] {
				claimLines(v.claim, b.entries[b.starts[mostSides*from]:b.starts[mostSides*until]])
			}
		}
		rows[i] = v.pairRows(s, p, &h, &s.joined[i], h.blocks[first:last], from, until, first > 0, descend)
	}
	return rows
}

// packRows copies columns [left, left+width) of g [., n] to rows of a panel.
func (v *vectors[T]) packRows(to []T, panel *pairPanel[T], g []T, n, left, width int) {
	rows := len(g) / n
	if panel.pack != nil {
		panel.pack(&to[0], &g[left], n, rows, width)
		return
	}
	for r := range rows {
		row := to[r*panel.stride:][:panel.columns]
		copy(row, g[r*n+left:][:width])
		clear(row[width:]) // sums of what was there before might not be finite
	}
}

// pairRows returns the pairs [from, until) of h that have entries in some blocks of a group,
// with one list each, by their number, so that pairs whose gradients are summed together
// have about as many. Sums of pairs without any it sets to 0, unless there may be more in
// them; where weights are to follow these, it returns them, too.
func (v *vectors[T]) pairRows(s *Scratch[T], p *product[T], h *listed, to *joined[T], blocks []pairBlock, from, until int, more, descend bool) []pairRow[T] {
	d := p.y[h.lo*p.n : h.hi*p.n]
	count := until - from
	grow(&s.counts, count)
	counts := s.counts[:count]
	for i := range blocks {
		starts := blocks[i].starts[mostSides*from : mostSides*until+1]
		before := starts[0]
		for q := range counts {
			next := starts[mostSides*q+mostSides]
			if i == 0 {
				counts[q] = next - before
			} else {
				counts[q] += next - before
			}
			before = next
		}
	}
	s.sortRows(count, inGroup)
	order, some := s.order[:count], 0
	for some < count && counts[order[some]] == 0 && !(more && descend) { // the first ones have no entry
		first := from + int(order[some])
		next := first
		for some < count && counts[order[some]] == 0 && from+int(order[some]) == next {
			next++
			some++
		}
		if !more {
			clear(d[2*first*p.n : min(2*next*p.n, len(d))])
		}
	}
	if order = order[some:]; len(order) == 0 {
		return nil
	}
	none := (v.together - len(order)%v.together) % v.together // rows of no pair, to fill the first group
	grow(&to.rows, count+mostTogether)                        // room for all pairs, so that a later batch needs no more
	grow(&s.trash, p.n+1)
	clear(s.trash) // a number that is not finite would count as a weight that is not
	trash := &s.trash[0]
	rows := to.rows[:none+len(order)]
	for i := range none {
		rows[i] = pairRow[T]{d0: trash, d1: trash, w0: trash, w1: trash}
	}
	var one *pairBlock // whose lists are as they are wanted
	if len(blocks) == 1 {
		one = &blocks[0]
	}
	sums, weights := unsafe.Pointer(&d[0]), unsafe.Pointer(nil)
	if descend {
		weights = unsafe.Pointer(&p.value[h.lo*p.n])
	}
	row, end := p.n*sizeOf[T](), len(d)*sizeOf[T]() // in bytes: once for each pair, slices' checks take a fiftieth of a small step
	for i, q := range order {
		r, pair := &rows[none+i], from+int(q)
		first := 2 * pair * row
		second := first + row
		r.count = int(counts[q])
		if one != nil {
			r.entries = &one.entries[one.starts[mostSides*pair]]
		}
		r.d0, r.d1 = (*T)(unsafe.Add(sums, first)), trash
		if second < end {
			r.d1 = (*T)(unsafe.Add(sums, second))
		}
		if descend {
			r.w0, r.w1 = (*T)(unsafe.Add(weights, first)), trash
			if second < end {
				r.w1 = (*T)(unsafe.Add(weights, second))
			}
		}
	}
	if one != nil {
		return rows
	}
	grow(&to.entries, count*inGroup+slack)
	if v.joinLists != nil {
		v.joinLists(&to.entries[0], (*byte)(unsafe.Pointer(&rows[none])), &order[0], from, len(order), (*byte)(unsafe.Pointer(&blocks[0])), len(blocks))
	} else {
		joinLists(to.entries, rows[none:], order, from, blocks)
	}
	return rows
}

// joinLists copies the entries that the blocks have of pair from+order[i] to where those
// of the pair before end, and sets rows[i].entries.
func joinLists[T Float](to []uint32, rows []pairRow[T], order []int32, from int, blocks []pairBlock) {
	for i, q := range order {
		rows[i].entries = &to[0]
		for _, b := range blocks {
			starts := b.starts[mostSides*(from+int(q)):]
			to = to[copy(to, b.entries[starts[0]:starts[mostSides]]):]
		}
	}
}

// pairsThroughTile sums a panel that is not full, for implementations that can only
// store whole ones.
func (v *vectors[T]) pairsThroughTile(s *Scratch[T], p *product[T], panel *pairPanel[T], rows []pairRow[T], left, width, more, descend int) {
	const sums, weights = 2 * mostTogether, 2 * mostTogether // rows of a tile
	grow(&s.tile, (sums+weights)*panel.columns)
	group := s.pairGroup[:v.together]
	tile := func(row int) *T { return &s.tile[row*panel.columns] }
	columns := func(p *T) []T { return unsafe.Slice(p, left+width)[left:] }
	for first := 0; first < len(rows); first += v.together {
		clear(s.tile[:(sums+weights)*panel.columns])
		for r, row := range rows[first:][:v.together] {
			group[r] = row
			g := &group[r]
			g.d0, g.d1, g.w0, g.w1 = tile(2*r), tile(2*r+1), tile(sums+2*r), tile(sums+2*r+1)
			copy(s.tile[2*r*panel.columns:], columns(row.d0))
			copy(s.tile[(2*r+1)*panel.columns:], columns(row.d1))
			if descend > 0 {
				copy(s.tile[(sums+2*r)*panel.columns:], columns(row.w0))
				copy(s.tile[(sums+2*r+1)*panel.columns:], columns(row.w1))
			}
		}
		if panel.gradient((*byte)(unsafe.Pointer(&group[0])), 1, 0, &s.panel[0], &v.values[0], width, more, descend, p.factor) != 0 {
			p.descent.lost.Store(true)
		}
		for r, row := range rows[first:][:v.together] {
			copy(columns(row.d0), s.tile[2*r*panel.columns:])
			copy(columns(row.d1), s.tile[(2*r+1)*panel.columns:])
			if descend > 0 {
				copy(columns(row.w0), s.tile[(sums+2*r)*panel.columns:])
				copy(columns(row.w1), s.tile[(sums+2*r+1)*panel.columns:])
			}
		}
	}
}
