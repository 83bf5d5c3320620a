package train_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"testing"

	"glassnet/dataset"
	"glassnet/dataset/drawn"
	"glassnet/internal/kernel"
	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/optim"
	"glassnet/random"
	"glassnet/train"
)

// pinnedNets are the networks whose bits are pinned: A and B, and A with batch
// normalisation and L2.
var pinnedNets = map[string]struct {
	units     []int
	batchNorm bool
}{
	"A":  {[]int{20, 7, 5, 10}, false},
	"B":  {[]int{128, 64, 10}, false},
	"BN": {[]int{20, 7, 5, 10}, true},
}

// pinned holds, by network, number type and steps, the start of the SHA-256 over
// all parameters. Those of float64 are the portable kernels' from before there were others,
// those of float32 from when the first product got two sums.
var pinned = map[string]string{
	"A/float32/50":   "08ca535560af395e2d4dd09f",
	"A/float64/50":   "7c1dd7da2d027572d989b8fc",
	"BN/float32/50":  "de8fa2956c1be3c3399fae18",
	"BN/float64/50":  "8b96afc53dd3e016be0ddf6d",
	"A/float32/500":  "896fa09a6ac9508e5ddbac66",
	"A/float64/500":  "5d733c5f10a7343887b02632",
	"B/float32/500":  "01b0a9b18184828f12953b88",
	"B/float64/500":  "2c4e1675236c1596c1dd3a0d",
	"BN/float32/500": "46e19bcb65a44a7addaaef2b",
	"BN/float64/500": "3c52054c128acb62afa595c2",
}

// pinnedBits trains a network on drawn digits and returns its hash.
func pinnedBits[T matrix.Float](t *testing.T, name string, steps, threads int, set *dataset.Set) string {
	net := pinnedNets[name]
	a := nn.Architecture{Input: set.Features()}
	for i, n := range net.units {
		a.Layers = append(a.Layers, nn.LayerSpec{Kind: nn.KindDense, Units: n, NoBias: net.batchNorm && i < len(net.units)-1})
		if i < len(net.units)-1 {
			if net.batchNorm {
				o := nn.DefaultBatchNorm()
				a.Layers = append(a.Layers, nn.LayerSpec{Kind: nn.KindBatchNorm, Epsilon: o.Epsilon, Decay: o.Decay})
			}
			a.Layers = append(a.Layers, nn.LayerSpec{Kind: nn.KindReLU})
		}
	}
	built, err := nn.Build[T](a)
	if err != nil {
		t.Fatal(err)
	}
	nn.Initialise(built, nn.Initialisers[0], random.New(1, "pinned"))
	lambda := 0.0
	if net.batchNorm {
		lambda = 1e-4
	}
	trainer, err := train.New(built, train.Options[T]{
		Loss: nn.CrossEntropy[T]{}, Penalty: optim.L2[T]{Lambda: lambda}, Rule: optim.SGD[T]{},
		Rate: 0.05, Batch: 128, Threads: threads,
	})
	if err != nil {
		t.Fatal(err)
	}
	all := dataset.All(set)
	for step := range steps {
		lo := step * 128 % (set.Len() - 127)
		if _, err := trainer.Step(all.Slice(lo, lo+128)); err != nil {
			t.Fatal(err)
		}
	}
	h := sha256.New()
	for _, p := range built.Params() {
		for _, v := range p.Value {
			var b [8]byte
			binary.LittleEndian.PutUint64(b[:], math.Float64bits(float64(v)))
			h.Write(b[:])
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// A training has the same bits on every kernel and any number of threads. With
// GLASSNET_EXHAUSTIVE=1 it is 500 steps of all networks on up to 8 threads.
func TestPinnedBits(t *testing.T) {
	defer kernel.Use("")
	nets, steps, threads := []string{"A", "BN"}, 50, []int{1, 2, 3}
	if os.Getenv("GLASSNET_EXHAUSTIVE") == "1" {
		nets, steps, threads = []string{"A", "B", "BN"}, 500, []int{1, 2, 3, 8}
	}
	pixels, labels, err := drawn.Draw(t.Context(), drawn.StandardSeed, 0, 2048, nil)
	if err != nil {
		t.Fatal(err)
	}
	set := &dataset.Set{Width: drawn.Width, Height: drawn.Height, Classes: 10, Pixels: pixels, Labels: labels}
	for _, net := range nets {
		for precision, bits := range map[string]func(*testing.T, string, int, int, *dataset.Set) string{
			"float32": pinnedBits[float32], "float64": pinnedBits[float64],
		} {
			for _, name := range kernel.Names() {
				for _, n := range threads {
					t.Run(fmt.Sprintf("%s/%s/%d/%s/threads=%d", net, precision, steps, name, n), func(t *testing.T) {
						if err := kernel.Use(name); err != nil {
							t.Fatal(err)
						}
						key := fmt.Sprintf("%s/%s/%d", net, precision, steps)
						if got := bits(t, net, steps, n, set); got != pinned[key] {
							t.Errorf("hash of %s is %s, want %s", key, got, pinned[key])
						}
					})
				}
			}
		}
	}
}
