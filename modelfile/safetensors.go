package modelfile

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"unicode/utf8"

	"glassnet/internal/usererr"
)

const (
	// The format allows headers of 100,000,000 bytes. The longest one of a network
	// that nn builds (1024 batch normalisations) has 0.5 MB.
	maxHeader = 1 << 20
	maxFile   = math.MaxInt32 // the largest network that nn builds has 1 GiB
	maxRank   = 8
)

// metadataKey is the one key of a header that is no tensor's name.
const metadataKey = "__metadata__"

// tensor is one entry of a safetensors header.
type tensor struct {
	name       string
	dtype      string // F32 or F64
	shape      []int
	begin, end int64 // its bytes, counted from the end of the header
}

// numberSize is the size of a number in bytes, 0 for a type that is not read.
func numberSize(dtype string) int64 {
	return map[string]int64{"F32": 4, "F64": 8}[dtype]
}

// header is the content of a safetensors header.
type header struct {
	tensors  []tensor // in the order of their bytes
	metadata map[string]string
	length   int64 // where the numbers begin
}

// encode returns the bytes of a file before its numbers. Keys are sorted.
func (h header) encode() ([]byte, error) {
	type entry struct {
		Dtype   string   `json:"dtype"`
		Shape   []int    `json:"shape"`
		Offsets [2]int64 `json:"data_offsets"`
	}
	object := map[string]any{metadataKey: h.metadata}
	for _, t := range h.tensors {
		object[t.name] = entry{t.dtype, t.shape, [2]int64{t.begin, t.end}}
	}
	text, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	text = append(text, bytes.Repeat([]byte{' '}, -len(text)&7)...)
	if len(text) > maxHeader {
		return nil, fmt.Errorf("header of %d bytes, want at most %d", len(text), maxHeader)
	}
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...), nil
}

// readHeader reads and checks the header of a file of size bytes. The tensors of
// the result share no byte, leave none out and end where the file ends.
func readHeader(r io.ReaderAt, size int64) (h header, err error) {
	if size < 8 {
		return h, usererr.New("%d bytes, want a safetensors file, whose first 8 are the length of its header", size)
	}
	if size > maxFile {
		return h, usererr.New("%d bytes, want at most %d", size, maxFile)
	}
	var length [8]byte
	if err := readAt(r, length[:], 0); err != nil {
		return h, err
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > maxHeader {
		return h, usererr.New("not a model of this program, want a safetensors file (byte 0: header of %d bytes, want at most %d)", n, maxHeader)
	}
	if int64(n) > size-8 {
		return h, usererr.New("byte 0: header of %d bytes, but the file has only %d after byte 8: it is cut or no safetensors file", n, size-8)
	}
	text := make([]byte, n)
	if err := readAt(r, text, 8); err != nil {
		return h, err
	}
	if n == 0 || text[0] != '{' {
		return h, usererr.New("byte 8: the header begins with %.1q, want {", text)
	}
	if i := bytes.IndexRune(text, utf8.RuneError); i >= 0 {
		return h, usererr.New("byte %d: the header has a character that is not UTF-8, or U+FFFD", 8+i)
	}

	h.length = 8 + int64(n)
	j := newJSONReader(text, 8)
	err = j.object("the header", func(key string) error {
		if key == metadataKey {
			h.metadata = map[string]string{}
			return j.object(metadataKey, func(key string) (err error) {
				h.metadata[key], err = j.string("a value of " + metadataKey)
				return err
			})
		}
		t, err := readTensor(j, key, size-h.length)
		h.tensors = append(h.tensors, t)
		return err
	})
	if err == nil {
		err = j.end()
	}
	if err == nil {
		err = h.checkOrder(size - h.length)
	}
	return h, err
}

// readTensor reads the entry of one tensor in a file with room bytes of numbers.
func readTensor(j *jsonReader, name string, room int64) (t tensor, err error) {
	t.name = name
	what := fmt.Sprintf("tensor %.80q", name)
	var offsets []int64
	known := 0
	err = j.object(what, func(key string) (err error) {
		known++
		switch key {
		case "dtype":
			if t.dtype, err = j.string(what + " dtype"); err == nil && numberSize(t.dtype) == 0 {
				err = j.errorf("%s has numbers of type %.80q, want F32 or F64", what, t.dtype)
			}
			return err
		case "shape":
			return j.array(what+" shape", func() error {
				d, err := j.integer(what+" shape", maxFile)
				if err == nil && (d == 0 || len(t.shape) == maxRank) {
					err = j.errorf("%s has a shape with a 0 or more than %d sizes", what, maxRank)
				}
				t.shape = append(t.shape, int(d))
				return err
			})
		case "data_offsets":
			return j.array(what+" data_offsets", func() error {
				o, err := j.integer(what+" data_offsets", maxFile)
				if err == nil && len(offsets) == 2 {
					err = j.errorf("%s has more than two data_offsets", what)
				}
				offsets = append(offsets, o)
				return err
			})
		}
		return j.errorf("%s has a field %.80q, want dtype, shape and data_offsets", what, key)
	})
	if err != nil {
		return t, err
	}
	if known != 3 || len(offsets) != 2 {
		return t, usererr.New("%s lacks its dtype, its shape or one of its two data_offsets", what)
	}
	t.begin, t.end = offsets[0], offsets[1]
	if t.end > room {
		return t, usererr.New("%s ends at byte %d after the header, but the file ends at %d: it is cut or damaged", what, t.end, room)
	}
	bytes := numberSize(t.dtype)
	for _, d := range t.shape {
		if bytes > room/int64(d) {
			return t, usererr.New("%s of shape %v needs more than the %d bytes that the file has after the header", what, t.shape, room)
		}
		bytes *= int64(d)
	}
	if t.end-t.begin != bytes {
		return t, usererr.New("%s has data_offsets [%d, %d], %d bytes, want %d for %s %v",
			what, t.begin, t.end, t.end-t.begin, bytes, t.dtype, t.shape)
	}
	return t, nil
}

// checkOrder sorts the tensors by offset and checks that they fill room bytes
// without overlap or hole.
func (h header) checkOrder(room int64) error {
	slices.SortStableFunc(h.tensors, func(a, b tensor) int { return cmp.Compare(a.begin, b.begin) })
	end := int64(0)
	for _, t := range h.tensors {
		if t.begin != end {
			return usererr.New("tensor %.80q begins at byte %d after the header, want %d: tensors must follow each other without overlap or hole",
				t.name, t.begin, end)
		}
		end = t.end
	}
	if end != room {
		return usererr.New("byte %d: %d bytes after the last tensor, want none", h.length+end, room-end)
	}
	return nil
}

func readAt(r io.ReaderAt, b []byte, at int64) error {
	n, err := r.ReadAt(b, at)
	if n == len(b) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // it had more bytes when it was opened
	}
	return fmt.Errorf("byte %d: %w", at+int64(n), err)
}
