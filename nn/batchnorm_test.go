package nn_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"glassnet/matrix"
	"glassnet/nn"
)

// x = [1 2 3 4], epsilon 1e-5: the values were computed with 50 decimal digits.
func TestBatchNormGolden(t *testing.T) {
	t.Run("float64", func(t *testing.T) { testBatchNormGolden[float64](t, 1e-12) })
	t.Run("float32", func(t *testing.T) { testBatchNormGolden[float32](t, 1e-6) })
}

func testBatchNormGolden[T matrix.Float](t *testing.T, tolerance float64) {
	b := nn.NewBatchNorm[T](1, nn.DefaultBatchNorm())
	c := b.NewCache(nn.CacheOptions{Batch: 4})
	x := matrix.FromRows([]T{1}, []T{2}, []T{3}, []T{4})
	y := b.Forward(c, x, nn.Train)
	for i, want := range []float64{-1.3416354199689269, -.447211806656309, .447211806656309, 1.3416354199689269} {
		if !close(y.At(i, 0), want, tolerance) {
			t.Errorf("y[%d] = %v, want %v", i, y.At(i, 0), want)
		}
	}
	running := func() (mean, variance T) { return b.Params()[2].Value[0], b.Params()[3].Value[0] }
	// 0.9·0 + 0.1·2.5 and 0.9·1 + 0.1·(5/3), the unbiased variance.
	if mean, variance := running(); !close(mean, .25, tolerance) || !close(variance, 1.0666666666666667, tolerance) {
		t.Errorf("running mean and variance %v, %v; want 0.25, 1.0666666666666667", mean, variance)
	}
	for name, want := range map[string]float64{"mean": 2.5, "variance": 1.25, "inverse_std": 1 / math.Sqrt(1.25001)} {
		if got := kept(t, c, name).Data[0]; !close(got, want, tolerance) {
			t.Errorf("kept %s = %v, want %v", name, got, want)
		}
	}

	mean, variance := running()
	y = b.Forward(c, x.Head(1), nn.Eval)
	if want := (1 - 0.25) / math.Sqrt(1.0666666666666667+1e-5); !close(y.At(0, 0), want, tolerance) {
		t.Errorf("in Eval mode y = %v, want %v by the running statistics", y.At(0, 0), want)
	}
	if m, v := running(); m != mean || v != variance {
		t.Errorf("Eval moved the running statistics from %v, %v to %v, %v", mean, variance, m, v)
	}
}

func kept[T matrix.Float](t *testing.T, c *nn.Cache[T], name string) matrix.Matrix[T] {
	t.Helper()
	for _, k := range c.Kept {
		if k.Name == name {
			return k.Value
		}
	}
	t.Fatalf("cache keeps no %q", name)
	panic("unreachable")
}

// With decay 0 the running statistics are the last batch's.
func TestBatchNormDecay(t *testing.T) {
	b := nn.NewBatchNorm[float64](1, nn.BatchNormOptions{Epsilon: 1e-5, Decay: 0})
	b.Forward(b.NewCache(nn.CacheOptions{Batch: 2}), matrix.FromRows([]float64{1}, []float64{5}), nn.Train)
	if mean, variance := b.Params()[2].Value[0], b.Params()[3].Value[0]; mean != 3 || variance != 8 {
		t.Errorf("running mean and variance %v, %v; want 3, 8", mean, variance)
	}
}

func TestBatchNormRefuses(t *testing.T) {
	b := nn.NewBatchNorm[float64](2, nn.DefaultBatchNorm())
	text := panicText(func() {
		b.Forward(b.NewCache(nn.CacheOptions{Batch: 4}), matrix.New[float64](1, 2), nn.Train)
	})
	if !strings.Contains(text, "batch of 1 examples has no variance, want >= 2") {
		t.Errorf("training batch of 1: panic %q", text)
	}
	for _, o := range []nn.BatchNormOptions{{0, .9}, {-1, .9}, {2, .9}, {math.NaN(), .9}, {1e-5, 1}, {1e-5, -.1}, {1e-5, math.NaN()}} {
		text := panicText(func() { nn.NewBatchNorm[float64](2, o) })
		if !strings.Contains(text, "want epsilon in [1e-30, 1] and decay in [0, 1)") {
			t.Errorf("NewBatchNorm(%+v): panic %q", o, text)
		}
	}
}

func panicText(f func()) (text string) {
	defer func() {
		if r := recover(); r != nil {
			text = fmt.Sprint(r)
		}
	}()
	f()
	return ""
}

// A feature that is the same in all examples has variance 0.
func TestBatchNormOfAConstantFeature(t *testing.T) {
	b := nn.NewBatchNorm[float32](1, nn.DefaultBatchNorm())
	c := b.NewCache(nn.CacheOptions{Batch: 2, Backward: true, GradIn: true})
	x := matrix.FromRows([]float32{7}, []float32{7})
	if y := b.Forward(c, x, nn.Train); y.At(0, 0) != 0 || y.At(1, 0) != 0 {
		t.Errorf("y = %v, want 0 for both", y.Data)
	}
	dx := b.Backward(c, matrix.FromRows([]float32{1}, []float32{-1}))
	for _, v := range dx.Data {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			t.Errorf("gradient %v, want finite numbers", dx.Data)
		}
	}
}

func TestPublishedNormGolden(t *testing.T) {
	p := nn.NewPublishedNorm[float64](4)
	c := p.NewCache(nn.CacheOptions{Batch: 2})
	y := p.Forward(c, matrix.FromRows([]float64{1, 2, 3, 4}, []float64{10, 20, 30, 40}), nn.Train)
	for i, variance := range []float64{1.25, 125} {
		for j, x := range []float64{-1.5, -.5, .5, 1.5} {
			x *= math.Pow(10, float64(i))
			if want := x / math.Sqrt(variance+1e-8); !close(y.At(i, j), want, 1e-15) {
				t.Errorf("y[%d, %d] = %v, want %v", i, j, y.At(i, j), want)
			}
		}
		if got := kept(t, c, "variance").At(i, 0); got != variance {
			t.Errorf("kept variance of example %d = %v, want %v", i, got, variance)
		}
		if got, want := kept(t, c, "mean").At(i, 0), 2.5*math.Pow(10, float64(i)); got != want {
			t.Errorf("kept mean of example %d = %v, want %v", i, got, want)
		}
	}
}
