package dataset

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"

	"glassnet/internal/hugepages"
	"glassnet/internal/usererr"
)

// The IDX format is described on the MNIST page (yann.lecun.com/exdb/mnist): a
// magic number of four bytes (two zeros, the type of the values, the number of
// dimensions), then the dimensions as big-endian 32-bit numbers, then the values.
const (
	magicLabels = 0x00000801 // 2049: bytes, one dimension
	magicImages = 0x00000803 // 2051: bytes, three dimensions

	maxSide  = 1024          // rows and columns of an IDX image
	maxBytes = math.MaxInt32 // pixels or labels of a file
)

// Images holds the pixels of an IDX image file, image after image, row by row
// from the top: Pixels [Count, Height, Width], 0 background .. 255 ink.
type Images struct {
	Width, Height, Count int
	Pixels               []byte
}

// ReadImages reads an IDX image file, plain or compressed with gzip: its content
// decides, not its name. The name serves the errors, each one line and a
// usererr.Error. The size is that of the stored file in bytes, -1 if unknown.
//
// Width and height are 1..1024, the count is at least 1, the pixels fill at most
// 2 GiB. Nothing may follow them. Beyond 48 MiB, memory is only taken for pixels
// that have really been read, at most twice their size.
func ReadImages(r io.Reader, name string, size int64) (Images, error) {
	d, err := newIDXReader(r, name, size, magicImages)
	if err != nil {
		return Images{}, err
	}
	var dims [3]int64
	for i, what := range []string{"number of images", "rows", "columns"} {
		limit := int64(maxBytes)
		if i > 0 {
			limit = maxSide
		}
		if dims[i], err = d.number(what, limit); err != nil {
			return Images{}, err
		}
	}
	pixels, err := d.values(dims[0] * dims[1] * dims[2])
	if err != nil {
		return Images{}, err
	}
	return Images{Width: int(dims[2]), Height: int(dims[1]), Count: int(dims[0]), Pixels: pixels}, nil
}

// ReadLabels reads an IDX label file as ReadImages reads images. A label that is
// not below classes (1..256) is an error.
func ReadLabels(r io.Reader, name string, size int64, classes int) ([]uint8, error) {
	d, err := newIDXReader(r, name, size, magicLabels)
	if err != nil {
		return nil, err
	}
	start := d.offset + 4
	n, err := d.number("number of labels", maxBytes)
	if err != nil {
		return nil, err
	}
	labels, err := d.values(n)
	if err != nil {
		return nil, err
	}
	for i, label := range labels {
		if int(label) >= classes {
			d.offset = start + int64(i)
			return nil, d.errorf("label of example %d is %d, want 0 to %d", i, label, classes-1)
		}
	}
	return labels, nil
}

// WriteImages writes an IDX image file, not compressed: the pixels of one or
// more images of width x height (1..1024 each).
func WriteImages(w io.Writer, width, height int, pixels []byte) error {
	if width < 1 || width > maxSide || height < 1 || height > maxSide {
		return fmt.Errorf("write IDX images: %dx%d pixels, want 1 to %d in width and height", width, height, maxSide)
	}
	count := len(pixels) / (width * height)
	if count < 1 || len(pixels) > maxBytes || count*width*height != len(pixels) {
		return fmt.Errorf("write IDX images: %d bytes, want a multiple of %dx%d up to %d", len(pixels), width, height, maxBytes)
	}
	return writeIDX(w, magicImages, []int{count, height, width}, pixels)
}

// WriteLabels writes an IDX label file, not compressed, with at least one label.
func WriteLabels(w io.Writer, labels []uint8) error {
	if len(labels) < 1 || len(labels) > maxBytes {
		return fmt.Errorf("write IDX labels: %d labels, want 1 to %d", len(labels), maxBytes)
	}
	return writeIDX(w, magicLabels, []int{len(labels)}, labels)
}

func writeIDX(w io.Writer, magic uint32, dims []int, values []byte) error {
	header := binary.BigEndian.AppendUint32(nil, magic)
	for _, d := range dims {
		header = binary.BigEndian.AppendUint32(header, uint32(d))
	}
	if _, err := w.Write(header); err != nil {
		return err
	}
	_, err := w.Write(values)
	return err
}

// idxReader reads the parts of an IDX file in their order.
type idxReader struct {
	r      io.Reader     // the content, decompressed
	zipped *bufio.Reader // what is left of the gzip file; nil for a plain one
	name   string
	offset int64 // of the next byte of the content
	size   int64 // of the content in bytes; -1 unknown
	limit  int64 // the content cannot be longer, math.MaxInt64 if unknown
}

const (
	maxDeflateRatio = 1032 // deflate spends at least two bits on 258 bytes (RFC 1951: a match of full length)
	minGzip         = 18   // header and trailer
)

// newIDXReader begins to read: the gzip header, if there is one, and the magic number.
func newIDXReader(r io.Reader, name string, size int64, magic uint32) (*idxReader, error) {
	buffered := bufio.NewReaderSize(r, 1<<16)
	d := &idxReader{r: buffered, name: name, size: size, limit: math.MaxInt64}
	// An input shorter than four bytes, or one that fails, shows when the magic number is read.
	if start, _ := buffered.Peek(4); len(start) >= 2 && start[0] == 0x1f && start[1] == 0x8b {
		if len(start) == 4 && start[2] != 8 {
			return nil, usererr.New("%q: byte 2: gzip method %d, want 8 (deflate)", name, start[2])
		}
		if len(start) == 4 && start[3]&0xe0 != 0 {
			return nil, usererr.New("%q: byte 3: gzip flags %#02x, want the upper three bits 0", name, start[3])
		}
		d.zipped, d.size = buffered, -1
		if size >= 0 {
			d.limit = max(size-minGzip, 0) * maxDeflateRatio
		}
		unzip, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, d.failed(err, "in the header")
		}
		unzip.Multistream(false)
		d.r = unzip
	}
	got, err := d.uint32("magic number")
	if err != nil {
		return nil, err
	}
	if got != magic {
		d.offset -= 4
		hint := ""
		switch {
		case got == magicImages:
			hint = ": these are images"
		case got == magicLabels:
			hint = ": these are labels"
		case got>>16 == 0x1f8b:
			hint = ": compressed twice"
		case got>>16 != 0:
			hint = ": not an IDX file"
		case got>>8 != magic>>8:
			hint = ": the values are not bytes"
		default:
			hint = fmt.Sprintf(": %d dimensions", got&0xff)
		}
		return nil, d.errorf("magic number %#08x, want %#08x%s", got, magic, hint)
	}
	return d, nil
}

// number reads a dimension and checks that it is 1..limit.
func (d *idxReader) number(what string, limit int64) (int64, error) {
	v, err := d.uint32(what)
	if err != nil {
		return 0, err
	}
	if v < 1 || int64(v) > limit {
		d.offset -= 4
		return 0, d.errorf("%s %d, want 1 to %d", what, v, limit)
	}
	return int64(v), nil
}

func (d *idxReader) uint32(what string) (uint32, error) {
	var b [4]byte
	n, err := io.ReadFull(d.r, b[:])
	d.offset += int64(n)
	if err != nil {
		return 0, d.failed(err, "in the "+what)
	}
	return binary.BigEndian.Uint32(b[:]), nil
}

// chunk is what values takes at a time; MNIST's training images fit into one.
const chunk = 48 << 20

// values reads the n values and demands that the content ends there.
func (d *idxReader) values(n int64) ([]byte, error) {
	switch {
	case n > maxBytes:
		return nil, d.errorf("the header promises %d bytes of data, want at most %d", n, int64(maxBytes))
	case d.size >= 0 && d.offset+n != d.size:
		return nil, d.errorf("the file has %d bytes of data, want the %d that the header promises", d.size-d.offset, n)
	case d.offset+n > d.limit:
		return nil, d.errorf("the header promises %d bytes of data, more than a gzip file of this size can hold", n)
	}
	var chunks [][]byte
	for left := n; left > 0; left -= min(left, chunk) {
		c := hugepages.Of(make([]byte, min(left, chunk)))
		got, err := io.ReadFull(d.r, c)
		d.offset += int64(got)
		if err != nil {
			return nil, d.failed(err, fmt.Sprintf("%d bytes before the end that the header promises", left-int64(got)))
		}
		chunks = append(chunks, c)
	}
	if err := d.end(); err != nil {
		return nil, err
	}
	if len(chunks) == 1 {
		return chunks[0], nil
	}
	all := hugepages.Of(make([]byte, n))[:0]
	for _, c := range chunks {
		all = append(all, c...)
	}
	return all, nil
}

// end demands the end of the content and of the file. Reading it makes the gzip
// reader compare its checksum.
func (d *idxReader) end() error {
	switch _, err := io.ReadFull(d.r, make([]byte, 1)); {
	case err == nil:
		return d.errorf("the data goes on, want the end of the file here")
	case err != io.EOF:
		return d.failed(err, "at the end")
	}
	if d.zipped == nil {
		return nil
	}
	switch _, err := d.zipped.ReadByte(); {
	case err == nil:
		return usererr.New("%q: the file goes on after the gzip member, want its end there", d.name)
	case err != io.EOF:
		return d.failed(err, "after the gzip member")
	}
	return nil
}

// failed describes a failed read: the end of the file or damaged gzip data are
// the user's, any other error is the disk's.
func (d *idxReader) failed(err error, where string) error {
	var corrupt flate.CorruptInputError
	var disk *fs.PathError
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return d.errorf("the file ends %s", where)
	case err == gzip.ErrHeader || err == gzip.ErrChecksum || errors.As(err, &corrupt):
		return d.errorf("damaged gzip data %s: %w", where, err)
	case errors.As(err, &disk):
		err = disk.Err // without the path, which would come twice and not escaped
	}
	return fmt.Errorf("read %q: %w", d.name, err)
}

// errorf makes the error of what is wrong at d.offset.
func (d *idxReader) errorf(format string, args ...any) error {
	place := "byte"
	if d.zipped != nil {
		place = "decompressed byte"
	}
	return usererr.New("%q: %s %d: "+format, append([]any{d.name, place, d.offset}, args...)...)
}
