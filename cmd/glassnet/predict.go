package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"glassnet/dataset"
	"glassnet/internal/usererr"
	"glassnet/matrix"
	"glassnet/modelfile"
	"glassnet/nn"

	"glassnet/internal/inputfile"
)

// predictCmd tells the class of images.
type predictCmd struct {
	Model string   `arg:"" help:"A model.safetensors."`
	Files []string `arg:"" name:"file" help:"PNG images of any size and colour mode, or IDX files of images (plain or .gz)."`
	kernelFlag
	JSON  bool `help:"Print JSON."`
	Quiet bool `help:"Accepted for scripts: there is no progress to keep quiet."`
}

// mostPredicted is how many images one command takes: all predictions are made before any
// is printed.
const mostPredicted = 1 << 20

// prediction is one element of the JSON output.
type prediction struct {
	File          string    `json:"file"`
	Index         int       `json:"index"`
	Class         int       `json:"class"`
	Probabilities []float64 `json:"probabilities"`
	Preparation   []string  `json:"preparation"`
}

// Run implements the command.
func (c *predictCmd) Run(s *session) error {
	if err := c.apply(); err != nil {
		return err
	}
	precision, _, facts, err := modelfile.Inspect(c.Model)
	if err != nil {
		return err
	}
	if facts.Width == 0 || facts.Height == 0 {
		return usererr.New("%s does not say which size of image it takes", c.Model)
	}
	var classify func(pixels []byte) (int, []float64)
	if precision == "float64" {
		classify, err = classifier[float64](c.Model)
	} else {
		classify, err = classifier[float32](c.Model)
	}
	if err != nil {
		return err
	}
	predictions := []prediction{}
	for _, path := range c.Files {
		images, err := readImages(path, facts)
		if err != nil {
			return err
		}
		if total := len(predictions) + len(images); total > mostPredicted {
			return usererr.New("%s: that makes %d images, want at most %d at once", path, total, mostPredicted)
		}
		for i, image := range images {
			if err := s.ctx.Err(); err != nil {
				return err
			}
			class, p := classify(image.Pixels)
			if !matrix.Finite(p) {
				return usererr.New("%s, image %d: the outputs of %s overflow: it has no probabilities for it", path, i, c.Model).
					Try("another model; the training of this one has most likely diverged")
			}
			predictions = append(predictions, prediction{path, i, class, p, image.Steps})
		}
	}
	if c.JSON {
		return printJSON(s.stdout, predictions)
	}
	for _, p := range predictions {
		printPrediction(s, p)
	}
	return nil
}

// classifier loads a model and returns the function from pixels to the class and
// the probabilities of all classes.
func classifier[T matrix.Float](path string) (func([]byte) (int, []float64), error) {
	m, err := modelfile.Load[T](path)
	if err != nil {
		return nil, err
	}
	_, classes := m.Net.Widths()
	predictor, p := nn.NewPredictor(m.Net, 1), make([]T, classes)
	return func(pixels []byte) (int, []float64) {
		class := predictor.Predict(p, pixels)
		return class, matrix.Convert[float64](p)
	}, nil
}

// readImages reads a PNG, brought to the model's size, or the images of an IDX
// file, which must have it.
func readImages(path string, facts modelfile.Facts) ([]dataset.Prepared, error) {
	f, size, err := inputfile.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if strings.EqualFold(filepath.Ext(path), ".png") {
		image, err := dataset.PreparePNG(f, path, facts.Width, facts.Height, facts.Digits)
		return []dataset.Prepared{image}, err
	}
	idx, err := dataset.ReadImages(f, path, size)
	if user, ok := usererr.Find(err); ok {
		return nil, user.Try("an image whose name ends in .png, or an IDX file of images")
	}
	if err != nil {
		return nil, err
	}
	if idx.Width != facts.Width || idx.Height != facts.Height {
		return nil, usererr.New("%s: images of %dx%d, want %dx%d as the model takes", path, idx.Width, idx.Height, facts.Width, facts.Height)
	}
	if idx.Count > mostPredicted {
		return nil, usererr.New("%s: %d images, want at most %d at once", path, idx.Count, mostPredicted)
	}
	var images []dataset.Prepared
	features := idx.Width * idx.Height
	for i := range idx.Count {
		images = append(images, dataset.Prepared{Pixels: idx.Pixels[i*features : (i+1)*features], Steps: []string{}})
	}
	return images, nil
}

func printPrediction(s *session, p prediction) {
	fmt.Fprint(s.stdout, printable(p.File))
	if p.Index > 0 || len(p.Preparation) == 0 {
		fmt.Fprintf(s.stdout, " [%d]", p.Index)
	}
	fmt.Fprintf(s.stdout, ": %d\n", p.Class)
	for _, step := range p.Preparation {
		fmt.Fprintf(s.stdout, "  prepared: %s\n", step)
	}
	fmt.Fprint(s.stdout, " ")
	for class, v := range p.Probabilities {
		fmt.Fprintf(s.stdout, " %d:%.3f", class, v)
	}
	fmt.Fprintln(s.stdout)
}
