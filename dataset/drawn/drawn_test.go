package drawn

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"os"
	"runtime"
	"strings"
	"testing"

	"glassnet/internal/usererr"
)

const size = Width * Height

// mustDraw draws without progress.
func mustDraw(t *testing.T, seed uint64, first, n int) (pixels []byte, labels []uint8) {
	t.Helper()
	pixels, labels, err := Draw(context.Background(), seed, first, n, nil)
	if err != nil {
		t.Fatalf("Draw(seed %d, %d, %d): %v", seed, first, n, err)
	}
	if len(pixels) != n*size || len(labels) != n {
		t.Fatalf("Draw(seed %d, %d, %d) = %d pixels, %d labels", seed, first, n, len(pixels), len(labels))
	}
	return pixels, labels
}

// TestPrefix guards the drawing on every architecture within a blink; amd64
// with GOAMD64=v1 and v3 and arm64 under qemu gave this sum.
func TestPrefix(t *testing.T) {
	const want = "3f22eac2c9ed7a569e3febf7063f519b590b04a91c047ffafa75c2075f2891c2"
	pixels, labels := mustDraw(t, StandardSeed, 0, 500)
	sum := sha256.Sum256(append(pixels, labels...))
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("SHA-256 of pixels and labels of the first 500 examples = %s, want %s", got, want)
	}
}

func TestSHA256(t *testing.T) {
	for seed, want := range sums {
		if seed != StandardSeed && os.Getenv("GLASSNET_EXHAUSTIVE") == "" {
			continue
		}
		pixels, labels := mustDraw(t, seed, 0, TrainSize+TestSize)
		if got := fingerprint(pixels, labels); got != want {
			t.Errorf("fingerprint of the 70,000 examples of seed %d = %s, want %s", seed, got, want)
		}
		if got, pinned := SHA256(seed); got != want || !pinned {
			t.Errorf("SHA256(%d) = %q, %v; want %q, true", seed, got, pinned, want)
		}
	}
	if got, pinned := SHA256(77); got != "" || pinned {
		t.Errorf("SHA256(77) = %q, %v; want none", got, pinned)
	}
}

// fingerprint computes what SHA256 promises.
func fingerprint(pixels []byte, labels []uint8) string {
	all := sha256.New()
	idx := func(content []byte, header ...uint32) {
		file := sha256.New()
		for _, v := range header {
			file.Write(binary.BigEndian.AppendUint32(nil, v))
		}
		file.Write(content)
		all.Write(file.Sum(nil))
	}
	idx(pixels[:TrainSize*size], 0x0803, TrainSize, Height, Width)
	idx(labels[:TrainSize], 0x0801, TrainSize)
	idx(pixels[TrainSize*size:], 0x0803, TestSize, Height, Width)
	idx(labels[TrainSize:], 0x0801, TestSize)
	return hex.EncodeToString(all.Sum(nil))
}

// An example depends on nothing but the seed and its number: not on the number
// of goroutines, nor on which other examples are drawn with it.
func TestSlices(t *testing.T) {
	const n = 3*chunk + 17
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	pixels, labels := mustDraw(t, 7, 0, n)
	for _, threads := range []int{2, 5} {
		runtime.GOMAXPROCS(threads)
		for _, part := range [][2]int{{0, n}, {0, 1}, {1, n - 1}, {chunk - 1, 2}, {n - 300, 300}} {
			first, count := part[0], part[1]
			p, l := mustDraw(t, 7, first, count)
			if !bytes.Equal(p, pixels[first*size:(first+count)*size]) || !bytes.Equal(l, labels[first:first+count]) {
				t.Errorf("Draw(%d, %d) on %d threads: not that part of Draw(0, %d) on 1", first, count, threads, n)
			}
		}
	}
	if other, _ := mustDraw(t, 8, 0, n); bytes.Equal(other, pixels) {
		t.Error("seeds 7 and 8 draw the same")
	}
}

// The set as a whole: its balance and its paper, over 20,000 examples of a seed
// that is not the standard one.
func TestLikeMNIST(t *testing.T) {
	const n = 20000
	pixels, labels := mustDraw(t, 5, 0, n)
	var count [10]int
	for i, label := range labels {
		count[label]++
		image := pixels[i*size : (i+1)*size]
		ink, left, right, top, bottom := 0, Width, -1, Height, -1
		for k, v := range image {
			if v > 0 {
				ink += int(v)
				left, right = min(left, k%Width), max(right, k%Width)
				top, bottom = min(top, k/Width), max(bottom, k/Width)
			}
		}
		// The thinnest stroke, 20 pixels long and half as dark as can be.
		if ink < 20*255/2 {
			t.Errorf("example %d, a %d: ink of %d in all, nearly blank", i, label, ink)
		}
		if left < 1 || top < 1 || right > Width-2 || bottom > Height-2 {
			t.Errorf("example %d, a %d: ink in columns %d..%d, rows %d..%d, want a free border", i, label, left, right, top, bottom)
		}
		if longer := max(right-left, bottom-top) + 1; longer < 16 || longer > 25 {
			t.Errorf("example %d, a %d: the ink's box is %d long, want about 20 and its soft edges", i, label, longer)
		}
	}
	for digit, c := range count {
		if c < n/10-200 || c > n/10+200 { // standard deviation 42
			t.Errorf("%d of %d examples are a %d, want about %d", c, n, digit, n/10)
		}
	}
	if zero := float64(bytes.Count(pixels, []byte{0})) / float64(len(pixels)); zero < 0.75 || zero > 0.85 {
		t.Errorf("%.3f of the pixels are 0, want 0.75 to 0.85", zero)
	}
}

// Any two models of a form must be mixable, and every ticket must find a form.
func TestForms(t *testing.T) {
	for digit, all := range forms {
		shares := 0
		for k, f := range all {
			shares += f.share
			for m, model := range f.models {
				if len(model) != len(f.models[0]) {
					t.Fatalf("digit %d, form %d, model %d: %d strokes, want %d", digit, k, m, len(model), len(f.models[0]))
				}
				for i, line := range model {
					like := f.models[0][i]
					if len(line) != len(like) || len(line) < 2 {
						t.Fatalf("digit %d, form %d, model %d, stroke %d: %d points, want %d", digit, k, m, i, len(line), len(like))
					}
					for j := 1; j < len(line); j++ {
						if (line[j] == line[j-1]) != (like[j] == like[j-1]) {
							t.Errorf("digit %d, form %d, model %d, stroke %d: a corner at point %d here or in model 0, not in both", digit, k, m, i, j)
						}
					}
				}
			}
		}
		if shares != 100 {
			t.Errorf("the forms of %d have shares of %d in all, want 100", digit, shares)
		}
	}
}

func TestDrawRefuses(t *testing.T) {
	for _, test := range []struct {
		name     string
		first, n int
	}{
		{"negative first", -1, 1},
		{"negative n", 0, -1},
		{"n too large", 0, MaxExamples + 1},
	} {
		_, _, err := Draw(context.Background(), 1, test.first, test.n, nil)
		if _, ok := usererr.Find(err); !ok || !strings.Contains(err.Error(), "want 0 to 1000000 from number 0") {
			t.Errorf("%s: Draw(%d, %d) = %v, want a user error with the limits", test.name, test.first, test.n, err)
		}
	}
}

func TestDrawNone(t *testing.T) {
	mustDraw(t, 1, 5, 0)
}

func TestDrawProgressAndCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	const n = 1000 * chunk
	last := 0
	pixels, labels, err := Draw(ctx, 1, 0, n, func(done, total int) {
		if done <= last || total != n {
			t.Errorf("progress(%d, %d) after %d, want more of %d", done, total, last, n)
		}
		last = done
		cancel()
	})
	if !errors.Is(err, context.Canceled) || pixels != nil || labels != nil {
		t.Errorf("cancelled Draw = %d pixels, %d labels, %v; want none and the context's error", len(pixels), len(labels), err)
	}
	if last > (1+runtime.GOMAXPROCS(0))*chunk {
		t.Errorf("Draw went on to %d examples after its context was cancelled at %d", last, chunk)
	}

	last = 0
	if _, _, err := Draw(context.Background(), 1, 0, chunk+1, func(done, total int) { last = done }); err != nil || last != chunk+1 {
		t.Errorf("last progress of Draw(0, %d) = %d, error %v", chunk+1, last, err)
	}
}

func BenchmarkDraw(b *testing.B) {
	pixels := make([]byte, size)
	for i := 0; b.Loop(); i++ {
		example(StandardSeed, uint64(i), pixels)
	}
}
