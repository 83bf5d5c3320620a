package main

import (
	"runtime"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/backends/simplego"
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

// gomlxNet is GoMLX with its pure Go backend: one compiled graph holds a whole step,
// float32. The backward pass is written by hand: this version derives the gradient
// of a product as a sum over a tensor of three axes, which takes ten times as long.
type gomlxNet struct {
	notMeasured
	task    task
	batches batches
	x       []float32
	backend backends.Backend
	exec    *graph.Exec
	learned []*tensors.Tensor
}

func (p *gomlxNet) prepare(t task) (string, error) {
	p.task, p.batches, p.x = t, t.batches(), t.pixels()
	// Products still use all cores; with other operations in parallel it hangs.
	backend, err := simplego.New("ops_sequential")
	if err != nil {
		return "", err
	}
	p.backend = backend
	for i, n := range t.widths[1:] {
		p.learned = append(p.learned,
			tensors.FromFlatDataAndDimensions(t.weights[2*i], t.widths[i], n),
			tensors.FromFlatDataAndDimensions(t.weights[2*i+1], 1, n))
	}
	classes := t.widths[len(t.widths)-1]
	p.exec, err = graph.NewExec(backend, func(in []*graph.Node) []*graph.Node {
		learned, x, labels := in[:len(in)-2], in[len(in)-2], in[len(in)-1]
		activations := []*graph.Node{x}
		for l := 0; l < len(learned); l += 2 {
			a := graph.Add(graph.Dot(activations[l/2], learned[l]), learned[l+1])
			if l+2 < len(learned) {
				a = graph.MaxScalar(a, 0)
			}
			activations = append(activations, a)
		}
		logits := activations[len(activations)-1]
		hot := graph.OneHot(labels, classes, dtypes.Float32)
		cost := graph.MulScalar(graph.ReduceAllSum(graph.Mul(graph.LogSoftmax(logits), hot)), -1/float64(t.batch))
		g := graph.MulScalar(graph.Sub(graph.Softmax(logits), hot), 1/float64(t.batch))
		out := make([]*graph.Node, len(learned), len(in))
		for l := len(learned) - 2; l >= 0; l -= 2 {
			a, w, b := activations[l/2], learned[l], learned[l+1]
			out[l] = graph.Sub(w, graph.MulScalar(graph.DotGeneral(a, []int{0}, nil, g, []int{0}, nil), rate))
			out[l+1] = graph.Sub(b, graph.MulScalar(graph.ReduceAndKeep(g, graph.ReduceSum, 0), rate))
			if l > 0 {
				g = graph.Mul(graph.DotGeneral(g, []int{1}, nil, w, []int{1}, nil), graph.PositiveIndicator(a))
			}
		}
		return append(out, cost)
	})
	return "gomlx v0.26.0, simplego, float32, " + runtime.Version(), err
}

func (p *gomlxNet) step(n int) (cost float64, err error) {
	inputs := p.task.widths[0]
	for range n {
		lo, hi := p.batches.take()
		labels := make([]int32, p.task.batch)
		for i, image := range p.task.order[lo:hi] {
			labels[i] = int32(p.task.set.Labels[image])
		}
		var arguments []any
		for _, t := range p.learned {
			donated, err := graph.DonateTensorBuffer(t, p.backend, 0)
			if err != nil {
				return 0, err
			}
			arguments = append(arguments, donated)
		}
		arguments = append(arguments,
			tensors.FromFlatDataAndDimensions(p.x[lo*inputs:hi*inputs], p.task.batch, inputs),
			tensors.FromFlatDataAndDimensions(labels, p.task.batch))
		out, err := p.exec.Exec(arguments...)
		if err != nil {
			return 0, err
		}
		p.learned = out[:len(out)-1]
		cost = float64(tensors.ToScalar[float32](out[len(out)-1]))
	}
	return cost, nil
}

func (p *gomlxNet) parameters() (all [][]float32) {
	for _, t := range p.learned {
		all = append(all, tensors.MustCopyFlatData[float32](t))
	}
	return all
}
