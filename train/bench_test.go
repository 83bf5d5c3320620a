package train_test

import (
	"fmt"
	"sync"
	"testing"

	"glassnet/dataset"
	"glassnet/dataset/drawn"
	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/optim"
	"glassnet/random"
	"glassnet/train"
)

// BenchmarkStep times training steps as DESIGN counts them: the next batch of
// bytes gathered, forward, cost, backward, update, on MNIST
// where that is found, on drawn digits elsewhere.
func BenchmarkStep(b *testing.B) {
	for _, units := range [][]int{{784, 20, 7, 5, 10}, {784, 128, 64, 10}, {784, 512, 256, 10}} {
		for _, threads := range []int{1, 2} {
			name := fmt.Sprintf("%v/threads=%d", units, threads)
			b.Run(name+"/float32", func(b *testing.B) { benchmarkStep[float32](b, units, threads) })
			b.Run(name+"/float64", func(b *testing.B) { benchmarkStep[float64](b, units, threads) })
		}
	}
}

var digits = func() func(b *testing.B) *dataset.Set {
	var once sync.Once
	var set *dataset.Set
	return func(b *testing.B) *dataset.Set {
		once.Do(func() {
			data, err := dataset.Load(b.Context(), "mnist", dataset.Options{Offline: true})
			if err == nil {
				set = data.Train
				return
			}
			pixels, labels, err := drawn.Draw(b.Context(), drawn.StandardSeed, 0, 48000, nil)
			if err != nil {
				b.Fatal(err)
			}
			set = &dataset.Set{Width: 28, Height: 28, Classes: 10, Pixels: pixels, Labels: labels}
		})
		return set
	}
}()

func benchmarkStep[T matrix.Float](b *testing.B, units []int, threads int) {
	const batch, batches = 128, 375
	s := random.New(1, "benchmark")
	set := digits(b)
	net := benchmarkNet[T](b, units, s)
	trainer, err := train.New(net, train.Options[T]{
		Loss: nn.CrossEntropy[T]{}, Penalty: optim.L2[T]{Lambda: 0}, Rule: optim.SGD[T]{}, Rate: 0.009, Batch: batch, Threads: threads,
	})
	if err != nil {
		b.Fatal(err)
	}
	all := dataset.All(set)
	i := 0
	for b.Loop() {
		lo := i % batches * batch
		if _, err := trainer.Step(all.Slice(lo, lo+batch)); err != nil {
			b.Fatal(err)
		}
		i++
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N), "µs/step")
}

func benchmarkNet[T matrix.Float](b *testing.B, units []int, s *random.Stream) *nn.Network[T] {
	a := nn.Architecture{Input: 784}
	for i, n := range units[1:] {
		a.Layers = append(a.Layers, nn.LayerSpec{Kind: nn.KindDense, Units: n})
		if i < len(units)-2 {
			a.Layers = append(a.Layers, nn.LayerSpec{Kind: nn.KindReLU})
		}
	}
	net, err := nn.Build[T](a)
	if err != nil {
		b.Fatal(err)
	}
	nn.Initialise(net, nn.Initialisers[0], s)
	return net
}

// BenchmarkPredict times the classification of one image and of 1,024.
func BenchmarkPredict(b *testing.B) {
	for _, units := range [][]int{{784, 20, 7, 5, 10}, {784, 512, 256, 10}} {
		net := benchmarkNet[float32](b, units, random.New(1, "benchmark"))
		set := digits(b)
		b.Run(fmt.Sprintf("%v/1", units), func(b *testing.B) {
			p, probabilities := nn.NewPredictor(net, 1), make([]float32, 10)
			i := 0
			for b.Loop() {
				p.Predict(probabilities, set.Image(i%set.Len()))
				i++
			}
		})
		b.Run(fmt.Sprintf("%v/1024", units), func(b *testing.B) {
			p, probabilities := nn.NewPredictor(net, 1024), matrix.New[float32](1024, 10)
			images := dataset.All(set)
			i := 0
			for b.Loop() {
				lo := i * 1024 % (set.Len() - 1024)
				p.PredictBatch(probabilities, images.Slice(lo, lo+1024).Pixels())
				i++
			}
			b.ReportMetric(1024*float64(b.N)/b.Elapsed().Seconds(), "images/s")
		})
	}
}
