package kernel

import (
	"testing"
	"unsafe"
)

// All lines that v fills are claimed, and no byte beside v.
func TestClaimedLinesAreThoseOfTheSlice(t *testing.T) {
	var all []byte
	grow(&all, 1000) // from the beginning of a line
	for from := range 130 {
		for n := range 300 {
			v := all[from : from+n]
			first, last := (from+line-1)/line, (from+n)/line // lines filled
			called := false
			claimLines(func(p *byte, lines int) {
				called = true
				if at := int(uintptr(unsafe.Pointer(p)) - uintptr(unsafe.Pointer(&all[0]))); at != first*line || lines != last-first {
					t.Errorf("of bytes %d to %d, %d lines from byte %d on are claimed, want %d from %d on", from, from+n, lines, at, last-first, first*line)
				}
			}, v)
			if called != (last > first) {
				t.Errorf("bytes %d to %d: claimed is %v, want %v", from, from+n, called, last > first)
			}
		}
	}
}
