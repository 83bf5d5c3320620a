package main

import (
	"math"
	"runtime"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"
)

// gonumNet is a network written by hand over gonum's pure Go BLAS: float32, every
// buffer made once. Gemm itself spreads over GOMAXPROCS goroutines.
type gonumNet struct {
	notMeasured
	task    task
	batches batches
	x       []float32 // all images
	in      blas32.General
	w, z, g []blas32.General // of each layer: weights, outputs, their gradients
	b       [][]float32
}

func general(rows, cols int, data []float32) blas32.General {
	if data == nil {
		data = make([]float32, rows*cols)
	}
	return blas32.General{Rows: rows, Cols: cols, Stride: cols, Data: data}
}

func (p *gonumNet) prepare(t task) (string, error) {
	p.task, p.batches, p.x = t, t.batches(), t.pixels()
	p.in = general(t.batch, t.widths[0], nil)
	for i, n := range t.widths[1:] {
		p.w = append(p.w, general(t.widths[i], n, t.weights[2*i]))
		p.b = append(p.b, t.weights[2*i+1])
		p.z = append(p.z, general(t.batch, n, nil))
		p.g = append(p.g, general(t.batch, n, nil))
	}
	return "gonum v0.17.0, blas32, float32, " + runtime.Version(), nil
}

func (p *gonumNet) step(n int) (cost float64, err error) {
	inputs, last := p.task.widths[0], len(p.w)-1
	for range n {
		lo, hi := p.batches.take()
		copy(p.in.Data, p.x[lo*inputs:hi*inputs]) // in order already: the cheapest gathering
		a := p.in
		for l, w := range p.w {
			z := p.z[l]
			for r := range z.Rows {
				copy(z.Data[r*z.Cols:], p.b[l])
			}
			blas32.Gemm(blas.NoTrans, blas.NoTrans, 1, a, w, 1, z)
			if l < last {
				for i, v := range z.Data {
					z.Data[i] = max(v, 0)
				}
			}
			a = z
		}
		cost = p.softmax(lo)
		for l := last; l >= 0; l-- {
			g, input := p.g[l], p.in
			if l > 0 {
				input = p.z[l-1]
				blas32.Gemm(blas.NoTrans, blas.Trans, 1, g, p.w[l], 0, p.g[l-1])
				for i, v := range input.Data {
					if v <= 0 {
						p.g[l-1].Data[i] = 0
					}
				}
			}
			blas32.Gemm(blas.Trans, blas.NoTrans, -rate, input, g, 1, p.w[l])
			for r := range g.Rows {
				for c, v := range g.Data[r*g.Cols : (r+1)*g.Cols] {
					p.b[l][c] -= rate * v
				}
			}
		}
	}
	return cost, nil
}

// softmax returns the cost of the batch that begins at lo and leaves its gradient.
func (p *gonumNet) softmax(lo int) (cost float64) {
	last := len(p.w) - 1
	z, g := p.z[last], p.g[last]
	for r := range z.Rows {
		row, grad := z.Data[r*z.Cols:(r+1)*z.Cols], g.Data[r*z.Cols:(r+1)*z.Cols]
		top, sum := row[0], float32(0)
		for _, v := range row {
			top = max(top, v)
		}
		for c, v := range row {
			grad[c] = float32(math.Exp(float64(v - top)))
			sum += grad[c]
		}
		label := p.task.set.Labels[p.task.order[lo+r]]
		cost -= math.Log(float64(grad[label] / sum))
		for c := range grad {
			grad[c] /= sum * float32(z.Rows)
		}
		grad[label] -= 1 / float32(z.Rows)
	}
	return cost / float64(z.Rows)
}

func (p *gonumNet) parameters() (all [][]float32) {
	for l := range p.w {
		all = append(all, p.w[l].Data, p.b[l])
	}
	return all
}
