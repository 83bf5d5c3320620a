package kernel

import "sync/atomic"

// worthPieces is the number of multiply-adds from which threads take over pieces of a dense
// product from each other: half a millisecond on one core, and what another program takes of a
// core, it takes for milliseconds.
const worthPieces = 1 << 26

const (
	mostBlocks = 4   // of rows, which a part of a product is cut into
	leastRows  = 128 // of a block, but for the last
)

// spanOf returns the part of a dense product that is one thread's, but for what others take over.
func (v *vectors[T]) spanOf(p *product[T], part, parts int) span {
	switch p.kind {
	case forward:
		return v.splitTiles(p.m, p.n, part, parts)
	case forGradIn:
		return v.splitTiles(p.m, p.k, part, parts)
	}
	top, bottom := p.rows(part, parts)
	return span{top, bottom, 0, p.n}
}

// densePart computes a part of y = a·b + bias, shapes as for dense: the span of that part, or
// where p is made in pieces what others have not begun of it, and then what they have not begun
// of theirs.
func (v *vectors[T]) densePart(s *Scratch[T], p *product[T], cols, inner int, a, b factor[T], bias []T, part, parts int) {
	own := v.spanOf(p, part, parts)
	if p.begun == nil || parts == 1 {
		v.dense(s, p, cols, inner, a, b, bias, own)
		return
	}
	// A piece is a group of panels for a block of the rows. A thread begins with its first, and
	// with the last of others, as in a collection, when it has none of its own left.
	high := v.widest().heights[0]
	var first factor[T] // a, as rows [top, bottom) need it, in strips or not
	top, bottom := 0, 0
	for i := range parts {
		other := (part + i) % parts
		of := v.spanOf(p, other, parts)
		rows := of.bottom - of.top
		block := (max((rows+mostBlocks-1)/mostBlocks, leastRows) + high - 1) / high * high // rows
		blocks, groups := (rows+block-1)/block, 0
		strips := v.inStrips(a, inner, of)
		for left := of.left; left < of.right; groups++ {
			g := v.group(left, of, inner, strips, b)
			left = g.right()
		}
		var g group[T]
		packed := -1 // the number of g
		for {
			piece, some := p.begun[other].next(groups*blocks, i == 0)
			if !some {
				break
			}
			number, from := piece/blocks, of.top+piece%blocks*block
			to := span{from, min(of.bottom, from+block), of.left, of.right}
			if to.top < top || to.bottom > bottom {
				needs := of
				if i > 0 { // of rows that are another's no more than for this piece, but again for each
					needs = to
				}
				first, top, bottom = v.packFirst(s, a, strips, inner, needs), needs.top, needs.bottom
			}
			if number != packed {
				g = v.group(of.left, of, inner, strips, b)
				for range number {
					g = v.group(g.right(), of, inner, strips, b)
				}
				v.packSecond(s, &g, inner, b, bias)
				packed = number
			}
			v.tiles(s, p, cols, inner, first, strips, &g, top, to)
		}
	}
}

// pieceCount counts the pieces of a part that were begun: by the thread whose part it is, from the
// first on, in the lower half of the word, and by others, from the last on, in the upper.
type pieceCount struct {
	counts atomic.Uint64
	_      [line - 8]byte // a cache line of its own
}

// next returns the next piece of so many, for the part's own thread or for another.
func (b *pieceCount) next(pieces int, own bool) (piece int, some bool) {
	for {
		before := b.counts.Load()
		byOwner, byOthers := int(uint32(before)), int(before>>32)
		if byOwner+byOthers >= pieces {
			return 0, false
		}
		piece, after := byOwner, before+1
		if !own {
			piece, after = pieces-1-byOthers, before+1<<32
		}
		if b.counts.CompareAndSwap(before, after) {
			return piece, true
		}
	}
}
