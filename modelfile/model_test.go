package modelfile

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"glassnet/internal/usererr"
	"glassnet/matrix"
	"glassnet/nn"
)

// allKinds is an architecture with a layer of every kind.
func allKinds() nn.Architecture {
	return nn.Architecture{Input: 6, Layers: []nn.LayerSpec{
		{Kind: nn.KindDense, Units: 5, NoBias: true},
		{Kind: nn.KindBatchNorm, Epsilon: 1e-5, Decay: 0.9},
		{Kind: nn.KindReLU},
		{Kind: nn.KindDense, Units: 4},
		{Kind: nn.KindPublishedNorm},
		{Kind: nn.KindSigmoid},
		{Kind: nn.KindTanh},
		{Kind: nn.KindDense, Units: 3},
	}}
}

func someFacts() Facts {
	return Facts{
		Dataset: "drawn \"digits\" <1>", DatasetSHA256: strings.Repeat("0a", 32),
		Width: 3, Height: 2, Classes: 3, Digits: true,
		Loss: nn.LossPublishedCrossEntropy, L2: 1e-4, L2Form: "l2",
		Rule: "sgd", LearningRate: 0.009, Batch: 128, Epochs: 20, Steps: 1 << 20,
		Seed: math.MaxUint64, Random: "numpy-legacy", Init: "he-normal",
	}
}

func build[T matrix.Float](t testing.TB, a nn.Architecture) *nn.Network[T] {
	t.Helper()
	net, err := nn.Build[T](a)
	if err != nil {
		t.Fatal(err)
	}
	return net
}

// smallModel has a layer of every kind and different numbers everywhere.
func smallModel[T matrix.Float](t testing.TB) *Model[T] {
	m := &Model[T]{build[T](t, allKinds()), someFacts()}
	x := T(0.1)
	for _, p := range m.Net.Params() {
		for i := range p.Value {
			x += 0.3
			p.Value[i] = 1 / x
		}
	}
	return m
}

func encoded[T matrix.Float](t testing.TB, m *Model[T]) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// checkEqual compares two models bit for bit.
func checkEqual[T matrix.Float](t interface {
	Helper()
	Errorf(format string, args ...any)
}, got, want *Model[T]) {
	t.Helper()
	if got.Facts != want.Facts {
		t.Errorf("facts = %+v, want %+v", got.Facts, want.Facts)
	}
	if g, w := got.Net.Architecture(), want.Net.Architecture(); !reflect.DeepEqual(g, w) {
		t.Errorf("architecture = %+v, want %+v", g, w)
	}
	for i, w := range want.Net.Params() {
		g := got.Net.Params()[i]
		if g.Name != w.Name || fmt.Sprint(g.Shape) != fmt.Sprint(w.Shape) {
			t.Errorf("parameter %d = %s %v, want %s %v", i, g.Name, g.Shape, w.Name, w.Shape)
		}
		for k := range w.Value {
			if math.Float64bits(float64(g.Value[k])) != math.Float64bits(float64(w.Value[k])) {
				t.Errorf("%s number %d = %v, want %v", w.Name, k, g.Value[k], w.Value[k])
			}
		}
	}
}

func TestSaveLoad(t *testing.T) {
	t.Run("float32", testSaveLoad[float32])
	t.Run("float64", testSaveLoad[float64])
}

func testSaveLoad[T matrix.Float](t *testing.T) {
	path := filepath.Join(t.TempDir(), "model.safetensors")
	want := smallModel[T](t)
	if err := Save(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := Load[T](path)
	if err != nil {
		t.Fatal(err)
	}
	checkEqual(t, got, want)

	precision, a, f, err := Inspect(path)
	if w := reflect.TypeFor[T]().String(); err != nil || precision != w || f != want.Facts || !reflect.DeepEqual(a, want.Net.Architecture()) {
		t.Errorf("Inspect = %s, %+v, %+v, %v, want %s and what was saved", precision, a, f, err, w)
	}

	stored, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(stored, encoded(t, smallModel[T](t))) {
		t.Error("equal models give different files")
	}
	if n := stored[0]; stored[8] != '{' || n%8 != 0 {
		t.Errorf("the header begins with %q and has %d bytes (mod 256), want { and a multiple of 8", stored[8], n)
	}
}

// Random networks and numbers of any bits come back as they were.
func TestRoundTrip(t *testing.T) {
	t.Run("float32", func(t *testing.T) {
		rapid.Check(t, func(r *rapid.T) {
			roundTrip(t, r, func() float32 { return math.Float32frombits(rapid.Uint32().Draw(r, "bits")) })
		})
	})
	t.Run("float64", func(t *testing.T) {
		rapid.Check(t, func(r *rapid.T) {
			roundTrip(t, r, func() float64 { return math.Float64frombits(rapid.Uint64().Draw(r, "bits")) })
		})
	})
}

func roundTrip[T matrix.Float](t *testing.T, r *rapid.T, draw func() T) {
	layer := rapid.Custom(func(r *rapid.T) nn.LayerSpec {
		l := nn.LayerSpec{Kind: rapid.SampledFrom([]string{nn.KindDense, nn.KindBatchNorm, nn.KindReLU, nn.KindSigmoid, nn.KindTanh, nn.KindPublishedNorm}).Draw(r, "kind")}
		switch l.Kind {
		case nn.KindDense:
			l.Units, l.NoBias = rapid.IntRange(1, 5).Draw(r, "units"), rapid.Bool().Draw(r, "no bias")
		case nn.KindBatchNorm:
			l.Epsilon, l.Decay = rapid.Float64Range(1e-30, 1).Draw(r, "epsilon"), rapid.Float64Range(0, 0.999).Draw(r, "decay")
		}
		return l
	})
	want := &Model[T]{Net: build[T](t, nn.Architecture{
		Input: rapid.IntRange(1, 5).Draw(r, "input"), Layers: rapid.SliceOfN(layer, 1, 12).Draw(r, "layers"),
	})}
	want.Facts.Dataset = rapid.StringN(0, 20, 250).Filter(func(s string) bool { return !strings.ContainsRune(s, '\ufffd') }).Draw(r, "dataset")
	want.Facts.LearningRate = rapid.Float64Range(0, math.MaxFloat64).Draw(r, "rate")
	want.Facts.Seed = rapid.Uint64().Draw(r, "seed")
	for _, p := range want.Net.Params() {
		for i := range p.Value {
			v := draw()
			if v-v != 0 {
				v = 0
			}
			if strings.HasSuffix(p.Name, "variance") && v < 0 {
				v = -v
			}
			p.Value[i] = v
		}
	}
	b := encoded(t, want)
	got, err := decodeBytes[T](b)
	if err != nil {
		r.Fatalf("Decode = %v", err)
	}
	checkEqual(r, got, want)
}

// F32 is exact in float64; F64 is rounded to the nearest float32.
func TestPrecision(t *testing.T) {
	single := smallModel[float32](t)
	wide, err := decodeBytes[float64](encoded(t, single))
	if err != nil {
		t.Fatal(err)
	}
	double := smallModel[float64](t)
	narrow, err := decodeBytes[float32](encoded(t, double))
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range single.Net.Params() {
		for k, v := range p.Value {
			if got := wide.Net.Params()[i].Value[k]; got != float64(v) {
				t.Errorf("%s number %d, float32 to float64 = %v, want %v", p.Name, k, got, v)
			}
			v64 := double.Net.Params()[i].Value[k]
			if got := narrow.Net.Params()[i].Value[k]; got != float32(v64) {
				t.Errorf("%s number %d, float64 to float32 = %v, want %v", p.Name, k, got, float32(v64))
			}
		}
	}
}

// Tensors of several chunks, the last one short.
func TestChunks(t *testing.T) {
	want := &Model[float32]{Net: build[float32](t, nn.Architecture{Input: 2*chunk + 1, Layers: []nn.LayerSpec{{Kind: nn.KindDense, Units: 1}}})}
	for i := range want.Net.Params()[0].Value {
		want.Net.Params()[0].Value[i] = float32(i)
	}
	got, err := decodeBytes[float32](encoded(t, want))
	if err != nil {
		t.Fatal(err)
	}
	checkEqual(t, got, want)
}

// The longest header that nn's bounds allow is read back.
func TestLongestHeader(t *testing.T) {
	a := nn.Architecture{Input: 1}
	for range 1024 {
		a.Layers = append(a.Layers, nn.LayerSpec{Kind: nn.KindBatchNorm, Epsilon: 1.2345678901234567e-5, Decay: 0.12345678901234567})
	}
	m := &Model[float64]{Net: build[float64](t, a)}
	b := encoded(t, m)
	t.Logf("%d bytes", len(b))
	got, err := decodeBytes[float64](b)
	if err != nil {
		t.Fatal(err)
	}
	checkEqual(t, got, m)
}

func TestHeaderTooLong(t *testing.T) {
	h := header{metadata: map[string]string{"a": strings.Repeat("x", maxHeader)}}
	if _, err := h.encode(); err == nil || !strings.Contains(err.Error(), "want at most 1048576") {
		t.Errorf("encode of a header of 1 MiB = %v, want an error", err)
	}
}

func TestFacts(t *testing.T) {
	tests := []struct {
		key, value string
		want       string // part of the error; empty for a valid one
	}{
		{"dataset", strings.Repeat("x", 256), ""},
		{"dataset", strings.Repeat("x", 257), "glassnet.dataset of 257 bytes, want at most 256"},
		{"dataset_sha256", "", ""},
		{"dataset_sha256", strings.Repeat("ab", 32), ""},
		{"dataset_sha256", strings.Repeat("AB", 32), "want 64 hex digits or nothing"},
		{"dataset_sha256", strings.Repeat("ab", 31), "want 64 hex digits or nothing"},
		{"dataset_sha256", strings.Repeat("xy", 32), "want 64 hex digits or nothing"},
		{"width", "1", "images of 1x0 pixels, but the network takes 2 features"},
		{"width", "2147483647", "images of 2147483647x0 pixels, want at most 1024"},
		{"height", "2147483648", `glassnet.height is "2147483648", want a whole number`},
		{"width", "-1", `glassnet.width is "-1", want a whole number`},
		{"width", "1.0", "want a whole number"},
		{"width", "", "want a whole number"},
		{"digits", "true", "glassnet.digits is true, but width and height of the images are not said"},
		{"digits", "false", ""},
		{"digits", "True", `glassnet.digits is "True", want true or false`},
		{"classes", "2", ""},
		{"classes", "3", "3 classes, but the network gives 2 logits"},
		{"loss", "cross_entropy", ""},
		{"loss", "mse\n", `unknown loss "mse\n"`},
		{"l2", "1e-4", ""},
		{"l2", "-1e-4", "glassnet.l2 is -0.0001, want a finite number >= 0"},
		{"l2", "NaN", `glassnet.l2 is "NaN", want a number in decimal digits`},
		{"l2", "inf", "want a number in decimal digits"},
		{"l2", "0x1p-3", "want a number in decimal digits"},
		{"l2", "1_0", "want a number in decimal digits"},
		{"l2", "1e999", "want a number in decimal digits"},
		{"learning_rate", "", "want a number in decimal digits"},
		{"seed", "18446744073709551615", ""},
		{"seed", "18446744073709551616", `want a whole number from 0 to 18446744073709551615`},
		{"seed", "-1", "want a whole number"},
		{"steps", "1e3", "want a whole number"},
	}
	for _, test := range tests {
		_, err := decodeBytes[float32](file(meta("glassnet."+test.key, test.value), sixNumbers))
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s = %.80q: Decode = %v, want error %q", test.key, test.value, err, test.want)
		}
	}

	m := smallModel[float32](t)
	m.Facts.Dataset = "a\xffb\ufffd"
	got, err := decodeBytes[float32](encoded(t, m))
	if err != nil || got.Facts.Dataset != "a?b?" {
		t.Errorf("Dataset %q = %q, %v, want %q", m.Facts.Dataset, got.Facts.Dataset, err, "a?b?")
	}

	wide := nn.Architecture{Input: 1, Layers: []nn.LayerSpec{{Kind: nn.KindDense, Units: 257}}}
	err = Encode(&bytes.Buffer{}, &Model[float32]{build[float32](t, wide), Facts{Classes: 257}})
	if err == nil || !strings.Contains(err.Error(), "at most 256") {
		t.Errorf("Encode of 257 classes = %v, want an error", err)
	}
}

// oddLayer is a layer of a kind that files do not know.
type oddLayer struct{ nn.Layer[float32] }

func (oddLayer) Spec() nn.LayerSpec { return nn.LayerSpec{Kind: "odd"} }

// liar is a layer whose parameters are not those of its kind.
type liar struct{ nn.Layer[float32] }

func (liar) Spec() nn.LayerSpec { return nn.LayerSpec{Kind: nn.KindDense, Units: 1} }

func TestSaveErrors(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "model.safetensors")
	if err := Save(path, smallModel[float32](t)); err != nil {
		t.Fatal(err)
	}
	old, _ := os.ReadFile(path)

	layer := func(l nn.Layer[float32]) func(*Model[float32]) {
		return func(m *Model[float32]) {
			net, err := nn.New[float32](1, l)
			if err != nil {
				t.Fatal(err)
			}
			*m = Model[float32]{Net: net}
		}
	}
	tests := []struct {
		name  string
		spoil func(*Model[float32])
		want  string
	}{
		{"NaN", func(m *Model[float32]) { m.Net.Params()[6].Value[1] = float32(math.NaN()) }, `tensor "4.dense.bias": number 1 is NaN`},
		{"infinity", func(m *Model[float32]) { m.Net.Params()[0].Value[2] = float32(math.Inf(1)) }, `number 2 is +Inf`},
		{"variance", func(m *Model[float32]) { m.Net.Params()[4].Value[0] = -1 }, `"2.batch_norm.running_variance": number 0 is -1`},
		{"facts of another network", func(m *Model[float32]) { m.Facts.Width = 28 }, "28x2 pixels, but the network takes 6"},
		{"negative", func(m *Model[float32]) { m.Facts.Steps = -1 }, "glassnet.steps is -1"},
		{"infinite rate", func(m *Model[float32]) { m.Facts.LearningRate = math.Inf(1) }, "glassnet.learning_rate is +Inf"},
		{"unknown layer", layer(oddLayer{nn.NewReLU[float32](1)}), `layer 1 is a modelfile.oddLayer ("odd")`},
		{"parameters of another kind", layer(liar{nn.NewReLU[float32](1)}), `layer 1 is a modelfile.liar ("dense")`},
	}
	for _, test := range tests {
		m := smallModel[float32](t)
		test.spoil(m)
		err := Save(path, m)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: Save = %v, want the path and %q", test.name, err, test.want)
		}
		if _, user := usererr.Find(err); user {
			t.Errorf("%s: Save = %v is marked as the user's mistake", test.name, err)
		}
	}
	if now, _ := os.ReadFile(path); !bytes.Equal(now, old) {
		t.Error("a Save that failed changed the file")
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("files left = %v, want one", entries)
	}
}

// shortWriter fails after n bytes.
type shortWriter struct{ n int }

var errFull = errors.New("full")

func (w *shortWriter) Write(b []byte) (int, error) {
	if w.n -= len(b); w.n < 0 {
		return 0, errFull
	}
	return len(b), nil
}

func TestEncodeIntoFullDisk(t *testing.T) {
	m := smallModel[float32](t)
	size := len(encoded(t, m))
	for n := range size {
		if err := Encode(&shortWriter{n}, m); !errors.Is(err, errFull) {
			t.Fatalf("Encode into %d of %d bytes = %v, want %v", n, size, err, errFull)
		}
	}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	tests := []struct{ name, path, want string }{
		{"missing", filepath.Join(dir, "none"), "no such file"},
		{"folder", dir, "is a folder, want a file"},
		{"device", os.DevNull, "is a device or pipe, want a file"},
	}
	for _, test := range tests {
		_, err := Load[float32](test.path)
		_, _, _, err2 := Inspect(test.path)
		for _, err := range []error{err, err2} {
			if _, user := usererr.Find(err); !user || !strings.Contains(err.Error(), test.want) || strings.Count(err.Error(), test.path) != 1 {
				t.Errorf("%s: Load, Inspect = %v, want the path once and %q", test.name, err, test.want)
			}
		}
	}

	path := filepath.Join(dir, "text")
	if err := os.WriteFile(path, []byte("hello, reader"), 0o666); err != nil {
		t.Fatal(err)
	}
	_, _, _, err := Inspect(path)
	if e, user := usererr.Find(err); !user || e.Hint != another || !strings.HasPrefix(err.Error(), fmt.Sprintf("%q: not a model of this program, want a safetensors file (byte 0: ", path)) {
		t.Errorf("Inspect of a text = %v, want an error that names it and says to try another", err)
	}
}
