package train_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"glassnet/dataset"
	"glassnet/internal/usererr"
	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/optim"
	"glassnet/random"
	"glassnet/train"
)

// images draws n images of random classes. As in MNIST about 81 % of the pixels
// are 0: a class inks a quarter of the pixels, an example three quarters of
// these, each with a random strength.
func images(n, side, classes int, seed uint64) *dataset.Set {
	s := random.New(seed, "examples")
	ink := make([][]bool, classes)
	templates := random.New(1, "classes")
	for c := range ink {
		ink[c] = make([]bool, side*side)
		for p := range ink[c] {
			ink[c][p] = templates.IntN(4) == 0
		}
	}
	set := &dataset.Set{Width: side, Height: side, Classes: classes, Pixels: make([]byte, n*side*side), Labels: make([]uint8, n)}
	for i := range n {
		set.Labels[i] = uint8(s.IntN(classes))
		for p, inked := range ink[set.Labels[i]] {
			if inked && s.IntN(4) != 0 {
				set.Image(i)[p] = byte(1 + s.IntN(255))
			}
		}
	}
	return set
}

// describe describes dense layers of the given units with ReLU, and batch
// normalisation before it when wanted, between them.
func describe(batchNorm bool, in int, units ...int) nn.Architecture {
	a := nn.Architecture{Input: in}
	for i, u := range units {
		a.Layers = append(a.Layers, nn.LayerSpec{Kind: nn.KindDense, Units: u})
		if i == len(units)-1 {
			break
		}
		if batchNorm {
			a.Layers = append(a.Layers, nn.LayerSpec{Kind: nn.KindBatchNorm, Epsilon: 1e-5, Decay: 0.9})
		}
		a.Layers = append(a.Layers, nn.LayerSpec{Kind: nn.KindReLU})
	}
	return a
}

// network builds a network with he-normal weights.
func network[T matrix.Float](t testing.TB, a nn.Architecture, seed uint64) *nn.Network[T] {
	t.Helper()
	net, err := nn.Build[T](a)
	if err != nil {
		t.Fatal(err)
	}
	he, err := nn.FindInitialiser("he-normal")
	if err != nil {
		t.Fatal(err)
	}
	nn.Initialise(net, he, random.New(seed, random.Init))
	return net
}

// options returns cross entropy, no penalty and SGD.
func options[T matrix.Float](rate float64, batch int) train.Options[T] {
	return train.Options[T]{
		Loss: nn.CrossEntropy[T]{}, Penalty: optim.L2[T]{Lambda: 0}, Rule: optim.SGD[T]{},
		Rate: rate, Batch: batch,
	}
}

// still is a learning rate so small that no weight changes.
const still = 1e-300

func newTrainer[T matrix.Float](t testing.TB, net *nn.Network[T], o train.Options[T]) *train.Trainer[T] {
	t.Helper()
	tr, err := train.New(net, o)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// values returns a copy of all parameters of the given roles (all without any).
func values[T matrix.Float](net *nn.Network[T], roles ...nn.Role) (all []T) {
	for _, p := range net.Params() {
		if len(roles) == 0 || slices.Contains(roles, p.Role) {
			all = append(all, p.Value...)
		}
	}
	return all
}

var trained = []nn.Role{nn.Weight, nn.Bias, nn.Scale, nn.Shift}

func near(got, want, tolerance float64) bool {
	return math.Abs(got-want) <= tolerance*max(1, math.Abs(want))
}

func wantUserError(t *testing.T, call string, err error, text string) {
	t.Helper()
	if _, ok := usererr.Find(err); !ok || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: error %v, want a user error on one line with %q", call, err, text)
	}
}
