package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"glassnet/dataset"
	"glassnet/random"
)

const (
	trainingImages = 48_000 // the published split's share of MNIST's 60,000
	rate           = 0.1
	shuffleSeed    = 1
)

// A peer trains one network on batches of MNIST and classifies images with it:
// ReLU between the dense layers, softmax cross-entropy averaged over the batch,
// plain SGD at rate 0.1, pixels as byte/255. peers.py holds the same in Python.
type peer interface {
	// Prepare builds the network from weights, [in, out] and then the bias of each
	// layer, and says what it is and which version.
	prepare(t task) (what string, err error)
	// Step makes n training steps, each on the next batch, and returns the last cost.
	step(n int) (cost float64, err error)
	// Parameters returns the parameters in the order of the weights.
	parameters() [][]float32
	// Predict classifies n batches of images and returns the last probabilities.
	predict(batch, n int) (probabilities []float32, err error)
	// Product computes a dense product n times (see productShape).
	product(kind string, m, k, n, repeats int) error
}

// notMeasured is what a peer embeds for what it is not asked for.
type notMeasured struct{}

func (notMeasured) predict(int, int) ([]float32, error)      { return nil, errors.ErrUnsupported }
func (notMeasured) product(string, int, int, int, int) error { return errors.ErrUnsupported }

// peers are those written in Go; the argument is the number of threads.
var peers = map[string]func(threads int) peer{
	"glassnet": func(threads int) peer { return &ours{threads: threads} },
	"gonum":    func(int) peer { return &gonumNet{} },
	"gomlx":    func(int) peer { return &gomlxNet{} },
	"gorgonia": func(int) peer { return &gorgoniaNet{} },
	"go-deep":  func(threads int) peer { return &goDeepNet{threads: threads} },
}

// task is what every peer works on.
type task struct {
	widths  []int // of the input and of each layer
	batch   int
	set     *dataset.Set
	order   []int32     // of the training images
	weights [][]float32 // [in, out] and bias [out] of each layer in turn
}

// pixels returns the training images in their order, divided by 255.
func (t task) pixels() []float32 {
	x := make([]float32, 0, len(t.order)*t.widths[0])
	for _, i := range t.order {
		for _, b := range t.set.Image(int(i)) {
			x = append(x, float32(b)/255)
		}
	}
	return x
}

// batches hands out one batch after the other, for ever.
type batches struct{ size, count, next int }

func (t task) batches() batches { return batches{size: t.batch, count: len(t.order) / t.batch} }

// take returns where the next batch lies in the order.
func (b *batches) take() (lo, hi int) {
	lo = b.next % b.count * b.size
	b.next++
	return lo, lo + b.size
}

func parseNet(name string) ([]int, error) {
	var widths []int
	for _, part := range strings.Split(name, "-") {
		n, err := strconv.Atoi(part)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("network %q: want units like 784-20-10", name)
		}
		widths = append(widths, n)
	}
	return widths, nil
}

// initial draws the weights every peer starts from: normal with variance 2/in (He
// et al. 2015), biases 0.01 so that they are not nothing.
func initial(widths []int) [][]float32 {
	s := random.New(1, "compare")
	var all [][]float32
	for i, n := range widths[1:] {
		w, b := make([]float32, widths[i]*n), make([]float32, n)
		for j := range w {
			w[j] = float32(s.Normal() * math.Sqrt(2/float64(widths[i])))
		}
		for j := range b {
			b[j] = 0.01
		}
		all = append(all, w, b)
	}
	return all
}

// floatFile is how numbers pass between the processes: little-endian float32.
func writeFloats(name string, all [][]float32) error {
	var data []byte
	for _, values := range all {
		for _, v := range values {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
	}
	return os.WriteFile(name, data, 0o666)
}

func readFloats(name string) ([]float32, error) {
	data, err := os.ReadFile(name)
	values := make([]float32, len(data)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return values, err
}

var mnist *dataset.Set // once read

// loadTask reads what a worker needs; the runner has left the files in work.
func loadTask(data, work, net string, batch int) (t task, err error) {
	if t.widths, err = parseNet(net); err != nil {
		return t, err
	}
	t.batch = batch
	if mnist == nil {
		loaded, err := dataset.Load(context.Background(), "mnist", dataset.Options{Dir: data, Offline: true})
		if err != nil {
			return t, err
		}
		mnist = loaded.Train
	}
	t.set = mnist
	order, err := os.ReadFile(filepath.Join(work, "order"))
	if err != nil {
		return t, err
	}
	for i := 0; i < len(order); i += 4 {
		t.order = append(t.order, int32(binary.LittleEndian.Uint32(order[i:])))
	}
	flat, err := readFloats(filepath.Join(work, net+".weights"))
	if err != nil {
		return t, err
	}
	for i, n := range t.widths[1:] {
		size := t.widths[i] * n
		t.weights = append(t.weights, flat[:size], flat[size:size+n])
		flat = flat[size+n:]
	}
	return t, nil
}

// answer is a worker's one line about one command.
type answer struct {
	What    string  `json:"what,omitempty"`
	Seconds float64 `json:"seconds,omitempty"`
	Cost    float64 `json:"cost,omitempty"`
	File    string  `json:"file,omitempty"`
	Error   string  `json:"error,omitempty"`
}

// serve answers commands until "quit" or the end of in:
//
//	prepare NET BATCH          load everything
//	check FILE                 one step; FILE then holds all parameters and the
//	                           probabilities of the first 16 images, if any
//	step N                     N steps, timed, after N/10 untimed ones
//	predict BATCH N            N predictions, timed, after N/10 untimed ones
//	product KIND M K N COUNT   products, timed
func serve(hire func() peer, data, work string, in io.Reader, out io.Writer) error {
	p := hire()
	answers := json.NewEncoder(out)
	commands := bufio.NewScanner(in)
	for commands.Scan() {
		words := strings.Fields(commands.Text())
		if len(words) == 0 || words[0] == "quit" {
			return nil
		}
		if words[0] == "prepare" {
			p = hire() // nothing is left of the task before
		}
		a, err := obey(p, data, work, words[0], words[1:])
		if err != nil {
			a.Error = err.Error()
		}
		if err := answers.Encode(a); err != nil {
			return err
		}
	}
	return commands.Err()
}

func obey(p peer, data, work, command string, words []string) (a answer, err error) {
	numbers := make([]int, len(words))
	for i, w := range words {
		numbers[i], _ = strconv.Atoi(w)
	}
	timed := func(n int, f func(n int) error) error {
		if err := f(n/10 + 1); err != nil {
			return err
		}
		start := time.Now()
		err := f(n)
		a.Seconds = time.Since(start).Seconds()
		return err
	}
	switch {
	case command == "prepare" && len(words) == 2:
		t, err := loadTask(data, work, words[0], numbers[1])
		if err != nil {
			return a, err
		}
		a.What, err = p.prepare(t)
		return a, err
	case command == "check" && len(words) == 1:
		if a.Cost, err = p.step(1); err != nil {
			return a, err
		}
		numbers := p.parameters()
		if probabilities, err := p.predict(16, 1); err == nil {
			numbers = append(numbers, probabilities)
		}
		return a, writeFloats(words[0], numbers)
	case command == "step" && len(words) == 1:
		err = timed(numbers[0], func(n int) error { a.Cost, err = p.step(n); return err })
		return a, err
	case command == "predict" && len(words) == 2:
		return a, timed(numbers[1], func(n int) error { _, err := p.predict(numbers[0], n); return err })
	case command == "product" && len(words) == 5:
		err = timed(numbers[4], func(n int) error { return p.product(words[0], numbers[1], numbers[2], numbers[3], n) })
		return a, err
	}
	return a, fmt.Errorf("unknown command %s %q", command, words)
}
