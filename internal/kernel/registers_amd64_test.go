//go:build !purego

package kernel

import (
	"os"
	"regexp"
	"testing"
)

// A CPU without AVX-512 has 16 registers and stops the program where there are more; avo and
// the assembler know of 32, and so has a CPU that these tests may run on.
func TestAVX2HasSixteenRegisters(t *testing.T) {
	text, err := os.ReadFile("avx2_amd64.s")
	if err != nil {
		t.Fatal(err)
	}
	if found := regexp.MustCompile(`(?m)^.*\b[XYZ](1[6-9]|2[0-9]|3[01])\b.*$|^.*\b(Z|K)[0-9]+\b.*$`).Find(text); found != nil {
		t.Errorf("avx2_amd64.s: %s", found)
	}
}
