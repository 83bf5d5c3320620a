// Package bench measures the hot paths beside what this machine could do at best:
// its peak of fused multiply-adds and its memory bandwidth.
package bench

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"glassnet/dataset"
	"glassnet/internal/kernel"
	"glassnet/matrix"
	"glassnet/nn"
	"glassnet/optim"
	"glassnet/random"
	"glassnet/train"
)

// Report is what a run found. A share is GFLOP/s over the peak of the same number
// type and threads; operations are counted as if no input were 0, so a training
// step, which skips the pixels that are, may have a share above 1.
type Report struct {
	Machine  Machine   `json:"machine"`
	Dataset  string    `json:"dataset"`
	Products []Product `json:"products"`
	Steps    []Step    `json:"steps"`
	Predict  []Predict `json:"predict"`
	Loading  []Loading `json:"loading"`
}

// Machine is the machine and its limits; the maps go by the number of threads.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	OS     string `json:"os"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`

	PeakGFLOPS map[string]map[string]float64 `json:"peak_gflops"` // by number type and threads
	Bandwidth  map[string]float64            `json:"bandwidth_gb_s"`
}

// Product is one matrix product. Kind is "x·w", "xᵀ·g" (the gradient of the
// weights) or "g·wᵀ" (of the input), for x [m, k], w [k, n], g [m, n].
type Product struct {
	Kind    string  `json:"kind"`
	M       int     `json:"m"`
	K       int     `json:"k"`
	N       int     `json:"n"`
	Type    string  `json:"type"`
	Threads int     `json:"threads"`
	GFLOPS  float64 `json:"gflops"`
	Share   float64 `json:"share"`
}

// Step is one training step: the next batch, forward, cost, backward, update.
type Step struct {
	Net       string  `json:"net"`
	BatchNorm bool    `json:"batch_norm"`
	L2        float64 `json:"l2"`
	Batch     int     `json:"batch"`
	Precision string  `json:"precision"`
	Threads   int     `json:"threads"`
	Micros    float64 `json:"us_per_step"`
	GFLOPS    float64 `json:"gflops"`
	Share     float64 `json:"share"`
}

// Predict is one prediction of a batch of images, float32, one thread.
type Predict struct {
	Net    string  `json:"net"`
	Batch  int     `json:"batch"`
	Micros float64 `json:"us"`
	Rate   float64 `json:"examples_per_second"`
}

// Loading is the reading of the data set from its files.
type Loading struct {
	What    string  `json:"what"`
	MB      float64 `json:"mb"`
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"mb_per_s"`
}

// Options say what to measure.
type Options struct {
	Threads int // the most threads to use, >= 1
	Quick   bool
	Set     *dataset.Set // images to train on
}

// Run measures everything but the loading, and fills report, whose Machine the
// caller has named. When ctx ends first, so does Run, with its error.
func Run(ctx context.Context, report *Report, o Options) error {
	m := meter{ctx: ctx, slice: 100 * time.Millisecond, repeats: 5, report: report}
	if o.Quick {
		m.slice, m.repeats = 5*time.Millisecond, 3
	}
	threads := []int{1}
	if o.Threads > 1 {
		threads = append(threads, o.Threads)
	}
	report.Machine.PeakGFLOPS = map[string]map[string]float64{}
	report.Machine.Bandwidth = map[string]float64{}
	for _, n := range threads {
		m.limits(n, o.Quick)
	}
	for _, n := range threads {
		products[float32](&m, n, "float32", o.Quick)
		products[float64](&m, n, "float64", o.Quick)
	}
	nets := []Step{
		{Net: "784-20-7-5-10", Batch: 128},
		{Net: "784-20-7-5-10", Batch: 128, BatchNorm: true, L2: 0.1},
		{Net: "784-128-64-10", Batch: 128},
		{Net: "784-512-256-10", Batch: 128},
		{Net: "784-2048-2048-10", Batch: 256},
	}
	if o.Quick {
		nets = nets[:3]
	}
	for _, s := range nets {
		for _, n := range threads {
			s.Threads = n
			steps[float32](&m, s, "float32", o.Set)
			if s.Net == nets[0].Net {
				steps[float64](&m, s, "float64", o.Set)
			}
		}
	}
	for _, net := range []string{"784-20-7-5-10", "784-512-256-10"} {
		for _, batch := range []int{1, 1024} {
			predictions(&m, net, batch, o.Set)
		}
	}
	return ctx.Err()
}

// meter takes times: the median over repeats of slices of about that length.
type meter struct {
	ctx     context.Context
	slice   time.Duration
	repeats int
	report  *Report
}

// seconds returns the time of one call of f, NaN when the context has ended.
func (m *meter) seconds(f func()) float64 {
	if m.ctx.Err() != nil {
		return math.NaN()
	}
	n := 1
	for { // until a slice is long enough
		start := time.Now()
		for range n {
			f()
		}
		took := time.Since(start)
		if took >= m.slice/2 {
			break
		}
		// Of a coarse clock took may be 0.
		n = min(100*n, max(2*n, int(float64(n)*float64(m.slice)/float64(took+1)/2)))
	}
	times := make([]float64, m.repeats)
	for i := range times {
		start := time.Now()
		for range n {
			f()
		}
		times[i] = time.Since(start).Seconds() / float64(n)
	}
	slices.Sort(times)
	return times[len(times)/2]
}

// together runs f on that many threads at once.
func together(threads int, f func(thread int)) {
	var all sync.WaitGroup
	for thread := range threads {
		all.Go(func() { f(thread) })
	}
	all.Wait()
}

// limits measures peak and bandwidth on that many threads.
func (m *meter) limits(threads int, quick bool) {
	key := strconv.Itoa(threads)
	peak := func(name string, run func(n int) int) {
		const rounds = 100_000
		flops := run(1)
		seconds := m.seconds(func() { together(threads, func(int) { run(rounds) }) })
		if m.report.Machine.PeakGFLOPS[name] == nil {
			m.report.Machine.PeakGFLOPS[name] = map[string]float64{}
		}
		m.report.Machine.PeakGFLOPS[name][key] = float64(flops) * rounds * float64(threads) / seconds / 1e9
	}
	peak("float32", kernel.Of[float32]().Peak)
	peak("float64", kernel.Of[float64]().Peak)

	numbers := 1 << 24 // 64 MiB, more than a cache holds
	if quick {
		numbers = 1 << 20
	}
	x, y := make([]float32, numbers), make([]float32, numbers)
	seconds := m.seconds(func() {
		together(threads, func(t int) {
			lo, hi := numbers*t/threads, numbers*(t+1)/threads
			kernel.Of[float32]().AddScaled(y[lo:hi], x[lo:hi], 1) // reads both, writes one
		})
	})
	m.report.Machine.Bandwidth[key] = 3 * 4 * float64(numbers) / seconds / 1e9
}

func (m *meter) share(gflops float64, precision string, threads int) float64 {
	return gflops / m.report.Machine.PeakGFLOPS[precision][strconv.Itoa(threads)]
}

// products measures matrix products of dense random numbers.
func products[T kernel.Float](m *meter, threads int, precision string, quick bool) {
	s := random.New(1, "bench")
	e := kernel.NewEngine[T](kernel.PoolOf(threads))
	numbers := func(n int) []T {
		v := make([]T, n)
		for i := range v {
			v[i] = T(s.Float64() - 0.5)
		}
		return v
	}
	shapes := [][3]int{{128, 784, 20}, {128, 784, 512}, {1024, 1024, 1024}}
	if quick {
		shapes = shapes[:2]
	}
	for _, shape := range shapes {
		rows, k, n := shape[0], shape[1], shape[2]
		x, w, g := numbers(rows*k), numbers(k*n), numbers(rows*n)
		y, d, dx := make([]T, rows*n), make([]T, k*n), make([]T, rows*k)
		for _, kind := range []struct {
			name string
			run  func()
		}{
			{"x·w", func() { e.MatMul(y, x, w, nil, rows, k, n) }},
			{"xᵀ·g", func() { e.MatMulTransposed(d, x, g, rows, k, n) }},
			{"g·wᵀ", func() { e.MatMulByTransposed(dx, g, w, rows, k, n) }},
		} {
			gflops := 2 * float64(rows*k*n) / m.seconds(kind.run) / 1e9
			m.report.Products = append(m.report.Products, Product{
				Kind: kind.name, M: rows, K: k, N: n, Type: precision, Threads: threads,
				GFLOPS: gflops, Share: m.share(gflops, precision, threads),
			})
		}
	}
}

// network builds a network from units written as 784-20-10.
func network[T matrix.Float](units string, batchNorm bool) (net *nn.Network[T], widths []int) {
	for _, part := range strings.Split(units, "-") {
		n, err := strconv.Atoi(part)
		if err != nil {
			panic(err) // the networks are this package's own
		}
		widths = append(widths, n)
	}
	a := nn.Architecture{Input: widths[0]}
	last := len(widths) - 1
	for i, n := range widths[1:] {
		hidden := i+1 < last
		a.Layers = append(a.Layers, nn.LayerSpec{Kind: nn.KindDense, Units: n, NoBias: hidden && batchNorm})
		if hidden && batchNorm {
			o := nn.DefaultBatchNorm()
			a.Layers = append(a.Layers, nn.LayerSpec{Kind: nn.KindBatchNorm, Epsilon: o.Epsilon, Decay: o.Decay})
		}
		if hidden {
			a.Layers = append(a.Layers, nn.LayerSpec{Kind: nn.KindReLU})
		}
	}
	net, err := nn.Build[T](a)
	if err != nil {
		panic(err)
	}
	nn.Initialise(net, nn.Initialisers[0], random.New(1, random.Init))
	return net, widths
}

// steps measures training steps over the batches of set.
func steps[T matrix.Float](m *meter, s Step, precision string, set *dataset.Set) {
	net, widths := network[T](s.Net, s.BatchNorm)
	trainer, err := train.New(net, train.Options[T]{
		Loss: nn.CrossEntropy[T]{}, Penalty: optim.L2[T]{Lambda: s.L2}, Rule: optim.SGD[T]{},
		Rate: 0.01, Batch: s.Batch, Threads: s.Threads,
	})
	if err != nil {
		panic(err)
	}
	all := dataset.All(set)
	batches, next := set.Len()/s.Batch, 0
	step := func() {
		lo := next % batches * s.Batch
		if _, err := trainer.Step(all.Slice(lo, lo+s.Batch)); err != nil {
			panic(err)
		}
		next++
	}
	if s.Threads > 1 {
		for range train.PacedAfter {
			step()
		}
	}
	seconds := m.seconds(step)
	s.Precision = precision
	s.Micros = seconds * 1e6
	s.GFLOPS = stepFLOPs(widths, s.Batch) / seconds / 1e9
	s.Share = m.share(s.GFLOPS, precision, s.Threads)
	m.report.Steps = append(m.report.Steps, s)
}

// stepFLOPs counts the dense multiply-adds of a step, two operations each: the
// products of the forward pass, of the gradients of the weights, and of the
// gradients of all inputs but the first.
func stepFLOPs(widths []int, batch int) float64 {
	flops := 0
	for i := range len(widths) - 1 {
		products := 3
		if i == 0 {
			products = 2
		}
		flops += 2 * products * batch * widths[i] * widths[i+1]
	}
	return float64(flops)
}

// predictions measures the classification of batches of images, one thread.
func predictions(m *meter, units string, batch int, set *dataset.Set) {
	net, widths := network[float32](units, false)
	p := nn.NewPredictor(net, batch)
	all := dataset.All(set)
	probabilities := matrix.New[float32](batch, widths[len(widths)-1])
	next := 0
	seconds := m.seconds(func() {
		lo := next * batch % (set.Len() - batch)
		if batch == 1 {
			p.Predict(probabilities.Data, set.Image(lo))
		} else {
			p.PredictBatch(probabilities, all.Slice(lo, lo+batch).Pixels())
		}
		next++
	})
	m.report.Predict = append(m.report.Predict, Predict{Net: units, Batch: batch, Micros: seconds * 1e6, Rate: float64(batch) / seconds})
}
