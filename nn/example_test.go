package nn_test

import (
	"fmt"
	"log"

	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/optim"
	"glassnet/random"
)

// A whole training, written out: a network learns "exclusive or".
func Example() {
	x := matrix.FromRows([]float32{0, 0}, []float32{0, 1}, []float32{1, 0}, []float32{1, 1})
	labels := []uint8{0, 1, 1, 0}

	net, err := nn.New(2, nn.NewDense[float32](2, 8), nn.NewTanh[float32](8), nn.NewDense[float32](8, 2))
	if err != nil {
		log.Fatal(err)
	}
	initialiser, err := nn.FindInitialiser("glorot-uniform")
	if err != nil {
		log.Fatal(err)
	}
	nn.Initialise(net, initialiser, random.New(1, random.Init))

	trace := net.NewTrace(nn.TraceOptions{Batch: 4, Backward: true})
	loss, cache := nn.CrossEntropy[float32]{}, nn.NewLossCache[float32](4, 2)
	optimizer := optim.New(optim.SGD[float32]{}, net.Params(), 1)
	for step := range 501 {
		logits := net.Forward(trace, x, nn.Train)
		cost := loss.Forward(cache, logits, labels)
		net.Backward(trace, loss.Backward(cache))
		if step%100 == 0 {
			fmt.Printf("step %3d: cost %.4f, %d of 4 right\n", step, cost, cache.Correct())
		}
		if err := optimizer.Step(0.5); err != nil {
			log.Fatal(err)
		}
	}
	// Output:
	// step   0: cost 0.7575, 3 of 4 right
	// step 100: cost 0.0909, 4 of 4 right
	// step 200: cost 0.0190, 4 of 4 right
	// step 300: cost 0.0096, 4 of 4 right
	// step 400: cost 0.0062, 4 of 4 right
	// step 500: cost 0.0045, 4 of 4 right
}

func ExampleBatchNorm() {
	norm := nn.NewBatchNorm[float64](2, nn.DefaultBatchNorm())
	cache := norm.NewCache(nn.CacheOptions{Batch: 3})
	x := matrix.FromRows([]float64{1, 100}, []float64{2, 200}, []float64{3, 600})

	y := norm.Forward(cache, x, nn.Train)
	for i := range y.Rows {
		fmt.Printf("%7.4f\n", y.Row(i))
	}
	for _, kept := range cache.Kept[:2] {
		fmt.Printf("%s of the batch %.4f\n", kept.Name, kept.Value.Row(0))
	}
	for _, p := range norm.Params() {
		fmt.Printf("%s %.4f\n", p.Name, p.Value)
	}
	// Output:
	// [-1.2247 -0.9258]
	// [ 0.0000 -0.4629]
	// [ 1.2247  1.3887]
	// mean of the batch [2.0000 300.0000]
	// variance of the batch [0.6667 46666.6667]
	// gamma [1.0000 1.0000]
	// beta [0.0000 0.0000]
	// running_mean [0.2000 30.0000]
	// running_variance [1.0000 7000.9000]
}
