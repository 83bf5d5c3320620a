package nn

import (
	"math"

	"glassnet/internal/usererr"
	"glassnet/matrix"
	"glassnet/random"
)

// Initialiser draws one initial weight of a Dense layer with in features in and
// out features out. Initialisers has them all.
type Initialiser struct {
	Name string
	draw func(s *random.Stream, in, out float64) float64
}

// Initialisers lists the rules for initial weights. The normal ones have the
// standard deviation σ given, the uniform ones the same σ, drawn from ±√3·σ:
//
//	lecun    σ = √(1/in)            LeCun, Bottou, Orr, Müller 1998
//	glorot   σ = √(2/(in + out))    Glorot and Bengio 2010
//	he       σ = √(2/in)            He, Zhang, Ren, Sun 2015, for ReLU
var Initialisers = []Initialiser{
	{"he-normal", normal(he)}, {"he-uniform", uniform(he)},
	{"glorot-normal", normal(glorot)}, {"glorot-uniform", uniform(glorot)},
	{"lecun-normal", normal(lecun)}, {"lecun-uniform", uniform(lecun)},
	{"zeros", func(*random.Stream, float64, float64) float64 { return 0 }},
}

func lecun(in, _ float64) float64    { return math.Sqrt(1 / in) }
func glorot(in, out float64) float64 { return math.Sqrt(2 / (in + out)) }
func he(in, _ float64) float64       { return math.Sqrt(2 / in) }

func normal(deviation func(in, out float64) float64) func(*random.Stream, float64, float64) float64 {
	return func(s *random.Stream, in, out float64) float64 { return s.Normal() * deviation(in, out) }
}

func uniform(deviation func(in, out float64) float64) func(*random.Stream, float64, float64) float64 {
	return func(s *random.Stream, in, out float64) float64 {
		bound := math.Sqrt(3) * deviation(in, out)
		return float64(2*bound*s.Float64()) - bound
	}
}

// FindInitialiser returns the rule of that name.
func FindInitialiser(name string) (Initialiser, error) {
	var names []string
	for _, i := range Initialisers {
		if i.Name == name {
			return i, nil
		}
		names = append(names, i.Name)
	}
	return Initialiser{}, usererr.New("unknown initialiser %q, want %s", name, usererr.List(names))
}

// Initialise draws the weights of all Dense layers, first layer first, row by
// row, from s, and sets biases to 0, scales to 1, shifts to 0, running means to 0
// and running variances to 1. Networks of the same dense layers get the same
// weights from equal streams, whatever normalisation stands between them. Layers of
// another package keep their numbers. For a rule of your own, write to Param.Value.
func Initialise[T matrix.Float](n *Network[T], rule Initialiser, s *random.Stream) {
	for _, l := range n.layers {
		if ours(l) {
			initialise(l.Params(), rule, s)
		}
	}
}

func initialise[T matrix.Float](params []*Param[T], rule Initialiser, s *random.Stream) {
	for _, p := range params {
		for i := range p.Value {
			switch {
			case p.Role == Weight:
				p.Value[i] = T(rule.draw(s, float64(p.Shape[0]), float64(p.Shape[1])))
			case p.Role == Scale || partOf(p.Name) == "running_variance":
				p.Value[i] = 1
			default:
				p.Value[i] = 0
			}
		}
	}
}
