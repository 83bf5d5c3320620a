package nn_test

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"

	"glassnet/nn"
)

func allKinds() nn.Architecture {
	return nn.Architecture{Input: 4, Layers: []nn.LayerSpec{
		{Kind: nn.KindDense, Units: 5},
		{Kind: nn.KindReLU},
		{Kind: nn.KindDense, Units: 3, NoBias: true},
		{Kind: nn.KindBatchNorm, Epsilon: 1e-3, Decay: 0.5},
		{Kind: nn.KindTanh},
		{Kind: nn.KindPublishedNorm},
		{Kind: nn.KindSigmoid},
	}}
}

func TestArchitectureComesBack(t *testing.T) {
	want := allKinds()
	if got := build[float32](t, want).Architecture(); !reflect.DeepEqual(got, want) {
		t.Errorf("Build(a).Architecture() = %+v, want %+v", got, want)
	}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var back nn.Architecture
	if err := json.Unmarshal(text, &back); err != nil || !reflect.DeepEqual(back, want) {
		t.Errorf("through JSON %s: %+v, %v; want %+v", text, back, err, want)
	}
}

func TestBuildRefuses(t *testing.T) {
	dense := func(units int) nn.LayerSpec { return nn.LayerSpec{Kind: nn.KindDense, Units: units} }
	norm := func(epsilon, decay float64) nn.LayerSpec {
		return nn.LayerSpec{Kind: nn.KindBatchNorm, Epsilon: epsilon, Decay: decay}
	}
	tests := []struct {
		name   string
		in     int
		layers []nn.LayerSpec
		want   string
	}{
		{"no input", 0, []nn.LayerSpec{dense(1)}, "input of 0 features, want 1 to 1048576"},
		{"huge input", math.MaxInt, []nn.LayerSpec{dense(1)}, fmt.Sprintf("input of %d features", math.MaxInt)},
		{"no layers", 4, nil, "0 layers, want 1 to 1024"},
		{"many layers", 4, make([]nn.LayerSpec, 1025), "1025 layers"},
		{"no units", 4, []nn.LayerSpec{dense(3), dense(0)}, `layer 2 ("dense"): units = 0, want 1 to 1048576`},
		{"negative units", 4, []nn.LayerSpec{dense(-1)}, "units = -1"},
		{"huge units", 4, []nn.LayerSpec{dense(1<<20 + 1)}, "units = 1048577"},
		{"many parameters", 1 << 14, []nn.LayerSpec{dense(1 << 12), dense(1 << 14)}, `layer 2 ("dense"): brings the network to 134238208 parameters, want at most 134217728`},
		{"many parameters by batch norm", 1 << 14, []nn.LayerSpec{dense(1<<13 - 1), norm(1e-5, .9)}, `layer 2 ("batch_norm"): brings the network to 134242299 parameters, want at most 134217728`},
		{"many outputs", 4, append([]nn.LayerSpec{dense(1 << 20)}, slices.Repeat([]nn.LayerSpec{{Kind: nn.KindReLU}}, 8)...),
			`layer 9 ("relu"): brings the network to 9437184 outputs in all layers, want at most 8388608`},
		{"epsilon 0", 4, []nn.LayerSpec{norm(0, .9)}, "epsilon = 0, want a number in [1e-30, 1]"},
		{"epsilon NaN", 4, []nn.LayerSpec{norm(math.NaN(), .9)}, "epsilon = NaN"},
		{"decay 1", 4, []nn.LayerSpec{norm(1e-5, 1)}, "decay = 1, want a number in [0, 1)"},
		{"decay NaN", 4, []nn.LayerSpec{norm(1e-5, math.NaN())}, "decay = NaN"},
		{"unknown kind", 4, []nn.LayerSpec{{Kind: "conv\x1b"}}, `layer 1 ("conv\x1b"): unknown kind of layer, want dense, relu`},
		{"field of another kind", 4, []nn.LayerSpec{{Kind: nn.KindReLU, Units: 4}}, "has a field that this kind of layer does not have"},
		{"epsilon of a dense layer", 4, []nn.LayerSpec{{Kind: nn.KindDense, Units: 4, Epsilon: 1}}, "has a field that"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			net, err := nn.Build[float32](nn.Architecture{Input: test.in, Layers: test.layers})
			wantUserError(t, "Build", err, test.want)
			if net != nil {
				t.Errorf("Build returns a network beside the error")
			}
		})
	}
}
