//go:build (linux || darwin) && !purego

package kernel

import (
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
)

func TestClaimChangesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(71, 72))
	for n := range 20 {
		for _, atStart := range []bool{false, true} {
			v := make([]byte, n*line)
			for i := range v {
				v[i] = byte(r.Uint32())
			}
			w := fenced(fence{t, syscall.Getpagesize(), atStart}, v)
			claimLines(claim, w)
			if !slices.Equal(v, w) {
				t.Errorf("%d lines are other ones after they were claimed", n)
			}
		}
	}
}
