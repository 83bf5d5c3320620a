package dataset

import (
	"context"
	"encoding/hex"
	"path/filepath"
	"strings"

	"glassnet/internal/usererr"
)

// SetStatus tells what is in one of the folders where a known data set is looked for.
type SetStatus struct {
	Name  string // "mnist" or "drawn-digits"
	Place string // who named the folder: "--data", "GLASSNET_DATA", "working folder", ...
	Dir   string
	State string // "verified", "missing" (": " and why), or "damaged: " and why
	Files []FileStatus
}

// FileStatus tells what is in a file of a set that is there.
type FileStatus struct {
	Path   string
	Size   int64  // stored, in bytes
	SHA256 string // of the decompressed content, in hex; empty when it cannot be read
	State  string // "verified", or "damaged: " and why
}

// The beginnings of a State.
const (
	verified = "verified"
	missing  = "missing"
	damaged  = "damaged: "
)

// Status looks into every folder where MNIST and drawn-digits are looked for,
// reads what is there and compares it with the checksums. When ctx ends, the
// list stops early.
func Status(ctx context.Context, o Options) []SetStatus {
	var out []SetStatus
	for _, name := range []string{"mnist", "drawn-digits"} {
		for _, p := range o.places() {
			if ctx.Err() != nil {
				return out
			}
			s := SetStatus{Name: name, Place: p.from, Dir: filepath.Join(p.dir, "mnist")}
			if name == "drawn-digits" {
				s.Dir = drawnDir(p.dir, o.drawnSeed())
			}
			if err := p.check(); err != nil {
				s.State = missing + ": " + err.Error()
			} else {
				s.inspect(o.drawnSeed())
			}
			out = append(out, s)
		}
	}
	return out
}

// inspect reads what is in s.Dir and fills in State and Files.
func (s *SetStatus) inspect(seed uint64) {
	paths, found := locate(s.Dir)
	if found == 0 {
		s.State = missing
		return
	}
	s.State = verified
	fail := func(err error) {
		if s.State == verified {
			s.State = damaged + err.Error()
		}
	}
	var sums [4][]byte
	for i, path := range paths {
		if path == "" {
			continue
		}
		f, err := readFile(path, i, mnistClasses)
		if err == nil && s.Name == "mnist" {
			err = checkSum(path, f.sum, mnistSums[i])
		}
		sums[i] = f.sum
		file := FileStatus{Path: path, Size: f.size, SHA256: hex.EncodeToString(f.sum), State: verified}
		if err != nil {
			file.State = damaged + err.Error()
			fail(err)
		}
		s.Files = append(s.Files, file)
	}
	if found < 4 {
		fail(incomplete(s.Dir, paths))
	}
	if s.Name == "drawn-digits" && s.State == verified {
		if err := checkDrawn(s.Dir, seed, fingerprint(sums)); err != nil {
			fail(err)
		}
	}
}

// Check returns a user error where a folder that was named, by Dir or by the variable
// GLASSNET_DATA, is none.
func (o Options) Check() error {
	for _, p := range o.places() {
		if err := p.check(); err != nil {
			return err
		}
	}
	return nil
}

// Verify reads every known data set that is here, compares it with the checksums, and
// returns what Status does. It is an error, a usererr.Error, when one is damaged or none is
// here.
func Verify(ctx context.Context, o Options) ([]SetStatus, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	good, all := 0, Status(ctx, o)
	for _, s := range all {
		if reason, bad := strings.CutPrefix(s.State, damaged); bad {
			return nil, usererr.New("%s", reason).Try("replace it, or take away its folder; MNIST comes again with glassnet data fetch, drawn-digits are drawn again when used")
		}
		if s.State == verified {
			good++
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if good == 0 {
		return nil, usererr.New("no data set is here").Try("glassnet data fetch")
	}
	return all, nil
}
