package dataset_test

import (
	"bytes"
	"fmt"

	"glassnet/dataset"
)

// Two images of 2x2 pixels, written as an IDX file and read again.
func ExampleReadImages() {
	var file bytes.Buffer
	if err := dataset.WriteImages(&file, 2, 2, []byte{0, 255, 255, 0, 10, 20, 30, 40}); err != nil {
		fmt.Println(err)
		return
	}
	images, err := dataset.ReadImages(&file, "train-images-idx3-ubyte", int64(file.Len()))
	fmt.Println(images.Count, images.Width, images.Height, images.Pixels[4:], err)
	// Output: 2 2 2 [10 20 30 40] <nil>
}

// A one drawn with dark ink near the corner of a white sheet of 100x80 pixels.
func ExamplePrepareDigit() {
	sheet := bytes.Repeat([]byte{255}, 100*80)
	for y := 10; y < 50; y++ {
		copy(sheet[y*100+15:], []byte{20, 20, 20, 20})
	}
	digit, err := dataset.PrepareDigit(sheet, 100, 80, 28, 28)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, step := range digit.Steps {
		fmt.Println(step)
	}
	// Output:
	// inverted dark ink on a light ground
	// stretched grey levels 0..235 to 0..255
	// cropped to 4x40 at (15,10)
	// scaled to 2x20
	// centred by mass in 28x28, at (13,4)
}
