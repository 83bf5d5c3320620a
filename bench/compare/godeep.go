package main

import (
	"os"
	"runtime"

	deep "github.com/patrikeh/go-deep"
	"github.com/patrikeh/go-deep/training"
)

// goDeepNet is go-deep with its parallel batch trainer: float64, an object per
// neuron and synapse.
type goDeepNet struct {
	notMeasured
	threads  int
	task     task
	batches  batches
	net      *deep.Neural
	trainer  *training.BatchTrainer
	examples training.Examples
}

func (p *goDeepNet) prepare(t task) (string, error) {
	p.task, p.batches = t, t.batches()
	p.net = deep.NewNeural(&deep.Config{
		Inputs: t.widths[0], Layout: t.widths[1:], Activation: deep.ActivationReLU,
		Mode: deep.ModeMultiClass, Weight: func() float64 { return 0 }, Bias: true,
	})
	p.each(func(weight *float64, value *float32) { *weight = float64(*value) })
	// It sums the gradients of a batch, and the mean is wanted.
	p.trainer = training.NewBatchTrainer(training.NewSGD(rate/float64(t.batch), 0, 0, false), 0, t.batch, p.threads)
	x, classes := t.pixels(), t.widths[len(t.widths)-1]
	for i, image := range t.order {
		e := training.Example{Input: make([]float64, t.widths[0]), Response: make([]float64, classes)}
		for j := range e.Input {
			e.Input[j] = float64(x[i*t.widths[0]+j])
		}
		e.Response[t.set.Labels[image]] = 1
		p.examples = append(p.examples, e)
	}
	return "go-deep v0.0.0-20230427, float64, " + runtime.Version(), nil
}

// each pairs every weight with its place in the task's weights.
func (p *goDeepNet) each(f func(weight *float64, value *float32)) {
	for l, layer := range p.net.Layers {
		w, b := p.task.weights[2*l], p.task.weights[2*l+1]
		for j, neuron := range layer.Neurons {
			in := 0
			for _, synapse := range neuron.In {
				if synapse.IsBias {
					f(&synapse.Weight, &b[j])
					continue
				}
				f(&synapse.Weight, &w[in*len(layer.Neurons)+j])
				in++
			}
		}
	}
}

// step returns no cost, which the trainer does not tell; it trains without validation examples, so that nothing but training is timed.
// The trainer prints a heading, which must not reach the runner.
func (p *goDeepNet) step(n int) (float64, error) {
	out := os.Stdout
	os.Stdout = os.Stderr
	defer func() { os.Stdout = out }()
	for range n {
		lo, hi := p.batches.take()
		p.trainer.Train(p.net, p.examples[lo:hi], nil, 1)
	}
	return 0, nil
}

func (p *goDeepNet) parameters() [][]float32 {
	p.each(func(weight *float64, value *float32) { *value = float32(*weight) })
	return p.task.weights
}
