package kernel

import "sync/atomic"

// worthPieces is the number of multiply-adds from which threads take over pieces of a dense
// product from each other: where each has a millisecond to do, another program on its core
// makes it late.
const worthPieces = 1 << 26

const (
	mostBlocks = 4   // of rows, which a part of a product is cut into
	leastRows  = 128 // of a block, but for the last
)

// part computes a part of y [rows, cols] = a·b + bias.
func (v *vectors[T]) part(s *Scratch[T], p *product[T], rows, cols, inner int, a, b factor[T], bias []T, part, parts int) {
	to := v.splitTiles(rows, cols, part, parts)
	if p.begun == nil || parts == 1 || to.right-to.left == cols { // by rows, a piece would need its part of a
		v.dense(s, p.y, cols, inner, a, b, bias, to)
		return
	}
	// Piece by piece: a group of panels, for a block of the rows after the other. When it has no
	// more of its own, a thread takes what others have not begun, from their last piece on
	// (R. Blumofe and C. Leiserson, "Scheduling Multithreaded Computations by Work Stealing",
	// J. ACM 46 (1999)).
	high := v.widest().heights[0]
	block := (max(rows/mostBlocks, leastRows) + high - 1) / high * high // rows
	blocks := (rows + block - 1) / block
	ready := false // a
	for i := range parts {
		other := (part + i) % parts
		of := v.splitTiles(rows, cols, other, parts)
		groups := 0
		for left := of.left; left < of.right; groups++ {
			g := v.group(left, of, inner, false)
			left = g.right()
		}
		var g group[T]
		packed := -1 // the number of g
		for {
			piece, some := p.begun[other].next(groups*blocks, i == 0)
			if !some {
				break
			}
			if !ready {
				a, ready = s.skew(a, inner, of), true
			}
			if number := piece / blocks; number != packed {
				g = v.group(of.left, of, inner, false)
				for range number {
					g = v.group(g.right(), of, inner, false)
				}
				v.packGroup(s, &g, inner, b, bias)
				packed = number
			}
			top := piece % blocks * block
			v.tiles(s, p.y, cols, inner, a, false, &g, top, span{top, min(rows, top+block), of.left, of.right})
		}
	}
}

// begun counts the pieces of a part that were begun: by the thread whose part it is, from the
// first on, in the lower half of the word, and by others, from the last on, in the upper.
type begun struct {
	counts atomic.Uint64
	_      [line - 8]byte // a cache line of its own
}

// next returns the next piece of so many, for the part's own thread or for another.
func (b *begun) next(pieces int, own bool) (piece int, some bool) {
	for {
		before := b.counts.Load()
		first, last := int(uint32(before)), int(before>>32)
		if first+last >= pieces {
			return 0, false
		}
		piece, after := first, before+1
		if !own {
			piece, after = pieces-1-last, before+1<<32
		}
		if b.counts.CompareAndSwap(before, after) {
			return piece, true
		}
	}
}
