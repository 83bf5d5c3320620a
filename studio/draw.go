package studio

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"sync"

	"glassnet/dataset"
	"glassnet/internal/usererr"
	"glassnet/nn"
)

// maxDrawingSide is the largest width and height of a drawing, pixels.
const maxDrawingSide = 1024

// drawing is what was drawn, or chosen as a file: a PNG, or the pixels as a network
// takes them.
type drawing struct {
	At     int    `json:"at"`
	PNG    []byte `json:"png"`
	Pixels []byte `json:"pixels"`
}

// prediction is what a network makes of a drawing.
type prediction struct {
	Stages        []stage   `json:"stages"`
	Pixels        []byte    `json:"pixels"` // as the network gets them
	Predicted     int       `json:"predicted"`
	Probabilities []float64 `json:"probabilities"`
	Logits        []float64 `json:"logits"`
	Entropy       float64   `json:"entropy"` // nats
	Nearest       []near    `json:"nearest"`
	Distance      float64   `json:"distance"` // to the nearest training example
	Typical       *typical  `json:"typical"`  // nil until it is known
	Far           bool      `json:"far"`
	Doubt         string    `json:"doubt"`
}

// stage is a dataset.Stage whose pixels are a PNG image: as they are, they would make the
// answer thirty times as long.
type stage struct {
	What   string `json:"what"`   // a short sentence
	Width  int    `json:"width"`  // pixels
	Height int    `json:"height"` // pixels
	PNG    []byte `json:"png"`    // grey levels
}

func (s *server) postPredict(r *http.Request) (any, error) {
	var body drawing
	if err := read(r, &body); err != nil {
		return nil, err
	}
	release, err := s.mayWork(r.Context())
	if err != nil {
		return nil, err
	}
	defer release()
	net, data, err := s.network(r.Context(), body.At)
	if err != nil {
		return nil, err
	}
	var p prediction
	switch {
	case body.PNG != nil && body.Pixels != nil || body.PNG == nil && body.Pixels == nil:
		return nil, usererr.New("want either png or pixels")
	case body.PNG != nil:
		if p.Pixels, p.Stages, err = prepared(body.PNG, data.Train); err != nil {
			return nil, err
		}
	case len(body.Pixels) != net.features():
		return nil, usererr.New("%d pixels, want %d", len(body.Pixels), net.features())
	default:
		p.Pixels, p.Stages = body.Pixels, []stage{}
	}
	p.Logits, p.Probabilities = net.classify(p.Pixels)
	p.Predicted = nn.Argmax(p.Logits)
	p.Entropy = entropy(p.Probabilities)
	neighbours := s.neighboursOf(data)
	p.Nearest = neighbours.nearest(p.Pixels, mostNear)
	p.Distance = p.Nearest[0].Distance
	if p.Typical = neighbours.yardstick(s.log, s.closing); p.Typical != nil {
		p.Far = p.Distance > p.Typical.P99
	}
	p.Doubt = doubt(&p)
	return p, nil
}

// quickly writes PNG images that are read once; a megabyte of buffers is used again.
var quickly = png.Encoder{CompressionLevel: png.BestSpeed, BufferPool: &buffers{}}

// buffers is a png.EncoderBufferPool.
type buffers struct{ pool sync.Pool }

func (b *buffers) Get() *png.EncoderBuffer {
	buffer, _ := b.pool.Get().(*png.EncoderBuffer)
	return buffer
}

func (b *buffers) Put(buffer *png.EncoderBuffer) { b.pool.Put(buffer) }

// prepared turns a PNG into an image of the size of set's, with the stages of that work:
// what one draws is prepared as a digit whatever the set shows.
// Its size is looked at before it is decoded.
func prepared(file []byte, set *dataset.Set) ([]byte, []stage, error) {
	config, err := png.DecodeConfig(bytes.NewReader(file))
	switch {
	case err != nil:
		return nil, nil, usererr.New("the drawing is no PNG image: %w", err)
	case config.Width > maxDrawingSide || config.Height > maxDrawingSide:
		return nil, nil, usererr.New("a drawing of %dx%d pixels, want at most %dx%d", config.Width, config.Height, maxDrawingSide, maxDrawingSide)
	}
	pixels, stages, err := dataset.PreparePNGInStages(bytes.NewReader(file), "the drawing", set.Width, set.Height)
	if err != nil {
		return nil, nil, err
	}
	images := make([]stage, len(stages))
	for i, s := range stages {
		var file bytes.Buffer
		img := image.Gray{Pix: s.Pixels, Stride: s.Width, Rect: image.Rect(0, 0, s.Width, s.Height)}
		if err := quickly.Encode(&file, &img); err != nil {
			return nil, nil, err
		}
		images[i] = stage{s.What, s.Width, s.Height, file.Bytes()}
	}
	return pixels, images, nil
}

// entropy is -Σ p·ln p: 0 for one sure class, ln(classes) when all are as likely.
func entropy(p []float64) float64 {
	var h float64
	for _, v := range p {
		if v > 0 {
			h -= v * math.Log(v)
		}
	}
	return h
}

// unsure is the probability below which the likeliest class is not taken for an answer.
const unsure = 0.6

// doubt says why a prediction should not be believed; "" when nothing speaks against it.
func doubt(p *prediction) string {
	labels := map[int]int{}
	for _, n := range p.Nearest {
		labels[n.Label]++
	}
	sure := p.Probabilities[p.Predicted]
	switch {
	case p.Far:
		return fmt.Sprintf("This is unlike every training example: the nearest is %.1f away, while 99 %% of %d test examples have one within %.1f. The network has no class for \"none of these\", so its probability of %.0f %% says little.",
			p.Distance, p.Typical.Of, p.Typical.P99, 100*sure)
	case sure < unsure:
		return fmt.Sprintf("The network is unsure: its likeliest class has a probability of %.0f %%.", 100*sure)
	case 2*labels[p.Predicted] < len(p.Nearest):
		have := map[bool]string{true: "has", false: "have"}[labels[p.Predicted] == 1]
		return fmt.Sprintf("Of the %d nearest training examples only %d %s the label %d.", len(p.Nearest), labels[p.Predicted], have, p.Predicted)
	}
	return ""
}

// near is a training example with its distance to an image.
type near struct {
	Example  int     `json:"example"`
	Label    int     `json:"label"`
	Distance float64 `json:"distance"` // Euclidean, of intensities in [0, 1]
}

// mostNear is how many of the nearest examples are told.
const mostNear = 8

// typical are quantiles of the distances of test examples to the nearest training example.
type typical struct {
	Of     int     `json:"of"` // test examples
	Median float64 `json:"median"`
	P95    float64 `json:"p95"`
	P99    float64 `json:"p99"`
}

// neighbours finds the training examples nearest to an image.
type neighbours struct {
	data    *dataset.Data
	squares []int // Σ x² of each training example, of levels 0..255

	once    sync.Once
	mu      sync.Mutex
	typical *typical
}

func newNeighbours(data *dataset.Data) *neighbours {
	n := &neighbours{data: data, squares: make([]int, data.Train.Len())}
	for i := range n.squares {
		for _, v := range data.Train.Image(i) {
			n.squares[i] += int(v) * int(v)
		}
	}
	return n
}

// nearest returns the k nearest training examples, the nearest first. The squared
// distance is |a|² + |b|² - 2·a·b, and of a·b only what is not 0 in the image counts.
func (n *neighbours) nearest(image []byte, k int) []near {
	var places []int
	var levels []int
	var own int
	for i, v := range image {
		if v != 0 {
			places, levels = append(places, i), append(levels, int(v))
			own += int(v) * int(v)
		}
	}
	type found struct{ square, example int }
	best := make([]found, 0, k+1)
	for i, square := range n.squares {
		x := n.data.Train.Image(i)
		var dot int
		for j, place := range places {
			dot += levels[j] * int(x[place])
		}
		d := own + square - 2*dot
		if len(best) == k && d >= best[k-1].square {
			continue
		}
		at, _ := slices.BinarySearchFunc(best, d+1, func(f found, d int) int { return f.square - d })
		best = slices.Insert(best, at, found{d, i})
		best = best[:min(len(best), k)]
	}
	all := make([]near, len(best))
	for i, f := range best {
		all[i] = near{f.example, int(n.data.Train.Labels[f.example]), math.Sqrt(float64(f.square)) / 255}
	}
	return all
}

// measured is how many test examples the yardstick is made of.
const measured = 400

// yardstick returns the quantiles once they are known; the first call begins to measure.
func (n *neighbours) yardstick(log *slog.Logger, closing <-chan struct{}) *typical {
	n.once.Do(func() {
		go func() { _ = caught(log, func() error { n.measure(closing); return nil }) }()
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.typical
}

func (n *neighbours) measure(closing <-chan struct{}) {
	count := min(measured, n.data.Test.Len())
	distances := make([]float64, count)
	for i := range distances {
		select {
		case <-closing:
			return
		default:
		}
		distances[i] = n.nearest(n.data.Test.Image(i*n.data.Test.Len()/count), 1)[0].Distance
	}
	slices.Sort(distances)
	at := func(share float64) float64 { return distances[min(int(share*float64(count)), count-1)] }
	n.mu.Lock()
	defer n.mu.Unlock()
	n.typical = &typical{count, at(0.5), at(0.95), at(0.99)}
}

// neighboursOf returns those of a data set, made when they are asked for first.
func (s *server) neighboursOf(data *dataset.Data) *neighbours {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.neighbours[data.Name] == nil {
		s.neighbours[data.Name] = newNeighbours(data)
	}
	return s.neighbours[data.Name]
}

// network returns a copy of the training's network at a snapshot, -1 being now, and the
// data that it is trained on.
func (s *server) network(ctx context.Context, at int) (net network, data *dataset.Data, err error) {
	err = s.owner.do(ctx, func() error {
		t, err := s.owner.chosen()
		if err != nil {
			return err
		}
		net, err = t.networkAt(at)
		data = t.data
		return err
	})
	return net, data, err
}

func (t *training) networkAt(at int) (network, error) {
	from, err := t.positionAt(at)
	if err != nil {
		return nil, err
	}
	return t.run.network(from)
}

// positionAt returns that of a snapshot; nil for -1, which is now.
func (t *training) positionAt(at int) (*position, error) {
	from, err := t.find(at)
	if err != nil || from == nil {
		return nil, err
	}
	return &from.position, nil
}
