package kernel

import (
	"encoding/binary"
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
	blocks       []pairBlock
	ahead        []uintptr // for each image of each block, the first cache line of one that is likely to come next; a line may begin before its memory
}

// pairBlock lists some images that follow each other: pair q has the entries from
// starts[q] to starts[q+1]. An image counts from the first of its group.
type pairBlock struct {
	entries []uint32
	starts  []int32
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
	// + bias[j] over the entries of each pair q that are for image first+i. Meanwhile it may
	// fetch 64 images; ahead has the addresses of their first cache lines.
	forward func(y *T, ys int, sums *T, images, first int, entries *uint32, starts *int32, pairs int, w *T, ws int, bias, values *T, width int, ahead *uintptr)
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
// same number of blocks, as far as that goes.
func (l *Pairs) begin(images, cols, threads int) {
	l.images, l.cols = images, cols
	rounds := max((images+inBlock*threads-1)/(inBlock*threads), 1)
	l.height = max((images+rounds*threads-1)/(rounds*threads), 1)
	l.height = (l.height + 15) / 16 * 16
	count := (images + l.height - 1) / l.height
	l.blocks = l.blocks[:cap(l.blocks)]
	for len(l.blocks) < count {
		l.blocks = append(l.blocks, pairBlock{})
	}
	l.blocks = l.blocks[:count]
	for i := range l.blocks {
		b := &l.blocks[i]
		grow(&b.entries, l.pairs()*l.height+2*inBlock)
		grow(&b.starts, l.pairs()+1)
	}
	grow(&l.ahead, count*inBlock)
}

// pairs is how many pairs an image has; if its pixels are odd in number, the last has 0
// for its second.
func (l *Pairs) pairs() int { return (l.cols + 1) / 2 }

// Rows returns the images [lo, hi) that a part takes of a product that is shared by
// images, not by columns.
func (l *Pairs) Rows(part, parts int) (lo, hi int) {
	count := len(l.blocks)
	return min(l.images, count*part/parts*l.height), min(l.images, count*(part+1)/parts*l.height)
}

// group is how many blocks form a group.
func (l *Pairs) group() int { return inGroup / l.height }

// first is the number of the first image of a block within its group.
func (l *Pairs) first(block int) int { return block % l.group() * l.height }

// list makes the lists of a block.
func (v *vectors[T]) list(s *Scratch[T], l *Pairs, p matrix.Pixels, block int) {
	k, lo := p.Cols, block*l.height
	hi := min(lo+l.height, p.Rows())
	grow(&s.none, k)
	known := p.Index[:cap(p.Index)]
	for i := range s.images {
		s.images[i] = unsafe.SliceData(s.none)
		ahead := &l.ahead[block*inBlock+i]
		*ahead = uintptr(unsafe.Pointer(s.images[i]))
		if at := lo + i; at < hi {
			s.images[i] = unsafe.SliceData(p.Row(at))
			// What stands behind a batch in the order of the images is most likely the
			// batch after it.
			if at += p.Rows(); at < len(known) && k > 0 {
				if next := int(known[at]); next >= 0 && next < len(p.Data)/k {
					*ahead = uintptr(unsafe.Pointer(&p.Data[next*k])) &^ (line - 1)
				}
			}
		}
	}
	b := &l.blocks[block]
	b.starts[0] = 0
	listed := 0
	if v.listPairs != nil && hi-lo >= fewListed {
		listed = k / 16 * 16
		v.listPairs(unsafe.SliceData(b.entries), unsafe.SliceData(b.starts), &s.images[0], l.first(block), listed)
	}
	l.listRest(p, block, lo, hi, listed)
	clear(s.images[:]) // let go of the caller's memory
}

// listRest lists the pairs of the columns from a multiple of 8 on, of a block's images
// [lo, hi).
func (l *Pairs) listRest(p matrix.Pixels, block, lo, hi, from int) {
	b, k := &l.blocks[block], p.Cols
	var lists [4][inBlock]uint32
	for ; from < k; from += 8 {
		var counts [4]int
		for i := lo; i < hi; i++ {
			var word uint64 // 8 pixels
			if row := p.Row(i); from+8 <= k {
				word = binary.LittleEndian.Uint64(row[from:])
			} else {
				for j, pixel := range row[from:] {
					word |= uint64(pixel) << (8 * j)
				}
			}
			image := uint32(l.first(block)+i-lo) << imageShift
			for q := 0; word != 0; q++ {
				if both := uint32(word & 0xffff); both != 0 {
					lists[q][counts[q]] = image | both
					counts[q]++
				}
				word >>= 16
			}
		}
		for q := 0; q < 4 && from+2*q < k; q++ {
			at := b.starts[from/2+q]
			copy(b.entries[at:], lists[q][:counts[q]])
			b.starts[from/2+q+1] = at + int32(counts[q])
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

// ownColumns is the number of columns from which a thread takes columns of its own of the
// weights of a first layer: then it need not read all of them.
const ownColumns = 128

// shareColumns cuts columns into parts that begin with cache lines.
func shareColumns(cols, part, parts int) (left, right int) {
	const unit = 16
	units := (cols + unit - 1) / unit
	return min(cols, units*part/parts*unit), min(cols, units*(part+1)/parts*unit)
}

// listBlocks lists a part of the blocks of a batch.
func (v *vectors[T]) listBlocks(s *Scratch[T], p *product[T], part, parts int) {
	count := len(p.pairs.blocks)
	for block := count * part / parts; block < count*(part+1)/parts; block++ {
		v.list(s, p.pairs, p.pixels, block)
	}
}

// pairsForward computes y = x·w + b: a part of the columns of all blocks, which are
// listed, or all columns of a part of the blocks, which it lists first. Each pair adds
// its two rows of w, scaled, to the sums of its images, which the first-level cache holds.
func (v *vectors[T]) pairsForward(s *Scratch[T], p *product[T], part, parts int) {
	count := len(p.pairs.blocks)
	ownFirst, ownLast := count*part/parts, count*(part+1)/parts // blocks whose images the thread lists, and fetches
	first, last := 0, count
	left, right := shareColumns(p.n, part, parts)
	if !p.listed {
		v.listBlocks(s, p, part, parts)
		first, last = ownFirst, ownLast
		left, right = 0, p.n
	}
	if s.nowhere[0] == 0 {
		for i := range s.nowhere {
			s.nowhere[i] = uintptr(unsafe.Pointer(s))
		}
	}
	begin := left
	for left < right {
		panel := v.pairPanelOf(right - left)
		width := min(panel.columns, right-left)
		full := v.masked || width == panel.columns
		w, ws := address(p.w, left), p.n
		if !full || p.k%2 == 1 { // the pair of the last pixel wants a row more
			ws = panel.columns
			grow(&s.panel, (p.k+1)*ws)
			clear(s.panel[:(p.k+1)*ws])
			for r := range p.k {
				copy(s.panel[r*ws:], p.w[r*p.n+left:][:width])
			}
			w = &s.panel[0]
		}
		biases := &s.padBias(p.b, left, width, panel.columns)[0]
		for block := first; block < last; block++ {
			b, lo := &p.pairs.blocks[block], block*p.pairs.height
			images := min(p.pairs.height, p.m-lo)
			y, ys := &p.y[lo*p.n+left], p.n
			if !full {
				grow(&s.tile, images*panel.columns)
				y, ys = &s.tile[0], panel.columns
			}
			grow(&s.sums, images*panel.stride)
			ahead := &s.nowhere[0]
			if left == begin && block >= ownFirst && block < ownLast {
				ahead = &p.pairs.ahead[block*inBlock]
			}
			panel.forward(y, ys, &s.sums[0], images, p.pairs.first(block), unsafe.SliceData(b.entries), &b.starts[0], p.pairs.pairs(), w, ws, biases, &v.values[0], width, ahead)
			if !full {
				for i := range images {
					copy(p.y[(lo+i)*p.n+left:][:width], s.tile[i*ys:])
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
	from, until := top/2, (bottom+1)/2
	if from == until || n == 0 {
		return
	}
	for block := 0; block < len(l.blocks); block += l.group() {
		last := min(block+l.group(), len(l.blocks))
		lo, hi := block*l.height, min(last*l.height, p.m)
		if v.claim != nil && parts > 1 {
			for _, b := range l.blocks[block:last] {
				claimLines(v.claim, b.entries[b.starts[from]:b.starts[until]])
			}
		}
		rows := v.pairRows(s, p, l.blocks[block:last], from, until, block > 0)
		if len(rows) == 0 {
			continue
		}
		for left := 0; left < n; {
			panel := v.pairPanelOf(n - left)
			width := min(panel.columns, n-left)
			grow(&s.panel, (hi-lo)*panel.stride)
			v.packRows(s.panel, panel, p.w[lo*n:hi*n], n, left, width)
			more := min(block, 1)
			if v.masked || width == panel.columns {
				panel.gradient((*byte)(unsafe.Pointer(&rows[0])), len(rows)/v.together, left, &s.panel[0], &v.values[0], width, more)
			} else {
				v.pairsThroughTile(s, panel, rows, left, width, more)
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

// pairRows makes one list of those that blocks have of each of the pairs [from, to),
// and puts pairs together that have about as many entries. Sums of pairs without any it
// sets to 0, unless there may be more in them.
func (v *vectors[T]) pairRows(s *Scratch[T], p *product[T], blocks []pairBlock, from, to int, more bool) []pairRow[T] {
	count := to - from
	grow(&s.counts, count)
	counts := s.counts[:count]
	clear(counts)
	for i := range blocks {
		starts := blocks[i].starts[from : to+1]
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
			clear(p.y[2*first*p.n : min(2*next, p.k)*p.n])
		}
	}
	if order = order[some:]; len(order) == 0 {
		return nil
	}
	count = len(order)
	groups := (count + v.together - 1) / v.together
	grow(&s.pairRows, groups*v.together)
	grow(&s.entries, groups*v.together*inGroup+inBlock)
	grow(&s.trash, p.n+1)
	rows := s.pairRows[:groups*v.together]
	for first := 0; first < len(rows); first += v.together {
		longest := int(counts[order[min(first+v.together, count)-1]])
		for i := first; i < first+v.together; i++ {
			r := &rows[i]
			r.d0, r.d1, r.count = &s.trash[0], &s.trash[0], longest // of a pair that fills the last group
			if i < count {
				q := from + int(order[i])
				r.d0 = &p.y[2*q*p.n]
				if 2*q+1 < p.k {
					r.d1 = &p.y[(2*q+1)*p.n]
				}
			}
		}
	}
	if v.joinLists != nil {
		v.joinLists(&s.entries[0], (*byte)(unsafe.Pointer(&rows[0])), &order[0], from, count, (*byte)(unsafe.Pointer(&blocks[0])), len(blocks))
	} else {
		joinLists(s.entries, rows[:count], order, from, blocks)
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
