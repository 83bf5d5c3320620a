package main

import (
	"bytes"
	"fmt"
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
