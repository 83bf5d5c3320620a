package explain_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"glassnet/dataset"
	"glassnet/explain"
	"glassnet/internal/usererr"
	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/optim"
	"glassnet/random"
	"glassnet/train"
)

// cases are steps with every kind of layer, loss and penalty.
var cases = []struct {
	name   string
	layers []string
	loss   string
	form   string
	lambda float64
	rows   int
}{
	{"relu", []string{"dense 5", "relu", "dense 4", "relu", "dense 3"}, nn.LossCrossEntropy, "l2", 0, 1},
	{"batch", []string{"dense 5", "relu", "dense 3"}, nn.LossCrossEntropy, "l2", 0, 6},
	{"l2", []string{"dense 4", "tanh", "dense 3"}, nn.LossCrossEntropy, "l2", 0.3, 4},
	{"sigmoid", []string{"dense 4", "sigmoid", "dense 3"}, nn.LossCrossEntropy, "l2", 0, 3},
	{"batch norm", []string{"dense 5", "batch_norm", "relu", "dense 4", "tanh", "batch_norm", "dense 3"}, nn.LossCrossEntropy, "l2", 0.01, 7},
	{"published", []string{"dense 5", "relu", "published_per_example_norm", "dense 3"}, nn.LossPublishedCrossEntropy, "published", 0.1, 4},
	{"batch norm first", []string{"batch_norm", "dense 3"}, nn.LossCrossEntropy, "l2", 0, 5},
}

func step[T matrix.Float](t testing.TB, i int) *explain.Step[T] {
	t.Helper()
	c := cases[i]
	stream := random.New(uint64(i+1), "explain/test")
	set := images(stream, c.rows+2, 4, 3, 3)
	s, err := explain.Record(network[T](t, stream, 12, c.layers...), dataset.All(set).Slice(1, 1+c.rows), options[T](t, c.loss, c.form, c.lambda))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The printed formula of every number, read by a parser that sees the text only,
// gives the number.
func TestFormulas(t *testing.T) {
	for i, c := range cases {
		t.Run(c.name+"/float64", func(t *testing.T) { testFormulas[float64](t, i, 64, 1e-13) })
		t.Run(c.name+"/float32", func(t *testing.T) { testFormulas[float32](t, i, 32, 2e-6) })
	}
}

func testFormulas[T matrix.Float](t *testing.T, i, bits int, tolerance float64) {
	s := step[T](t, i)
	kinds := map[string]int{}
	for _, r := range every(s, 3) {
		for _, convention := range []explain.Convention{explain.Rows, explain.Columns} {
			f, err := s.Open(r, convention)
			if err != nil {
				t.Fatal(err)
			}
			text := f.Expr.Text(explain.Style{Bits: bits})
			got, size, err := evaluate(text)
			bound := tolerance * max(size, 1e-3)
			if r.Kind == explain.Pixel { // rounded to float32 for all networks
				bound = 0x1p-24
			}
			if err != nil || !(math.Abs(got-f.Value) <= bound) {
				t.Fatalf("%s = %v, but %s is %v (%v)", r, f.Value, text, got, err)
			}
			if f.Law == "" || f.What == "" {
				t.Errorf("%s: law %q, what %q", r, f.Law, f.What)
			}
			// The tree says the same as its text.
			if v := f.Expr.Eval(); math.Abs(v-got) > 1e-7*max(size, 1e-3) {
				t.Fatalf("%s: the tree gives %v, its text %v", r, v, got)
			}
		}
		// The contributions add up to the number.
		f, err := s.Open(r, explain.Rows)
		if err != nil {
			t.Fatal(err)
		}
		total, size := 0.0, math.Abs(f.Value)
		for _, c := range f.Expr.Contributions() {
			total += c.Value
			if v := c.Term.Eval(); v != c.Value {
				t.Fatalf("a contribution to %s is called %s, which is %v, and %v", r, c.Term.Text(explain.Brief), v, c.Value)
			}
			size = max(size, math.Abs(c.Value))
		}
		if math.Abs(total-f.Expr.Eval()) > 1e-12*max(size, 1e-3) {
			t.Fatalf("the contributions to %s add up to %v, want %v", r, total, f.Expr.Eval())
		}
		kinds[fmt.Sprint(r.Kind, r.Aspect)]++
	}
	if len(kinds) < 11 {
		t.Errorf("only %d kinds of numbers: %v", len(kinds), kinds)
	}
}

// Terms of pixels that are 0 are left out and counted, but where no other is there: those
// say why a gradient is 0.
func TestZerosAreCounted(t *testing.T) {
	stream := random.New(5, "zeros")
	set := images(stream, 4, 3, 2, 3)
	for i := range 4 {
		set.Pixels[i*6] = 0 // in every image
		set.Pixels[i*6+1] = byte(i / 2 * 90)
	}
	s, err := explain.Record(network[float64](t, stream, 6, "dense 2", "relu", "dense 3"), dataset.All(set), options[float64](t, nn.LossCrossEntropy, optim.FormL2, 0))
	if err != nil {
		t.Fatal(err)
	}
	open := func(text string) explain.Formula {
		r, err := explain.ParseRef(text)
		if err != nil {
			t.Fatal(err)
		}
		f, err := s.Open(r, explain.Rows)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, test := range []struct {
		ref          string
		zeros, terms int
	}{{"grad(1.dense.weight:0,1)", 0, 4}, {"grad(1.dense.weight:1,1)", 2, 2}} {
		f := open(test.ref)
		if f.Zeros != test.zeros || len(f.Expr.Args) != test.terms || f.Text(explain.Brief).Zeros != test.zeros {
			t.Errorf("%s has %d terms and leaves out %d, want %d and %d", test.ref, len(f.Expr.Args), f.Zeros, test.terms, test.zeros)
		}
	}
	dark := 0
	for _, b := range set.Pixels[:6] {
		if b == 0 {
			dark++
		}
	}
	// The slope of a ReLU at exactly 0 is 0.
	s.Trace.Caches[1].Out.Row(0)[1], s.Trace.Caches[0].Out.Row(0)[1] = 0, 0
	if f := open("grad(1:1)"); f.Expr.Eval() != 0 || len(f.Expr.Args) != 2 || f.Expr.Args[1].Value != 0 {
		t.Errorf("the gradient behind a ReLU of 0 is %s", f.Expr.Text(explain.Brief))
	}
	if f := open("1:0"); f.Zeros != dark || len(f.Expr.Args) != 6-dark+1 {
		t.Errorf("a unit has %d terms and leaves out %d, want %d and %d", len(f.Expr.Args), f.Zeros, 6-dark+1, dark)
	}
}

// What a number goes into has it among its parts.
func TestFromAndTo(t *testing.T) {
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := step[float64](t, i)
			open := func(r explain.Ref) explain.Formula {
				f, err := s.Open(r, explain.Rows)
				if err != nil {
					t.Fatal(err)
				}
				return f
			}
			links := 0
			for _, r := range every(s, 2) {
				for _, to := range open(r).To {
					from := open(to).Expr.Refs()
					skipped := r.Kind == explain.Pixel && open(r).Value == 0
					if !slices.Contains(from, r) && !skipped {
						t.Errorf("%s goes to %s, which is made of %v", r, to, from)
					}
					links++
				}
			}
			if links == 0 {
				t.Error("no links")
			}
		})
	}
}

// A step is what training does: the same parameters after it, bit for bit, and the
// network that was given is as before.
func TestRecordIsTheTrainingStep(t *testing.T) {
	for i, c := range cases {
		t.Run(c.name+"/float64", func(t *testing.T) { testRecord[float64](t, i) })
		t.Run(c.name+"/float32", func(t *testing.T) { testRecord[float32](t, i) })
	}
}

func testRecord[T matrix.Float](t *testing.T, i int) {
	c := cases[i]
	stream := random.New(uint64(i+1), "explain/test")
	set := images(stream, c.rows+2, 4, 3, 3)
	net, batch, o := network[T](t, stream, 12, c.layers...), dataset.All(set).Slice(1, 1+c.rows), options[T](t, c.loss, c.form, c.lambda)
	s, err := explain.Record(net, batch, o)
	if err != nil {
		t.Fatal(err)
	}
	for k, p := range net.Params() {
		if !slices.Equal(p.Value, s.Before[k]) {
			t.Fatalf("%s changed by Record", p.Name)
		}
	}
	trainer, err := train.New(net, train.Options[T]{Loss: o.Loss, Penalty: o.Penalty, Rule: o.Rule, Rate: o.Rate, Batch: c.rows, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	cost, err := trainer.Step(batch)
	if err != nil || cost != s.Cost {
		t.Errorf("training's cost %v (%v), the step's %v", cost, err, s.Cost)
	}
	moved := false
	for k, p := range net.Params() {
		if !slices.Equal(p.Value, s.Net.Params()[k].Value) || !slices.Equal(p.Grad, s.Net.Params()[k].Grad) {
			t.Errorf("%s: training left other numbers than the step", p.Name)
		}
		moved = moved || !slices.Equal(p.Value, s.Before[k])
		for at, v := range p.Value {
			r := explain.Ref{Aspect: explain.After, Kind: explain.Parameter, Name: p.Name, Index: [2]int{at}}
			if len(p.Shape) == 2 {
				r.Two, r.Index = true, [2]int{at / p.Shape[1], at % p.Shape[1]}
			}
			if r, err = explain.ParseRef(r.String()); err != nil {
				t.Fatal(err)
			}
			if f, err := s.Open(r, explain.Rows); err != nil || f.Value != float64(v) {
				t.Fatalf("%s is shown as %v (%v), training has %v", r, f.Value, err, v)
			}
		}
	}
	if !moved {
		t.Error("the step moved nothing")
	}
	if s.After == s.Cost {
		t.Errorf("cost after the update %v, before %v", s.After, s.Cost)
	}
}

// Every gradient of the networks without published parts agrees with differences of
// the cost; the faulty published ones do not.
func TestChecks(t *testing.T) {
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := step[float64](t, i)
			off, kinks, all := 0, 0, 0
			for _, r := range every(s, 2) {
				if r.Aspect != explain.Gradient {
					continue
				}
				check, err := s.Check(r)
				if err != nil {
					t.Fatal(err)
				}
				all++
				switch {
				case check.Kink:
					kinks++
				case check.Off():
					if off++; c.name != "published" {
						t.Errorf("%+v", check)
					}
				}
			}
			if kinks*20 > all {
				t.Errorf("%d of %d at a kink", kinks, all)
			}
			if c.name == "published" && off < all/4 {
				t.Errorf("only %d of %d faulty gradients found", off, all)
			}
		})
	}
}

// A wrong gradient is seen.
func TestCheckSeesWrongGradients(t *testing.T) {
	s := step[float64](t, 1)
	s.Net.Params()[0].Grad[0] += 1e-4
	c, err := s.Check(explain.Ref{Kind: explain.Parameter, Layer: 1, Name: "1.dense.weight", Two: true})
	if err != nil || math.Abs(c.Analytic-c.Numeric) < 0.9e-4 {
		t.Errorf("%+v, %v", c, err)
	}
}

// Weights as large as a diverged training leaves make the softmax jump within the first
// distances: a smaller one is taken, and no right gradient is called wrong.
func TestChecksOfHugeWeights(t *testing.T) {
	stream := random.New(5, "explain/test")
	set := images(stream, 4, 4, 3, 3)
	net := network[float64](t, stream, 12, "dense 5", "relu", "dense 3")
	for _, p := range net.Params() {
		for i := range p.Value {
			p.Value[i] *= 3e3
		}
	}
	s, err := explain.Record(net, dataset.All(set), options[float64](t, nn.LossCrossEntropy, "l2", 0))
	if err != nil {
		t.Fatal(err)
	}
	right, undecided := 0, 0
	for _, r := range every(s, 4) {
		if r.Aspect != explain.Gradient {
			continue
		}
		c, err := s.Check(r)
		switch {
		case err != nil || c.Off():
			t.Errorf("%+v, %v", c, err)
		case c.Kink:
			undecided++
		default:
			right++
		}
	}
	if right < 5*undecided {
		t.Errorf("%d gradients are right, of %d nothing can be said", right, undecided)
	}
}

// Where outputs are huge and the logits equal, the softmax turns over within the first
// distance: that is not the slope.
func TestChecksOfSharpBends(t *testing.T) {
	stream := random.New(6, "explain/test")
	net := network[float64](t, stream, 12, "dense 5", "relu", "dense 3")
	for _, p := range net.Params() {
		for i := range p.Value {
			if strings.HasPrefix(p.Name, "1.") {
				p.Value[i] *= 1e5
			} else {
				p.Value[i] = 0
			}
		}
	}
	s, err := explain.Record(net, dataset.All(images(stream, 4, 4, 3, 3)), options[float64](t, nn.LossCrossEntropy, "l2", 0))
	if err != nil {
		t.Fatal(err)
	}
	smaller := 0
	for i := range 5 {
		c, err := s.Check(explain.ParameterRef("3.dense.weight", i, 1))
		if err != nil || c.Off() || c.Kink {
			t.Errorf("%+v, %v", c, err)
		}
		if c.Step < 1e-4 {
			smaller++
		}
	}
	if smaller == 0 {
		t.Error("the first distance was small enough: this shows nothing")
	}
}

func TestRefs(t *testing.T) {
	for i := range cases {
		s := step[float64](t, i)
		for _, r := range every(s, 2) {
			f, err := s.Open(r, explain.Rows)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range append(f.Expr.Refs(), append(f.To, r)...) {
				back, err := explain.ParseRef(r.String())
				if err != nil {
					t.Fatalf("%s: %v", r, err)
				}
				g, err := s.Open(back, explain.Rows)
				if err != nil || g.Ref != back {
					t.Fatalf("%s opens as %v, %v", r, g.Ref, err)
				}
				if want, err := s.Open(r, explain.Rows); err != nil || want.Value != g.Value {
					t.Fatalf("%+v is %v, read again from %s %v", r, want.Value, r, g.Value)
				}
			}
		}
	}
}

func TestRefsThatAreNot(t *testing.T) {
	for text, want := range map[string]string{
		"":                     "names no number",
		"2":                    "names no number",
		"2:":                   "names no number",
		"2:-1":                 "names no number",
		"2:1:3":                "names no number",
		"grad(2:1":             "names no number",
		"grad(grad(2:1))":      "names no number",
		"2:1@":                 "names no number",
		"x:1,2":                "names no number",
		"q:1":                  "names no number",
		"99999999999999999999": "names no number",
		"0:1":                  "layer 0, want 1 to 5",
		"6:1":                  "layer 6, want 1 to 5",
		"1:5":                  "unit 5, want 0 to 4",
		"1:1@1":                "example 1, want 0 to 0",
		"x:12":                 "pixel 12, want 0 to 11",
		"p:3":                  "class 3, want 0 to 2",
		"grad(x:1)":            "no gradient of them",
		"grad(p:1)":            "grad(5:1)",
		"grad(loss)":           "want its value",
		"after(1:1)":           "only parameters",
		"1.dense.weight:1":     "an index for each",
		"1.dense.weight:12,0":  "index 12, want 0 to 11",
		"1.dense.weight:0,5":   "index 5, want 0 to 4",
		"1.dense.bias:0,0":     "an index for each",
		"2.dense.weight:0,0":   "no such parameter; there are 1.dense.weight",
		"1.dense.mean:0":       "keeps nothing of this name",
		"9.batch_norm.mean:0":  "layer 9, want 1 to 5",
	} {
		r, err := explain.ParseRef(text)
		if err == nil {
			_, err = step[float64](t, 0).Open(r, explain.Rows)
		}
		if _, user := usererr.Find(err); !user || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
}

// A Ref that was not parsed may say anything; it opens the right number or none.
func TestRefsByHand(t *testing.T) {
	s := step[float64](t, 0)
	for _, r := range []explain.Ref{
		{Kind: explain.Parameter, Name: "1.dense.weight", Two: true, Aspect: explain.Gradient},
		{Kind: explain.Parameter, Name: "1.dense.bias", Layer: 3, Aspect: explain.Gradient},
		{Kind: explain.Parameter, Name: "1.dense.bias", Layer: -1},
		{Kind: 77}, {Kind: explain.Kept, Layer: 1}, {Kind: explain.Output, Layer: -1}, {Kind: explain.Loss, Example: -1},
		{Kind: explain.Output, Layer: 1, Index: [2]int{-1}},
	} {
		if f, err := s.Open(r, explain.Rows); err == nil {
			t.Errorf("%+v opens as %v", r, f.Value)
		}
		if _, err := s.Check(r); err == nil {
			t.Errorf("%+v is checked", r)
		}
	}
	r := explain.ParameterRef("3.dense.weight", 2, 1)
	if parsed, err := explain.ParseRef("3.dense.weight:2,1"); err != nil || parsed != r {
		t.Errorf("ParameterRef gives %+v, ParseRef %+v, %v", r, parsed, err)
	}
}

// The gradients of a network in float32 are checked in float64, as closely.
func TestChecksOfFloat32(t *testing.T) {
	s, wide := step[float32](t, 4), 0
	for _, r := range every(s, 1) {
		if r.Aspect != explain.Gradient {
			continue
		}
		c, err := s.Check(r)
		if err != nil || c.Off() {
			t.Fatalf("%+v, %v", c, err)
		}
		f, err := s.Open(r, explain.Rows)
		if err != nil || math.Abs(f.Value-c.Analytic) > 1e-4*math.Abs(c.Analytic)+1e-6 {
			t.Fatalf("%s is %v in float32, %v in float64", r, f.Value, c.Analytic)
		}
		if f.Value != c.Analytic {
			wide++
		}
	}
	if wide == 0 {
		t.Error("no gradient differs: they are not of float64")
	}
}

// strange is a rule and a penalty without a formula.
type strange struct{ optim.SGD[float64] }

func (strange) Apply([]*nn.Param[float64], nn.Mode) float64 { return 0 }

type strangeLoss struct{ nn.CrossEntropy[float64] }

func FuzzParseRef(f *testing.F) {
	for _, text := range []string{"2:5", "grad(1.dense.weight:13,4)", "after(2.batch_norm.running_mean:3)", "p:3@7", "loss@2", "2.batch_norm.x_hat:5@1"} {
		f.Add(text)
	}
	s := step[float64](f, 4)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := explain.ParseRef(text)
		if err != nil {
			return
		}
		if again, err := explain.ParseRef(r.String()); err != nil || again.String() != r.String() {
			t.Errorf("%q is %s, read again %s, %v", text, r, again, err)
		}
		if v, err := s.Open(r, explain.Rows); err == nil && math.IsNaN(v.Value) {
			t.Errorf("%q is NaN", text)
		}
	})
}

func TestRecordRefuses(t *testing.T) {
	stream := random.New(1, "explain/test")
	examples := images(stream, 4, 4, 3, 3)
	o := options[float64](t, nn.LossCrossEntropy, "l2", 0)
	for name, record := range map[string]func() error{
		"no example": func() error {
			_, err := explain.Record(network[float64](t, stream, 12, "dense 3"), dataset.View{Set: examples}, o)
			return err
		},
		"one example under batch normalisation": func() error {
			_, err := explain.Record(network[float64](t, stream, 12, "dense 3", "batch_norm", "dense 3"), dataset.All(examples).Slice(0, 1), o)
			return err
		},
		"an example that is not there": func() error {
			_, err := explain.Record(network[float64](t, stream, 12, "dense 3"), dataset.View{Set: examples, Index: []int32{1, 9}}, o)
			return err
		},
		"examples of no set": func() error {
			_, err := explain.Record(network[float64](t, stream, 12, "dense 3"), dataset.View{Index: []int32{0}}, o)
			return err
		},
		"a label that is none": func() error {
			wrong := *examples
			wrong.Labels = []uint8{0, 1, 200, 2}
			_, err := explain.Record(network[float64](t, stream, 12, "dense 3"), dataset.All(&wrong), o)
			return err
		},
		"another size of image": func() error {
			_, err := explain.Record(network[float64](t, stream, 13, "dense 3"), dataset.All(examples), o)
			return err
		},
		"more classes than logits": func() error {
			_, err := explain.Record(network[float64](t, stream, 12, "dense 2"), dataset.All(examples), o)
			return err
		},
	} {
		if _, user := usererr.Find(record()); !user {
			t.Errorf("%s: error %v", name, record())
		}
	}
	for _, set := range []func(o *explain.Options[float64]){
		func(o *explain.Options[float64]) { o.Rule = strange{} },
		func(o *explain.Options[float64]) { o.Penalty = strange{} },
		func(o *explain.Options[float64]) { o.Loss = nil },
		func(o *explain.Options[float64]) { o.Loss = strangeLoss{} },
	} {
		other := o
		set(&other)
		if _, err := explain.Record(network[float64](t, stream, 12, "dense 3"), dataset.All(examples), other); err == nil {
			t.Errorf("%+v is recorded", other)
		}
	}
	net := network[float64](t, stream, 12, "dense 3")
	for i := range net.Params()[0].Value {
		net.Params()[0].Value[i] = 1e308
	}
	if _, err := explain.Record(net, dataset.All(examples), o); err == nil || !strings.Contains(err.Error(), "this step diverges (learning rate") {
		t.Errorf("a step from infinite logits: %v", err)
	}
	// A cost after the update that is finite beside a penalty that is not.
	steep := options[float64](t, nn.LossCrossEntropy, "l2", 1e-3)
	steep.Rate = 1e200
	if _, err := explain.Record(network[float64](t, stream, 12, "dense 3"), dataset.All(examples), steep); err == nil || !strings.Contains(err.Error(), "the cost of the batch after the update is +Inf") {
		t.Errorf("a penalty after the update that is infinite: %v", err)
	}
	// A step that is finite and whose update is not.
	o.Rate = 1e200
	_, err := explain.Record(network[float64](t, stream, 12, "dense 5", "relu", "dense 3"), dataset.All(examples), o)
	var diverged *train.DivergedError
	if !errors.As(err, &diverged) || strings.Contains(err.Error(), "epoch") {
		t.Errorf("a cost after the update that is not finite: %v", err)
	}
}

func TestSalient(t *testing.T) {
	stream := random.New(3, "explain/test")
	set := images(stream, 1, 4, 3, 3)
	net := network[float64](t, stream, 12, "dense 5", "batch_norm", "tanh", "dense 3")
	image := set.Image(0)
	predictor := nn.NewPredictor(net, 1)
	p := make([]float64, 3)
	class := predictor.Predict(p, image)
	s, err := explain.Salient(t.Context(), net, image, 4, -1, 2, 2)
	published := network[float64](t, stream, 12, "dense 5", nn.KindPublishedNorm, "dense 3")
	if faulty, err := explain.Salient(t.Context(), published, image, 4, -1, 2, 2); err != nil || !faulty.LeavesOut || s.LeavesOut {
		t.Errorf("the published normalisation's gradient leaves out: %v, %v; that of batch normalisation: %v", faulty.LeavesOut, err, s.LeavesOut)
	}
	if err != nil || s.Class != class {
		t.Fatalf("class %d, %v, want %d", s.Class, err, class)
	}
	trace := net.NewTrace(nn.TraceOptions{Batch: 1})
	logit := func(x []float64) float64 {
		return net.Forward(trace, matrix.FromRows(x), nn.Eval).At(0, class)
	}
	x := make([]float64, 12)
	for i, b := range image {
		x[i] = float64(matrix.Intensity(b))
	}
	for i := range x {
		const h = 1e-5
		x[i] += h
		up := logit(x)
		x[i] -= 2 * h
		down := logit(x)
		x[i] += h
		if want := (up - down) / (2 * h); math.Abs(s.Gradient[i]-want) > 1e-8 {
			t.Errorf("gradient of pixel %d is %v, want %v", i, s.Gradient[i], want)
		}
		if want := s.Gradient[i] * float64(matrix.Intensity(image[i])); s.GradientTimesInput[i] != want {
			t.Errorf("gradient·input of pixel %d is %v, want %v", i, s.GradientTimesInput[i], want)
		}
	}
	// Pixel 5 is at (1, 1): a square of 2 begins there.
	blanked := slices.Clone(image)
	for _, at := range []int{5, 6, 9, 10} {
		blanked[at] = 0
	}
	q := make([]float64, 3)
	predictor.Predict(q, blanked)
	if want := p[class] - q[class]; math.Abs(s.Occlusion[5]-want) > 1e-12 {
		t.Errorf("occlusion of pixel 5 is %v, want %v", s.Occlusion[5], want)
	}
	for _, bad := range []func() (*explain.Saliency, error){
		func() (*explain.Saliency, error) { return explain.Salient(t.Context(), net, image[1:], 4, 0, 2, 2) },
		func() (*explain.Saliency, error) { return explain.Salient(t.Context(), net, image, 5, 0, 2, 2) },
		func() (*explain.Saliency, error) { return explain.Salient(t.Context(), net, image, 0, 0, 2, 2) },
		func() (*explain.Saliency, error) { return explain.Salient(t.Context(), net, image, 4, 3, 2, 2) },
		func() (*explain.Saliency, error) { return explain.Salient(t.Context(), net, image, 4, -2, 2, 2) },
		func() (*explain.Saliency, error) { return explain.Salient(t.Context(), net, image, 4, 0, 0, 2) },
	} {
		if _, err := bad(); err == nil {
			t.Error("no error")
		}
	}
}

func TestMaximallyActivating(t *testing.T) {
	stream := random.New(4, "explain/test")
	set := images(stream, 700, 4, 3, 3)
	net := network[float32](t, stream, 12, "dense 5", "relu", "dense 3")
	got, err := explain.MaximallyActivating(t.Context(), net, dataset.All(set), 1, 2, 9, 2)
	if err != nil || len(got) != 9 {
		t.Fatal(got, err)
	}
	trace := net.NewTrace(nn.TraceOptions{Batch: 700})
	net.ForwardPixels(trace, dataset.All(set).Pixels(), nn.Eval)
	var all []explain.Activating
	for i := range 700 {
		all = append(all, explain.Activating{Example: i, Value: float64(trace.Caches[0].Out.At(i, 2))})
	}
	slices.SortStableFunc(all, func(a, b explain.Activating) int {
		switch {
		case a.Value > b.Value:
			return -1
		case a.Value < b.Value:
			return 1
		}
		return 0
	})
	if !slices.Equal(got, all[:9]) {
		t.Errorf("got %v, want %v", got, all[:9])
	}
	if _, err := explain.MaximallyActivating(t.Context(), net, dataset.View{}, 1, 0, 1, 1); err == nil {
		t.Error("no error for no examples")
	}
	for _, wrong := range []dataset.View{{Set: set, Index: []int32{0, 700}}, {Index: []int32{0}}} {
		if _, err := explain.MaximallyActivating(t.Context(), net, wrong, 1, 0, 1, 1); err == nil {
			t.Errorf("no error for examples %v of %v", wrong.Index, wrong.Set != nil)
		}
	}
	if _, err := explain.MaximallyActivating(t.Context(), net, dataset.All(set), 4, 0, 1, 1); err == nil {
		t.Error("no error for layer 4 of 3")
	}
	if _, err := explain.MaximallyActivating(t.Context(), net, dataset.All(set), 1, 5, 1, 1); err == nil {
		t.Error("no error for unit 5 of 5")
	}
}

// Each illness is found where it is, and a network that trains well has none.
func TestHealth(t *testing.T) {
	for _, test := range []struct {
		name   string
		layers []string
		spoil  func(net *nn.Network[float64])
		rate   float64
		want   string
		layer  int
	}{
		{"well", []string{"dense 8", "relu", "dense 3"}, func(*nn.Network[float64]) {}, 0.01, "", 0},
		{"dead units", []string{"dense 8", "relu", "dense 3"}, func(net *nn.Network[float64]) {
			for j := range 3 {
				net.Params()[1].Value[j] = -100
			}
		}, 0.01, "3 of 8 units of layer 2 are 0", 2},
		{"saturated units", []string{"dense 8", "tanh", "dense 3"}, func(net *nn.Network[float64]) {
			net.Params()[1].Value[0], net.Params()[1].Value[5] = 50, -50
		}, 0.01, "2 of 8 units of layer 2 are saturated", 2},
		{"vanishing gradient", []string{"dense 8", "sigmoid", "dense 8", "sigmoid", "dense 8", "sigmoid", "dense 8", "sigmoid", "dense 3"}, func(net *nn.Network[float64]) {
			for _, p := range net.Params() {
				for i := range p.Value {
					p.Value[i] *= 0.2
				}
			}
		}, 0.01, "vanishes", 1},
		{"exploding gradient", []string{"dense 8", "relu", "dense 8", "relu", "dense 8", "relu", "dense 3"}, func(net *nn.Network[float64]) {
			for _, p := range net.Params() {
				for i := range p.Value {
					p.Value[i] *= 40
				}
			}
		}, 1e-12, "explodes", 1},
		{"large rate", []string{"dense 8", "relu", "dense 3"}, func(*nn.Network[float64]) {}, 5, "The learning rate is large", 1},
		{"small rate", []string{"dense 8", "relu", "dense 3"}, func(*nn.Network[float64]) {}, 1e-7, "or the learning rate is small", 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			stream := random.New(5, "explain/test")
			set := images(stream, 64, 4, 3, 3)
			net := network[float64](t, stream, 12, test.layers...)
			test.spoil(net)
			o := options[float64](t, nn.LossCrossEntropy, "l2", 0)
			o.Rate, o.Rule = test.rate, optim.SGD[float64]{}
			s, err := explain.Record(net, dataset.All(set), o)
			if err != nil {
				t.Fatal(err)
			}
			findings := s.Health().Findings
			if test.want == "" && len(findings) > 0 {
				t.Errorf("findings %+v, want none", findings)
			}
			found := slices.ContainsFunc(findings, func(f explain.Finding) bool {
				return f.Layer == test.layer && strings.Contains(f.What+": "+f.Cause, test.want) && f.Cause != "" && f.Remedy != ""
			})
			if test.want != "" && !found {
				t.Errorf("findings %+v, want %q at layer %d", findings, test.want, test.layer)
			}
		})
	}
}
