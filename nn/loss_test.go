package nn_test

import (
	"fmt"
	"math"
	"testing"

	"glassnet/matrix"
	"glassnet/nn"
)

// close reports |got - want| <= tolerance·max(1, |want|).
func close[T matrix.Float](got T, want, tolerance float64) bool {
	return math.Abs(float64(got)-want) <= tolerance*max(1, math.Abs(want))
}

// costOf returns the loss of one example and the gradient of its logits.
func costOf[T matrix.Float](loss nn.Loss[T], label uint8, logits ...T) (float64, []T) {
	c := nn.NewLossCache[T](1, len(logits))
	cost := loss.Forward(c, matrix.FromRows(logits), []uint8{label})
	return cost, loss.Backward(c).Data
}

// The values were computed with 50 decimal digits.
func TestCrossEntropyGolden(t *testing.T) {
	costs := []float64{2.40760596444438, 1.4076059644443804, 0.4076059644443803}
	grad := []float64{.09003057317038046, .24472847105479764, -.3347590442251781}
	for label, want := range costs {
		if got, _ := costOf(nn.Loss[float64](nn.CrossEntropy[float64]{}), uint8(label), 1, 2, 3); !close(got, want, 1e-12) {
			t.Errorf("float64 CrossEntropy([1 2 3], %d) = %v, want %v", label, got, want)
		}
		if got, _ := costOf(nn.Loss[float32](nn.CrossEntropy[float32]{}), uint8(label), 1, 2, 3); !close(got, want, 1e-6) {
			t.Errorf("float32 CrossEntropy([1 2 3], %d) = %v, want %v", label, got, want)
		}
	}
	_, got64 := costOf(nn.Loss[float64](nn.CrossEntropy[float64]{}), 2, 1, 2, 3)
	_, got32 := costOf(nn.Loss[float32](nn.CrossEntropy[float32]{}), 2, 1, 2, 3)
	for j, want := range grad {
		if !close(got64[j], want, 1e-12) || !close(got32[j], want, 1e-6) {
			t.Errorf("gradient of logit %d = %v (float32: %v), want %v", j, got64[j], got32[j], want)
		}
	}
}

func TestPublishedCrossEntropyGolden(t *testing.T) {
	loss := nn.Loss[float64](nn.PublishedCrossEntropy[float64]{})
	// -ln(p + 1e-8) for p = e³/(e + e² + e³) and for a p that underflows.
	if got, _ := costOf(loss, 2, 1, 2, 3); !close(got, 0.4076059644443803-1e-8/0.6652409557748219, 1e-12) {
		t.Errorf("PublishedCrossEntropy([1 2 3], 2) = %v, want %v", got, 0.4076059644443803-1e-8/0.6652409557748219)
	}
	if got, _ := costOf(loss, 0, -1000, 0, 1000); !close(got, 18.420680743952367, 1e-12) {
		t.Errorf("PublishedCrossEntropy([-1000 0 1000], 0) = %v, want -ln(1e-8) = 18.420680743952367", got)
	}
}

func TestCrossEntropyIsStable(t *testing.T) {
	t.Run("float32", func(t *testing.T) { testStable[float32](t, 1e30, 1e-6) })
	t.Run("float64", func(t *testing.T) { testStable[float64](t, 1e300, 1e-12) })
}

func testStable[T matrix.Float](t *testing.T, huge T, tolerance float64) {
	loss := nn.Loss[T](nn.CrossEntropy[T]{})
	if got, _ := costOf(loss, 2, 1000, 0, -1000); got != 2000 {
		t.Errorf("CrossEntropy([1000 0 -1000], 2) = %v, want exactly 2000", got)
	}
	for _, top := range []T{1e4, huge} {
		for label := range uint8(3) {
			cost, grad := costOf(loss, label, top, 0, -top)
			if math.IsNaN(cost) || math.IsInf(cost, 0) || cost < 0 {
				t.Errorf("CrossEntropy([%v 0 -%v], %d) = %v, want a finite cost", top, top, label, cost)
			}
			for j, g := range grad {
				if !(g >= -1 && g <= 1) {
					t.Errorf("gradient of logit %d of [%v 0 -%v], label %d, = %v, want it in [-1, 1]", j, top, top, label, g)
				}
			}
		}
	}
	// The loss does not change when every logit is shifted.
	for _, shift := range []T{-512, 4, 1024} { // exact in both number types
		want, _ := costOf(loss, 1, 0.5, -1.25, 2)
		if got, _ := costOf(loss, 1, 0.5+shift, -1.25+shift, 2+shift); !close(got, want, tolerance) {
			t.Errorf("CrossEntropy of logits shifted by %v = %v, want %v", shift, got, want)
		}
	}
	for _, classes := range []int{2, 3, 10, 256} {
		logits := make([]T, classes)
		for j := range logits {
			logits[j] = 7
		}
		if got, _ := costOf(loss, 1, logits...); !close(got, math.Log(float64(classes)), tolerance) {
			t.Errorf("CrossEntropy of %d equal logits = %v, want ln %d = %v", classes, got, classes, math.Log(float64(classes)))
		}
		for j := range logits {
			logits[j] = T(j%7) * 3
		}
		p, sum := make([]T, classes), 0.0
		nn.Softmax(p, logits)
		for _, v := range p {
			sum += float64(v)
		}
		if !close(sum, 1, tolerance) {
			t.Errorf("probabilities of %d classes sum to %v, want 1", classes, sum)
		}
	}
	// What is not a number must reach the cost, where training sees it.
	nan := T(math.NaN())
	if got, _ := costOf(loss, 0, 1, nan, 2); !math.IsNaN(got) {
		t.Errorf("CrossEntropy([1 NaN 2], 0) = %v, want NaN", got)
	}
}

func TestSoftmaxReturnsTheLogOfItsSum(t *testing.T) {
	p := make([]float64, 3)
	got := nn.Softmax(p, []float64{1, 2, 3})
	if want := math.Log(math.Exp(-2) + math.Exp(-1) + 1); !close(got, want, 1e-15) {
		t.Errorf("Softmax([1 2 3]) returns %v, want %v", got, want)
	}
}

func TestArgmaxAndCorrect(t *testing.T) {
	for _, test := range []struct {
		values []float32
		want   int
	}{{[]float32{3}, 0}, {[]float32{1, 2}, 1}, {[]float32{2, 2, 1}, 0}, {[]float32{-5, -1, -1}, 1}} {
		if got := nn.Argmax(test.values); got != test.want {
			t.Errorf("Argmax(%v) = %d, want %d", test.values, got, test.want)
		}
	}
	c := nn.NewLossCache[float32](4, 2)
	logits := matrix.FromRows([]float32{1, 0}, []float32{0, 1}, []float32{1, 1})
	nn.CrossEntropy[float32]{}.Forward(c, logits, []uint8{0, 0, 0})
	if got := c.Correct(); got != 2 {
		t.Errorf("Correct() of logits %v and labels 0 0 0 = %d, want 2: the first of equal logits counts", logits.Data, got)
	}
}

func TestNewLoss(t *testing.T) {
	for _, name := range []string{nn.LossCrossEntropy, nn.LossPublishedCrossEntropy} {
		if loss, err := nn.NewLoss[float64](name); err != nil || loss.Name() != name {
			t.Errorf("NewLoss(%q) = %v, %v; want the loss of that name", name, loss, err)
		}
	}
	_, err := nn.NewLoss[float64]("mse")
	wantUserError(t, `NewLoss("mse")`, err, `unknown loss "mse"`)
}

// A network has learned nothing yet: its first cost is that of a guess.
func TestInitialCostIsThatOfAGuess(t *testing.T) {
	zeros, err := nn.FindInitialiser("zeros")
	if err != nil {
		t.Fatal(err)
	}
	he, _ := nn.FindInitialiser("he-normal")
	for _, classes := range []int{2, 10, 100} {
		net, err := nn.Build[float32](nn.Architecture{Input: 50, Layers: []nn.LayerSpec{
			{Kind: nn.KindDense, Units: 20}, {Kind: nn.KindReLU}, {Kind: nn.KindDense, Units: classes}}})
		if err != nil {
			t.Fatal(err)
		}
		nn.Initialise(net, he, stream(1))
		out := net.Params()[2]
		if out.Name != "3.dense.weight" {
			t.Fatalf("third parameter is %s", out.Name)
		}
		for _, factor := range []float32{0.05, 0} {
			for i := range out.Value {
				out.Value[i] *= factor
			}
			x, labels := examples[float32](32, 50, classes, 3)
			c := nn.NewLossCache[float32](32, classes)
			cost := nn.CrossEntropy[float32]{}.Forward(c, net.Forward(net.NewTrace(nn.TraceOptions{Batch: 32}), x, nn.Eval), labels)
			if want := math.Log(float64(classes)); math.Abs(cost-want) > 0.05*want {
				t.Errorf("first cost with output weights times %v, %d classes: %v, want %v within 5 %%", factor, classes, cost, want)
			}
		}
		nn.Initialise(net, zeros, stream(1))
		for _, p := range net.Params() {
			for i, v := range p.Value {
				if v != 0 {
					t.Fatalf("%s[%d] = %v after Initialise with zeros", p.Name, i, v)
				}
			}
		}
	}
}

func ExampleCrossEntropy() {
	logits := matrix.FromRows([]float64{1, 2, 3}, []float64{0, 0, 0})
	loss, cache := nn.CrossEntropy[float64]{}, nn.NewLossCache[float64](2, 3)
	cost := loss.Forward(cache, logits, []uint8{2, 0})
	fmt.Printf("losses %.4f, cost %.4f\n", cache.Losses, cost)
	fmt.Printf("gradient %.4f\n", loss.Backward(cache).Row(1))
	// Output:
	// losses [0.4076 1.0986], cost 0.7531
	// gradient [-0.3333 0.1667 0.1667]
}
