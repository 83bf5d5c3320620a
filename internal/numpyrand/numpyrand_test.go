package numpyrand

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"strconv"
	"testing"
)

// testdata/numpy_legacy_rng.json was drawn by numpy 1.24 itself.
type golden struct {
	Draws []struct {
		Row         int `json:"row"`
		Permutation struct {
			First      []int32 `json:"first"`
			Last       []int32 `json:"last"`
			First12000 int64   `json:"first_12000_sum"`
		} `json:"permutation_60000"`
		Weights []struct {
			Shape []int    `json:"shape"`
			First []string `json:"standard_normal_first"`
			Last  string   `json:"standard_normal_last"`
			Sum   string   `json:"sum"`
		} `json:"weights"`
	} `json:"draws"`
}

// All draws come from one stream, so each depends on every one before it, the
// normal deviate that is kept from one experiment to the next included.
func TestAgreesWithNumpy(t *testing.T) {
	text, err := os.ReadFile("testdata/numpy_legacy_rng.json")
	if err != nil {
		t.Fatal(err)
	}
	var want golden
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	if len(want.Draws) != 3 {
		t.Fatalf("%d draws in the golden file, want 3", len(want.Draws))
	}
	s := New(42)
	for _, draw := range want.Draws {
		p := s.Permutation(60000)
		if got := p[:8]; !slices.Equal(got, draw.Permutation.First) {
			t.Errorf("row %d: permutation begins %v, want %v", draw.Row, got, draw.Permutation.First)
		}
		if got := p[60000-8:]; !slices.Equal(got, draw.Permutation.Last) {
			t.Errorf("row %d: permutation ends %v, want %v", draw.Row, got, draw.Permutation.Last)
		}
		var sum int64
		for _, i := range p[:12000] {
			sum += int64(i)
		}
		if sum != draw.Permutation.First12000 {
			t.Errorf("row %d: first 12000 indices sum to %d, want %d", draw.Row, sum, draw.Permutation.First12000)
		}
		for _, w := range draw.Weights {
			n := w.Shape[0] * w.Shape[1]
			normals := make([]float64, n)
			total := 0.0
			for i := range normals {
				normals[i] = s.Normal()
				total += normals[i]
			}
			for i, text := range w.First {
				near(t, draw.Row, w.Shape, "normal", normals[i], text, 1e-15)
			}
			near(t, draw.Row, w.Shape, "last normal", normals[n-1], w.Last, 1e-15)
			near(t, draw.Row, w.Shape, "sum", total, w.Sum, 1e-12) // numpy sums pairwise
		}
	}
}

func near(t *testing.T, row int, shape []int, what string, got float64, text string, relative float64) {
	t.Helper()
	want, err := strconv.ParseFloat(text, 64)
	if err != nil {
		t.Fatal(err)
	}
	if math.Abs(got-want) > relative*max(1, math.Abs(want)) {
		t.Errorf("row %d, weights %v: %s = %v, want %v", row, shape, what, got, want)
	}
}

func TestSmallPermutations(t *testing.T) {
	s := New(1)
	for n := range 4 {
		p := s.Permutation(n)
		slices.Sort(p)
		for i, v := range p {
			if int(v) != i {
				t.Errorf("Permutation(%d), sorted: %v", n, p)
			}
		}
	}
}
