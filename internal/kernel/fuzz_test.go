package kernel

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// FuzzProducts compares every implementation with the portable one.
func FuzzProducts(f *testing.F) {
	f.Add(uint8(3), uint16(5), uint8(20), uint8(81), uint64(1))
	f.Add(uint8(128), uint16(784), uint8(33), uint8(0), uint64(2))
	f.Add(uint8(0), uint16(0), uint8(0), uint8(100), uint64(3))
	f.Fuzz(func(t *testing.T, m uint8, k uint16, n, zeros uint8, seed uint64) {
		fuzzProducts[float32](t, int(m), int(k%1100), int(n), float64(zeros%101)/100, seed)
		fuzzProducts[float64](t, int(m), int(k%1100), int(n), float64(zeros%101)/100, seed)
	})
}

func fuzzProducts[T Float](t *testing.T, m, k, n int, zeros float64, seed uint64) {
	defer Use("")
	r := rand.New(rand.NewPCG(seed, 0))
	x, w, b, g := fill[T](r, m*k, zeros), fill[T](r, k*n, 0), fill[T](r, n, 0), fill[T](r, m*n, zeros)
	pixels := images(r, m, k, zeros)
	var want map[string][]T
	names := Names()
	slices.Reverse(names) // the portable one first
	for _, name := range names {
		if err := Use(name); err != nil {
			t.Fatal(err)
		}
		got := results(NewEngine[T](nil), x, w, b, g, pixels, m, k, n)
		if want == nil {
			want = got
		}
		for what := range want {
			if !slices.Equal(got[what], want[what]) {
				t.Errorf("%s of m, k, n = %d, %d, %d: %s differs from portable", what, m, k, n, name)
			}
		}
	}
}
