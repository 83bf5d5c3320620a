package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"

	"glassnet/experiment"
)

// A fault of the program is one line, too, and then where it happened, for who mends it.
func TestFaultIsPrintedWithItsStack(t *testing.T) {
	var out bytes.Buffer
	code := fail(&out, fmt.Errorf("exp-seed1: %w", &experiment.FaultError{Value: "index", Stack: []byte("goroutine 7\n")}), "glassnet study --help")
	if want := "error: exp-seed1: a fault of glassnet: index\ngoroutine 7\n"; code != exitFailed || out.String() != want {
		t.Errorf("fail = %d, %q, want %d, %q", code, out.String(), exitFailed, want)
	}
}

// What writes nothing is left when the user wants to go, and else gives its result.
func TestUnlessEnded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	if v, err := unlessEnded(ctx, func() (int, error) { return 7, io.EOF }); v != 7 || err != io.EOF {
		t.Errorf("got %d, %v, want what the work gives", v, err)
	}
	hold := make(chan struct{})
	defer close(hold)
	cancel()
	if v, err := unlessEnded(ctx, func() (int, error) { <-hold; return 7, nil }); v != 0 || err != context.Canceled {
		t.Errorf("got %d, %v, want 0 and that it was left", v, err)
	}
}

// A hint is what one can type, also where there is no program of that name.
func TestHintsAreTyped(t *testing.T) {
	for hint, want := range map[string]string{
		"glassnet data fetch":                     "go run ./cmd/glassnet data fetch",
		"another --lr; glassnet train --help":     "another --lr; go run ./cmd/glassnet train --help",
		"a file, which glassnet train writes":     "a file, which glassnet train writes",
		"glassnet COMMAND -x; glassnet --help is": "go run ./cmd/glassnet COMMAND -x; go run ./cmd/glassnet --help is",
	} {
		if got := typed(hint, "go run ./cmd/glassnet"); got != want {
			t.Errorf("typed(%q) = %q, want %q", hint, got, want)
		}
		if got := typed(hint, "glassnet"); got != hint {
			t.Errorf("typed(%q) = %q for glassnet itself", hint, got)
		}
	}
	for path, want := range map[string]string{
		"/usr/bin/glassnet": "glassnet", "/tmp/go-build12/b001/exe/glassnet": "go run ./cmd/glassnet",
		"/home/me/.cache/go-build/2c/2c45-d/glassnet": "go run ./cmd/glassnet", "/tmp/go-build12/b001/glassnet.test": "glassnet",
	} {
		if got := calledBy(path); got != want {
			t.Errorf("calledBy(%q) = %q, want %q", path, got, want)
		}
	}
}
