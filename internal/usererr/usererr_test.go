package usererr

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"
)

func TestList(t *testing.T) {
	for want, words := range map[string][]string{"": nil, "a": {"a"}, "a or b": {"a", "b"}, "a, b or c": {"a", "b", "c"}} {
		if got := List(words); got != want {
			t.Errorf("List(%q) = %q, want %q", words, got, want)
		}
	}
}

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
