package random

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
	"testing"
)

// The first values of the streams never change: every seeded result rests on
// them. A second implementation, in Python's integers, gave the same.
func TestPinnedValues(t *testing.T) {
	for _, test := range []struct {
		seed uint64
		name string
		want []uint64
	}{
		{42, Init, []uint64{0x99d8814dc9d90411, 0x2a5d33021d60652a, 0xa07bda687ce3391b}},
		{42, Shuffle, []uint64{0x53adf558bd6d598a, 0x828e7600770fb18e, 0x7cfab20f487916f1}},
		{0, Split, []uint64{0x15da8eddb60c56d6, 0x28f19438ea8496ca, 0xaf8e1252e335fd70}},
		{math.MaxUint64, "", []uint64{0x589833e5b9e3688a, 0xbd2540c7dc77bf0c, 0xdb97c1a991158ec8}},
	} {
		s := New(test.seed, test.name)
		var got []uint64
		for range 3 {
			got = append(got, s.Uint64())
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("first values of New(%d, %q) are %#x, want %#x", test.seed, test.name, got, test.want)
		}
	}
}

// The numbers made of them neither.
func TestPinnedNumbers(t *testing.T) {
	s := New(42, Init)
	got := fmt.Sprint(s.Float64(), s.Normal(), s.Normal(), s.IntN(1000), s.Permutation(8))
	const want = "0.600959855548215 -1.0818628949965037 0.7827796753375934 625 [6 7 5 0 4 1 3 2]"
	if got != want {
		t.Errorf("numbers of stream %q of seed 42 are %s, want %s", Init, got, want)
	}
}

func TestStreamsDiffer(t *testing.T) {
	type key struct {
		seed uint64
		name string
	}
	seen := map[uint64]key{}
	for _, name := range []string{Init, Split, Shuffle, "init ", "", `a" of seed 1`} {
		for seed := range uint64(1000) {
			v := New(seed, name).Uint64()
			if other, twice := seen[v]; twice {
				t.Fatalf("streams %v and %v begin with the same value", key{seed, name}, other)
			}
			seen[v] = key{seed, name}
		}
	}
	if first, again := New(3, Init).Uint64(), New(3, Init).Uint64(); first != again {
		t.Error("the same stream begins with two values")
	}
	// Numbers drawn for one purpose do not change another's.
	a, b := New(3, Init), New(3, Split)
	want := New(3, Split).Uint64()
	a.Uint64()
	if got := b.Uint64(); got != want {
		t.Errorf("stream split begins with %#x after a draw from init, want %#x", got, want)
	}
}

// within reports whether got is within four standard errors of want.
func within(t *testing.T, what string, got, want, standardError float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 4*standardError) {
		t.Errorf("%s = %v, want %v within %v", what, got, want, 4*standardError)
	}
}

func TestFloat64(t *testing.T) {
	const n = 1_000_000
	s := New(1, "test")
	var sum, squares float64
	for range n {
		v := s.Float64()
		if !(v >= 0 && v < 1) {
			t.Fatalf("Float64() = %v, want it in [0, 1)", v)
		}
		if v*0x1p53 != math.Floor(v*0x1p53) {
			t.Fatalf("Float64() = %v is no multiple of 2^-53", v)
		}
		sum += v
		squares += (v - 0.5) * (v - 0.5)
	}
	within(t, "mean", sum/n, 0.5, math.Sqrt(1.0/12/n))
	within(t, "variance", squares/n, 1.0/12, math.Sqrt(1.0/180/n))
}

func TestNormal(t *testing.T) {
	const n = 1_000_000
	s := New(1, "test")
	var sum, squares, cubes, fourths float64
	var inside [4]float64 // within 0, 1, 2, 3 standard deviations
	last, products := 0.0, 0.0
	for range n {
		v := s.Normal()
		sum += v
		squares += v * v
		cubes += v * v * v
		fourths += v * v * v * v
		for k := 1; k <= 3; k++ {
			if math.Abs(v) < float64(k) {
				inside[k]++
			}
		}
		products += v * last
		last = v
	}
	within(t, "mean", sum/n, 0, math.Sqrt(1.0/n))
	within(t, "variance", squares/n, 1, math.Sqrt(2.0/n))
	within(t, "third moment", cubes/n, 0, math.Sqrt(15.0/n))
	within(t, "fourth moment (kurtosis)", fourths/n, 3, math.Sqrt(96.0/n))
	within(t, "correlation of neighbours", products/n, 0, math.Sqrt(1.0/n))
	for k := 1; k <= 3; k++ {
		p := math.Erf(float64(k) / math.Sqrt2)
		within(t, fmt.Sprintf("share within %d standard deviations", k), inside[k]/n, p, math.Sqrt(p*(1-p)/n))
	}
}

func TestIntN(t *testing.T) {
	const n = 100_000
	s := New(1, "test")
	for _, limit := range []int{1, 2, 3, 7, 10, 100} {
		counts := make([]float64, limit)
		for range n {
			v := s.IntN(limit)
			if v < 0 || v >= limit {
				t.Fatalf("IntN(%d) = %d", limit, v)
			}
			counts[v]++
		}
		p := 1 / float64(limit)
		for v, count := range counts {
			within(t, fmt.Sprintf("share of %d in IntN(%d)", v, limit), count/n, p, math.Sqrt(p*(1-p)/n))
		}
	}

	// For n = 3·2^61 (with ints of 32 bits 3·2^29), taking the high word of a product without rejecting any
	// would give v mod 3 = 0 and 1 three times in eight each, and 2 twice.
	var counts [3]float64
	for range n {
		counts[s.IntN(3<<(bits.UintSize-3))%3]++
	}
	for v, count := range counts {
		within(t, fmt.Sprintf("share of IntN mod 3 = %d", v), count/n, 1.0/3, math.Sqrt(2.0/9/n))
	}

	for _, limit := range []int{0, -1} {
		func() {
			defer func() {
				want := fmt.Sprintf("random.IntN: n = %d, want >= 1", limit)
				if text := fmt.Sprint(recover()); text != want {
					t.Errorf("IntN(%d) panics with %q, want %q", limit, text, want)
				}
			}()
			s.IntN(limit)
		}()
	}
}

// Every permutation of four is as likely as any other.
func TestPermutation(t *testing.T) {
	const n = 48_000
	s := New(1, "test")
	counts := map[string]float64{}
	for range n {
		counts[fmt.Sprint(s.Permutation(4))]++
	}
	if len(counts) != 24 {
		t.Errorf("%d different permutations of 4, want 24", len(counts))
	}
	for p, count := range counts {
		within(t, "share of "+p, count/n, 1.0/24, math.Sqrt(23.0/24/24/n))
	}
	for _, size := range []int{0, 1, 1000} {
		p := s.Permutation(size)
		slices.Sort(p)
		for i, v := range p {
			if v != int32(i) {
				t.Fatalf("Permutation(%d), sorted, holds %d at %d", size, v, i)
			}
		}
		if len(p) != size {
			t.Errorf("Permutation(%d) has %d numbers", size, len(p))
		}
	}
}

func TestStateComesBack(t *testing.T) {
	s := New(9, Shuffle)
	for range 5 {
		s.Normal()
	}
	state, err := s.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	back := New(0, "")
	if err := back.UnmarshalBinary(state); err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		if got, want := back.Normal(), s.Normal(); got != want {
			t.Fatalf("deviate %d after the state came back = %v, want %v", i, got, want)
		}
	}
	if !slices.Equal(back.Permutation(50), s.Permutation(50)) {
		t.Error("permutations differ after the state came back")
	}
	for _, bad := range [][]byte{nil, state[:len(state)-1], []byte(strings.Repeat("x", len(state)))} {
		before := *back
		if err := back.UnmarshalBinary(bad); err == nil {
			t.Errorf("UnmarshalBinary(%q) is no error", bad)
		}
		if *back != before {
			t.Errorf("UnmarshalBinary(%q) changed the stream", bad)
		}
	}
}

func ExampleStream() {
	weights, order := New(42, Init), New(42, Shuffle)
	fmt.Printf("%.3f %.3f\n", weights.Normal(), weights.Normal())
	fmt.Println(order.Permutation(5))
	// Output:
	// 0.346 1.396
	// [0 3 4 2 1]
}
