package drawn_test

import (
	"context"
	"fmt"

	"glassnet/dataset/drawn"
)

func ExampleDraw() {
	pixels, labels, err := drawn.Draw(context.Background(), drawn.StandardSeed, 2, 1, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for row := 3; row < drawn.Height-3; row++ {
		line := pixels[row*drawn.Width : (row+1)*drawn.Width]
		fmt.Print("|")
		for _, v := range line[3 : drawn.Width-3] {
			fmt.Printf("%c", " .:oO#"[int(v)*6/256])
		}
		fmt.Println("|")
	}
	fmt.Println("label", labels[0])
	// Output:
	// |               .oOO:  |
	// |              O###### |
	// |             ####O###:|
	// |            ###O   ##o|
	// |          .###O   :##:|
	// |         :###O    ### |
	// |         o##o    .### |
	// |          o:     ###. |
	// |                o##o  |
	// |               .##O   |
	// |               ###    |
	// |              ###     |
	// |             ###      |
	// |           .###       |
	// |    :###o :###        |
	// |   o########O         |
	// |   ###oO###o          |
	// |  :#########Oo::.     |
	// |  :#####:#########    |
	// |   .::.   :O######    |
	// |                ..    |
	// |                      |
	// label 2
}
