package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

func TestTableIsCurrent(t *testing.T) {
	path := filepath.Join(t.TempDir(), "table.go")
	if err := write(path); err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("../table.go")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("table.go differs from what gentable writes; run go generate in internal/elementary")
	}
}

func TestWriteFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "table.go")
	if err := write(path); err == nil {
		t.Errorf("write(%q) = nil, want an error", path)
	}
}
