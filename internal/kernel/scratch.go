package kernel

import "unsafe"

// Scratch is what one thread needs to compute a product. It grows to what the
// largest product needs and is kept.
type Scratch[T Float] struct {
	panel   []T            // columns of the second factor, packed
	first   []T            // the first factor, its rows further apart or in strips
	bias    []T            // the bias of a panel, padded
	tile    []T            // a register tile that is not full
	sums    []T            // of a block of images or a side of one, or of several panels that are kept; portable: of the first half of one
	entries []uint32       // compressed rows (place and byte)
	counts  []int32        // entries of each compressed row, or pair
	order   []int32        // compressed rows, or pairs, by count
	starts  []int32        // where those of each count begin in order
	none    []byte         // an image of zeros
	rows    []sparseRow[T] // compressed rows in order
	group   [lists]sparseRow[T]

	images    [mostSides * inStack]*byte   // of a block
	nowhere   [mostSides * inStack]uintptr // in place of the images that come next where none are to be fetched: the Scratch itself
	kept      []keptSums[T]                // in sums
	joined    [2]joined[T]                 // by list
	prepared  prepared[T]
	pairGroup [mostTogether]pairRow[T]
	trash     []T     // where the sums of a pair that is none go
	at        []int32 // of the portable implementation: where a row is not 0,
	value     []T     // and what is there
}

// lists is how many compressed rows are summed together.
const lists = 4

// joined are the pairs of a list that have entries, by count; where a group has several
// blocks, with the entries that these have of each.
type joined[T Float] struct {
	rows    []pairRow[T]
	entries []uint32
}

// sparseRow says where a compressed row is and where its sum goes.
type sparseRow[T Float] struct {
	y       *T
	entries *uint32
	count   int // of the longest row of its group, in the last of them
}

// line is a cache line in bytes.
const line = 64

// grow makes *s at least n long; what it held is lost. Memory begins on a cache
// line, and so do the rows of a panel whose width fills lines.
func grow[E any](s *[]E, n int) {
	if len(*s) >= n {
		return
	}
	var e E
	size := int(unsafe.Sizeof(e))
	all := make([]E, n+line/min(size, line)+1)
	first := 0
	for uintptr(unsafe.Pointer(&all[first]))%line != 0 && first < len(all)-n {
		first++
	}
	*s = all[first : first+n]
}
