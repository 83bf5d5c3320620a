package train_test

import (
	"context"
	"fmt"
	"log"

	"glassnet/dataset"
	"glassnet/nn"
	"glassnet/optim"
	"glassnet/random"
	"glassnet/train"
)

// Three hundred 4 x 4 images of a vertical or a horizontal line among noise, of
// which a fifth tells when to stop.
func ExampleTrainer_Fit() {
	noise := random.New(1, "noise")
	set := &dataset.Set{Width: 4, Height: 4, Classes: 2, Pixels: make([]byte, 300*16), Labels: make([]uint8, 300)}
	for i := range set.Labels {
		vertical, at := noise.IntN(2), noise.IntN(4)
		for p := range 16 {
			ink := noise.IntN(156)
			if vertical == 1 && p%4 == at || vertical == 0 && p/4 == at {
				ink += 100
			}
			set.Image(i)[p] = byte(ink)
		}
		set.Labels[i] = uint8(vertical)
	}
	fit, validation, err := dataset.Split(set, random.New(1, random.Split).Permutation(300), 0.2)
	if err != nil {
		log.Fatal(err)
	}
	net, err := nn.New(16, nn.NewDense[float32](16, 12), nn.NewReLU[float32](12), nn.NewDense[float32](12, 2))
	if err != nil {
		log.Fatal(err)
	}
	he, err := nn.FindInitialiser("he-normal")
	if err != nil {
		log.Fatal(err)
	}
	nn.Initialise(net, he, random.New(1, random.Init))

	trainer, err := train.New(net, train.Options[float32]{
		Loss: nn.CrossEntropy[float32]{}, Penalty: optim.L2[float32]{Lambda: 1e-4}, Rule: optim.SGD[float32]{},
		Rate: 0.2, Batch: 16, Shuffle: random.New(1, random.Shuffle),
	})
	if err != nil {
		log.Fatal(err)
	}
	result, err := trainer.Fit(context.Background(), fit, validation, train.FitOptions{
		Epochs:   200,
		Stop:     &train.Patience{Epochs: 10},
		KeepBest: true,
		Watch: func(l train.Look) {
			if l.Epoch%10 == 0 {
				fmt.Printf("epoch %d: cost %.3f, on the validation set %.3f\n", l.Epoch, l.TrainCost, l.Validation.Cost)
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("stopped by %s after %d epochs; best is epoch %d: accuracy %.1f %%\n",
		result.Stopped, result.Epochs, result.Best.Epoch, 100*result.Best.Validation.Accuracy)
	// Output:
	// epoch 10: cost 0.590, on the validation set 0.614
	// epoch 20: cost 0.383, on the validation set 0.466
	// epoch 30: cost 0.229, on the validation set 0.356
	// epoch 40: cost 0.143, on the validation set 0.296
	// stopped by patience after 46 epochs; best is epoch 36: accuracy 81.7 %
}
