package modelfile_test

import (
	"fmt"
	"os"
	"path/filepath"

	"glassnet/modelfile"
	"glassnet/nn"
)

func Example() {
	net, err := nn.New(4, nn.NewDense[float32](4, 2))
	if err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	path := filepath.Join(dir, "model.safetensors")
	facts := modelfile.Facts{Dataset: "mnist", Width: 2, Height: 2, Classes: 2, Seed: 1}
	if err := modelfile.Save(path, &modelfile.Model[float32]{Net: net, Facts: facts}); err != nil {
		panic(err)
	}
	m, err := modelfile.Load[float32](path)
	if err != nil {
		panic(err)
	}
	for _, p := range m.Net.Params() {
		fmt.Println(p.Name, p.Shape)
	}
	fmt.Println(m.Facts.Dataset, m.Facts.Seed)
	// Output:
	// 1.dense.weight [4 2]
	// 1.dense.bias [2]
	// mnist 1
}
