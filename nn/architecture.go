package nn

import (
	"glassnet/internal/usererr"
	"glassnet/matrix"
)

// The kinds of layers and the losses, as files name them.
const (
	KindDense         = "dense"
	KindReLU          = "relu"
	KindSigmoid       = "sigmoid"
	KindTanh          = "tanh"
	KindBatchNorm     = "batch_norm"
	KindPublishedNorm = "published_per_example_norm"

	LossCrossEntropy          = "cross_entropy"
	LossPublishedCrossEntropy = "published_cross_entropy"
)

// Kinds returns the kinds of layers that Build makes.
func Kinds() []string {
	return []string{KindDense, KindReLU, KindSigmoid, KindTanh, KindBatchNorm, KindPublishedNorm}
}

// Architecture describes a network without its numbers: what a model file holds
// beside the parameters.
type Architecture struct {
	Input  int         `json:"input"`
	Layers []LayerSpec `json:"layers"`
}

// LayerSpec describes one layer. Fields that a kind does not have are 0.
type LayerSpec struct {
	Kind    string  `json:"kind"`
	Units   int     `json:"units,omitempty"`   // dense: features out
	NoBias  bool    `json:"no_bias,omitempty"` // dense
	Epsilon float64 `json:"epsilon,omitempty"` // batch_norm
	Decay   float64 `json:"decay,omitempty"`   // batch_norm
}

// Bounds on what Build accepts: far beyond a network that this program can train
// in a day, far below one that exhausts the machine.
const (
	maxLayers     = 1 << 10
	maxUnits      = 1 << 20
	maxParameters = 1 << 27
	maxOutputs    = 1 << 23 // of all layers together, for one example
)

// ours says whether l is a layer of this package.
func ours[T matrix.Float](l Layer[T]) bool {
	_, batchNorm := l.(*BatchNorm[T])
	return batchNorm || alongRows(l)
}

// Buildable returns an error that names the first layer that is not of this package, nil
// where there is none. Build does not make such a layer: a network with one can be trained
// and evaluated, but not copied, stored or explained.
func (n *Network[T]) Buildable() error {
	for i, l := range n.layers {
		if !ours(l) {
			return usererr.New("network: layer %d is a %T (%q), which package nn does not make: such a network trains and predicts, but cannot be copied, stored or explained", i+1, l, l.Spec().Kind)
		}
	}
	return nil
}

// Architecture returns the description from which Build makes an untrained twin, if the
// network is Buildable.
func (n *Network[T]) Architecture() Architecture {
	a := Architecture{Input: n.in}
	for _, l := range n.layers {
		a.Layers = append(a.Layers, l.Spec())
	}
	return a
}

// Build makes a network from its description, weights and biases 0. Descriptions
// come from files: every field is checked before anything is allocated.
func Build[T matrix.Float](a Architecture) (*Network[T], error) {
	if err := a.Check(); err != nil {
		return nil, err
	}
	width := a.Input
	layers := make([]Layer[T], len(a.Layers))
	for i, s := range a.Layers {
		switch s.Kind {
		case KindDense:
			if s.NoBias {
				layers[i] = NewDenseWithoutBias[T](width, s.Units)
			} else {
				layers[i] = NewDense[T](width, s.Units)
			}
			width = s.Units
		case KindReLU:
			layers[i] = NewReLU[T](width)
		case KindSigmoid:
			layers[i] = NewSigmoid[T](width)
		case KindTanh:
			layers[i] = NewTanh[T](width)
		case KindBatchNorm:
			layers[i] = NewBatchNorm[T](width, BatchNormOptions{s.Epsilon, s.Decay})
		case KindPublishedNorm:
			layers[i] = NewPublishedNorm[T](width)
		}
	}
	return New(a.Input, layers...)
}

// Copy returns a network of numbers of type To with the layers and parameters of net;
// its gradients are 0. It returns an error when net is not Buildable, or has a number that
// is too large for To.
func Copy[To, From matrix.Float](net *Network[From]) (*Network[To], error) {
	if err := net.Buildable(); err != nil {
		return nil, err
	}
	twin, err := Build[To](net.Architecture())
	if err != nil {
		return nil, err
	}
	for i, p := range net.Params() {
		copy(twin.params[i].Value, matrix.Convert[To](p.Value))
		if matrix.Finite(p.Value) && !matrix.Finite(twin.params[i].Value) {
			return nil, usererr.New("network: %s has numbers too large for the type wanted", p.Name)
		}
	}
	return twin, nil
}

// Check returns an error that says what Build would not make, nil if it would.
func (a Architecture) Check() error {
	if a.Input < 1 || a.Input > maxUnits {
		return usererr.New("architecture: input of %d features, want 1 to %d", a.Input, maxUnits)
	}
	if len(a.Layers) < 1 || len(a.Layers) > maxLayers {
		return usererr.New("architecture: %d layers, want 1 to %d", len(a.Layers), maxLayers)
	}
	width, parameters, outputs := a.Input, int64(0), int64(0)
	for i, s := range a.Layers {
		where := func(format string, args ...any) error {
			return usererr.New("architecture: layer %d (%q): "+format, append([]any{i + 1, s.Kind}, args...)...)
		}
		allowed := LayerSpec{Kind: s.Kind}
		switch s.Kind {
		case KindDense:
			if s.Units < 1 || s.Units > maxUnits {
				return where("units = %d, want 1 to %d", s.Units, maxUnits)
			}
			parameters += int64(width+1) * int64(s.Units)
			width = s.Units
			allowed.Units, allowed.NoBias = s.Units, s.NoBias
		case KindBatchNorm:
			if !(s.Epsilon >= leastEpsilon && s.Epsilon <= 1) {
				return where("epsilon = %v, want a number in [%v, 1]", s.Epsilon, leastEpsilon)
			}
			if !(s.Decay >= 0 && s.Decay < 1) {
				return where("decay = %v, want a number in [0, 1)", s.Decay)
			}
			parameters += 4 * int64(width)
			allowed.Epsilon, allowed.Decay = s.Epsilon, s.Decay
		case KindReLU, KindSigmoid, KindTanh, KindPublishedNorm:
		default:
			return where("unknown kind of layer, want %s", usererr.List(Kinds()))
		}
		if s != allowed {
			return where("has a field that this kind of layer does not have: %+v", s)
		}
		if parameters > maxParameters {
			return where("brings the network to %d parameters, want at most %d", parameters, maxParameters)
		}
		if outputs += int64(width); outputs > maxOutputs {
			return where("brings the network to %d outputs in all layers, want at most %d", outputs, maxOutputs)
		}
	}
	return nil
}

// NewLoss returns the loss of that name.
func NewLoss[T matrix.Float](name string) (Loss[T], error) {
	switch name {
	case LossCrossEntropy:
		return CrossEntropy[T]{}, nil
	case LossPublishedCrossEntropy:
		return PublishedCrossEntropy[T]{}, nil
	}
	return nil, usererr.New("unknown loss %q, want %s or %s", name, LossCrossEntropy, LossPublishedCrossEntropy)
}
