// Package inputfile opens the files that a user names.
package inputfile

import (
	"errors"
	"io/fs"
	"os"

	"glassnet/internal/usererr"
)

// Open opens a file that is neither a folder nor a pipe or device, on which
// reading could hang or never end, and returns its size in bytes. The error is a
// user error that begins with the path, quoted.
func Open(path string) (f *os.File, size int64, err error) {
	info, err := os.Stat(path) // before it is opened: opening a pipe may wait for ever
	if err == nil && !info.Mode().IsRegular() {
		what := "a device or pipe"
		if info.IsDir() {
			what = "a folder"
		}
		return nil, 0, usererr.New("%q: is %s, want a file", path, what)
	}
	if err == nil {
		f, err = os.Open(path)
	}
	if err != nil {
		return nil, 0, usererr.New("%q: %w", path, Cause(err))
	}
	return f, info.Size(), nil
}

// Cause takes the path out of an error of package os, for messages that name it
// themselves.
func Cause(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
