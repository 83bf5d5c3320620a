package dataset

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"glassnet/dataset/drawn"
	"glassnet/internal/atomicfile"
	"glassnet/internal/inputfile"
	"glassnet/internal/usererr"
)

// drawnSizes are the examples of the training and of the test part of
// drawn-digits: the test part continues the sequence. Tests draw fewer.
var drawnSizes = [2]int{drawn.TrainSize, drawn.TestSize}

const drawnClasses = 10

// sumFile holds the fingerprint beside a drawn set whose seed has no pinned one.
const sumFile = "sha256"

func (o Options) drawnSeed() uint64 {
	if o.DrawnSeed == 0 {
		return drawn.StandardSeed
	}
	return o.DrawnSeed
}

// drawnDir is the folder of the drawn set below a data folder.
func drawnDir(dir string, seed uint64) string {
	return filepath.Join(dir, "drawn-digits", fmt.Sprintf("seed-%d", seed))
}

func loadDrawn(ctx context.Context, o Options) (*Data, error) {
	seed := o.drawnSeed()
	for _, p := range o.places() {
		dir := drawnDir(p.dir, seed)
		paths, found := locate(dir)
		if found == 0 {
			continue
		}
		data, err := readDrawn(ctx, dir, paths, seed)
		if err == nil || ctx.Err() != nil {
			return data, err
		}
		o.warn(fmt.Sprintf("%v; the set is drawn again", err))
	}

	data, err := draw(ctx, seed, o)
	if err != nil {
		return nil, err
	}
	dir, err := cacheDir()
	if err == nil {
		err = saveSet(drawnDir(dir, seed), data)
	}
	if err != nil {
		o.warn(fmt.Sprintf("the drawn digits are not kept for the next time: %v", err))
	}
	return data, nil
}

// draw draws the set and compares its fingerprint with the pinned one.
func draw(ctx context.Context, seed uint64, o Options) (*Data, error) {
	train, test := drawnSizes[0], drawnSizes[1]
	pixels, labels, err := drawn.Draw(ctx, seed, 0, train+test, func(done, total int) {
		o.progress("drawing drawn-digits", int64(done), int64(total))
	})
	if err != nil {
		return nil, err
	}
	cut := train * drawn.Width * drawn.Height
	set := func(pixels []byte, labels []uint8) *Set {
		return &Set{Width: drawn.Width, Height: drawn.Height, Classes: drawnClasses, Pixels: pixels, Labels: labels}
	}
	data := drawnData(seed)
	data.Train, data.Test = set(pixels[:cut:cut], labels[:train:train]), set(pixels[cut:], labels[train:])
	if data.SHA256, err = data.fingerprint(); err != nil {
		return nil, err
	}
	if want, pinned := drawn.SHA256(seed); pinned && data.SHA256 != want {
		return nil, fmt.Errorf("drawn-digits with seed %d: SHA-256 is %s, want %s: this program draws other digits than it should", seed, data.SHA256, want)
	}
	return data, nil
}

func drawnData(seed uint64) *Data {
	return &Data{Name: "drawn-digits", Origin: fmt.Sprintf("drawn by this program with seed %d", seed)}
}

// readDrawn reads a drawn set that saveSet kept in dir.
func readDrawn(ctx context.Context, dir string, paths [4]string, seed uint64) (*Data, error) {
	if slices.Contains(paths[:], "") {
		return nil, incomplete(dir, paths)
	}
	read, err := readSet(ctx, paths, drawnClasses, nil)
	if err != nil {
		return nil, err
	}
	if err := checkDrawn(dir, seed, read.SHA256); err != nil {
		return nil, err
	}
	data := drawnData(seed)
	data.Train, data.Test, data.SHA256 = read.Train, read.Test, read.SHA256
	return data, nil
}

// checkDrawn compares the fingerprint of the set in dir with the pinned one, or
// with the one that saveSet noted.
func checkDrawn(dir string, seed uint64, got string) error {
	want, pinned := drawn.SHA256(seed)
	if !pinned {
		var err error
		if want, err = readSumFile(filepath.Join(dir, sumFile)); err != nil {
			return err
		}
	}
	if got != want {
		return usererr.New("%q: SHA-256 over the four files is %s, want %s", dir, got, want)
	}
	return nil
}

func readSumFile(path string) (string, error) {
	f, _, err := inputfile.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 100))
	return strings.TrimSpace(string(b)), err
}

// saveSet keeps the data in dir: four compressed IDX files and the fingerprint.
func saveSet(dir string, data *Data) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if err := atomicfile.Sweep(dir); err != nil {
		return err
	}
	for i, write := range data.contents() {
		err := atomicfile.Write(filepath.Join(dir, fileNames[i]+".gz"), func(w io.Writer) error {
			zip, _ := gzip.NewWriterLevel(w, gzip.BestSpeed) // fails for levels that do not exist
			if err := write(zip); err != nil {
				return err
			}
			return zip.Close()
		})
		if err != nil {
			return err
		}
	}
	return atomicfile.Write(filepath.Join(dir, sumFile), func(w io.Writer) error {
		_, err := fmt.Fprintln(w, data.SHA256)
		return err
	})
}
