package explain_test

import (
	"errors"
	"math"
	"testing"

	"glassnet/dataset"
	"glassnet/dataset/drawn"
	"glassnet/explain"
	"glassnet/nn"
	"glassnet/random"
	"glassnet/train"
)

// digits returns the data set of that name, MNIST where it is at hand.
func digits(t *testing.T, name string) *dataset.Set {
	t.Helper()
	if name == "mnist" {
		t.Chdir("..") // the search is that of the program, seen from the module's root
		data, err := dataset.Load(t.Context(), "mnist", dataset.Options{Offline: true})
		if errors.Is(err, dataset.ErrNoMNIST) {
			t.Skipf("needs MNIST: %v", err)
		}
		if err != nil {
			t.Fatal(err)
		}
		return data.Train
	}
	pixels, labels, err := drawn.Draw(t.Context(), drawn.StandardSeed, 0, 2048, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &dataset.Set{Width: drawn.Width, Height: drawn.Height, Classes: 10, Pixels: pixels, Labels: labels}
}

// A thousand gradients, drawn at random from a trained 784-20-7-5-10, agree with
// differences of the cost, and the printed formulas of the same step with its numbers.
func TestTrainedNetwork(t *testing.T) {
	for _, name := range []string{"drawn-digits", "mnist"} {
		for _, test := range []struct {
			norm   string
			layers []string
			rate   float64
		}{
			{"without batch norm", []string{"dense 20", "relu", "dense 7", "relu", "dense 5", "relu", "dense 10"}, 0.05},
			{"with batch norm", []string{"dense 20", "batch_norm", "relu", "dense 7", "batch_norm", "relu", "dense 5", "batch_norm", "relu", "dense 10"}, 0.05},
		} {
			t.Run(name+" "+test.norm, func(t *testing.T) {
				set := digits(t, name)
				stream := random.New(7, "explain/trained")
				net := network[float64](t, stream, 784, test.layers...)
				o := options[float64](t, nn.LossCrossEntropy, "l2", 1e-4)
				o.Rate = test.rate
				trainer, err := train.New(net, train.Options[float64]{Loss: o.Loss, Penalty: o.Penalty, Rule: o.Rule, Rate: o.Rate, Batch: 64})
				if err != nil {
					t.Fatal(err)
				}
				all := dataset.All(set)
				for i := range 300 {
					lo := i * 64 % (set.Len() - 63)
					if _, err := trainer.Step(all.Slice(lo, lo+64)); err != nil {
						t.Fatal(err)
					}
				}
				var found gradients
				for i := range 4 { // steps, for a network has few biases
					s, err := explain.Record(net, all.Slice(64*i, 64*(i+1)), o)
					if err != nil {
						t.Fatal(err)
					}
					found.check(t, s, stream)
					testFormulasOf(t, s, stream)
				}
				found.judge(t)
			})
		}
	}
}

// gradients counts those that were checked.
type gradients struct {
	all, kinks, large int
	kinds             map[string]int
	worst             float64 // difference over what is allowed
}

func (g *gradients) check(t *testing.T, s *explain.Step[float64], stream *random.Stream) {
	if g.kinds == nil {
		g.kinds = map[string]int{}
	}
	for _, r := range s.SampleGradients(stream, 100) {
		c, err := s.Check(r)
		if err != nil {
			t.Fatal(err)
		}
		g.all++
		if c.Kink {
			g.kinks++
			continue
		}
		g.kinds[s.KindOf(r)]++
		if math.Abs(c.Analytic) > 1e-6 {
			g.large++
		}
		ratio := math.Abs(c.Analytic-c.Numeric) / (1e-8 + 1e-6*math.Abs(c.Numeric))
		if !(ratio <= 1) {
			t.Errorf("%s: analytic %v, numeric %v", r, c.Analytic, c.Numeric)
		}
		g.worst = max(g.worst, ratio)
	}
}

func (g *gradients) judge(t *testing.T) {
	t.Logf("%d gradients, %d at a kink, %d above 1e-6, by kind %v, worst %.2g of what is allowed", g.all, g.kinks, g.large, g.kinds, g.worst)
	if g.all < 1000 || g.large < 800 || g.kinks*20 > g.all {
		t.Errorf("%d gradients, %d above 1e-6, %d at a kink; want 1000 or more, 800 and at most 5 %%", g.all, g.large, g.kinks)
	}
	for kind, n := range g.kinds {
		if n < 100 {
			t.Errorf("%d gradients of kind %s, want 100 or more", n, kind)
		}
	}
}

func testFormulasOf(t *testing.T, s *explain.Step[float64], stream *random.Stream) {
	for _, r := range s.SampleGradients(stream, 10) {
		for _, a := range []explain.Aspect{explain.Value, explain.Gradient, explain.After} {
			r.Aspect = a
			if r.Kind == explain.Output && a == explain.After {
				continue // only parameters are updated
			}
			f, err := s.Open(r, explain.Rows)
			if err != nil {
				t.Fatal(err)
			}
			got, size, err := evaluate(f.Expr.Text(explain.Style{}))
			if err != nil || math.Abs(got-f.Value) > 1e-12*max(size, 1) {
				t.Errorf("%s = %v, its formula gives %v (%v)", r, f.Value, got, err)
			}
		}
	}
}
