package dataset

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"glassnet/internal/usererr"
)

// idx makes an IDX file: magic, dimensions, values.
func idx(magic uint32, dims []uint32, values ...byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, magic)
	for _, d := range dims {
		b = binary.BigEndian.AppendUint32(b, d)
	}
	return append(b, values...)
}

func dims(d ...uint32) []uint32 { return d }

// images makes n images of 3x2 pixels with the values 0, 1, 2, ...
func images(n int) []byte {
	b := idx(magicImages, dims(uint32(n), 2, 3))
	for i := range n * 6 {
		b = append(b, byte(i))
	}
	return b
}

func zip(content []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(content)
	w.Close()
	return b.Bytes()
}

// put returns a copy of b with the bytes at offset replaced; a negative offset
// counts from the end.
func put(b []byte, offset int, values ...byte) []byte {
	b = bytes.Clone(b)
	if offset < 0 {
		offset += len(b)
	}
	copy(b[offset:], values)
	return b
}

func zipNamed(content []byte, name string) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Name = name
	w.Write(content)
	w.Close()
	return b.Bytes()
}

// zeros is a gzip file of content and then n MiB of zeros, without its end.
func zeros(content []byte, n int) []byte {
	compress := func(p []byte) []byte {
		var b bytes.Buffer
		w, _ := flate.NewWriter(&b, flate.BestCompression)
		w.Write(p)
		w.Flush() // ends at a whole byte, so that blocks can be put one after the other
		return b.Bytes()
	}
	b := append([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}, compress(content)...)
	return append(b, bytes.Repeat(compress(make([]byte, 1<<20)), n)...)
}

var (
	big    = dims(2000, 1024, 1024) // just under 2 GiB
	badIDX = []badFile{
		{"empty", nil, `byte 0: the file ends in the magic number`},
		{"3 bytes", []byte{0, 0, 8}, `byte 3: the file ends in the magic number`},
		{"text", []byte("hello world"), `byte 0: magic number 0x68656c6c, want 0x00000803: not an IDX file`},
		{"nonzero second byte", put(images(2), 1, 1), `byte 0: magic number 0x00010803, want 0x00000803: not an IDX file`},
		{"little-endian", []byte{3, 8, 0, 0, 2, 0, 0, 0}, `byte 0: magic number 0x03080000, want 0x00000803: not an IDX file`},
		{"16-bit values", put(images(2), 2, 0x0b), `byte 0: magic number 0x00000b03, want 0x00000803: the values are not bytes`},
		{"value type 0x0a", put(images(2), 2, 0x0a), `byte 0: magic number 0x00000a03, want 0x00000803: the values are not bytes`},
		{"value type 0", put(images(2), 2, 0), `byte 0: magic number 0x00000003, want 0x00000803: the values are not bytes`},
		{"255 dimensions", put(images(2), 3, 255), `byte 0: magic number 0x000008ff, want 0x00000803: 255 dimensions`},
		{"labels", idx(magicLabels, dims(1), 0), `byte 0: magic number 0x00000801, want 0x00000803: these are labels`},
		{"cut in the count", images(2)[:6], `byte 6: the file ends in the number of images`},
		{"cut in the columns", images(2)[:12], `byte 12: the file ends in the columns`},
		{"count 0", idx(magicImages, dims(0, 2, 3)), `byte 4: number of images 0, want 1 to 2147483647`},
		{"count 2^32-1", idx(magicImages, dims(math.MaxUint32, 28, 28)), `byte 4: number of images 4294967295, want 1 to 2147483647`},
		{"rows 0", idx(magicImages, dims(1, 0, 3)), `byte 8: rows 0, want 1 to 1024`},
		{"rows 1025", idx(magicImages, dims(1, 1025, 3)), `byte 8: rows 1025, want 1 to 1024`},
		{"columns 0", idx(magicImages, dims(1, 2, 0)), `byte 12: columns 0, want 1 to 1024`},
		{"columns 2^31", idx(magicImages, dims(1, 2, 1<<31)), `byte 12: columns 2147483648, want 1 to 1024`},
		{"more than 2 GiB", idx(magicImages, dims(1<<31-1, 1024, 1024)), `byte 16: the header promises 2251799812636672 bytes of data, want at most 2147483647`},
		{"absurd count", idx(magicImages, big), `byte 16: the file has 0 bytes of data, want the 2097152000 that the header promises`},
		{"one byte short", images(2)[:27], `byte 16: the file has 11 bytes of data, want the 12 that the header promises`},
		{"one byte long", append(images(2), 0), `byte 16: the file has 13 bytes of data, want the 12 that the header promises`},

		{"gzip magic alone", []byte{0x1f, 0x8b}, `decompressed byte 0: the file ends in the header`},
		{"gzip header cut", zip(images(2))[:7], `decompressed byte 0: the file ends in the header`},
		{"gzip method", put(zip(images(2)), 2, 7), `byte 2: gzip method 7, want 8 (deflate)`},
		{"gzip reserved flag", put(zip(images(2)), 3, 0x20), `byte 3: gzip flags 0x20, want the upper three bits 0`},
		{"gzip header checksum", put(zip(images(2)), 3, 2), `decompressed byte 0: damaged gzip data in the header: gzip: invalid header`},
		{"gzip name without end", append([]byte{0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 255}, bytes.Repeat([]byte{'x'}, 600)...), `decompressed byte 0: damaged gzip data in the header: gzip: invalid header`},
		{"gzip body cut", zip(images(2))[:30], `the file ends`},
		{"gzip without trailer", zip(images(2))[:len(zip(images(2)))-8], `decompressed byte 28: the file ends at the end`},
		{"gzip wrong CRC", put(zip(images(2)), -8, 1, 2, 3, 4), `decompressed byte 28: damaged gzip data at the end: gzip: invalid checksum`},
		{"gzip wrong length", put(zip(images(2)), -4, 99), `decompressed byte 28: damaged gzip data at the end: gzip: invalid checksum`},
		{"gzip body broken", put(zip(images(2)), 10, 0xff, 0xff), `decompressed byte 0: damaged gzip data in the magic number: flate: corrupt input before offset`},
		{"gzip of nothing", zip(nil), `decompressed byte 0: the file ends in the magic number`},
		{"gzip one byte short", zip(images(2)[:27]), `decompressed byte 27: the file ends 1 bytes before the end that the header promises`},
		{"gzip one byte long", zip(append(images(2), 0)), `decompressed byte 28: the data goes on, want the end of the file here`},
		{"two gzip members", append(zip(images(2)), zip(images(2))...), `the file goes on after the gzip member, want its end there`},
		{"garbage after gzip", append(zip(images(2)), 0), `the file goes on after the gzip member, want its end there`},
		{"gzip in gzip", zip(zip(images(2))), `decompressed byte 0: magic number 0x1f8b0800, want 0x00000803: compressed twice`},
		{"gzip promises 2 GB", zip(idx(magicImages, big)), `decompressed byte 16: the header promises 2097152000 bytes of data, more than a gzip file of this size can hold`},
		{"gzip bomb of 10 GiB", zeros(images(2), 10<<10), `decompressed byte 28: the data goes on, want the end of the file here`},
		{"gzip bomb in the promise", zeros(idx(magicImages, big), 100), `the header promises 2097152000 bytes of data, more than a gzip file of this size can hold`},
	}
)

type badFile struct {
	name    string
	content []byte
	want    string // the error's text holds it
}

// allocated returns the bytes that f allocates, freed ones included.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// fastest returns the time of the fastest of three calls of f, which a busy
// machine spoils less than one.
func fastest(f func()) time.Duration {
	best := time.Duration(math.MaxInt64)
	for range 3 {
		start := time.Now()
		f()
		best = min(best, time.Since(start))
	}
	return best
}

func TestReadImagesErrors(t *testing.T) {
	for _, c := range badIDX {
		t.Run(c.name, func(t *testing.T) {
			var err error
			read := func() { _, err = ReadImages(bytes.NewReader(c.content), "a\nb", int64(len(c.content))) }
			memory, took := allocated(read), fastest(read)
			checkUserError(t, "ReadImages", err, c.want)
			if err != nil && !strings.HasPrefix(err.Error(), `"a\nb": `) {
				t.Errorf("error = %v, want the file's name in front", err)
			}
			if memory > 64<<20 || took > 200*time.Millisecond {
				t.Errorf("ReadImages took %d bytes and %v, want at most 64 MiB and 200 ms", memory, took)
			}

			// Of unknown size: also an error, with memory for what is really there.
			memory = allocated(func() { _, err = ReadImages(bytes.NewReader(c.content), "x", -1) })
			checkUserError(t, "ReadImages of unknown size", err, "")
			if limit := uint64(2 * 100 << 20); memory > limit {
				t.Errorf("ReadImages of unknown size took %d bytes, want at most %d", memory, limit)
			}
		})
	}
}

// checkUserError demands a usererr.Error of one line that holds want.
func checkUserError(t *testing.T, call string, err error, want string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s = nil, want an error with %q", call, want)
		return
	}
	if _, ok := usererr.Find(err); !ok {
		t.Errorf("%s = %v, want a usererr.Error", call, err)
	}
	if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s = %q, want one line with %q", call, err, want)
	}
}

func TestReadLabelsErrors(t *testing.T) {
	labels := idx(magicLabels, dims(4), 0, 9, 10, 3)
	tests := []badFile{
		{"label 10", labels, `byte 10: label of example 2 is 10, want 0 to 9`},
		{"label 10 in gzip", zip(labels), `decompressed byte 10: label of example 2 is 10, want 0 to 9`},
		{"images", images(1), `byte 0: magic number 0x00000803, want 0x00000801: these are images`},
		{"two dimensions", idx(0x802, dims(4, 1), 0, 0, 0, 0), `byte 0: magic number 0x00000802, want 0x00000801: 2 dimensions`},
		{"count 0", idx(magicLabels, dims(0)), `byte 4: number of labels 0, want 1 to 2147483647`},
		{"cut in the count", labels[:7], `byte 7: the file ends in the number of labels`},
		{"one byte short", labels[:11], `byte 8: the file has 3 bytes of data, want the 4 that the header promises`},
		{"absurd count", idx(magicLabels, dims(math.MaxInt32)), `byte 8: the file has 0 bytes of data, want the 2147483647`},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			_, err := ReadLabels(bytes.NewReader(c.content), "x", int64(len(c.content)), 10)
			checkUserError(t, "ReadLabels", err, c.want)
		})
	}
}

func TestReadImages(t *testing.T) {
	plain := images(2)
	for name, content := range map[string][]byte{
		"plain":                        plain,
		"gzip":                         zip(plain),
		"gzip with a path in its name": zipNamed(plain, "../../x"),
	} {
		for _, size := range []int64{int64(len(content)), -1} {
			got, err := ReadImages(bytes.NewReader(content), name, size)
			want := Images{Width: 3, Height: 2, Count: 2, Pixels: plain[16:]}
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("ReadImages(%s, size %d) = %v, %v; want %v", name, size, got, err, want)
			}
		}
	}
}

// The largest image, all 256 classes, and more than one chunk.
func TestReadLarge(t *testing.T) {
	square := idx(magicImages, dims(49, 1024, 1024))
	square = append(square, bytes.Repeat([]byte{1, 2, 3, 4}, 49<<18)...)
	zipped := new(bytes.Buffer)
	w, _ := gzip.NewWriterLevel(zipped, gzip.BestSpeed)
	w.Write(square)
	w.Close()
	var got Images
	var err error
	memory := allocated(func() { got, err = ReadImages(zipped, "x", int64(zipped.Len())) })
	if err != nil || got.Width != 1024 || got.Height != 1024 || got.Count != 49 || !bytes.Equal(got.Pixels, square[16:]) {
		t.Errorf("ReadImages of 49 MiB = %d x %dx%d, %v", got.Count, got.Width, got.Height, err)
	}
	if limit := uint64(2*len(square) + 1<<20); memory > limit {
		t.Errorf("ReadImages of %d bytes allocated %d, want at most %d", len(square), memory, limit)
	}

	labels := idx(magicLabels, dims(256))
	for i := range 256 {
		labels = append(labels, byte(i))
	}
	if got, err := ReadLabels(bytes.NewReader(labels), "x", int64(len(labels)), 256); err != nil || !bytes.Equal(got, labels[8:]) {
		t.Errorf("ReadLabels of 256 classes = %v, %v", got, err)
	}
}

type failingReader struct {
	r   io.Reader
	err error
}

func (f failingReader) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err == io.EOF {
		err = f.err
	}
	return n, err
}

// A disk that fails is not the user's error.
func TestReadImagesDiskError(t *testing.T) {
	disk := &fs.PathError{Op: "read", Path: "a\nb", Err: syscall.EIO}
	for name, content := range map[string][]byte{
		"nothing":        nil,
		"gzip header":    zip(images(2))[:5],
		"gzip body":      zip(images(2))[:25],
		"after the gzip": zip(images(2)),
		"header":         images(2)[:5],
		"pixels":         images(2)[:20],
		"after the end":  images(2),
	} {
		_, err := ReadImages(failingReader{bytes.NewReader(content), disk}, "a\nb", -1)
		_, user := usererr.Find(err)
		want := fmt.Sprintf(`read "a\nb": %v`, syscall.EIO)
		if !errors.Is(err, syscall.EIO) || user || err.Error() != want {
			t.Errorf("%s: error = %v (of the user: %v), want %s", name, err, user, want)
		}
	}
}

func TestWriteImages(t *testing.T) {
	var b bytes.Buffer
	if err := WriteImages(&b, 3, 2, images(2)[16:]); err != nil || !bytes.Equal(b.Bytes(), images(2)) {
		t.Errorf("WriteImages = % x, %v; want % x", b.Bytes(), err, images(2))
	}
	b.Reset()
	if err := WriteLabels(&b, []uint8{7, 255}); err != nil || !bytes.Equal(b.Bytes(), idx(magicLabels, dims(2), 7, 255)) {
		t.Errorf("WriteLabels = % x, %v", b.Bytes(), err)
	}
	for name, err := range map[string]error{
		"no width":    WriteImages(io.Discard, 0, 2, make([]byte, 4)),
		"width 1025":  WriteImages(io.Discard, 1025, 1, make([]byte, 1025)),
		"no height":   WriteImages(io.Discard, 2, -1, make([]byte, 4)),
		"height 1025": WriteImages(io.Discard, 1, 1025, make([]byte, 1025)),
		"no image":    WriteImages(io.Discard, 2, 2, nil),
		"half":        WriteImages(io.Discard, 2, 2, make([]byte, 6)),
		"no label":    WriteLabels(io.Discard, nil),
		"image disk":  WriteImages(failingWriter(0), 2, 2, make([]byte, 4)),
		"pixels disk": WriteImages(failingWriter(16), 2, 2, make([]byte, 40)),
		"labels disk": WriteLabels(failingWriter(8), make([]byte, 40)),
	} {
		if err == nil {
			t.Errorf("%s: error = nil, want one", name)
		}
	}
}

// failingWriter takes that many bytes.
type failingWriter int

func (f failingWriter) Write(p []byte) (int, error) {
	if len(p) > int(f) {
		return 0, syscall.ENOSPC
	}
	return len(p), nil
}

// What is accepted is small enough and comes out again as it went in.
func FuzzIDX(f *testing.F) {
	for _, c := range badIDX {
		if len(c.content) < 1<<16 {
			f.Add(c.content)
		}
	}
	f.Add(images(2))
	f.Add(zip(images(2)))
	f.Add(idx(magicLabels, dims(2), 1, 2))
	f.Add(zip(idx(magicLabels, dims(2), 1, 2)))
	f.Fuzz(func(t *testing.T, content []byte) {
		var again bytes.Buffer
		if got, err := ReadImages(bytes.NewReader(content), "x", int64(len(content))); err == nil {
			if err := WriteImages(&again, got.Width, got.Height, got.Pixels); err != nil {
				t.Fatal(err)
			}
			back, err := ReadImages(&again, "x", int64(again.Len()))
			if err != nil || !reflect.DeepEqual(back, got) {
				t.Fatalf("written and read again: %v, %v; want %v", back, err, got)
			}
		} else {
			checkUserError(t, "ReadImages", err, "")
		}
		if got, err := ReadLabels(bytes.NewReader(content), "x", int64(len(content)), 256); err == nil {
			if err := WriteLabels(&again, got); err != nil {
				t.Fatal(err)
			}
			back, err := ReadLabels(&again, "x", int64(again.Len()), 256)
			if err != nil || !bytes.Equal(back, got) {
				t.Fatalf("written and read again: %v, %v; want %v", back, err, got)
			}
		} else {
			checkUserError(t, "ReadLabels", err, "")
		}
	})
}
