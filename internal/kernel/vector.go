package kernel

import (
	"unsafe"

	"glassnet/matrix"
)

// vectors is an implementation on registers of several numbers. The second factor
// of a product is cut into panels, a few registers wide, and for each panel a tile
// of a few rows of the result is summed in registers over the whole inner index,
// as the contract asks. This is the scheme of K. Goto and R. van de Geijn,
// "Anatomy of High-Performance Matrix Multiplication", ACM TOMS 34 (2008), without
// the blocks along the inner index: those of neural networks are short enough.
type vectors[T Float] struct {
	panels []panel[T] // by width
	many   int        // how many columns of many a panel takes; wider ones are for the last columns only
	near   int        // how many bytes of sums to scatter into at a time: most of the first-level cache
	masked bool       // tiles neither read nor write beyond their columns

	addScaled      func(y, x *T, n int, a T) // n is a multiple of lanes
	peak           func(n int) (flops int)
	lanes          int
	compress       compressFunc                                             // nil: in Go
	transposeBytes func(dst *byte, stride int, rows *[16]*byte, col, n int) // nil: in Go
	transposePanel func(dst *T, columns int, src *T, stride, inner int)     // nil: in Go
	scatter        []scatterFunc[T]                                         // by columns, fewest first; nil: none
	values         *[256]T                                                  // intensities
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
	// panel is wide; the rest is 0. nil: in Go.
	pack func(dst, src *T, stride, inner, width int)
}

// tileFunc computes y[r, j] = Σ_p a[r·ar + p·ai]·b[p·bs + j] + bias[j] for as many
// rows as the tile is high and width columns.
type tileFunc[T Float] func(y *T, ys int, a *T, ar, ai int, b *T, bs int, bias *T, inner, width int)

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

// scatterFunc is for results of so many columns. The rows of its sums are in two
// pieces, each in an array of its own: the part that fills cache lines, and the rest.
type scatterFunc[T Float] struct {
	columns int
	// add computes d[place-first, j] += values[byte]·g[i, j] for the entries of each of
	// images rows in turn, [d, rest] being a row and g's rows as long.
	add func(d, rest *T, first int, rows *byte, images int, g, values *T)
	// join computes y[r·stride + j] = [d, rest][r, j] + 0 and leaves 0 there, row by row:
	// what one writes beyond stride, the next replaces.
	join func(y *T, stride int, d, rest *T, rows int)
}

// compressFunc lists the pixels that are not 0 in rows of n. Row r begins at
// pixels[index[r]·stride], or at pixels[r·stride] when index is nil; its entries at
// entries[r·capacity]. The padding entries beyond the last are set to 0. While row r
// is read, row r+ahead is fetched from memory, or the last of known, if that is less.
type compressFunc func(entries *uint32, capacity int, counts *int32, pixels *byte, stride int, index *int32, rows, ahead, known, n int)

const padding = matrix.Padding

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
	return &Table[T]{v.addScaledAny, v.multiply, share, v.peak, v.loops()}
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
		v.dense(s, p.y, m, n, k, factor[T]{p.x, k, 1}, factor[T]{p.w, 1, n}, p.b, part, parts)
	case forGradWeight:
		v.dense(s, p.y, k, n, m, factor[T]{p.x, 1, k}, factor[T]{p.w, 1, n}, nil, part, parts)
	case forGradIn:
		v.dense(s, p.y, m, k, n, factor[T]{p.x, n, 1}, factor[T]{p.w, n, 1}, nil, part, parts)
	case pixelsForWeight:
		if f := v.narrow(n); f != nil {
			v.scattered(f, s, p, part, parts)
			return
		}
		v.sparse(s, p, part, parts)
	case pixelsForward:
		v.sparse(s, p, part, parts)
	}
}

// narrow returns the function that scatters n columns, nil for too many.
func (v *vectors[T]) narrow(n int) *scatterFunc[T] {
	for i := range v.scatter {
		if v.scatter[i].columns >= n {
			return &v.scatter[i]
		}
	}
	return nil
}

// split cuts a result into parts by columns, so that each thread packs its own
// panels only, or where it has too few panels for that by rows, high at a time.
func (v *vectors[T]) split(rows, cols, high, part, parts int) span {
	wide := v.many
	if panels := (cols + wide - 1) / wide; panels >= 2*parts {
		return span{0, rows, min(cols, panels*part/parts*wide), min(cols, panels*(part+1)/parts*wide)}
	}
	tiles := (rows + high - 1) / high
	return span{min(rows, tiles*part/parts*high), min(rows, tiles*(part+1)/parts*high), 0, cols}
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

// few is the number of rows from which it pays to pack a panel.
const few = 8

func (v *vectors[T]) dense(s *Scratch[T], y []T, rows, cols, inner int, a, b factor[T], bias []T, part, parts int) {
	to := v.split(rows, cols, v.narrowest(cols).heights[0], part, parts)
	if to.top == to.bottom {
		return
	}
	a = s.skew(a, rows, inner, to)
	for left := to.left; left < to.right; {
		panel := v.narrowest(to.right - left)
		width := min(panel.columns, to.right-left)
		packed, stride := v.pack(s, panel, width, left, inner, b, to.bottom-to.top < few && (v.masked || width == panel.columns))
		biases := s.padBias(bias, left, width, panel.columns)
		for r := to.top; r < to.bottom; {
			h := 0
			for panel.heights[h] > to.bottom-r {
				h++
			}
			from := address(a.data, r*a.row)
			if v.masked || width == panel.columns {
				panel.tiles[h](&y[r*cols+left], cols, from, a.row, a.inner, packed, stride, biases, inner, width)
			} else {
				grow(&s.tile, panel.heights[0]*panel.columns)
				panel.tiles[h](&s.tile[0], panel.columns, from, a.row, a.inner, packed, stride, biases, inner, width)
				for i := range panel.heights[h] {
					copy(y[(r+i)*cols+left:][:width], s.tile[i*panel.columns:])
				}
			}
			r += panel.heights[h]
		}
		left += width
	}
}

// address returns where element i of v is, anything when v is empty: then there is
// nothing to read.
func address[T any](v []T, i int) *T {
	if i < len(v) {
		return &v[i]
	}
	return unsafe.SliceData(v)
}

// skew copies a so that neighbouring rows do not fall on the same cache lines,
// where they would, for all numbers of a tile are wanted at once. The caches here
// repeat every 4 KiB.
func (s *Scratch[T]) skew(a factor[T], rows, inner int, to span) factor[T] {
	var zero T
	stride, outer := max(a.row, a.inner), inner
	if a.inner == 1 {
		outer = rows
	}
	size := int(unsafe.Sizeof(zero))
	if stride*size%1024 != 0 || outer == 0 || to.bottom-to.top < few || (to.right-to.left)*size < 256 {
		return a
	}
	wider := stride + 64/size
	grow(&s.skewed, outer*wider)
	for i := range outer {
		copy(s.skewed[i*wider:i*wider+stride], a.data[i*stride:])
	}
	a.data = s.skewed
	if a.inner == 1 {
		a.row = wider
	} else {
		a.inner = wider
	}
	return a
}

// pack copies columns [left, left+width) of b into a panel, the rest of it 0, and
// returns where they are and how far apart its rows. Where direct is true and b has its
// columns side by side, it leaves them there.
func (v *vectors[T]) pack(s *Scratch[T], p *panel[T], width, left, inner int, b factor[T], direct bool) (*T, int) {
	if b.row == 1 && direct {
		return address(b.data, left), b.inner
	}
	grow(&s.panel, inner*p.columns)
	v.fill(s.panel[:inner*p.columns], p, width, left, inner, b)
	return unsafe.SliceData(s.panel), p.columns
}

// packPieces is pack for lists.
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
	if len(v.scatter) == 0 { // and then panels are not cut either
		return columns
	}
	var zero T
	size := int(unsafe.Sizeof(zero))
	return columns * size / line * line / size
}

// fill copies columns [left, left+width) of b to a panel.
func (v *vectors[T]) fill(panel []T, p *panel[T], width, left, inner int, b factor[T]) {
	columns := p.columns
	if b.row == 1 && p.pack != nil && inner > 0 {
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
func (s *Scratch[T]) padBias(bias []T, left, width, columns int) *T {
	grow(&s.bias, columns)
	clear(s.bias)
	if bias != nil {
		copy(s.bias, bias[left:left+width])
	}
	return &s.bias[0]
}

// sparse computes the products with pixels. The rows of the pixels, or of their
// transposition, are compressed to what is not 0; then every row of the result is
// a sum of a few scaled rows of b.
func (v *vectors[T]) sparse(s *Scratch[T], p *product[T], part, parts int) {
	rows, inner := p.m, p.k
	if p.kind == pixelsForWeight {
		rows, inner = p.k, p.m
	}
	cols := p.n
	to := v.split(rows, cols, lists, part, parts)
	if p.kind == pixelsForWeight {
		// By rows, as the update is: what one core writes, no other has, and none
		// lists a row that another lists too.
		to = shareRows(rows, cols, part, parts)
	}
	height := to.bottom - to.top
	if height == 0 || to.left == to.right {
		return
	}
	capacity := inner + 3*padding // compress writes up to two registers more
	grow(&s.entries, height*capacity)
	grow(&s.counts, height)
	grow(&s.listed, height)
	// The gradient of a wide layer needs the bytes: then they are better read by both.
	listed := p.kind == pixelsForward && p.pixels.Nonzeros != nil && (v.compress == nil || v.narrow(cols) != nil)
	if listed {
		for r, image := range p.pixels.Index[to.top:to.bottom] {
			row := p.pixels.Nonzeros.Row(int(image))
			s.listed[r], s.counts[r] = unsafe.SliceData(row), int32(len(row))
		}
	} else {
		v.compressRows(s, p, to, capacity)
		for r := range height {
			s.listed[r] = &s.entries[r*capacity]
		}
	}
	s.sortRows(height, inner)
	whole := height / lists * lists // rows in groups; of few there are none, and full panels are read where they lie
	if height < few {
		whole = 0
	}
	grow(&s.rows, height)
	for i, r := range s.order[:height] {
		count, entries := int(s.counts[r]), s.listed[r]
		if i < whole { // all rows of a group become as long as the last
			longest := int(s.counts[s.order[i/lists*lists+lists-1]])
			if longest-count > padding {
				own := s.entries[int(r)*capacity : int(r)*capacity+longest]
				if listed {
					copy(own, unsafe.Slice(entries, count))
					entries = &own[0]
				}
				clear(own[count:])
			}
			count = longest
		}
		s.rows[i] = sparseRow[T]{&p.y[(to.top+int(r))*cols], entries, count}
	}

	for left := to.left; left < to.right; {
		panel := v.narrowest(to.right - left)
		width := min(panel.columns, to.right-left)
		full := v.masked || width == panel.columns
		b := v.packPieces(s, panel, width, left, inner, factor[T]{p.w, 1, cols}, full && height < few)
		biases := s.padBias(p.b, left, width, panel.columns)
		if full {
			for i := 0; i < whole; i += together {
				groups := min(together, whole-i) / lists
				panel.sparse[1](&s.rows[i], groups, left, b, biases, &v.values[0], width)
				if listed && left == to.left {
					p.fetchNext(to.top+i, to.top+i+lists*groups)
				}
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

// together is how many rows are summed between two looks ahead.
const together = 16

// fetchNext brings the lists of images nearer that will be wanted after those of p,
// one for each of p's rows [top, bottom). It is most likely that these are the ones
// whose numbers stand behind those of p, and no harm when they are not.
func (p *product[T]) fetchNext(top, bottom int) {
	l, all := p.pixels.Nonzeros, p.pixels.Index[:cap(p.pixels.Index)]
	for r := top; r < bottom; r++ {
		if i := r + 2*p.m; i < len(all) && uint(all[i]) < uint(l.Images()) {
			fetch((*byte)(unsafe.Pointer(l.Bounds(int(all[i])))), 1)
		}
		if i := r + p.m; i < len(all) && uint(all[i]) < uint(l.Images()) {
			row := l.Row(int(all[i]))
			fetch((*byte)(unsafe.Pointer(unsafe.SliceData(row))), 4*len(row))
		}
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

// scattered computes xᵀ·g for few columns: image by image, in the order of the sum,
// each adds to the rows of its pixels. The part is a range of those rows, of which
// as many are filled together as stay in the first-level cache.
func (v *vectors[T]) scattered(f *scatterFunc[T], s *Scratch[T], p *product[T], part, parts int) {
	m, k, n := p.m, p.k, p.n
	if m == 0 || k == 0 || n == 0 {
		clear(p.y[k*part/parts*n : k*(part+1)/parts*n])
		return
	}
	columns := f.columns
	g := p.w
	if columns != n {
		grow(&s.panel, m*columns)
		g = s.panel
		for i := range m {
			row := g[i*columns : (i+1)*columns]
			clear(row[copy(row, p.w[i*n:(i+1)*n]):])
		}
	}
	grow(&s.rows, m)
	size := int(unsafe.Sizeof(g[0]))
	inLines := v.inLines(columns)
	width := (k + matrix.Strips - 1) / matrix.Strips
	strips := max(1, v.near/(width*columns*size))
	last := matrix.Strips * (part + 1) / parts
	for from := matrix.Strips * part / parts; from < last; from += strips {
		to := min(from+strips, last)
		low, high := min(k, from*width), min(k, to*width)
		if low == high {
			return
		}
		first := low
		if l := p.pixels.Nonzeros; l != nil {
			for i, image := range p.pixels.Index {
				row := l.Part(int(image), from, to)
				s.rows[i] = sparseRow[T]{nil, unsafe.SliceData(row), len(row)}
			}
		} else {
			v.compressColumns(s, p, low, high)
			first = 0
		}
		rows := high - low
		grow(&s.sums, rows*columns)
		d, rest := s.sums[:rows*inLines], s.sums[rows*inLines:rows*columns]
		f.add(unsafe.SliceData(d), unsafe.SliceData(rest), first, (*byte)(unsafe.Pointer(&s.rows[0])), m, &g[0], &v.values[0])

		// The sums become +0 where they are -0: all terms were too small for a number.
		y := p.y[low*n : high*n]
		whole := max(0, rows-(columns-1)/n) // that do not reach beyond y
		if whole > 0 {
			f.join(&y[0], n, unsafe.SliceData(d), unsafe.SliceData(rest), whole)
		}
		for r := whole; r < rows; r++ {
			for j := range n {
				if j < inLines {
					y[r*n+j] = d[r*inLines+j] + 0
				} else {
					y[r*n+j] = rest[r*(columns-inLines)+j-inLines] + 0
				}
			}
		}
		clear(d[whole*inLines:])
		clear(rest[whole*(columns-inLines):])
	}
}

// compressColumns lists what is not 0 in columns [low, high) of the pixels, places
// counted from low, image by image in s.rows.
func (v *vectors[T]) compressColumns(s *Scratch[T], p *product[T], low, high int) {
	capacity := high - low + 3*padding
	grow(&s.entries, p.m*capacity)
	grow(&s.counts, p.m)
	if v.compress != nil && p.m > 0 && low < high {
		for i := range p.m {
			p.pixels.Row(i) // panics when it is not in Data
		}
		v.compress(&s.entries[0], capacity, &s.counts[0], &p.pixels.Data[low], p.k, &p.pixels.Index[0], p.m, 1, p.m, high-low)
	}
	for i := range p.m {
		row := s.entries[i*capacity : (i+1)*capacity]
		if v.compress == nil {
			s.counts[i] = int32(len(matrix.AppendNonzeros(row[:0], p.pixels.Row(i)[low:high], 0)))
		}
		s.rows[i] = sparseRow[T]{nil, &row[0], int(s.counts[i])}
	}
}

// compressRows lists what is not 0 in the rows of to, each in its own capacity
// entries.
func (v *vectors[T]) compressRows(s *Scratch[T], p *product[T], to span, capacity int) {
	height := to.bottom - to.top
	row := p.pixels.Row
	stride := 0
	if p.kind == pixelsForWeight {
		stride = v.transposePixels(s, p, to)
		row = func(r int) []byte { return s.bytes[(r-to.top)*stride:][:p.m] }
	}
	switch {
	case v.compress == nil:
		for r := range height {
			entries := s.entries[r*capacity : (r+1)*capacity]
			n := len(matrix.AppendNonzeros(entries[:0], row(to.top+r), 0))
			clear(entries[n : n+padding])
			s.counts[r] = int32(n)
		}
	case p.kind == pixelsForWeight:
		v.compress(&s.entries[0], capacity, &s.counts[0], unsafe.SliceData(s.bytes), stride, nil, height, 1, height, p.m)
	default:
		for r := to.top; r < to.bottom; r++ {
			p.pixels.Row(r) // panics when it is not in Data
		}
		// What stands behind a batch in the order of the images is most likely the
		// batch after it, and worth fetching as far as it fits into a cache.
		index := p.pixels.Index
		ahead := max(1, min(len(index), fetched/(p.k+1)))
		v.compress(&s.entries[0], capacity, &s.counts[0], unsafe.SliceData(p.pixels.Data), p.k, &index[to.top], height, ahead, cap(index)-to.top, p.k)
	}
}

// transposePixels writes columns [to.top, to.bottom) of the pixels as rows into
// s.bytes and returns how far apart they are.
func (v *vectors[T]) transposePixels(s *Scratch[T], p *product[T], to span) (stride int) {
	const high, wide = 16, 8
	height := to.bottom - to.top
	stride = (p.m + high - 1) / high * high
	grow(&s.bytes, height*stride)
	grow(&s.none, p.k)
	whole := 0
	if v.transposeBytes != nil {
		whole = height / wide * wide
	}
	for i := 0; i < p.m; i += high {
		for r := range s.pixels {
			s.pixels[r] = unsafe.SliceData(s.none)
			if i+r < p.m {
				s.pixels[r] = unsafe.SliceData(p.pixels.Row(i + r))
			}
		}
		if whole > 0 {
			v.transposeBytes(&s.bytes[i], stride, &s.pixels, to.top, whole)
		}
	}
	for i := range p.m {
		for r, b := range p.pixels.Row(i)[to.top+whole : to.bottom] {
			s.bytes[(whole+r)*stride+i] = b
		}
	}
	return stride
}

// sortRows orders the rows by their counts, which are at most inner: rows that
// are summed together should be equally long.
func (s *Scratch[T]) sortRows(height, inner int) {
	grow(&s.order, height)
	if height < lists { // none are summed together
		for r := range height {
			s.order[r] = int32(r)
		}
		return
	}
	grow(&s.starts, inner+2)
	starts := s.starts[:inner+2]
	clear(starts)
	for _, c := range s.counts[:height] {
		starts[c+1]++
	}
	for c := range inner {
		starts[c+1] += starts[c]
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
