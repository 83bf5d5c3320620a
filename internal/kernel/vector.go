package kernel

import (
	"unsafe"

	"glassnet/matrix"
)

// vectors is an implementation on registers of several numbers. The second factor
// of a dense product is cut into panels, a few registers wide, and for each panel a tile
// of a few rows of the result is summed in registers over the whole inner index,
// as the contract asks. This is the scheme of K. Goto and R. van de Geijn,
// "Anatomy of High-Performance Matrix Multiplication", ACM TOMS 34 (2008), without
// the blocks along the inner index: those of neural networks are short enough.
// Products with images go by lists of what is not 0: see sparse and Pairs.
type vectors[T Float] struct {
	panels []panel[T] // by width
	many   int        // width of the panels taken while there are more columns than one panel has; wider ones are for the last columns only
	masked bool       // tiles neither read nor write beyond their columns, and pack does not read beyond them
	cut    bool       // panels for lists are in two pieces

	strip      *panel[T] // packs a transposed first factor: its columns, the rows of a tile of many, and pack are all that it has; nil: the factor stays where it is
	stripsFrom int       // bytes of such a factor from which it is packed
	groupBytes int       // bytes of panels that are packed together where the first factor is large; 0: one panel

	addScaled      func(y, x *T, n int, a T) // n is a multiple of lanes
	peak           func(n int) (flops int)
	lanes          int
	compress       compressFunc                                         // nil: in Go
	transposePanel func(dst *T, columns int, src *T, stride, inner int) // nil: in Go
	pairPanels     []pairPanel[T]                                       // by width
	manyPairs      int                                                  // as many, of pairPanels
	together       int                                                  // pairs whose gradients are summed together
	listPairs      listPairsFunc                                        // nil: in Go
	joinLists      func(to *uint32, pairs *byte, order *int32, from, count int, blocks *byte, parts int)
	claim          func(p *byte, lines int) // nil: writing what others have read is not known to be slow
	fetchToWrite   func(p *byte, lines int) // nil: nothing is fetched
	values         *[256]T                  // intensities
	fallback       inner[T]
	*assembly[T]   // nil: in Go
}

// panel holds the functions for panels of that many columns.
type panel[T Float] struct {
	columns int
	heights []int            // of its register tiles, the highest first
	tiles   []tileFunc[T]    // by height
	sparse  [2]sparseFunc[T] // of 1 compressed row and of several
	// pack copies inner rows of width numbers, stride apart, to rows as long as the
	// panel is wide; the rest is 0. Where tiles are not masked, the panel must be full.
	// nil: in Go.
	pack func(dst, src *T, stride, inner, width int)
}

// tileFunc computes y[r, j] = Σ_p a[r·ar + p·ai]·b[p·bs + j] + bias[j] for as many
// rows as the tile is high and width columns. If value is not nil, its rows, which are ys
// apart too, become fma(factor, y, value) + 0; bad is not 0 when a number of them is infinite
// or NaN.
type tileFunc[T Float] func(y *T, ys int, a *T, ar, ai int, b *T, bs int, bias *T, inner, width int, value *T, factor T) (bad int)

// sparseFunc computes row.y[left + j] = Σ_t values[byte]·b[place, j] + bias[j] for the
// entries of each row and width columns of a panel in pieces. A group has one row or as
// many as are summed together; the last of them has the count of all, and the rows of
// the pieces must then stand side by side.
type sparseFunc[T Float] func(rows *sparseRow[T], groups, left int, b pieces[T], bias, values *T, width int)

// pieces is a panel in two arrays: the part of its rows that fills cache lines, so that
// none reaches over the end of one for nothing, and the rest.
type pieces[T Float] struct {
	lines, rest            *T
	lineStride, restStride int // numbers from row to row
}

// summed adapts assembly functions that know rows as bytes.
func summed[T Float](fs ...func(rows *byte, groups, left int, b *T, bs int, rest *T, rs int, bias, values *T, width int)) (adapted [2]sparseFunc[T]) {
	for i, f := range fs {
		adapted[i] = func(rows *sparseRow[T], groups, left int, b pieces[T], bias, values *T, width int) {
			f((*byte)(unsafe.Pointer(rows)), groups, left, b.lines, b.lineStride, b.rest, b.restStride, bias, values, width)
		}
	}
	return adapted
}

// compressFunc lists the pixels that are not 0 in rows of n. Row r begins at
// pixels[index[r]·stride], its entries at entries[r·capacity]. The padding entries beyond
// the last are set to 0. While row r is read, row r+ahead is fetched from memory, or the
// last of known, if that is less.
type compressFunc func(entries *uint32, capacity int, counts *int32, pixels *byte, stride int, index *int32, rows, ahead, known, n int)

// fetched is how many bytes of images are fetched ahead of their use.
const fetched = 1 << 17

// intensities are what bytes stand for.
func intensities[T Float]() *[256]T {
	var v [256]T
	for b := range v {
		v[b] = T(matrix.Intensity(byte(b)))
	}
	return &v
}

func (v *vectors[T]) table() *Table[T] {
	v.values = intensities[T]()
	share := func(rows, cols, part, parts int) span { return v.split(rows, cols, lists, part, parts) }
	return &Table[T]{v.addScaledAny, v.multiply, share, v.peak, v.fetchToWrite, v.preparePairs, true, v.loops()}
}

// factor is a factor of a product: element (i, p) is at data[i*row + p*inner].
type factor[T Float] struct {
	data       []T
	row, inner int
}

// multiply writes every kind of product as y [rows, cols] = Σ over inner of a·b.
func (v *vectors[T]) multiply(s *Scratch[T], p *product[T], part, parts int) {
	m, k, n := p.m, p.k, p.n
	switch p.kind {
	case forward:
		v.densePart(s, p, n, k, factor[T]{p.x, k, 1}, factor[T]{p.w, 1, n}, p.b, part, parts)
	case forGradWeight:
		v.densePart(s, p, n, m, factor[T]{p.x, 1, k}, factor[T]{p.w, 1, n}, nil, part, parts)
	case forGradIn:
		v.densePart(s, p, k, n, factor[T]{p.x, n, 1}, factor[T]{p.w, n, 1}, nil, part, parts)
	case listing:
		v.listBlocks(s, p, part, parts)
	case pairsForward:
		v.pairsForward(s, p, part, parts)
	case pairsForWeight:
		v.pairsGradient(s, p, part, parts)
	case pixelsForward:
		v.sparse(s, p, part, parts)
	}
}

// split cuts a result into parts by columns, so that each thread packs the panels of its own
// part only, unless it takes over a piece of another's, or where it has too few panels for
// that by rows, high at a time.
func (v *vectors[T]) split(rows, cols, high, part, parts int) span {
	wide := v.many
	if panels := (cols + wide - 1) / wide; panels >= 2*parts {
		return span{0, rows, min(cols, panels*part/parts*wide), min(cols, panels*(part+1)/parts*wide)}
	}
	tiles := (rows + high - 1) / high
	return span{min(rows, tiles*part/parts*high), min(rows, tiles*(part+1)/parts*high), 0, cols}
}

// splitTiles is split, by rows as many together as the highest register tile has.
func (v *vectors[T]) splitTiles(rows, cols, part, parts int) span {
	return v.split(rows, cols, v.narrowest(cols).heights[0], part, parts)
}

func (v *vectors[T]) widest() *panel[T] { return v.narrowest(v.many) }

// narrowest returns the narrowest panel that has so many columns, or the one for many.
func (v *vectors[T]) narrowest(columns int) *panel[T] {
	for i := range v.panels {
		if v.panels[i].columns >= columns {
			return &v.panels[i]
		}
	}
	return v.widest()
}

const (
	// packFrom is the number of rows of a result from which it pays to pack a panel of its
	// second factor.
	packFrom = 8
	// packAlignedFrom is that number where the panel's rows are whole cache lines and two or
	// more of them lie on a page: 64 rows took less time by a panel in place, 256 more.
	packAlignedFrom = 129
	page            = 4096 // bytes
)

// large is the size in bytes of a first factor, or of a thread's part of it, from which
// avx512 packs it in strips if it is transposed, and has each tile of it meet several
// panels, a group, before the next one is read. It was measured on a Xeon with 2 MB of
// second-level cache, which panels, results and the neighbours' data share.
const large = 1 << 19

// dense computes the part to of y = a·b + bias, p being that product; shapes y [., cols],
// a [., inner], b [inner, cols], bias [cols] or nil.
func (v *vectors[T]) dense(s *Scratch[T], p *product[T], cols, inner int, a, b factor[T], bias []T, to span) {
	if to.top == to.bottom {
		return
	}
	strips := v.inStrips(a, inner, to)
	a = v.packFirst(s, a, strips, inner, to)
	for left := to.left; left < to.right; {
		g := v.group(left, to, inner, strips, b)
		v.packSecond(s, &g, inner, b, bias)
		v.tiles(s, p, cols, inner, a, strips, &g, to.top, to)
		left = g.right()
	}
}

// group is some panels side by side of the second factor.
type group[T Float] struct {
	panel   *panel[T]
	left    int  // its first column
	count   int  // panels
	width   int  // columns of each: several are full
	inPlace bool // it is read where it lies in the second factor, not packed

	data   []T // count panels [inner, panel.columns], or in place
	bias   []T // [count·panel.columns]
	stride int // numbers from row to row of a panel
}

// right is the first column behind the group.
func (g *group[T]) right() int { return g.left + g.count*g.width }

// group returns the next group, from column left on, of those of a part of the result.
func (v *vectors[T]) group(left int, of span, inner int, strips bool, b factor[T]) group[T] {
	panel := v.narrowest(of.right - left)
	if strips && panel.columns > v.many { // tiles of a wider one are not as high as strips
		panel = v.widest()
	}
	rows, apart := of.bottom-of.top, b.inner*sizeOf[T]()
	g := group[T]{panel: panel, left: left, count: 1, width: min(panel.columns, of.right-left)}
	g.inPlace = b.row == 1 && (v.masked || g.width == panel.columns) &&
		(rows < packFrom || rows < packAlignedFrom && apart%line == 0 && 2*apart <= page)
	if !g.inPlace {
		g.count = v.panelsTogether(panel, inner, rows, of.right-left)
	}
	return g
}

// packSecond packs the second factor [inner, .] for a group, and pads the bias.
func (v *vectors[T]) packSecond(s *Scratch[T], g *group[T], inner int, b factor[T], bias []T) {
	if g.inPlace {
		g.data, g.stride = b.data[min(g.left, len(b.data)):], b.inner
	} else {
		v.packBlocks(&s.panel, g.panel, g.count*g.width, g.width, g.left, inner, b)
		g.data, g.stride = s.panel, g.panel.columns
	}
	g.bias = s.padBias(bias, g.left, g.count*g.width, g.count*g.panel.columns)
}

// tiles computes the rows of to in the columns of a group. What a holds begins with row top.
func (v *vectors[T]) tiles(s *Scratch[T], p *product[T], cols, inner int, a factor[T], strips bool, g *group[T], top int, to span) {
	panel, width := g.panel, g.width
	follows, bad := p.descends(), 0
	for r := to.top; r < to.bottom; {
		h := 0
		for panel.heights[h] > to.bottom-r {
			h++
		}
		from, step := address(a.data, (r-top)*a.row), a.inner
		if strips && panel.heights[0] == v.strip.columns {
			at, high := r-top, v.strip.columns
			from, step = &s.first[at/high*high*inner+at%high], high
		}
		for c := range g.count {
			at, columns, biases := r*cols+g.left+c*width, address(g.data, c*panel.columns*inner), &g.bias[c*panel.columns]
			if v.masked || width == panel.columns {
				var value *T
				if follows {
					value = &p.value[at]
				}
				bad |= panel.tiles[h](&p.y[at], cols, from, a.row, step, columns, g.stride, biases, inner, width, value, p.factor)
				continue
			}
			size := panel.heights[0] * panel.columns
			grow(&s.tile, 2*size)
			y, value := s.tile[:size], (*T)(nil)
			if follows {
				value = &s.tile[size]
				clear(s.tile[size : 2*size]) // what was there before might not be finite
				copyRows(s.tile[size:], panel.columns, p.value[at:], cols, panel.heights[h], width)
			}
			bad |= panel.tiles[h](&y[0], panel.columns, from, a.row, step, columns, g.stride, biases, inner, width, value, p.factor)
			copyRows(p.y[at:], cols, y, panel.columns, panel.heights[h], width)
			if follows {
				copyRows(p.value[at:], cols, s.tile[size:], panel.columns, panel.heights[h], width)
			}
		}
		r += panel.heights[h]
	}
	if bad != 0 {
		p.descent.lost.Store(true)
	}
}

// copyRows copies width numbers of each of so many rows.
func copyRows[T Float](to []T, ts int, from []T, fs, rows, width int) {
	for r := range rows {
		copy(to[r*ts:][:width], from[r*fs:])
	}
}

// panelsTogether is how many panels are packed together for that many rows and columns of
// a result.
func (v *vectors[T]) panelsTogether(p *panel[T], inner, rows, cols int) int {
	if rows*inner*sizeOf[T]() < large {
		return 1
	}
	return max(1, min(v.groupBytes/(inner*p.columns*sizeOf[T]()), cols/p.columns))
}

// worthStrips is the number of columns of a part of the result from which it pays to pack
// a transposed first factor, measured on a Zen 3; avx512 has it too, and asks for a large
// factor.
const worthStrips = 120

// packedRows is how many rows of a matrix are packed for all panels before the next ones:
// each may lie on a page of its own.
const packedRows = 64

// inStrips says whether it pays to pack a [., inner] in strips for a part of the result: it is
// transposed, and not a single column, which is as well where it is. So only gradients of weights
// have strips, whose parts share no rows.
func (v *vectors[T]) inStrips(a factor[T], inner int, of span) bool {
	return v.strip != nil && a.row == 1 && a.inner > 1 && inner > 0 && inner*a.inner*sizeOf[T]() >= v.stripsFrom && of.bottom-of.top >= packFrom && of.right-of.left >= worthStrips
}

// packFirst returns a [., inner] from row to.top on, for the rows of to: as it is, skewed, or to
// be found in strips.
func (v *vectors[T]) packFirst(s *Scratch[T], a factor[T], strips bool, inner int, to span) factor[T] {
	if strips {
		v.packStrips(s, a, inner, to) // tiles of other heights read a where it is
	}
	a.data = a.data[min(to.top*a.row, len(a.data)):]
	if !strips {
		a = s.skew(a, inner, to)
	}
	return a
}

// packStrips packs what the rows of to need of a [., inner], which is transposed: strips
// of as many of its rows as a tile has, each number of the inner index after the other.
// Where they lie, a tile finds a few numbers on every cache line, and every page. Element
// (to.top + r, p) of a is then at s.first[r/high·high·inner + p·high + r%high], high being
// the rows of a strip.
func (v *vectors[T]) packStrips(s *Scratch[T], a factor[T], inner int, to span) {
	v.packBlocks(&s.first, v.strip, to.bottom-to.top, v.strip.columns, to.top, inner, a)
}

// sizeOf is how many bytes a number takes.
func sizeOf[T Float]() int {
	var zero T
	return int(unsafe.Sizeof(zero))
}

// address returns where element i of v is, anything when v is empty: then there is
// nothing to read.
func address[T any](v []T, i int) *T {
	if i < len(v) {
		return &v[i]
	}
	return unsafe.SliceData(v)
}

// skew copies what the part of the result needs of a so that neighbouring rows do not
// fall on the same cache lines, where they would, for all numbers of a tile are wanted at
// once. The caches here repeat every 4 KiB. a begins with the part's first row.
func (s *Scratch[T]) skew(a factor[T], inner int, to span) factor[T] {
	stride, size := max(a.row, a.inner), sizeOf[T]()
	if stride*size%page != 0 || inner == 0 || to.bottom-to.top < packFrom || (to.right-to.left)*size < 256 {
		return a
	}
	rows, length := inner, to.bottom-to.top // in memory
	if a.inner == 1 {
		rows, length = length, rows
	}
	wider := stride + line/size
	grow(&s.first, rows*wider)
	for i := range rows {
		copy(s.first[i*wider:][:length], a.data[i*stride:])
	}
	a.data = s.first
	if a.inner == 1 {
		a.row = wider
	} else {
		a.inner = wider
	}
	return a
}

// packBlocks copies columns [left, left+cols) of b [inner, .] into panels [inner, p.columns]
// that follow each other in to, width columns in each, the rest 0: some rows for all
// panels, then the next ones.
func (v *vectors[T]) packBlocks(to *[]T, p *panel[T], cols, width, left, inner int, b factor[T]) {
	size := inner * p.columns
	grow(to, (cols+width-1)/width*size)
	some := inner
	if b.row == 1 {
		some = packedRows
	}
	for first := 0; first < inner; first += some {
		rows := min(some, inner-first)
		from := factor[T]{b.data[first*b.inner:], b.row, b.inner}
		for at := 0; at < cols; at += width {
			v.fill((*to)[at/width*size+first*p.columns:][:rows*p.columns], p, min(width, cols-at), left+at, rows, from)
		}
	}
}

// packPieces packs a panel of w [inner, .] for lists, width columns from left on; where direct is
// true it leaves them where they lie.
func (v *vectors[T]) packPieces(s *Scratch[T], p *panel[T], width, left, inner int, w factor[T], direct bool) pieces[T] {
	inLines := v.inLines(p.columns)
	if direct {
		return pieces[T]{address(w.data, left), address(w.data, left+inLines), w.inner, w.inner}
	}
	grow(&s.panel, inner*p.columns)
	lines, rest := s.panel[:inner*inLines], s.panel[inner*inLines:inner*p.columns]
	if inLines > 0 {
		v.fill(lines, v.narrowest(inLines), min(width, inLines), left, inner, w)
	}
	if inLines < p.columns {
		v.fill(rest, v.narrowest(p.columns-inLines), width-inLines, left+inLines, inner, w)
	}
	return pieces[T]{unsafe.SliceData(lines), unsafe.SliceData(rest), inLines, p.columns - inLines}
}

// inLines is how many of a row's columns are in the piece that fills cache lines.
func (v *vectors[T]) inLines(columns int) int {
	if !v.cut {
		return columns
	}
	size := sizeOf[T]()
	return columns * size / line * line / size
}

// fill copies columns [left, left+width) of b to a panel.
func (v *vectors[T]) fill(panel []T, p *panel[T], width, left, inner int, b factor[T]) {
	columns := p.columns
	if b.row == 1 && p.pack != nil && inner > 0 && (v.masked || width == columns) {
		p.pack(&panel[0], &b.data[left], b.inner, inner, width)
		return
	}
	if width < columns {
		clear(panel)
	}
	if b.row == 1 {
		for p := range inner {
			copy(panel[p*columns:p*columns+width], b.data[p*b.inner+left:])
		}
		return
	}
	whole, rows := 0, 0 // columns and rows that transposePanel does
	if v.transposePanel != nil && inner >= v.lanes {
		whole, rows = width/v.lanes*v.lanes, inner/v.lanes*v.lanes
	}
	for j := 0; j < whole; j += v.lanes {
		v.transposePanel(&panel[j], columns, &b.data[(left+j)*b.row], b.row, rows)
	}
	const block = 64 // rows of the panel that stay in the first-level cache
	for first := 0; first < inner; first += block {
		last := min(first+block, inner)
		for j := range width {
			row := b.data[(left+j)*b.row:]
			from := first
			if j < whole {
				from = max(first, rows)
			}
			for p := from; p < last; p++ {
				panel[p*columns+j] = row[p]
			}
		}
	}
}

// padBias returns bias[left : left+width], or zeros, padded to columns.
func (s *Scratch[T]) padBias(bias []T, left, width, columns int) []T {
	grow(&s.bias, columns)
	clear(s.bias[:columns])
	if bias != nil {
		copy(s.bias, bias[left:left+width])
	}
	return s.bias
}

// sparse computes the product with pixels. The rows of the pixels are compressed to what
// is not 0; then every row of the result is a sum of a few scaled rows of w.
func (v *vectors[T]) sparse(s *Scratch[T], p *product[T], part, parts int) {
	inner, cols := p.k, p.n
	to := v.split(p.m, cols, lists, part, parts)
	height := to.bottom - to.top
	if height == 0 || to.left == to.right {
		return
	}
	capacity := inner + 3*padding // compress writes up to two registers more
	grow(&s.entries, height*capacity)
	grow(&s.counts, height)
	v.compressRows(s, p, to, capacity)
	s.sortRows(height, inner)
	whole := height / lists * lists // rows in groups; of a few there are none, and full panels are read where they lie
	if height < packFrom {
		whole = 0
	}
	grow(&s.rows, height)
	for i, r := range s.order[:height] {
		count, entries := int(s.counts[r]), s.entries[int(r)*capacity:]
		if i < whole { // all rows of a group become as long as the last
			longest := int(s.counts[s.order[i/lists*lists+lists-1]])
			if longest-count > padding {
				clear(entries[count:longest])
			}
			count = longest
		}
		s.rows[i] = sparseRow[T]{&p.y[(to.top+int(r))*cols], &entries[0], count}
	}

	for left := to.left; left < to.right; {
		panel := v.narrowest(to.right - left)
		width := min(panel.columns, to.right-left)
		full := v.masked || width == panel.columns
		b := v.packPieces(s, panel, width, left, inner, factor[T]{p.w, 1, cols}, full && height < packFrom)
		biases := &s.padBias(p.b, left, width, panel.columns)[0]
		if full {
			if whole > 0 {
				panel.sparse[1](&s.rows[0], whole/lists, left, b, biases, &v.values[0], width)
			}
			if whole < height {
				panel.sparse[0](&s.rows[whole], height-whole, left, b, biases, &v.values[0], width)
			}
		} else {
			v.sparseThroughTile(s, panel, whole, height, left, b, biases, width)
		}
		left += width
	}
}

// sparseThroughTile sums a panel that is not full, for implementations that can
// only store whole ones.
func (v *vectors[T]) sparseThroughTile(s *Scratch[T], panel *panel[T], whole, height, left int, b pieces[T], biases *T, width int) {
	grow(&s.tile, lists*panel.columns)
	for first := 0; first < height; {
		count, f := lists, 1
		if first >= whole {
			count, f = 1, 0
		}
		for r := range count {
			s.group[r] = s.rows[first+r]
			s.group[r].y = &s.tile[r*panel.columns]
		}
		panel.sparse[f](&s.group[0], 1, 0, b, biases, &v.values[0], width)
		for r := range count {
			copy(unsafe.Slice(s.rows[first+r].y, left+width)[left:], s.tile[r*panel.columns:])
		}
		first += count
	}
}

// compressRows lists what is not 0 in the rows of to, each in its own capacity
// entries.
func (v *vectors[T]) compressRows(s *Scratch[T], p *product[T], to span, capacity int) {
	height := to.bottom - to.top
	if v.compress == nil {
		for r := range height {
			entries := s.entries[r*capacity : (r+1)*capacity]
			n := len(appendNonzeros(entries[:0], p.pixels.Row(to.top+r), 0))
			clear(entries[n : n+padding])
			s.counts[r] = int32(n)
		}
		return
	}
	// What stands behind a batch in the order of the images is most likely the
	// batch after it, and worth fetching as far as it fits into a cache.
	index := p.pixels.Index
	ahead := max(1, min(len(index), fetched/(p.k+1)))
	v.compress(&s.entries[0], capacity, &s.counts[0], unsafe.SliceData(p.pixels.Data), p.k, &index[to.top], height, ahead, cap(index)-to.top, p.k)
}

// sortRows orders the rows by their counts, which are at most inner: rows that
// are summed together should be equally long.
func (s *Scratch[T]) sortRows(height, inner int) {
	grow(&s.order, height)
	if height < 2 {
		for r := range height {
			s.order[r] = int32(r)
		}
		return
	}
	grow(&s.starts, inner+1)
	starts := s.starts[:inner+1]
	clear(starts)
	for _, c := range s.counts[:height] {
		starts[c]++
	}
	var before int32
	for c, n := range starts {
		starts[c] = before
		before += n
	}
	for r, c := range s.counts[:height] {
		s.order[starts[c]] = int32(r)
		starts[c]++
	}
}

func (v *vectors[T]) addScaledAny(y, x []T, a T) {
	x = x[:len(y)]
	whole := len(y) / v.lanes * v.lanes
	if whole > 0 {
		v.addScaled(&y[0], &x[0], whole, a)
	}
	v.fallback.addScaled(y[whole:], x[whole:], a)
}
