package main

import (
	"fmt"
	"runtime"

	"glassnet/dataset"
	"glassnet/internal/kernel"
	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/optim"
	"glassnet/random"
	"glassnet/train"
)

// ours is glassnet: float32, images kept as bytes.
type ours struct {
	threads   int
	task      task
	net       *nn.Network[float32]
	trainer   *train.Trainer[float32]
	batches   batches
	predictor *nn.Predictor[float32] // for batches of predicted
	predicted int
	images    int // where the next batch to predict begins
	engine    *kernel.Engine[float32]
	factors   map[string][]float32 // of products, by shape
}

func (o *ours) prepare(t task) (string, error) {
	o.task, o.batches = t, t.batches()
	runtime.GOMAXPROCS(o.threads)
	a := nn.Architecture{Input: t.widths[0]}
	for i, n := range t.widths[1:] {
		a.Layers = append(a.Layers, nn.LayerSpec{Kind: nn.KindDense, Units: n})
		if i < len(t.widths)-2 {
			a.Layers = append(a.Layers, nn.LayerSpec{Kind: nn.KindReLU})
		}
	}
	var err error
	if o.net, err = nn.Build[float32](a); err != nil {
		return "", err
	}
	for i, p := range o.net.Params() {
		copy(p.Value, t.weights[i])
	}
	o.trainer, err = train.New(o.net, train.Options[float32]{
		Loss: nn.CrossEntropy[float32]{}, Penalty: optim.L2[float32]{}, Rule: optim.SGD[float32]{}, Rate: rate, Batch: t.batch, Threads: o.threads,
	})
	return fmt.Sprintf("glassnet, float32, kernels %s, %s", kernel.Name(), runtime.Version()), err
}

func (o *ours) step(n int) (float64, error) {
	var last train.Cost
	for range n {
		lo, hi := o.batches.take()
		var err error
		if last, err = o.trainer.Step(dataset.View{Set: o.task.set, Index: o.task.order[lo:hi]}); err != nil {
			return 0, err
		}
	}
	return last.Data + last.Penalty, nil
}

func (o *ours) parameters() (all [][]float32) {
	for _, p := range o.net.Params() {
		all = append(all, p.Value)
	}
	return all
}

func (o *ours) predict(batch, n int) ([]float32, error) {
	if o.predictor == nil || o.predicted != batch {
		o.predictor, o.predicted = nn.NewPredictor(o.net, batch), batch
	}
	probabilities := matrix.New[float32](batch, o.task.widths[len(o.task.widths)-1])
	all := dataset.All(o.task.set)
	o.images = 0
	for range n {
		lo := o.images
		if o.images += batch; o.images+batch > len(o.task.order) {
			o.images = 0
		}
		if batch == 1 {
			o.predictor.Predict(probabilities.Data, o.task.set.Image(lo))
		} else {
			o.predictor.PredictBatch(probabilities, all.Slice(lo, lo+batch).Pixels())
		}
	}
	return probabilities.Data, nil
}

func (o *ours) product(kind string, m, k, n, repeats int) error {
	if o.engine == nil {
		o.engine, o.factors = kernel.NewEngine[float32](kernel.PoolOf(o.threads)), map[string][]float32{}
	}
	factor := func(name string, rows, cols int) []float32 {
		key := fmt.Sprint(name, rows, "x", cols)
		if o.factors[key] == nil {
			s := random.New(1, key)
			v := make([]float32, rows*cols)
			for i := range v {
				v[i] = float32(s.Float64() - 0.5)
			}
			o.factors[key] = v
		}
		return o.factors[key]
	}
	x, w, g := factor("x", m, k), factor("w", k, n), factor("g", m, n)
	y, dw, dx := factor("y", m, n), factor("dw", k, n), factor("dx", m, k)
	for range repeats {
		switch kind {
		case "x·w":
			o.engine.MatMul(y, x, w, nil, m, k, n)
		case "xᵀ·g":
			o.engine.MatMulTransposed(dw, x, g, m, k, n)
		case "g·wᵀ":
			o.engine.MatMulByTransposed(dx, g, w, m, k, n)
		default:
			return fmt.Errorf("product %q: want x·w, xᵀ·g or g·wᵀ", kind)
		}
	}
	return nil
}
