package dataset

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"glassnet/dataset/drawn"
)

// isolate moves the test into an empty working folder with an empty cache, and
// returns the folder that holds it: work/, cache/ and nothing else.
func isolate(t *testing.T) (root string) {
	t.Helper()
	root = t.TempDir()
	work := filepath.Join(root, "work")
	if err := os.Mkdir(work, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Chdir(work)
	t.Setenv("GLASSNET_DATA", "")
	for _, name := range []string{"HOME", "XDG_CACHE_HOME", "LocalAppData"} {
		t.Setenv(name, filepath.Join(root, "cache"))
	}
	return root
}

// cached is the path of a file below glassnet's cache folder.
func cached(t *testing.T, elements ...string) string {
	t.Helper()
	dir, err := cacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(append([]string{dir}, elements...)...)
}

// tiny is a set of four files: 3 + 2 images of 3x2 pixels.
func tiny() [4][]byte {
	return [4][]byte{
		images(3), idx(magicLabels, dims(3), 0, 1, 9),
		images(2), idx(magicLabels, dims(2), 4, 5),
	}
}

// fakeMNIST makes tiny stand for MNIST in this test.
func fakeMNIST(t *testing.T) [4][]byte {
	t.Helper()
	sums, sizes := mnistSums, mnistSizes
	t.Cleanup(func() { mnistSums, mnistSizes = sums, sizes })
	files := tiny()
	for i, content := range files {
		sum := sha256.Sum256(content)
		mnistSums[i] = hex.EncodeToString(sum[:])
		mnistSizes[i] = int64(len(content))
	}
	return files
}

// fewDigits makes drawn-digits a set of 30 + 20 images in this test.
func fewDigits(t *testing.T) {
	sizes := drawnSizes
	t.Cleanup(func() { drawnSizes = sizes })
	drawnSizes = [2]int{30, 20}
}

// unpinned is a seed whose fingerprint drawn does not know.
const unpinned = 77

func save(t *testing.T, path string, content []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o666); err != nil {
		t.Fatal(err)
	}
}

func saveAll(t *testing.T, dir string, files [4][]byte) {
	t.Helper()
	for i, content := range files {
		save(t, filepath.Join(dir, fileNames[i]), content)
	}
}

// listen collects what Options.Warn hears.
func listen(o *Options) *[]string {
	var lines []string
	o.Warn = func(line string) { lines = append(lines, line) }
	return &lines
}

func TestLoadPlaces(t *testing.T) {
	files := fakeMNIST(t)
	ctx := context.Background()
	root := isolate(t)
	o := Options{Dir: filepath.Join(root, "given"), Offline: true}
	t.Setenv("GLASSNET_DATA", filepath.Join(root, "env"))

	// From the last place to the first: each time the new one wins.
	for _, dir := range []string{cached(t), filepath.Join("..", "shared", "data"), "data", os.Getenv("GLASSNET_DATA"), o.Dir} {
		for _, named := range []string{o.Dir, os.Getenv("GLASSNET_DATA")} {
			if err := os.MkdirAll(named, 0o777); err != nil {
				t.Fatal(err)
			}
		}
		saveAll(t, filepath.Join(dir, "mnist"), files)
		for _, name := range []string{"mnist", ""} {
			got, err := Load(ctx, name, o)
			if err != nil {
				t.Fatalf("Load(%q) with MNIST in %s = %v, want nil", name, dir, err)
			}
			if want := "found in " + filepath.Join(dir, "mnist"); got.Origin != want || got.Name != "mnist" || got.Fallback {
				t.Errorf("Load(%q) = name %q, origin %q, fallback %v; want mnist, %q, false", name, got.Name, got.Origin, got.Fallback, want)
			}
			if !bytes.Equal(got.Train.Pixels, files[0][16:]) || !bytes.Equal(got.Test.Labels, files[3][8:]) {
				t.Errorf("Load(%q) = other pixels or labels than in the files", name)
			}
		}
	}
}

func TestLoadSpellings(t *testing.T) {
	files := fakeMNIST(t)
	isolate(t)
	save(t, "data/mnist/train-images.idx3-ubyte", files[0])
	save(t, "data/mnist/train-labels.idx1-ubyte.gz", zip(files[1]))
	save(t, "data/mnist/t10k-images-idx3-ubyte.gz", zip(files[2]))
	save(t, "data/mnist/t10k-labels-idx1-ubyte.gz", files[3]) // plain under a gzip name
	got, err := Load(context.Background(), "mnist", Options{Offline: true})
	if err != nil {
		t.Fatalf("Load = %v, want nil", err)
	}
	// sha256 over the four sums, as the shell makes it:
	// for f in ...; do sha256sum < $f | cut -c1-64 | xxd -r -p; done | sha256sum
	h := sha256.New()
	for _, content := range files {
		sum := sha256.Sum256(content)
		h.Write(sum[:])
	}
	if want := hex.EncodeToString(h.Sum(nil)); got.SHA256 != want {
		t.Errorf("SHA256 = %s, want %s", got.SHA256, want)
	}
	if sum, err := got.fingerprint(); err != nil || sum != got.SHA256 {
		t.Errorf("fingerprint() = %s, %v; want %s", sum, err, got.SHA256)
	}
	s := got.Train
	if s.Len() != 3 || s.Features() != 6 || s.Width != 3 || s.Height != 2 || s.Classes != 10 {
		t.Errorf("Train = %d images of %dx%d, %d features, %d classes; want 3 of 3x2, 6, 10", s.Len(), s.Width, s.Height, s.Features(), s.Classes)
	}
	if want := []byte{6, 7, 8, 9, 10, 11}; !bytes.Equal(s.Image(1), want) || cap(s.Image(1)) != 6 {
		t.Errorf("Image(1) = %v, capacity %d; want %v, 6", s.Image(1), cap(s.Image(1)), want)
	}
}

func TestLoadMNISTErrors(t *testing.T) {
	files := fakeMNIST(t)
	tests := []struct {
		name  string
		spoil func(t *testing.T, o *Options)
		want  string
	}{
		{"nowhere", func(t *testing.T, o *Options) { os.RemoveAll("data") }, `MNIST is not here and is not to be downloaded`},
		{"other pixels", func(t *testing.T, o *Options) {
			save(t, "data/mnist/t10k-images-idx3-ubyte", put(files[2], -1, 99))
		}, fmt.Sprintf(`"data/mnist/t10k-images-idx3-ubyte": SHA-256 of the decompressed content is %x, want %s`, sha256.Sum256(put(files[2], -1, 99)), mnistSums[2])},
		{"label 10", func(t *testing.T, o *Options) {
			save(t, "data/mnist/train-labels-idx1-ubyte", put(files[1], -1, 10))
		}, `"data/mnist/train-labels-idx1-ubyte": byte 10: label of example 2 is 10, want 0 to 9`},
		{"three files", func(t *testing.T, o *Options) { os.Remove("data/mnist/t10k-labels-idx1-ubyte") },
			`"data/mnist": no file t10k-labels-idx1-ubyte (plain or .gz), want the four IDX files of a data set`},
		{"a folder as file", func(t *testing.T, o *Options) {
			os.Remove("data/mnist/t10k-labels-idx1-ubyte")
			os.Mkdir("data/mnist/t10k-labels-idx1-ubyte", 0o777)
		}, `"data/mnist/t10k-labels-idx1-ubyte": is a folder, want a file`},
		{"--data missing", func(t *testing.T, o *Options) { o.Dir = "no\x1bwhere" }, `--data "no\x1bwhere": no such file or directory`},
		{"--data a file", func(t *testing.T, o *Options) { o.Dir = "data/mnist/t10k-labels-idx1-ubyte" },
			`--data "data/mnist/t10k-labels-idx1-ubyte": not a folder`},
		{"GLASSNET_DATA missing", func(t *testing.T, o *Options) { t.Setenv("GLASSNET_DATA", "gone") }, `GLASSNET_DATA "gone": no such file or directory`},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			isolate(t)
			saveAll(t, "data/mnist", files)
			o := Options{Offline: true}
			c.spoil(t, &o)
			_, err := Load(context.Background(), "mnist", o)
			checkUserError(t, "Load", err, strings.ReplaceAll(c.want, "/", string(filepath.Separator)))
			if c.name == "nowhere" {
				return
			}
			if _, unnamed := Load(context.Background(), "", o); unnamed == nil || unnamed.Error() != err.Error() {
				t.Errorf(`Load("") = %v, want %v: only a missing MNIST is replaced`, unnamed, err)
			}
		})
	}
}

func TestLoadFolder(t *testing.T) {
	isolate(t)
	ctx := context.Background()
	files := tiny()
	saveAll(t, "my/letters", files)
	got, err := Load(ctx, "my/letters/", Options{})
	if err != nil || got.Name != "letters" || got.Origin != "found in my/letters/" || got.Train.Classes != 10 || got.Test.Classes != 10 {
		t.Errorf("Load of a folder = %+v, %v; want letters with 10 classes", got, err)
	}
	// Known names are of the known sets.
	for _, name := range []string{"mnist", "drawn-digits"} {
		saveAll(t, "my/"+name, files)
		if got, err := Load(ctx, "my/"+name, Options{}); err != nil || got.Name != "folder-"+name {
			t.Errorf("Load of other data in %s = %+v, %v", name, got, err)
		}
	}
	t.Chdir("my/letters")
	if got, err := Load(ctx, ".", Options{}); err != nil || got.Name != "letters" {
		t.Errorf(`Load(".") = %+v, %v; want the name letters`, got, err)
	}
	for labels, want := range map[string]int{"\x00\x00": 10, "\x00\x0a": 11, "\x00\xff": 256} {
		save(t, fileNames[3], idx(magicLabels, dims(2), []byte(labels)...))
		if got, err := Load(ctx, ".", Options{}); err != nil || got.Train.Classes != want {
			t.Errorf("Load with test labels %q = %v, %v; want %d classes", labels, got, err, want)
		}
	}
	save(t, fileNames[1], idx(magicLabels, dims(3), 0, 0, 0))
	save(t, fileNames[3], idx(magicLabels, dims(2), 0, 0))
	if got, err := Load(ctx, ".", Options{}); err != nil || got.Train.Classes != 2 {
		t.Errorf("Load with the label 0 only = %v, %v; want 2 classes", got, err)
	}

	cases := []struct {
		name string
		i    int
		file []byte
		want string
	}{
		{"labels for images", 1, idx(magicLabels, dims(2), 0, 1), `"train-labels-idx1-ubyte": byte 4: number of labels 2, want 3, the number of images in "train-images-idx3-ubyte"`},
		{"test width", 2, idx(magicImages, dims(2, 2, 4), make([]byte, 16)...), `images of 4x2 pixels, want 3x2 as in`},
		{"test height", 2, idx(magicImages, dims(2, 3, 3), make([]byte, 18)...), `images of 3x3 pixels, want 3x2 as in`},
		{"test size", 2, idx(magicImages, dims(2, 1, 2), 0, 0, 0, 0), `"t10k-images-idx3-ubyte": byte 8: images of 2x1 pixels, want 3x2 as in "train-images-idx3-ubyte"`},
		{"cut", 0, files[0][:20], `"train-images-idx3-ubyte": byte 16: the file has 4 bytes of data, want the 18`},
		{"missing", 2, nil, `".": no file t10k-images-idx3-ubyte (plain or .gz)`},
	}
	for _, c := range cases {
		saveAll(t, ".", files)
		if c.file == nil {
			os.Remove(fileNames[c.i])
		} else {
			save(t, fileNames[c.i], c.file)
		}
		_, err := Load(ctx, ".", Options{})
		checkUserError(t, c.name, err, c.want)
	}
	for _, name := range []string{"MNIST", "nowhere", fileNames[0]} {
		_, err := Load(ctx, name, Options{})
		checkUserError(t, name, err, fmt.Sprintf("unknown data set %q, want mnist, drawn-digits or a folder", name))
	}

	stopped, cancel := context.WithCancel(ctx)
	cancel()
	saveAll(t, ".", files)
	if _, err := Load(stopped, ".", Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Load with a cancelled context = %v, want %v", err, context.Canceled)
	}
}

func TestLoadCancelled(t *testing.T) {
	files := fakeMNIST(t)
	isolate(t)
	saveAll(t, "data/mnist", files)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, name := range []string{"", "mnist", "data/mnist"} {
		if _, err := Load(ctx, name, Options{}); err != context.Canceled {
			t.Errorf("Load(%q) with a cancelled context = %v, want %v", name, err, context.Canceled)
		}
	}
}

// The real MNIST, found as a user would have it found from the repository.
func TestRealMNIST(t *testing.T) {
	data := realMNIST(t)
	if got := []int{data.Train.Len(), data.Test.Len(), data.Train.Width, data.Train.Height, data.Train.Classes}; !slices.Equal(got, []int{60000, 10000, 28, 28, 10}) {
		t.Errorf("MNIST = %v, want 60000 + 10000 images of 28x28 in 10 classes", got)
	}
	if got, want := data.Train.Labels[:5], []uint8{5, 0, 4, 1, 9}; !slices.Equal(got, want) {
		t.Errorf("first labels = %v, want %v", got, want)
	}
	h := sha256.New()
	for _, sum := range mnistSums {
		b, _ := hex.DecodeString(sum)
		h.Write(b)
	}
	if want := hex.EncodeToString(h.Sum(nil)); data.SHA256 != want {
		t.Errorf("SHA256 = %s, want %s", data.SHA256, want)
	}
}

// realMNIST loads MNIST as found from the repository's folder, or skips the test.
func realMNIST(t *testing.T) *Data {
	t.Helper()
	t.Chdir("..")
	data, err := Load(context.Background(), "mnist", Options{Offline: true})
	if errors.Is(err, ErrNoMNIST) {
		t.Skipf("needs the real MNIST: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestLoadDrawn(t *testing.T) {
	isolate(t)
	fewDigits(t)
	ctx := context.Background()
	steps := 0
	o := Options{Offline: true, DrawnSeed: unpinned, Progress: func(stage string, done, total int64) {
		steps++
		if stage != "drawing drawn-digits" || done < 1 || total != 50 {
			t.Errorf("progress(%q, %d, %d), want drawing drawn-digits, 1 to 50, 50", stage, done, total)
		}
	}}
	lines := listen(&o)
	first, err := Load(ctx, "drawn-digits", o)
	if err != nil {
		t.Fatal(err)
	}
	pixels, labels, err := drawn.Draw(ctx, unpinned, 0, 50, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(slices.Concat(first.Train.Pixels, first.Test.Pixels), pixels) ||
		!bytes.Equal(slices.Concat(first.Train.Labels, first.Test.Labels), labels) || first.Train.Len() != 30 {
		t.Error("Load(drawn-digits): not the digits that drawn.Draw makes, the first 30 for training")
	}
	if first.Name != "drawn-digits" || first.Origin != "drawn by this program with seed 77" || first.Fallback || steps == 0 {
		t.Errorf("Load(drawn-digits) = name %q, origin %q, fallback %v, %d steps of progress", first.Name, first.Origin, first.Fallback, steps)
	}

	same := func(what string) {
		t.Helper()
		got, err := Load(ctx, "drawn-digits", o)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got.SHA256 != first.SHA256 || got.Origin != first.Origin || !bytes.Equal(got.Train.Pixels, first.Train.Pixels) || !bytes.Equal(got.Test.Labels, first.Test.Labels) {
			t.Errorf("%s: Load(drawn-digits) differs from the first time", what)
		}
	}
	steps = 0
	same("from the cache")
	if steps != 0 || len(*lines) != 0 {
		t.Errorf("from the cache: %d steps of drawing, warnings %q; want none", steps, *lines)
	}

	dir := cached(t, "drawn-digits", "seed-77")
	for name, want := range map[string]string{
		fileNames[0] + ".gz": "damaged gzip data",
		fileNames[3] + ".gz": "byte 0: the file ends",
		sumFile:              "SHA-256 over the four files is " + first.SHA256 + ", want",
	} {
		path := filepath.Join(dir, name)
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)-8] ^= 0x10 // in a gzip file, its checksum
		if name == fileNames[3]+".gz" {
			b = nil
		}
		save(t, path, b)
		*lines = nil
		same("damaged " + name)
		if len(*lines) != 1 || !strings.Contains((*lines)[0], want) || !strings.HasSuffix((*lines)[0], "; the set is drawn again") {
			t.Errorf("damaged %s: warnings %q, want one with %q", name, *lines, want)
		}
		*lines = nil
		if same("mended"); len(*lines) != 0 {
			t.Errorf("mended %s: warnings %q, want none", name, *lines)
		}
	}
	for _, name := range []string{fileNames[2] + ".gz", sumFile} {
		os.Remove(filepath.Join(dir, name))
		*lines = nil
		if same("without " + name); len(*lines) != 1 {
			t.Errorf("without %s: warnings %q, want one", name, *lines)
		}
	}
}

func TestLoadDrawnWithoutCache(t *testing.T) {
	root := isolate(t)
	fewDigits(t)
	save(t, filepath.Join(root, "cache"), nil) // a file where the cache should be
	o := Options{Offline: true, DrawnSeed: unpinned}
	lines := listen(&o)
	got, err := Load(context.Background(), "drawn-digits", o)
	if err != nil || got.Train.Len() != 30 {
		t.Errorf("Load without a cache = %v, %v; want the set", got, err)
	}
	if len(*lines) != 1 || !strings.HasPrefix((*lines)[0], "the drawn digits are not kept for the next time: ") {
		t.Errorf("warnings = %q, want one: not kept", *lines)
	}

	// A folder where a file of the set should be.
	os.Remove(filepath.Join(root, "cache"))
	save(t, cached(t, "drawn-digits", "seed-77", fileNames[1]+".gz", "x"), nil)
	*lines = nil
	if _, err := Load(context.Background(), "drawn-digits", o); err != nil || len(*lines) != 2 {
		t.Errorf("Load with a folder in the cache = %v, warnings %q; want the set, two warnings", err, *lines)
	}
	if err := saveSet(t.TempDir(), &Data{Train: &Set{}, Test: &Set{}}); err == nil {
		t.Error("saveSet of empty sets = nil, want an error")
	}
	if _, err := (&Data{Train: &Set{}, Test: &Set{}}).fingerprint(); err == nil {
		t.Error("fingerprint of empty sets = nil, want an error")
	}

	for _, name := range []string{"HOME", "XDG_CACHE_HOME", "LocalAppData"} {
		t.Setenv(name, "")
	}
	*lines = nil
	if _, err := Load(context.Background(), "drawn-digits", o); err != nil || len(*lines) != 1 {
		t.Errorf("Load without a home = %v, warnings %q; want the set and one warning", err, *lines)
	}

	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Load(stopped, "drawn-digits", o); !errors.Is(err, context.Canceled) {
		t.Errorf("Load with a cancelled context = %v, want %v", err, context.Canceled)
	}
}

// A drawing that does not give the pinned fingerprint is refused: here it is of
// fewer digits than the pinned ones.
func TestLoadDrawnPinned(t *testing.T) {
	isolate(t)
	fewDigits(t)
	_, err := Load(context.Background(), "drawn-digits", Options{Offline: true})
	if err == nil || !strings.Contains(err.Error(), "this program draws other digits than it should") {
		t.Errorf("Load of 50 digits of the standard seed = %v, want an error: another fingerprint", err)
	}
}

// All 70,000 digits of the standard seed: drawn, kept, and read again.
func TestLoadDrawnStandard(t *testing.T) {
	if testing.Short() {
		t.Skip("draws 70,000 digits; runs without -short")
	}
	isolate(t)
	o := Options{Offline: true}
	lines := listen(&o)
	want, _ := drawn.SHA256(drawn.StandardSeed)
	for _, when := range []string{"drawn", "read again"} {
		data, err := Load(context.Background(), "drawn-digits", o)
		if err != nil || data.SHA256 != want || data.Train.Len() != 60000 || data.Test.Len() != 10000 || len(*lines) != 0 {
			t.Fatalf("drawn-digits, %s = %+v, %v, warnings %q; want 60000 + 10000 with SHA-256 %s", when, data, err, *lines, want)
		}
	}
}

func TestFallback(t *testing.T) {
	isolate(t)
	fewDigits(t)
	o := Options{Offline: true, DrawnSeed: unpinned}
	lines := listen(&o)
	o.Progress = func(string, int64, int64) {
		if len(*lines) != 1 {
			t.Errorf("warnings when the drawing begins = %q, want one", *lines)
		}
	}
	got, err := Load(context.Background(), "", o)
	if err != nil || !got.Fallback || got.Name != "drawn-digits" {
		t.Errorf(`Load("") without MNIST = %+v, %v; want drawn-digits as a fallback`, got, err)
	}
	want := []string{"MNIST is not here and is not to be downloaded; using drawn-digits, digits that this program draws itself (MNIST's four files belong in data/mnist)"}
	if !slices.Equal(*lines, want) {
		t.Errorf("warnings = %q, want %q", *lines, want)
	}
}

func TestMNISTFingerprint(t *testing.T) {
	if got, want := mnistFingerprint(), "e9914cff2ade526da2ab1ac60c072f9173cc53e35b9411692de8207cb1b9009d"; got != want {
		t.Errorf("mnistFingerprint() = %s, want %s, which loading MNIST gave", got, want)
	}
}
