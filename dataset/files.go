package dataset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"glassnet/internal/inputfile"
	"glassnet/internal/usererr"
)

// fileNames are MNIST's names of the four files of a set, in the order of its
// fingerprint: images and labels of the training part, then of the test part.
var fileNames = [4]string{
	"train-images-idx3-ubyte",
	"train-labels-idx1-ubyte",
	"t10k-images-idx3-ubyte",
	"t10k-labels-idx1-ubyte",
}

// locate looks in dir for the four files, plain or compressed, and returns how
// many are there. The path of a missing one is empty.
func locate(dir string) (paths [4]string, found int) {
	for i, name := range fileNames {
		dotted := strings.Replace(name, "-idx", ".idx", 1) // another spelling in use
		for _, spelling := range []string{name, name + ".gz", dotted, dotted + ".gz"} {
			path := filepath.Join(dir, spelling)
			if _, err := os.Stat(path); err == nil {
				paths[i] = path
				found++
				break
			}
		}
	}
	return paths, found
}

// incomplete is the error for a folder where locate did not find all four files.
func incomplete(dir string, paths [4]string) error {
	var missing []string
	for i, name := range fileNames {
		if paths[i] == "" {
			missing = append(missing, name)
		}
	}
	return usererr.New("%q: no file %s (plain or .gz), want the four IDX files of a data set", dir, strings.Join(missing, ", "))
}

// idxFile is one file of a set in memory: images or labels.
type idxFile struct {
	Images
	labels []uint8
	size   int64  // of the stored file
	sum    []byte // SHA-256 of the decompressed content
}

// readFile reads file i of fileNames from path.
func readFile(path string, i, classes int) (f idxFile, err error) {
	r, _, err := inputfile.Open(path)
	if err != nil {
		return f, err
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		return f, err
	}
	f.size = info.Size()
	// The readers accept one spelling of the content only, so writing it again
	// gives the bytes that were read.
	h := sha256.New()
	if i%2 == 0 {
		if f.Images, err = ReadImages(r, path, f.size); err == nil {
			err = WriteImages(h, f.Width, f.Height, f.Pixels)
		}
	} else {
		if f.labels, err = ReadLabels(r, path, f.size, classes); err == nil {
			err = WriteLabels(h, f.labels)
		}
	}
	if err == nil {
		f.sum = h.Sum(nil)
	}
	return f, err
}

// readSet reads the four files. Labels must be below classes; classes 0 means
// that the set has as many as its labels need, at least 2. The files' SHA-256
// in hex must be sums where that is given. The first file's error comes first.
func readSet(ctx context.Context, paths [4]string, classes int, sums *[4]string) (*Data, error) {
	limit := classes
	if limit == 0 {
		limit = 256
	}
	var files [4]idxFile
	var errs [4]error
	var all sync.WaitGroup
	for i, path := range paths {
		all.Go(func() {
			if errs[i] = ctx.Err(); errs[i] == nil {
				files[i], errs[i] = readFile(path, i, limit)
			}
			if errs[i] == nil && sums != nil {
				errs[i] = checkSum(path, files[i].sum, sums[i])
			}
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}

	data := &Data{SHA256: fingerprint([4][]byte{files[0].sum, files[1].sum, files[2].sum, files[3].sum})}
	for i := 0; i < 4; i += 2 {
		images, labels := files[i].Images, files[i+1].labels
		if images.Count != len(labels) {
			return nil, usererr.New("%q: byte 4: number of labels %d, want %d, the number of images in %q",
				paths[i+1], len(labels), images.Count, paths[i])
		}
		if images.Width != files[0].Width || images.Height != files[0].Height {
			return nil, usererr.New("%q: byte 8: images of %dx%d pixels, want %dx%d as in %q",
				paths[i], images.Width, images.Height, files[0].Width, files[0].Height, paths[0])
		}
	}
	if classes == 0 {
		classes = 2
		for _, f := range files {
			for _, label := range f.labels {
				classes = max(classes, int(label)+1)
			}
		}
	}
	data.Train = newSet(files[0].Images, files[1].labels, classes)
	data.Test = newSet(files[2].Images, files[3].labels, classes)
	return data, nil
}

func newSet(images Images, labels []uint8, classes int) *Set {
	return &Set{Width: images.Width, Height: images.Height, Classes: classes, Pixels: images.Pixels, Labels: labels}
}

func checkSum(path string, sum []byte, want string) error {
	if got := hex.EncodeToString(sum); got != want {
		return usererr.New("%q: SHA-256 of the decompressed content is %s, want %s", path, got, want)
	}
	return nil
}

// contents are the writers of the data's four files, in the order of fileNames.
func (d *Data) contents() [4]func(io.Writer) error {
	images := func(s *Set) func(io.Writer) error {
		return func(w io.Writer) error { return WriteImages(w, s.Width, s.Height, s.Pixels) }
	}
	labels := func(s *Set) func(io.Writer) error {
		return func(w io.Writer) error { return WriteLabels(w, s.Labels) }
	}
	return [4]func(io.Writer) error{images(d.Train), labels(d.Train), images(d.Test), labels(d.Test)}
}

// fingerprint computes Data.SHA256 from the sets.
func (d *Data) fingerprint() (string, error) {
	var sums [4][]byte
	for i, write := range d.contents() {
		h := sha256.New()
		if err := write(h); err != nil {
			return "", err
		}
		sums[i] = h.Sum(nil)
	}
	return fingerprint(sums), nil
}

// fingerprint is Data.SHA256: the SHA-256 over those of the four files.
func fingerprint(sums [4][]byte) string {
	h := sha256.New()
	for _, sum := range sums {
		h.Write(sum)
	}
	return hex.EncodeToString(h.Sum(nil))
}
