package hugepages_test

import (
	"testing"

	"glassnet/internal/hugepages"
)

// The memory stays what it was, whatever its length and where it begins.
func TestOf(t *testing.T) {
	all := make([]byte, 10<<20)
	for i := range all {
		all[i] = byte(i)
	}
	for _, from := range []int{0, 1, 4095, 6 << 20, len(all)} {
		got := hugepages.Of(all[from:])
		if len(got) != len(all)-from || len(got) > 0 && &got[0] != &all[from] {
			t.Fatalf("Of(all[%d:]) is not that slice", from)
		}
	}
	for i, v := range all {
		if v != byte(i) {
			t.Fatalf("all[%d] is %d now", i, v)
		}
	}
	if got := hugepages.Of(nil); got != nil {
		t.Errorf("Of(nil) is %v", got)
	}
}
