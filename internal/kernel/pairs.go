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
	images, cols int // of what is listed
	height       int // images of a block; the last may have fewer
	half         int // pixels of the first half, which has sums of its own
	halves       [2]listed
	parted       bool         // halves has a list for each half, for two threads; else one for all pixels
	ahead        [2][]uintptr // by half: for each image of each block, the first cache line of what is likely to come next; a line may begin before its memory
	threads      int
	pool         *Pool
	handed       []handed // by thread
}

// listed lists the pixels [lo, hi) of all images.
type listed struct {
	lo, hi int
	blocks []pairBlock
}

// pairBlock lists some images that follow each other: pair q, counted from that of pixel lo,
// has the entries from starts[q] to starts[q+1]. An image counts from the first of its group.
type pairBlock struct {
	entries []uint32
	starts  []int32
}

// handed counts the batches of which a thread has handed its sums to its partner.
type handed struct {
	count atomic.Uint32
	_     [line - 4]byte // a cache line of its own
}

// firstHalf is how many of k pixels are in the first half: the rows of weights that
// ParameterRows gives the first of two threads; none in float64, whose sums of a training are compared with numpy's.
func firstHalf[T Float](k int) int {
	if sizeOf[T]() > 4 {
		return 0
	}
	_, half := ParameterRows(k, 0, 2)
	return half
}

const (
	imageShift = 16
	inBlock    = 64  // images at most that are listed together
	fewListed  = 3   // images from which it pays to list 64 at once
	inGroup    = 128 // images whose gradients are kept in the first-level cache together

	mostTogether = 2 // pairs whose gradients any implementation sums together
)

// pairPanel holds the functions for pairs and so many columns of the second factor.
type pairPanel[T Float] struct {
	columns int
	stride  int // from row to row of sums and of g
	// forward computes y[i·ys + j] = Σ_q (values[first]·w[2q, j] + values[second]·w[2q+1, j])
	// + bias[j] over the entries of each pair q that are for image first+i; if more is not 0,
	// what is in y is added to the sum, before the bias. Meanwhile it may fetch 64 images;
	// ahead has the addresses of their first cache lines.
	forward func(y *T, ys int, sums *T, images, first int, entries *uint32, starts *int32, pairs int, w *T, ws int, bias, values *T, width int, ahead *uintptr, more int)
	// gradient computes pair.d0[left + j] = Σ values[first]·g[image, j] + 0, and pair.d1 with
	// second, over the entries of each pair, beginning with what is there if more is not 0.
	// A group has as many pairs as are summed together; the last has the count of all.
	gradient func(pairs *byte, groups, left int, g, values *T, width, more int)
	pack     func(dst, src *T, stride, inner, width int) // rows of g; nil: in Go
}

// pairRow says where the list of a pair is and where its two sums go.
type pairRow[T Float] struct {
	d0, d1  *T
	entries *uint32
	count   int // of the longest list of its group, in the last of them
}

// listPairsFunc lists the pairs of columns [0, n), n a multiple of 16, of 64 images, the
// first of which is image first, from starts[0] on.
type listPairsFunc func(entries *uint32, starts *int32, images **byte, first, n int)

// begin makes room for the pairs of so many images, that threads are to list: each the
// same number of blocks, as far as that goes. half is how many pixels the first half has.
// If all is as it was, nothing is written that the other threads would have to read again.
func (l *Pairs) begin(images, cols, half, threads int, pool *Pool) {
	if l.images == images && l.cols == cols && l.half == half && l.threads == threads && l.pool == pool {
		return
	}
	l.images, l.cols, l.half, l.threads, l.pool = images, cols, half, threads, pool
	l.parted = 0 < half && half < cols && threads > 1
	if len(l.handed) < threads {
		l.handed = make([]handed, threads)
	}
	rounds := max((images+inBlock*threads-1)/(inBlock*threads), 1)
	l.height = max((images+rounds*threads-1)/(rounds*threads), 1)
	l.height = (l.height + 15) / 16 * 16
	count := (images + l.height - 1) / l.height
	for h := range l.ahead {
		grow(&l.ahead[h], count*inBlock)
	}
	if l.parted {
		l.halves[0].begin(0, half, count, l.height)
		l.halves[1].begin(half, cols, count, l.height)
	} else {
		l.halves[0].begin(0, cols, count, l.height)
	}
}

// begin makes room for the pixels [lo, hi) of so many blocks.
func (h *listed) begin(lo, hi, blocks, height int) {
	h.lo, h.hi = lo, hi
	h.blocks = h.blocks[:cap(h.blocks)]
	for len(h.blocks) < blocks {
		h.blocks = append(h.blocks, pairBlock{})
	}
	h.blocks = h.blocks[:blocks]
	for i := range h.blocks {
		b := &h.blocks[i]
		grow(&b.entries, h.pairs()*height+2*inBlock)
		grow(&b.starts, h.pairs()+1)
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

// share returns the blocks of a part of the images.
func (l *Pairs) share(part, parts int) (first, last int) {
	count := len(l.halves[0].blocks)
	return count * part / parts, count * (part + 1) / parts
}

// Rows returns the images [lo, hi) whose products a part computes, its partner's help
// included.
func (l *Pairs) Rows(part, parts int) (lo, hi int) {
	first, last := l.share(part, parts)
	return min(l.images, first*l.height), min(l.images, last*l.height)
}

// partner returns the part that does the other half of the pixels for the images of both,
// or false where there is none, as for the last of an odd number.
func (l *Pairs) partner(part, parts int) (other int, paired bool) {
	return part ^ 1, l.parted && part^1 < parts
}

// group is how many blocks form a group.
func (l *Pairs) group() int { return inGroup / l.height }

// first is the number of the first image of a block within its group.
func (l *Pairs) first(block int) int { return block % l.group() * l.height }

// list makes the lists of a block.
func (v *vectors[T]) list(s *Scratch[T], l *Pairs, p matrix.Pixels, h *listed, block int) {
	k, lo := p.Cols, block*l.height
	hi := min(lo+l.height, p.Rows())
	grow(&s.none, h.hi-h.lo)
	known := p.Index[:cap(p.Index)]
	for i := range s.images {
		s.images[i] = unsafe.SliceData(s.none)
		next := uintptr(unsafe.Pointer(s.images[i]))
		if at := lo + i; at < hi {
			s.images[i] = address(p.Row(at), h.lo)
			// What stands behind a batch in the order of the images is most likely the
			// batch after it.
			if at += p.Rows(); at < len(known) && k > 0 {
				if image := int(known[at]); image >= 0 && image < len(p.Data)/k {
					next = uintptr(unsafe.Pointer(&p.Data[image*k]))
				}
			}
		}
		if h.lo == 0 {
			l.ahead[0][block*inBlock+i] = next &^ (line - 1)
		}
		if h.hi == l.cols {
			l.ahead[1][block*inBlock+i] = (next + uintptr(l.half)) &^ (line - 1)
		}
	}
	b := &h.blocks[block]
	b.starts[0] = 0
	done := 0
	if v.listPairs != nil && hi-lo >= fewListed {
		done = (h.hi - h.lo) / 16 * 16
		v.listPairs(unsafe.SliceData(b.entries), unsafe.SliceData(b.starts), &s.images[0], l.first(block), done)
	}
	listRest(b, p, l.first(block), lo, hi, h.lo, h.hi, done)
	clear(s.images[:]) // let go of the caller's memory
}

// listRest lists the pairs of the columns [left+done, right), done being a multiple of 8, of
// the images [lo, hi), the first of which is image first.
func listRest(b *pairBlock, p matrix.Pixels, first, lo, hi, left, right, done int) {
	var lists [4][inBlock]uint32
	for from := left + done; from < right; from += 8 {
		var counts [4]int
		for i := lo; i < hi; i++ {
			var word uint64 // 8 pixels
			if row := p.Row(i)[:right]; from+8 <= right {
				word = binary.LittleEndian.Uint64(row[from:])
			} else {
				for j, pixel := range row[from:] {
					word |= uint64(pixel) << (8 * j)
				}
			}
			image := uint32(first+i-lo) << imageShift
			for q := 0; word != 0; q++ {
				if both := uint32(word & 0xffff); both != 0 {
					lists[q][counts[q]] = image | both
					counts[q]++
				}
				word >>= 16
			}
		}
		for q := 0; q < 4 && from+2*q < right; q++ {
			at := b.starts[(from-left)/2+q]
			copy(b.entries[at:], lists[q][:counts[q]])
			b.starts[(from-left)/2+q+1] = at + int32(counts[q])
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
	if other, paired := l.partner(part, parts); paired {
		v.listPart(s, p, &l.halves[part%2], other, parts)
		v.listPart(s, p, &l.halves[part%2], part, parts)
		return
	}
	lists := l.lists()
	for h := range lists {
		v.listPart(s, p, &lists[h], part, parts)
	}
}

// listPart lists what h has of the images of a part.
func (v *vectors[T]) listPart(s *Scratch[T], p *product[T], h *listed, part, parts int) {
	for block, last := p.pairs.share(part, parts); block < last; block++ {
		v.list(s, p.pairs, p.pixels, h, block)
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
	other, paired := l.partner(part, parts)
	if !paired {
		v.listBlocks(s, p, part, parts)
		if l.half > 0 {
			v.sumHalf(s, p, 0, part, parts, false)
		}
		v.sumHalf(s, p, 1, part, parts, true)
		return
	}
	half := part % 2
	v.listPart(s, p, &l.halves[half], other, parts)
	v.sumHalf(s, p, half, other, parts, false)
	batch := l.handed[part].count.Add(1) // which is as many as the partner has
	v.listPart(s, p, &l.halves[half], part, parts)
	l.pool.await(&l.handed[other].count, batch, part == 0)
	v.sumHalf(s, p, half, part, parts, true)
}

// sumHalf computes the sums of one half of the pixels for the images of a part, and where
// last is true adds those of the other half, which are in y, and the bias: each pair adds
// its two rows of w, scaled, to the sums of its images, which the first-level cache holds.
func (v *vectors[T]) sumHalf(s *Scratch[T], p *product[T], half, part, parts int, last bool) {
	l, n := p.pairs, p.n
	lo, hi := 0, l.half
	if half == 1 {
		lo, hi = l.half, p.k
	}
	h := &l.halves[0]
	if l.parted {
		h = &l.halves[half]
	}
	more, bias := 0, []T(nil)
	if last {
		bias = p.b
		if l.half > 0 {
			more = 1
		}
	}
	from := (lo - h.lo) / 2 // the first of its pairs
	pairs, inner := (hi-lo+1)/2, hi-lo
	weights := p.w[lo*n : hi*n]
	first, end := l.share(part, parts)
	if s.nowhere[0] == 0 {
		for i := range s.nowhere {
			s.nowhere[i] = uintptr(unsafe.Pointer(s))
		}
	}
	for left := 0; left < n; {
		panel := v.pairPanelOf(n - left)
		width := min(panel.columns, n-left)
		full := v.masked || width == panel.columns
		w, ws := address(weights, left), n
		if !full || inner%2 == 1 { // the pair of the last pixel wants a row more
			ws = panel.columns
			grow(&s.panel, (inner+1)*ws)
			clear(s.panel[:(inner+1)*ws])
			for r := range inner {
				copy(s.panel[r*ws:], weights[r*n+left:][:width])
			}
			w = &s.panel[0]
		}
		biases := &s.padBias(bias, left, width, panel.columns)[0]
		for block := first; block < end; block++ {
			b, top := &h.blocks[block], block*l.height
			images := min(l.height, p.m-top)
			y, ys := &p.y[top*n+left], n
			if !full {
				grow(&s.tile, images*panel.columns)
				y, ys = &s.tile[0], panel.columns
				for i := range images * more {
					copy(s.tile[i*ys:], p.y[(top+i)*n+left:][:width])
				}
			}
			grow(&s.sums, images*panel.stride)
			ahead := &s.nowhere[0]
			if left == 0 {
				ahead = &l.ahead[half][block*inBlock]
			}
			panel.forward(y, ys, &s.sums[0], images, l.first(block), unsafe.SliceData(b.entries), &b.starts[from], pairs, w, ws, biases, &v.values[0], width, ahead, more)
			if !full {
				for i := range images {
					copy(p.y[(top+i)*n+left:][:width], s.tile[i*ys:])
				}
			}
		}
		left += width
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
	lists, count := l.lists(), len(l.halves[0].blocks)
	for block := 0; block < count; block += l.group() {
		last := min(block+l.group(), count)
		lo, hi := block*l.height, min(last*l.height, p.m)
		var rows [len(l.halves)][]pairRow[T]
		for i := range lists {
			h := &lists[i]
			from, until := max(top, h.lo), min(bottom, h.hi)
			if from >= until {
				continue
			}
			from, until = (from-h.lo)/2, (until-h.lo+1)/2
			if v.claim != nil && parts > 1 && !(l.parted && parts == 2) { // of two partners each has listed all that it uses
				for _, b := range h.blocks[block:last] {
					claimLines(v.claim, b.entries[b.starts[from]:b.starts[until]])
				}
			}
			rows[i] = v.pairRows(s, p, h, &s.joined[i], h.blocks[block:last], from, until, block > 0)
		}
		if len(rows[0])+len(rows[1]) == 0 {
			continue
		}
		for left := 0; left < n; {
			panel := v.pairPanelOf(n - left)
			width := min(panel.columns, n-left)
			grow(&s.panel, (hi-lo)*panel.stride)
			v.packRows(s.panel, panel, p.w[lo*n:hi*n], n, left, width)
			more := min(block, 1)
			for i := range rows {
				if len(rows[i]) == 0 {
					continue
				}
				if v.masked || width == panel.columns {
					panel.gradient((*byte)(unsafe.Pointer(&rows[i][0])), len(rows[i])/v.together, left, &s.panel[0], &v.values[0], width, more)
				} else {
					v.pairsThroughTile(s, panel, rows[i], left, width, more)
				}
			}
			left += width
		}
	}
}

// packRows copies columns [left, left+width) of g [., n] to rows of a panel.
func (v *vectors[T]) packRows(to []T, panel *pairPanel[T], g []T, n, left, width int) {
	rows := len(g) / n
	if panel.pack != nil {
		panel.pack(&to[0], &g[left], n, rows, width)
		return
	}
	for r := range rows {
		copy(to[r*panel.stride:], g[r*n+left:][:width])
	}
}

// pairRows makes one list of those that blocks of h have of each of the pairs [from, until),
// and puts pairs together that have about as many entries. Sums of pairs without any
// it sets to 0, unless there may be more in them.
func (v *vectors[T]) pairRows(s *Scratch[T], p *product[T], h *listed, to *joined[T], blocks []pairBlock, from, until int, more bool) []pairRow[T] {
	d := p.y[h.lo*p.n : h.hi*p.n]
	count := until - from
	grow(&s.counts, count)
	counts := s.counts[:count]
	clear(counts)
	for i := range blocks {
		starts := blocks[i].starts[from : until+1]
		for q := range counts {
			counts[q] += starts[q+1] - starts[q]
		}
	}
	s.sortRows(count, inGroup)
	order, some := s.order[:count], 0
	for some < count && counts[order[some]] == 0 { // the first ones have no entry
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
	count = len(order)
	groups := (count + v.together - 1) / v.together
	grow(&to.rows, groups*v.together)
	grow(&to.entries, groups*v.together*inGroup+inBlock)
	grow(&s.trash, p.n+1)
	rows := to.rows[:groups*v.together]
	for first := 0; first < len(rows); first += v.together {
		longest := int(counts[order[min(first+v.together, count)-1]])
		for i := first; i < first+v.together; i++ {
			r := &rows[i]
			r.d0, r.d1, r.count = &s.trash[0], &s.trash[0], longest // of a pair that fills the last group
			if i < count {
				q := from + int(order[i])
				r.d0 = &d[2*q*p.n]
				if (2*q+1)*p.n < len(d) {
					r.d1 = &d[(2*q+1)*p.n]
				}
			}
		}
	}
	if v.joinLists != nil {
		v.joinLists(&to.entries[0], (*byte)(unsafe.Pointer(&rows[0])), &order[0], from, count, (*byte)(unsafe.Pointer(&blocks[0])), len(blocks))
	} else {
		joinLists(to.entries, rows[:count], order, from, blocks)
	}
	if count < len(rows) {
		rows[count].entries = rows[count-1].entries
	}
	return rows
}

// joinLists copies the entries that the blocks have of pair from+order[i] to where those
// of the pair before end, and zeros behind them up to its count.
func joinLists[T Float](to []uint32, rows []pairRow[T], order []int32, from int, blocks []pairBlock) {
	at := 0
	for i, q := range order {
		r := &rows[i]
		r.entries = &to[at]
		last := at + r.count
		for _, b := range blocks {
			starts := b.starts[from+int(q):]
			at += copy(to[at:], b.entries[starts[0]:starts[1]])
		}
		clear(to[at:last])
		at = last
	}
}

// pairsThroughTile sums a panel that is not full, for implementations that can only
// store whole ones.
func (v *vectors[T]) pairsThroughTile(s *Scratch[T], panel *pairPanel[T], rows []pairRow[T], left, width, more int) {
	grow(&s.tile, 2*v.together*panel.columns)
	group := s.pairGroup[:v.together]
	for first := 0; first < len(rows); first += v.together {
		for r := range v.together {
			group[r] = rows[first+r]
			group[r].d0, group[r].d1 = &s.tile[2*r*panel.columns], &s.tile[(2*r+1)*panel.columns]
			copy(s.tile[2*r*panel.columns:], unsafe.Slice(rows[first+r].d0, left+width)[left:])
			copy(s.tile[(2*r+1)*panel.columns:], unsafe.Slice(rows[first+r].d1, left+width)[left:])
		}
		panel.gradient((*byte)(unsafe.Pointer(&group[0])), 1, 0, &s.panel[0], &v.values[0], width, more)
		for r := range v.together {
			copy(unsafe.Slice(rows[first+r].d0, left+width)[left:], s.tile[2*r*panel.columns:])
			copy(unsafe.Slice(rows[first+r].d1, left+width)[left:], s.tile[(2*r+1)*panel.columns:])
		}
	}
}
