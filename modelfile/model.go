package modelfile

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"glassnet/internal/atomicfile"
	"glassnet/internal/inputfile"
	"glassnet/internal/usererr"
	"glassnet/matrix"
	"glassnet/nn"
)

// Model is a network and what is known of it.
type Model[T matrix.Float] struct {
	Net   *nn.Network[T]
	Facts Facts
}

// Save writes the model to path, whole or not at all. It refuses what Load would
// refuse: numbers that are not finite, facts that do not fit the network, layers that
// nn.Build does not make.
func Save[T matrix.Float](path string, m *Model[T]) error {
	return atomicfile.Write(path, func(w io.Writer) error { return Encode(w, m) })
}

// Encode writes the model as a safetensors file: F32 for float32, F64 for
// float64, the tensors in the network's order. Equal models give equal bytes.
func Encode[T matrix.Float](w io.Writer, m *Model[T]) error {
	start, err := encodeHeader(m)
	if err != nil {
		// Not the user's doing: %v drops the mark.
		return fmt.Errorf("model cannot be stored: %v", err)
	}
	if _, err := w.Write(start); err != nil {
		return err
	}
	var b []byte
	for _, p := range m.Net.Params() {
		for part := range slices.Chunk(p.Value, chunk) {
			if b, err = binary.Append(b[:0], binary.LittleEndian, part); err != nil {
				return err
			}
			if _, err := w.Write(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// chunk is how many numbers are written or read at a time.
const chunk = 1 << 13

// encodeHeader checks the model and returns the bytes before its numbers.
func encodeHeader[T matrix.Float](m *Model[T]) ([]byte, error) {
	a := m.Net.Architecture()
	if err := cmp.Or(m.Net.Buildable(), a.Check()); err != nil {
		return nil, err
	}
	want, out, err := layout(a)
	if err != nil {
		return nil, err
	}
	if err := m.Facts.check(a.Input, out); err != nil {
		return nil, err
	}
	var h header
	dtype, end := dtypeOf[T](), int64(0)
	for _, p := range m.Net.Params() {
		begin := end
		end += numberSize(dtype) * int64(len(p.Value))
		h.tensors = append(h.tensors, tensor{p.Name, dtype, p.Shape, begin, end})
		for i, v := range p.Value {
			if err := checkNumber(p.Name, i, float64(v)); err != nil {
				return nil, err
			}
		}
	}
	if err := compare(h.tensors, want); err != nil {
		return nil, err
	}
	description, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	h.metadata = map[string]string{formatKey: format, architectureKey: string(description)}
	m.Facts.encode(h.metadata)
	return h.encode()
}

// layout returns names and shapes of the tensors that a network of architecture a
// has, and the width of its logits. It allocates no tensor; sizes that no network
// has are nn.Build's to refuse.
func layout(a nn.Architecture) (tensors []tensor, out int, err error) {
	out = a.Input
	for i, l := range a.Layers {
		add := func(part string, shape ...int) {
			tensors = append(tensors, tensor{name: fmt.Sprintf("%d.%s.%s", i+1, l.Kind, part), shape: shape})
		}
		switch l.Kind {
		case nn.KindDense:
			add("weight", out, l.Units)
			if !l.NoBias {
				add("bias", l.Units)
			}
			out = l.Units
		case nn.KindBatchNorm:
			add("gamma", out)
			add("beta", out)
			add("running_mean", out)
			add(runningVariance, out)
		case nn.KindReLU, nn.KindSigmoid, nn.KindTanh, nn.KindPublishedNorm:
		default:
			return nil, 0, usererr.New("architecture: layer %d: unknown kind %.80q", i+1, l.Kind)
		}
	}
	return tensors, out, nil
}

const (
	runningVariance = "running_variance"
	maxLayers       = 1 << 10 // nn.Build takes no more
)

// checkNumber checks number i of a tensor.
func checkNumber(name string, i int, v float64) error {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return usererr.New("tensor %q: number %d is %v, want a finite one", name, i, v)
	}
	if v < 0 && strings.HasSuffix(name, runningVariance) {
		return usererr.New("tensor %q: number %d is %v, want a variance >= 0", name, i, v)
	}
	return nil
}

func dtypeOf[T matrix.Float]() string {
	var zero T
	if _, double := any(zero).(float64); double {
		return "F64"
	}
	return "F32"
}

// Load reads a model from a regular file. Numbers stored as F32 or F64 become T:
// F32 is exact in float64; F64 is rounded to float32, and one too large for it is
// an error. Other types of numbers, F16 and BF16 among them, are refused. Errors
// name the file and the place in it.
//
// Beside the network, which has no more parameters than the file has numbers,
// reading takes some MiB at most.
func Load[T matrix.Float](path string) (*Model[T], error) {
	f, size, err := open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Decode[T](f, size, path)
}

// another is what to try for a file that is not a model of this program, or is damaged.
const another = "a model.safetensors, which glassnet train writes"

func open(path string) (f *os.File, size int64, err error) {
	f, size, err = inputfile.Open(path)
	if e, ok := usererr.Find(err); ok {
		err = e.Try(another)
	}
	return f, size, err
}

// Decode reads a model of size bytes as Load does. The name serves the errors.
func Decode[T matrix.Float](r io.ReaderAt, size int64, name string) (*Model[T], error) {
	m, err := decode[T](r, size)
	if err != nil {
		return nil, named(name, err)
	}
	return m, nil
}

// Inspect reads the header of a model file only. Precision is the widest number type
// in it, "float32" or "float64". Tensors,
// architecture and facts agree with each other; what else is wrong with the
// architecture or the numbers shows when the model is loaded.
func Inspect(path string) (precision string, a nn.Architecture, f Facts, err error) {
	file, size, err := open(path)
	if err != nil {
		return "", a, f, err
	}
	defer file.Close()
	h, a, f, err := inspect(file, size)
	if err != nil {
		return "", a, f, named(path, err)
	}
	precision = "float32"
	if slices.ContainsFunc(h.tensors, func(t tensor) bool { return t.dtype == "F64" }) {
		precision = "float64"
	}
	return precision, a, f, nil
}

func decode[T matrix.Float](r io.ReaderAt, size int64) (*Model[T], error) {
	h, a, facts, err := inspect(r, size)
	if err != nil {
		return nil, err
	}
	net, err := nn.Build[T](a)
	if err != nil {
		return nil, err
	}
	stored := map[string]tensor{}
	for _, t := range h.tensors {
		stored[t.name] = t
	}
	for _, p := range net.Params() {
		t := stored[p.Name]
		if t.dtype == "F64" {
			err = fill[T, float64](p, r, h.length+t.begin)
		} else {
			err = fill[T, float32](p, r, h.length+t.begin)
		}
		if err != nil {
			return nil, err
		}
	}
	return &Model[T]{net, facts}, nil
}

// inspect reads and checks all but the numbers.
func inspect(r io.ReaderAt, size int64) (h header, a nn.Architecture, f Facts, err error) {
	if h, err = readHeader(r, size); err != nil {
		return h, a, f, err
	}
	switch got, ok := h.metadata[formatKey]; {
	case !ok:
		return h, a, f, usererr.New("no %s in the metadata: not a model of this program", formatKey)
	case got != format:
		return h, a, f, usererr.New("metadata: %s is %.80q, want %q: written by another version of this program", formatKey, got, format)
	}
	if a, err = decodeArchitecture(h.metadata[architectureKey]); err != nil {
		return h, a, f, usererr.New("metadata: %s: %w", architectureKey, err)
	}
	want, out, err := layout(a)
	if err != nil {
		return h, a, f, err
	}
	if err := compare(h.tensors, want); err != nil {
		return h, a, f, err
	}
	if f, err = decodeFacts(h.metadata); err == nil {
		err = f.check(a.Input, out)
	}
	return h, a, f, err
}

// compare checks that got are the tensors that the architecture asks for.
func compare(got, want []tensor) error {
	shapes := map[string][]int{}
	for _, t := range got {
		shapes[t.name] = t.shape
	}
	for _, t := range want {
		shape, ok := shapes[t.name]
		if !ok {
			return usererr.New("tensor %q %v is missing", t.name, t.shape)
		}
		if !slices.Equal(shape, t.shape) {
			return usererr.New("tensor %q has shape %v, want %v by the architecture", t.name, shape, t.shape)
		}
		delete(shapes, t.name)
	}
	for _, t := range got {
		if _, extra := shapes[t.name]; extra {
			return usererr.New("tensor %.80q is not one that the architecture has", t.name)
		}
	}
	return nil
}

func decodeArchitecture(text string) (a nn.Architecture, err error) {
	j := newJSONReader([]byte(text), 0)
	integer := func(what string, p *int) error {
		v, err := j.integer(what, math.MaxInt32)
		*p = int(v)
		return err
	}
	layer := func() error {
		var l nn.LayerSpec
		err := j.object("layer", func(key string) (err error) {
			switch key {
			case "kind":
				l.Kind, err = j.string(key)
			case "units":
				err = integer(key, &l.Units)
			case "no_bias":
				l.NoBias, err = j.bool(key)
			case "epsilon":
				l.Epsilon, err = j.number(key)
			case "decay":
				l.Decay, err = j.number(key)
			default:
				err = j.errorf("layer has an unknown field %.80q", key)
			}
			return err
		})
		if a.Layers = append(a.Layers, l); err == nil && len(a.Layers) > maxLayers {
			err = j.errorf("more than %d layers", maxLayers)
		}
		return err
	}
	err = j.object("architecture", func(key string) error {
		switch key {
		case "input":
			return integer(key, &a.Input)
		case "layers":
			return j.array(key, layer)
		}
		return j.errorf("unknown field %.80q", key)
	})
	if err == nil {
		err = j.end()
	}
	return a, err
}

// fill reads the numbers of p, stored as F, from offset at.
func fill[T, F matrix.Float](p *nn.Param[T], r io.ReaderAt, at int64) error {
	numbers := make([]F, min(chunk, len(p.Value)))
	raw := make([]byte, binary.Size(numbers))
	size := len(raw) / len(numbers)
	for done := 0; done < len(p.Value); done += len(numbers) {
		numbers = numbers[:min(len(numbers), len(p.Value)-done)]
		raw = raw[:size*len(numbers)]
		if err := readAt(r, raw, at+int64(size*done)); err != nil {
			return err
		}
		if _, err := binary.Decode(raw, binary.LittleEndian, numbers); err != nil {
			return err
		}
		for i, v := range numbers {
			if err := checkNumber(p.Name, done+i, float64(v)); err != nil {
				return err
			}
			x := T(v)
			if math.IsInf(float64(x), 0) {
				return usererr.New("tensor %q: number %d is %v, too large for float32", p.Name, done+i, v).Try("modelfile.Load[float64]")
			}
			p.Value[done+i] = x
		}
	}
	return nil
}

// named puts the file's name before an error. A user's error stays one, with its hint, or
// with another where it has none.
func named(name string, err error) error {
	if e, user := usererr.Find(err); user {
		return usererr.New("%q: %w", name, err).Try("%s", cmp.Or(e.Hint, another))
	}
	return fmt.Errorf("%q: %w", name, err)
}
