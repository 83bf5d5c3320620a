package bench

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"glassnet/dataset"
	"glassnet/dataset/drawn"
)

// Who interrupts a measurement does not wait for its end.
func TestRunIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	began := time.Now()
	if err := Run(ctx, &Report{}, Options{Threads: 1, Set: &dataset.Set{Width: 28, Height: 28, Classes: 10, Pixels: make([]byte, 2048*784), Labels: make([]byte, 2048)}}); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want context.Canceled", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v, want a moment", took)
	}
}

func TestRun(t *testing.T) {
	pixels, labels, err := drawn.Draw(t.Context(), drawn.StandardSeed, 0, 2048, nil)
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := Run(t.Context(), &r, Options{Threads: 2, Quick: true, Set: &dataset.Set{Width: 28, Height: 28, Classes: 10, Pixels: pixels, Labels: labels}}); err != nil {
		t.Fatal(err)
	}
	for _, precision := range []string{"float32", "float64"} {
		for _, threads := range []string{"1", "2"} {
			if r.Machine.PeakGFLOPS[precision][threads] <= 0 || r.Machine.Bandwidth[threads] <= 0 {
				t.Errorf("limits of %s on %s threads: %+v", precision, threads, r.Machine)
			}
		}
	}
	if len(r.Products) != 2*3*2*2 || len(r.Steps) != 5*2 || len(r.Predict) != 4 {
		t.Errorf("%d products, %d steps, %d predictions; want 24, 10, 4", len(r.Products), len(r.Steps), len(r.Predict))
	}
	for _, p := range r.Products {
		if p.GFLOPS <= 0 || p.Share <= 0 {
			t.Errorf("product %+v", p)
		}
	}
	for _, s := range r.Steps {
		if s.Micros <= 0 || s.Share <= 0 || s.Batch != 128 {
			t.Errorf("step %+v", s)
		}
	}
	for _, p := range r.Predict {
		if p.Micros <= 0 || p.Rate <= 0 {
			t.Errorf("prediction %+v", p)
		}
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err) // NaN or infinite
	}
}

func TestStepFLOPs(t *testing.T) {
	// 2·(4·3) and 3·(3·2) multiply-adds for each of 5 examples.
	if got, want := stepFLOPs([]int{4, 3, 2}, 5), 2.0*5*(24+18); got != want {
		t.Errorf("stepFLOPs = %v, want %v", got, want)
	}
}
