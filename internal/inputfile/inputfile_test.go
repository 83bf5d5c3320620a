package inputfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"glassnet/internal/usererr"
)

func TestOpen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte("content"), 0o666); err != nil {
		t.Fatal(err)
	}
	f, size, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if text, err := io.ReadAll(f); err != nil || string(text) != "content" || size != 7 {
		t.Errorf("Open gave %q of %d bytes, %v; want %q of 7", text, size, err, "content")
	}
}

func TestOpenErrors(t *testing.T) {
	for path, want := range map[string]string{
		t.TempDir():                             "is a folder, want a file",
		filepath.Join(t.TempDir(), "new\nfile"): `new\nfile": no such file`,
		os.DevNull:                              "is a device or pipe, want a file",
	} {
		_, _, err := Open(path)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("Open(%q) = %v, want one line with %q", path, err, want)
		}
		if _, ok := usererr.Find(err); !ok {
			t.Errorf("Open(%q): %v is not a user error", path, err)
		}
	}
}

func TestCause(t *testing.T) {
	plain := errors.New("plain")
	if got := Cause(plain); got != plain {
		t.Errorf("Cause(%v) = %v, want it unchanged", plain, got)
	}
	if got := Cause(&fs.PathError{Op: "open", Path: "x", Err: plain}); got != plain {
		t.Errorf("Cause of a PathError = %v, want %v", got, plain)
	}
}
