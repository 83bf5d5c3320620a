package experiment

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"testing"

	"glassnet/dataset"
)

// mnist loads the real MNIST, or skips the test where it is not at hand. The
// search is that of the program, seen from the module's root.
func mnist(t *testing.T) *dataset.Data {
	t.Helper()
	t.Chdir("..")
	data, err := dataset.Load(t.Context(), "mnist", dataset.Options{Offline: true})
	if errors.Is(err, dataset.ErrNoMNIST) {
		t.Skipf("needs MNIST: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// golden is what an independent float64 implementation of the published protocol
// ended with.
type golden struct {
	Rederived []struct {
		Row           int     `json:"row"`
		TrainAccuracy float64 `json:"train_accuracy"` // four decimals
		ValAccuracy   float64 `json:"val_accuracy"`
		TestAccuracy  float64 `json:"test_accuracy"`
		SumOfWeights  float64 `json:"sum_of_weights"`
	} `json:"rederived"`
}

// The published study in full takes 20 s, without assembly minutes: GLASSNET_EXHAUSTIVE=1 asks for it.
func TestPublishedReplay(t *testing.T) {
	if os.Getenv("GLASSNET_EXHAUSTIVE") == "" {
		t.Skip("trains for 20 s, without assembly for minutes; GLASSNET_EXHAUSTIVE=1 runs it")
	}
	text, err := os.ReadFile("testdata/published_table.json")
	if err != nil {
		t.Fatal(err)
	}
	var want golden
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	data := mnist(t)
	s, err := Load("published")
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Run(context.Background(), t.TempDir(), data, RunOptions{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range r.Published {
		for _, f := range row.Figures {
			if !f.Equal {
				t.Errorf("%s, %s: %s, published %s", row.Experiment, f.Column, f.Ours, f.Published)
			}
		}
	}
	if len(want.Rederived) != 3 {
		t.Fatalf("%d golden rows, want 3", len(want.Rederived))
	}
	for i, row := range want.Rederived {
		run := r.Experiments[i].Runs[0]
		if relative := math.Abs(*run.SumOfWeights/row.SumOfWeights - 1); relative > 1e-10 {
			t.Errorf("row %d: sum of weights %v, want %v to 10 digits (relative difference %.2g)", row.Row, *run.SumOfWeights, row.SumOfWeights, relative)
		}
		for _, pair := range [][2]float64{
			{*run.TrainAccuracy, row.TrainAccuracy}, {*run.ValAccuracy, row.ValAccuracy}, {*run.TestAccuracy, row.TestAccuracy},
		} {
			if math.Abs(pair[0]-pair[1]) > 0.5001e-4 {
				t.Errorf("row %d: accuracy %v, want %v", row.Row, pair[0], pair[1])
			}
		}
	}
}
