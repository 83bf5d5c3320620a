package train_test

import (
	"context"
	"math"
	"testing"

	"glassnet/dataset"
	"glassnet/dataset/drawn"
	"glassnet/nn"
	"glassnet/optim"
	"glassnet/random"
	"glassnet/train"
)

// xor holds the four points of "exclusive or".
var xor = &dataset.Set{Width: 2, Height: 1, Classes: 2, Pixels: []byte{0, 0, 0, 255, 255, 0, 255, 255}, Labels: []uint8{0, 1, 1, 0}}

func TestXOR(t *testing.T) {
	solved := 0
	for seed := range uint64(20) {
		net, err := nn.New(2, nn.NewDense[float32](2, 4), nn.NewTanh[float32](4), nn.NewDense[float32](4, 2))
		if err != nil {
			t.Fatal(err)
		}
		rule, err := nn.FindInitialiser("glorot-normal")
		if err != nil {
			t.Fatal(err)
		}
		nn.Initialise(net, rule, random.New(seed, random.Init))
		result, err := newTrainer(t, net, options[float32](0.5, 4)).Fit(context.Background(), dataset.All(xor), dataset.All(xor), train.FitOptions{Epochs: 2000})
		if err != nil {
			t.Fatal(err)
		}
		if result.Last.Validation.Accuracy == 1 && result.Last.Validation.Cost < 0.05 {
			solved++
		}
	}
	if t.Logf("%d of 20 seeds solve it", solved); solved < 19 {
		t.Errorf("a 2-4-2 tanh network solves exclusive or for %d of 20 seeds, want at least 19", solved)
	}
}

// A network that can learn anything learns ten examples, then a hundred, by heart.
func TestOverfits(t *testing.T) {
	for _, n := range []int{10, 100} {
		pixels, labels, err := drawn.Draw(context.Background(), drawn.StandardSeed, 0, n, nil)
		if err != nil {
			t.Fatal(err)
		}
		set := &dataset.Set{Width: drawn.Width, Height: drawn.Height, Classes: 10, Pixels: pixels, Labels: labels}
		for _, batchNorm := range []bool{false, true} {
			o := options[float32](0.3, 10)
			o.Threads, o.Shuffle = 2, random.New(1, random.Shuffle)
			net := network[float32](t, describe(batchNorm, 784, 24, 10), 1)
			all := dataset.All(set)
			reached := 0
			var last train.Metrics
			for look, err := range newTrainer(t, net, o).Epochs(context.Background(), 20000/n, all, all) {
				if err != nil {
					t.Fatal(err)
				}
				if last = look.Validation; last.Accuracy == 1 && last.Cost < 1e-3 {
					reached = look.Step
					break
				}
			}
			if reached == 0 {
				t.Errorf("%d digits, batch norm %v: cost %v and accuracy %v after 2000 steps, want below 1e-3 and 1", n, batchNorm, last.Cost, last.Accuracy)
			}
			t.Logf("%d digits, batch norm %v: by heart after %d steps", n, batchNorm, reached)
		}
	}
}

// The stronger the L2 penalty, the smaller the weights after training.
func TestL2MakesWeightsSmaller(t *testing.T) {
	all := dataset.All(images(120, 5, 4, 1))
	last := math.Inf(1)
	for _, lambda := range []float64{0, 1e-3, 1e-2, 1e-1} {
		net := network[float32](t, describe(false, 25, 12, 4), 1)
		o := options[float32](0.1, 16)
		o.Penalty = optim.L2[float32]{Lambda: lambda}
		result, err := newTrainer(t, net, o).Fit(context.Background(), all, dataset.View{}, train.FitOptions{Epochs: 30})
		if err != nil {
			t.Fatal(err)
		}
		var sum float64
		for _, w := range values(net, nn.Weight) {
			sum += math.Abs(float64(w))
		}
		if !(sum < last) {
			t.Errorf("λ = %v leaves weights of Σ|W| = %v, want less than the %v of a smaller λ", lambda, sum, last)
		}
		if want := o.Penalty.Apply(net.Params(), nn.Eval); result.Last.Penalty != want {
			t.Errorf("λ = %v: the last look has penalty %v, the weights cost %v", lambda, result.Last.Penalty, want)
		}
		last = sum
	}
}
