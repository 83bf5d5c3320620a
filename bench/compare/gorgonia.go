package main

import (
	"runtime"

	G "gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// gorgoniaNet is gorgonia as its examples use it: a graph, its gradients derived
// symbolically, a tape machine, its plain solver. float32.
type gorgoniaNet struct {
	notMeasured
	batches    batches
	x, y       *tensor.Dense // all images, all labels as one-hot rows
	in, want   *G.Node
	learnables G.Nodes
	gradients  []G.ValueGrad
	cost       G.Value
	machine    G.VM
	solver     G.Solver
}

func (p *gorgoniaNet) prepare(t task) (string, error) {
	p.batches = t.batches()
	inputs, classes := t.widths[0], t.widths[len(t.widths)-1]
	hot := make([]float32, len(t.order)*classes)
	for i, image := range t.order {
		hot[i*classes+int(t.set.Labels[image])] = 1
	}
	p.x = tensor.New(tensor.WithShape(len(t.order), inputs), tensor.WithBacking(t.pixels()))
	p.y = tensor.New(tensor.WithShape(len(t.order), classes), tensor.WithBacking(hot))

	g := G.NewGraph()
	p.in = G.NewMatrix(g, G.Float32, G.WithShape(t.batch, inputs), G.WithName("x"))
	p.want = G.NewMatrix(g, G.Float32, G.WithShape(t.batch, classes), G.WithName("y"))
	a := p.in
	for i, n := range t.widths[1:] {
		w := G.NewMatrix(g, G.Float32, G.WithShape(t.widths[i], n), G.WithName("w"+string(rune('0'+i))),
			G.WithValue(tensor.New(tensor.WithShape(t.widths[i], n), tensor.WithBacking(t.weights[2*i]))))
		b := G.NewMatrix(g, G.Float32, G.WithShape(1, n), G.WithName("b"+string(rune('0'+i))),
			G.WithValue(tensor.New(tensor.WithShape(1, n), tensor.WithBacking(t.weights[2*i+1]))))
		p.learnables = append(p.learnables, w, b)
		product, err := G.Mul(a, w)
		if err != nil {
			return "", err
		}
		if a, err = G.BroadcastAdd(product, b, nil, []byte{0}); err != nil {
			return "", err
		}
		if i < len(t.widths)-2 {
			if a, err = G.Rectify(a); err != nil {
				return "", err
			}
		}
	}
	probabilities, err := G.SoftMax(a)
	if err != nil {
		return "", err
	}
	logs, err := G.Log(probabilities)
	if err != nil {
		return "", err
	}
	picked, err := G.HadamardProd(logs, p.want)
	if err != nil {
		return "", err
	}
	total, err := G.Sum(picked)
	if err != nil {
		return "", err
	}
	cost, err := G.Mul(total, G.NewConstant(float32(-1)/float32(t.batch)))
	if err != nil {
		return "", err
	}
	G.Read(cost, &p.cost)
	if _, err := G.Grad(cost, p.learnables...); err != nil {
		return "", err
	}
	p.gradients = G.NodesToValueGrads(p.learnables)
	p.machine = G.NewTapeMachine(g, G.BindDualValues(p.learnables...))
	p.solver = G.NewVanillaSolver(G.WithLearnRate(rate))
	return "gorgonia v0.9.18, float32, " + runtime.Version(), nil
}

func (p *gorgoniaNet) step(n int) (float64, error) {
	for range n {
		lo, hi := p.batches.take()
		x, err := p.x.Slice(G.S(lo, hi))
		if err != nil {
			return 0, err
		}
		y, err := p.y.Slice(G.S(lo, hi))
		if err != nil {
			return 0, err
		}
		if err := G.Let(p.in, x); err != nil {
			return 0, err
		}
		if err := G.Let(p.want, y); err != nil {
			return 0, err
		}
		if err := p.machine.RunAll(); err != nil {
			return 0, err
		}
		if err := p.solver.Step(p.gradients); err != nil {
			return 0, err
		}
		p.machine.Reset()
	}
	return float64(p.cost.Data().(float32)), nil
}

func (p *gorgoniaNet) parameters() (all [][]float32) {
	for _, n := range p.learnables {
		all = append(all, n.Value().Data().([]float32))
	}
	return all
}
