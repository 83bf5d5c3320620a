package nn_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"glassnet/internal/usererr"
	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/nn/nntest"
	"glassnet/optim"
	"glassnet/random"
)

func wantUserError(t *testing.T, call string, err error, text string) {
	t.Helper()
	if _, ok := usererr.Find(err); !ok || !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: error %v, want a user error on one line with %q", call, err, text)
	}
}

func build[T matrix.Float](t *testing.T, a nn.Architecture) *nn.Network[T] {
	t.Helper()
	net, err := nn.Build[T](a)
	if err != nil {
		t.Fatal(err)
	}
	return net
}

// chain describes dense layers of the given units with activation, and batch
// normalisation before it when wanted, between them.
func chain(batchNorm bool, activation string, in int, units ...int) nn.Architecture {
	a := nn.Architecture{Input: in}
	for i, u := range units {
		a.Layers = append(a.Layers, nn.LayerSpec{Kind: nn.KindDense, Units: u, NoBias: batchNorm && i < len(units)-1})
		if i == len(units)-1 {
			break
		}
		if batchNorm {
			a.Layers = append(a.Layers, nn.LayerSpec{Kind: nn.KindBatchNorm, Epsilon: 1e-5, Decay: 0.9})
		}
		a.Layers = append(a.Layers, nn.LayerSpec{Kind: activation})
	}
	return a
}

// examples returns random examples, of which 81 in 100 features are 0 as in
// MNIST, and labels.
func examples[T matrix.Float](n, features, classes int, seed uint64) (matrix.Matrix[T], []uint8) {
	s := random.New(seed, "examples")
	x, labels := matrix.New[T](n, features), make([]uint8, n)
	for i := range x.Data {
		if s.Float64() >= 0.81 {
			x.Data[i] = T(float32(s.IntN(256)) / 255)
		}
	}
	for i := range labels {
		labels[i] = uint8(s.IntN(classes))
	}
	return x, labels
}

// backward makes a pass of the examples and returns the cost; the gradients are
// in the parameters.
func backward[T matrix.Float](net *nn.Network[T], x matrix.Matrix[T], labels []uint8, mode nn.Mode) float64 {
	_, classes := net.Widths()
	trace, c := net.NewTrace(nn.TraceOptions{Batch: x.Rows, Backward: true}), nn.NewLossCache[T](x.Rows, classes)
	loss := nn.CrossEntropy[T]{}
	cost := loss.Forward(c, net.Forward(trace, x, mode), labels)
	net.Backward(trace, loss.Backward(c))
	return cost
}

// gradientOf returns all gradients of net, one after the other.
func gradientOf[T matrix.Float](net *nn.Network[T]) (all []float64) {
	for _, p := range net.Params() {
		for _, g := range p.Grad {
			all = append(all, float64(g))
		}
	}
	return all
}

// Every gradient of whole networks, with the loss and the L2 penalty.
func TestGradientsOfNetworks(t *testing.T) {
	var worst nntest.Difference
	compared := 0
	for _, activation := range []string{nn.KindReLU, nn.KindSigmoid, nn.KindTanh} {
		for _, norm := range []bool{false, true} {
			for _, lambda := range []float64{0, 0.1} {
				for _, batch := range []int{1, 2, 5} {
					if norm && batch == 1 {
						continue
					}
					for seed := range uint64(nntest.Seeds) {
						net := build[float64](t, chain(norm, activation, 4, 4, 3, 3))
						x, labels := matrix.New[float64](batch, 4), make([]uint8, batch)
						trace, c := net.NewTrace(nn.TraceOptions{Batch: batch, Backward: true, GradIn: true}), nn.NewLossCache[float64](batch, 3)
						loss, penalty := nn.CrossEntropy[float64]{}, optim.L2[float64]{Lambda: lambda}
						drawAwayFromCorners(net, trace, x, labels, random.New(seed, activation))
						cost := func(mode nn.Mode) float64 {
							return loss.Forward(c, net.Forward(trace, x, nn.Train), labels) + penalty.Apply(net.Params(), mode)
						}
						loss.Forward(c, net.Forward(trace, x, nn.Train), labels)
						gradIn := net.Backward(trace, loss.Backward(c)).Clone()
						penalty.Apply(net.Params(), nn.Train)
						input := &nn.Param[float64]{Name: "input", Value: x.Data, Grad: gradIn.Data}
						r := nntest.Gradients(append([]*nn.Param[float64]{input}, net.Params()...), func() float64 { return cost(nn.Eval) })
						compared += r.Compared
						if r.Off > 0 {
							t.Errorf("%s, batch norm %v, λ = %v, batch of %d, seed %d: %d of %d gradients are wrong, worst %v",
								activation, norm, lambda, batch, seed, r.Off, r.Compared, r.Worst)
						}
						if !(r.Worst.Share() <= worst.Share()) {
							worst = r.Worst
						}
					}
				}
			}
		}
	}
	t.Logf("%d gradients, worst %v", compared, worst)
}

// drawAwayFromCorners randomises parameters and examples until no ReLU is close
// to its corner and no feature that is normalised has a small variance.
func drawAwayFromCorners(net *nn.Network[float64], trace *nn.Trace[float64], x matrix.Matrix[float64], labels []uint8, s *random.Stream) {
	for again := true; again; {
		nntest.Randomise(net.Params(), s)
		for i := range x.Data {
			x.Data[i] = s.Normal()
		}
		for i := range labels {
			labels[i] = uint8(s.IntN(3))
		}
		net.Forward(trace, x, nn.Train)
		again = false
		for i, l := range net.Layers() {
			c := trace.Caches[i]
			kind := l.Spec().Kind
			if kind == nn.KindReLU && nntest.NearCorner(c) || kind == nn.KindBatchNorm && nntest.NarrowColumn(c) {
				again = true
			}
		}
	}
}

// A network of MNIST's size has too many parameters to move one by one: the
// derivative along ten random directions, and float32 against float64.
func TestGradientAlongRandomDirections(t *testing.T) {
	for _, activation := range []string{nn.KindReLU, nn.KindTanh} {
		net, net32 := build[float64](t, chain(false, activation, 784, 128, 10)), build[float32](t, chain(false, activation, 784, 128, 10))
		he, err := nn.FindInitialiser("he-normal")
		if err != nil {
			t.Fatal(err)
		}
		nn.Initialise(net32, he, stream(1))
		for i, p := range net.Params() {
			for j, v := range net32.Params()[i].Value {
				p.Value[j] = float64(v)
			}
		}
		x, labels := examples[float64](16, 784, 10, 1)
		x32, _ := examples[float32](16, 784, 10, 1)
		backward(net, x, labels, nn.Train)
		backward(net32, x32, labels, nn.Train)
		gradient := gradientOf(net)
		if norm := nntest.RelativeNorm(gradientOf(net32), gradient); norm > 1e-5 {
			t.Errorf("%s: float32 gradients differ by a relative norm of %.2g, want at most 1e-5", activation, norm)
		} else {
			t.Logf("%s: float32 gradients differ by a relative norm of %.2g", activation, norm)
		}

		const h = 1e-5
		s := random.New(1, "directions")
		c := nn.NewLossCache[float64](16, 10)
		trace := net.NewTrace(nn.TraceOptions{Batch: 16})
		cost := func() float64 {
			return nn.CrossEntropy[float64]{}.Forward(c, net.Forward(trace, x, nn.Train), labels)
		}
		worst := 0.0
		for range 10 {
			direction := make([]float64, len(gradient))
			var square float64
			for i := range direction {
				direction[i] = s.Normal()
				square += direction[i] * direction[i]
			}
			var along float64
			for i := range direction {
				direction[i] /= math.Sqrt(square)
				along += direction[i] * gradient[i]
			}
			move := func(by float64) {
				at := 0
				for _, p := range net.Params() {
					for j := range p.Value {
						p.Value[j] += by * direction[at]
						at++
					}
				}
			}
			move(h)
			up := cost()
			move(-2 * h)
			down := cost()
			move(h)
			worst = max(worst, math.Abs((up-down)/(2*h)-along)/math.Abs(along))
		}
		if !(worst <= 1e-5) {
			t.Errorf("%s: derivative along a random direction off by %.2g of itself, want at most 1e-5", activation, worst)
		}
		t.Logf("%s: derivatives along 10 random directions off by at most %.2g of themselves", activation, worst)
	}
}

// The gradient of a batch is the mean of its examples' gradients; the order of
// the examples does not matter; nor does it when all are there twice.
func TestBatchIsTheMeanOfItsExamples(t *testing.T) {
	net := build[float64](t, chain(false, nn.KindTanh, 12, 8, 6, 4))
	nntest.Randomise(net.Params(), random.New(3, "test"))
	x, labels := examples[float64](9, 12, 4, 5)
	cost := backward(net, x, labels, nn.Train)
	want := gradientOf(net)

	compare := func(what string, gotCost float64, got []float64) {
		t.Helper()
		if !close(gotCost, cost, 1e-12) {
			t.Errorf("%s: cost %v, want %v", what, gotCost, cost)
		}
		for i := range want {
			if !close(got[i], want[i], 1e-12) {
				t.Fatalf("%s: gradient %d is %v, want %v", what, i, got[i], want[i])
			}
		}
	}
	mean, meanCost := make([]float64, len(want)), 0.0
	for i := range labels {
		meanCost += backward(net, matrix.FromRows(x.Row(i)), labels[i:i+1], nn.Train) / 9
		for k, g := range gradientOf(net) {
			mean[k] += g / 9
		}
	}
	compare("mean of the examples' gradients", meanCost, mean)

	permuted, permutedLabels := matrix.New[float64](9, 12), make([]uint8, 9)
	for i, from := range random.New(1, "order").Permutation(9) {
		copy(permuted.Row(i), x.Row(int(from)))
		permutedLabels[i] = labels[from]
	}
	permutedCost := backward(net, permuted, permutedLabels, nn.Train)
	compare("examples in another order", permutedCost, gradientOf(net))

	twice := matrix.Matrix[float64]{Rows: 18, Cols: 12, Data: slices.Concat(x.Data, x.Data)}
	twiceCost := backward(net, twice, slices.Concat(labels, labels), nn.Train)
	compare("every example twice", twiceCost, gradientOf(net))
}

// Hidden units have no order: swapping them, with the weights on either side,
// leaves hidden activations that are the same bits in another order. The sums of
// the next layer are then added in another order.
func TestHiddenUnitsHaveNoOrder(t *testing.T) {
	a, b := build[float64](t, chain(false, nn.KindTanh, 12, 8, 4)), build[float64](t, chain(false, nn.KindTanh, 12, 8, 4))
	nntest.Randomise(a.Params(), random.New(3, "test"))
	order := random.New(1, "order").Permutation(8)
	for to, from := range order {
		for i := range 12 {
			b.Params()[0].Value[i*8+to] = a.Params()[0].Value[i*8+int(from)]
		}
		b.Params()[1].Value[to] = a.Params()[1].Value[from]
		copy(b.Params()[2].Value[to*4:to*4+4], a.Params()[2].Value[from*4:from*4+4])
	}
	copy(b.Params()[3].Value, a.Params()[3].Value)
	x, _ := examples[float64](5, 12, 4, 5)
	traceA, traceB := a.NewTrace(nn.TraceOptions{Batch: 5}), b.NewTrace(nn.TraceOptions{Batch: 5})
	logitsA, logitsB := a.Forward(traceA, x, nn.Eval), b.Forward(traceB, x, nn.Eval)
	for i := range 5 {
		for to, from := range order {
			if got, want := traceB.Caches[1].Out.At(i, to), traceA.Caches[1].Out.At(i, int(from)); got != want {
				t.Fatalf("hidden unit %d of example %d = %v, want %v", to, i, got, want)
			}
		}
	}
	for i := range logitsA.Data {
		if !close(logitsB.Data[i], logitsA.Data[i], 1e-14) {
			t.Errorf("logit %d = %v, want %v", i, logitsB.Data[i], logitsA.Data[i])
		}
	}
}

// Predicting many examples together, one by one, twice, and on any number of
// threads gives the same bits.
func TestPredictionsAreTheSameBits(t *testing.T) {
	t.Run("float32", testPredictions[float32])
	t.Run("float64", testPredictions[float64])
}

func testPredictions[T matrix.Float](t *testing.T) {
	net := build[T](t, chain(true, nn.KindReLU, 784, 64, 10))
	nntest.Randomise(net.Params(), random.New(3, "test"))
	x, _ := examples[T](70, 784, 10, 5)
	trace := net.NewTrace(nn.TraceOptions{Batch: 70})
	want := net.Forward(trace, x, nn.Eval).Clone()
	if again := net.Forward(trace, x, nn.Eval); !slices.Equal(again.Data, want.Data) {
		t.Error("the second prediction differs")
	}
	for threads := 2; threads <= 3; threads++ {
		if got := net.Forward(net.NewTrace(nn.TraceOptions{Batch: 100, Threads: threads}), x, nn.Eval); !slices.Equal(got.Data, want.Data) {
			t.Errorf("predictions on %d threads differ", threads)
		}
	}
	one := net.NewTrace(nn.TraceOptions{Batch: 1})
	for i := range x.Rows {
		if got := net.Forward(one, matrix.FromRows(x.Row(i)), nn.Eval); !slices.Equal(got.Data, want.Row(i)) {
			t.Fatalf("example %d alone: logits %v, among others %v", i, got.Data, want.Row(i))
		}
	}
}

func TestNewRefuses(t *testing.T) {
	type layers = []nn.Layer[float32]
	dense := nn.NewDense[float32](3, 3)
	tests := []struct {
		name   string
		in     int
		layers layers
		want   string
	}{
		{"no layers", 3, nil, "network: no layers"},
		{"no input", 0, layers{dense}, "network: input has 0 features, want 1 or more"},
		{"first width", 4, layers{dense}, "network: layer 1 (dense) takes 3 features, but the one before gives 4"},
		{"later width", 3, layers{dense, nn.NewReLU[float32](2)}, "network: layer 2 (relu) takes 2 features, but the one before gives 3"},
		{"no output", 3, layers{nn.NewDense[float32](3, 0)}, "network: layer 1 (dense) gives 0 features, want 1 or more"},
		{"nil", 3, layers{dense, nil}, "network: layer 2 is nil"},
		{"a layer twice", 3, layers{dense, nn.NewReLU[float32](3), dense}, "network: layer 3 (dense) has the parameters of layer 1; each layer may occur once"},
	}
	for _, test := range tests {
		_, err := nn.New(test.in, test.layers...)
		wantUserError(t, test.name, err, test.want)
	}
	net, err := nn.New(3, layers{dense}...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := nn.New(3, nn.NewReLU[float32](3), dense, nn.NewReLU[float32](2)); err == nil || net.Params()[0].Name != "1.dense.weight" {
		t.Errorf("a network that was not made (%v) named a parameter %s", err, net.Params()[0].Name)
	}
}

// Wide networks pass fewer examples at once.
func TestTogether(t *testing.T) {
	for width, want := range map[int]int{10: 500, 1 << 20: 8, 1 << 24: 1} { // 2²⁴ activations
		net, err := nn.New(width, nn.Layer[float32](nn.NewReLU[float32](width)), nn.NewReLU[float32](width))
		if err != nil {
			t.Fatal(err)
		}
		if got := net.Together(500); got != want {
			t.Errorf("Together(500) of two layers of %d is %d, want %d", width, got, want)
		}
	}
}

// halved is a layer of another package that goes by the name of one of this.
type halved struct{ *nn.Dense[float64] }

func (h halved) Forward(c *nn.Cache[float64], x matrix.Matrix[float64], mode nn.Mode) matrix.Matrix[float64] {
	y := h.Dense.Forward(c, x, mode)
	for i := range y.Data {
		y.Data[i] /= 2
	}
	return y
}

// A layer that Build does not make is not replaced by one that it makes.
func TestCopyRefuses(t *testing.T) {
	net, err := nn.New(3, nn.Layer[float64](halved{nn.NewDense[float64](3, 2)}))
	if err != nil {
		t.Fatal(err)
	}
	_, err = nn.Copy[float64](net)
	wantUserError(t, "a layer of another package", err, `layer 1 is a nn_test.halved ("dense"), which package nn does not make`)

	large := build[float64](t, chain(false, nn.KindReLU, 3, 2))
	large.Params()[0].Value[1] = 1e300
	_, err = nn.Copy[float32](large)
	wantUserError(t, "a number too large", err, "1.dense.weight has numbers too large")
}

func TestParametersAreNamed(t *testing.T) {
	net := build[float32](t, chain(true, nn.KindReLU, 5, 4, 3))
	var got []string
	for _, p := range net.Params() {
		got = append(got, p.Name)
	}
	want := []string{"1.dense.weight", "2.batch_norm.gamma", "2.batch_norm.beta", "2.batch_norm.running_mean",
		"2.batch_norm.running_variance", "4.dense.weight", "4.dense.bias"}
	if !slices.Equal(got, want) {
		t.Errorf("parameters %v, want %v", got, want)
	}
	if in, out := net.Widths(); in != 5 || out != 3 {
		t.Errorf("Widths() = %d, %d; want 5, 3", in, out)
	}
	// The same layers in a longer network get new names.
	longer, err := nn.New(5, append([]nn.Layer[float32]{nn.NewTanh[float32](5)}, net.Layers()...)...)
	if err != nil {
		t.Fatal(err)
	}
	if got := longer.Params()[0].Name; got != "2.dense.weight" {
		t.Errorf("first parameter of the longer network is %q, want 2.dense.weight", got)
	}
}

// What a trace has no room for is not computed.
func TestTraceRoom(t *testing.T) {
	net := build[float64](t, chain(false, nn.KindReLU, 5, 4, 3))
	nntest.Randomise(net.Params(), random.New(1, "test"))
	x, _ := examples[float64](2, 5, 3, 1)
	g := matrix.FromRows([]float64{1, 2, 3}, []float64{4, 5, 6})
	trace := net.NewTrace(nn.TraceOptions{Batch: 2, Backward: true})
	net.Forward(trace, x, nn.Train)
	if dx := net.Backward(trace, g); dx.Data != nil {
		t.Errorf("Backward without room for the input's gradient gives %v", dx)
	}
	want := gradientOf(net)
	trace = net.NewTrace(nn.TraceOptions{Batch: 2, Backward: true, GradIn: true})
	net.Forward(trace, x, nn.Train)
	if dx := net.Backward(trace, g); dx.Rows != 2 || dx.Cols != 5 {
		t.Errorf("Backward gives %v, want [2, 5]", dx)
	}
	if !slices.Equal(gradientOf(net), want) {
		t.Error("the parameters' gradients depend on the room for the input's")
	}
	trace = net.NewTrace(nn.TraceOptions{Batch: 2})
	net.Forward(trace, x, nn.Train)
	if text := panicText(func() { net.Backward(trace, g) }); !strings.Contains(text, "want TraceOptions.Backward") {
		t.Errorf("Backward through a trace made for Forward only: panic %q, want one that says what is missing", text)
	}
}
