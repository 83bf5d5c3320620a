package dataset

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"glassnet/internal/inputfile"
	"glassnet/internal/usererr"
)

// Load finds, fetches, verifies or draws the named data set.
//
//   - "mnist" is looked for in the folder mnist/ of Options.Dir, $GLASSNET_DATA,
//     data/, ../shared/data/ and the user's cache folder, in this order, and then
//     downloaded into the cache folder. Each file must have MNIST's SHA-256.
//   - "drawn-digits" is looked for in the same places, as drawn-digits/seed-N/,
//     and otherwise drawn and kept in the cache folder.
//   - Any other name is the path of a folder with the four IDX files, named as
//     MNIST's, of any image size ReadImages takes. It has as many classes as its
//     labels need, at least 2.
//   - "" is MNIST, or drawn-digits when MNIST is neither here nor can be
//     downloaded: Options.Warn is told so before it is drawn, and Data.Fallback is
//     true. A named set is never replaced by another.
//
// Errors of files and names are usererr.Errors; when ctx ends, the error is its.
func Load(ctx context.Context, name string, o Options) (*Data, error) {
	for _, p := range o.places() {
		if err := p.check(); err != nil {
			return nil, err
		}
	}
	switch name {
	case "mnist":
		return loadMNIST(ctx, o)
	case "drawn-digits":
		return loadDrawn(ctx, o)
	case "":
		data, err := loadMNIST(ctx, o)
		if !errors.Is(err, ErrNoMNIST) || ctx.Err() != nil {
			return data, err
		}
		o.warn(fmt.Sprintf("%v; using drawn-digits, digits that this program draws itself (MNIST's four files belong in data/mnist)", err))
		if data, err = loadDrawn(ctx, o); err == nil {
			data.Fallback = true
		}
		return data, err
	}
	return loadFolder(ctx, name)
}

// place is a folder in which data sets are looked for.
type place struct {
	dir   string
	from  string // who named it, for people
	named bool   // by the user: it must exist
	cache bool
}

// places lists where to look, in this order.
func (o Options) places() []place {
	var out []place
	for _, p := range []place{{dir: o.Dir, from: "--data"}, {dir: os.Getenv("GLASSNET_DATA"), from: "GLASSNET_DATA"}} {
		if p.dir != "" {
			p.named = true
			out = append(out, p)
		}
	}
	out = append(out,
		place{dir: "data", from: "working folder"},
		place{dir: filepath.Join("..", "shared", "data"), from: "beside the working folder"})
	if dir, err := cacheDir(); err == nil {
		out = append(out, place{dir: dir, from: "cache", cache: true})
	}
	return out
}

// check demands that a folder that the user named exists.
func (p place) check() error {
	if !p.named {
		return nil
	}
	info, err := os.Stat(p.dir)
	if err != nil {
		return usererr.New("%s %q: %w", p.from, p.dir, inputfile.Cause(err))
	}
	if !info.IsDir() {
		return usererr.New("%s %q: not a folder", p.from, p.dir)
	}
	return nil
}

// cacheDir is glassnet's folder below the user's cache folder.
func cacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", usererr.New("no cache folder: %w", err)
	}
	return filepath.Join(dir, "glassnet"), nil
}

// mnistSums are the SHA-256 of MNIST's decompressed files, in the order of fileNames.
var mnistSums = [4]string{
	"ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
	"65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
	"0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
	"ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

const mnistClasses = 10

// ErrNoMNIST is what Load's error wraps when MNIST is in none of the places it looks in
// and could not be, or was not to be, downloaded. Damaged files are another error.
var ErrNoMNIST = errors.New("MNIST is not here")

func loadMNIST(ctx context.Context, o Options) (*Data, error) {
	for _, p := range o.places() {
		dir := filepath.Join(p.dir, "mnist")
		paths, found := locate(dir)
		switch {
		case found == 0, found < 4 && p.cache: // Fetch brings the rest
		case found < 4:
			return nil, incomplete(dir, paths)
		default:
			hint := "replace the damaged file, or take away the folder: glassnet data fetch brings MNIST to another"
			if p.cache {
				hint = again
			}
			return readMNIST(ctx, paths, "found in "+dir, hint)
		}
	}
	if o.Offline {
		return nil, noMNIST("and is not to be downloaded")
	}
	dir, err := Fetch(ctx, o)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, noMNIST("and could not be downloaded: %w", err)
	}
	paths, _ := locate(dir)
	return readMNIST(ctx, paths, "downloaded to "+dir, again)
}

func noMNIST(format string, args ...any) error {
	return usererr.New("%w "+format, append([]any{ErrNoMNIST}, args...)...).
		Try("put its four files into data/mnist, name the folder that holds mnist with --data, or use --dataset drawn-digits")
}

// again is what to do about a damaged file in the cache.
const again = "remove the damaged file; glassnet data fetch brings it again"

// readMNIST reads the four files; hint is what to do when one is damaged.
func readMNIST(ctx context.Context, paths [4]string, origin, hint string) (*Data, error) {
	data, err := readSet(ctx, paths, mnistClasses, &mnistSums)
	if err != nil {
		if e, ok := usererr.Find(err); ok {
			return nil, e.Try("%s", hint)
		}
		return nil, err
	}
	data.Name, data.Origin = "mnist", origin
	return data, nil
}

// mnistFingerprint is the Data.SHA256 of MNIST.
func mnistFingerprint() string {
	var sums [4][]byte
	for i, text := range mnistSums {
		sums[i], _ = hex.DecodeString(text) // constants: TestMNISTFingerprint
	}
	return fingerprint(sums)
}

func loadFolder(ctx context.Context, dir string) (*Data, error) {
	info, err := os.Stat(dir)
	if err != nil || !info.IsDir() {
		return nil, usererr.New("unknown data set %q, want mnist, drawn-digits or a folder with the four IDX files", dir)
	}
	paths, found := locate(dir)
	if found < 4 {
		return nil, incomplete(dir, paths)
	}
	data, err := readSet(ctx, paths, 0, nil)
	if err != nil {
		return nil, err
	}
	data.Name, data.Origin = filepath.Base(dir), "found in "+dir
	if abs, err := filepath.Abs(dir); err == nil {
		data.Name = filepath.Base(abs) // "." has a name, too
	}
	// The names of the known sets mean those sets and no others.
	// Digits that were drawn are in a folder below drawn-digits.
	if data.Name == "drawn-digits" || data.Name == "mnist" && data.SHA256 != mnistFingerprint() {
		data.Name = "folder-" + data.Name
	}
	return data, nil
}
