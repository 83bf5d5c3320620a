package usererr

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
)

func TestFind(t *testing.T) {
	cause := New("open %q: %w", "a", fs.ErrNotExist).Try("glassnet %s", "data")
	wrapped := fmt.Errorf("study: %w", cause)

	got, ok := Find(wrapped)
	if !ok || got.Hint != "glassnet data" {
		t.Errorf("Find(%v) = %+v, %v; want the hint %q, true", wrapped, got, ok, "glassnet data")
	}
	if !errors.Is(wrapped, fs.ErrNotExist) {
		t.Errorf("errors.Is(%v, fs.ErrNotExist) = false, want true", wrapped)
	}
	if want := `open "a": file does not exist`; got.Error() != want {
		t.Errorf("Error() = %q, want %q", got.Error(), want)
	}
	if _, ok := Find(errors.New("disk on fire")); ok {
		t.Error("Find of a plain error = true, want false")
	}
}
