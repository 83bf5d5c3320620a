package nn

import (
	"fmt"

	"glassnet/internal/kernel"
	"glassnet/matrix"
)

// Mode tells Forward what the pass is for. The zero value, Eval, writes nothing
// to the network.
type Mode uint8

// The modes. They differ for batch normalisation only: Train normalises with the
// batch's own statistics and moves the running ones, Eval uses the running ones.
const (
	Eval Mode = iota
	Train
)

// Role says what a parameter is for. The L2 penalty reads it (weights only), the
// optimiser skips statistics.
type Role uint8

// The roles.
const (
	Weight    Role = iota // factor of an input
	Bias                  // summand of a pre-activation
	Scale                 // gamma of a normalisation
	Shift                 // beta of a normalisation
	Statistic             // running mean or variance: kept, not trained
)

// Param is one named array of numbers that a layer owns.
type Param[T matrix.Float] struct {
	Name  string // "1.dense.weight": position, kind of layer, part; also the name in a model file
	Role  Role
	Shape []int // a dense weight is [in, out]
	Value []T
	Grad  []T // dCost/dValue; nil for a Statistic. Network.Backward overwrites it.
}

// NewParam returns a parameter of a layer, its values 0, with room for a gradient unless it
// is a Statistic. The part, such as "weight", is the last part of its name; New puts
// position and kind before it. A Weight is [in, out].
func NewParam[T matrix.Float](part string, role Role, shape ...int) *Param[T] {
	size := 1
	for _, s := range shape {
		size *= s
	}
	p := &Param[T]{Name: part, Role: role, Shape: shape, Value: make([]T, size)}
	if role != Statistic {
		p.Grad = make([]T, size)
	}
	return p
}

// Layer is one step of the network: a function of a batch and of its own
// parameters, and the gradient of that function beside it.
//
// A Layer owns parameters and hyperparameters only. All that belongs to one batch
// lives in the Cache, so different goroutines may run Eval passes of one layer
// through caches of their own. A layer belongs to one network.
//
// To write one of your own, begin NewCache with the function NewCache, Forward with
// Cache.Begin and Backward with Cache.BeginBackward, and test it with
// nntest.TestLayer: see Example (extended). Its Kind must be a name of its own. Networks with
// such a layer train, evaluate and predict; they cannot be copied, stored or explained,
// as Build does not make it (Network.Buildable).
type Layer[T matrix.Float] interface {
	// Spec describes the layer. Of a layer of this package Build makes an untrained twin.
	Spec() LayerSpec

	// Widths returns the features per example that go in and come out.
	Widths() (in, out int)

	// Params returns the layer's parameters in a fixed order.
	Params() []*Param[T]

	// NewCache returns room for batches of up to o.Batch examples.
	NewCache(o CacheOptions) *Cache[T]

	// Forward computes the layer's output for x [batch, in]. The result
	// [batch, out] is c.Out and stays valid until c is used again.
	// It panics when the shape of x does not fit.
	Forward(c *Cache[T], x matrix.Matrix[T], mode Mode) matrix.Matrix[T]

	// Backward takes gradOut = dCost/dOut [batch, out] of the batch that c last
	// saw, overwrites the gradients of the parameters and, where the cache has
	// room for it, computes c.GradIn = dCost/dIn [batch, in]. The result is
	// c.GradIn, empty when there is no room. What a network's pass has read and
	// computed must stay as it is until that ends: there Dense sums its gradients.
	Backward(c *Cache[T], gradOut matrix.Matrix[T]) matrix.Matrix[T]
}

// CacheOptions says what a Cache must hold.
type CacheOptions struct {
	Batch    int  // largest number of examples in one pass
	Backward bool // room for a backward pass
	GradIn   bool // room for the gradient of the layer's input too
}

// Cache is what one layer remembers of one batch. Everything in it may be read:
// it is what the explorer shows.
type Cache[T matrix.Float] struct {
	In, Out         matrix.Matrix[T] // [batch, in], [batch, out]
	Pixels          matrix.Pixels    // the input of a first layer that takes images as bytes; In is empty then
	GradOut, GradIn matrix.Matrix[T] // dCost/dOut, dCost/dIn, the same shapes
	Kept            []Kept[T]        // intermediate values, such as batch norm's mean

	mode   Mode
	engine *kernel.Engine[T]
	out    matrix.Matrix[T] // storage of Out and GradIn for a full batch
	gradIn matrix.Matrix[T]
	kept   []keptRoom[T] // storage of Kept

	scratch []T          // of a backward pass
	pairs   kernel.Pairs // of Pixels, listed by a forward pass in mode Train

	// Of a backward pass that is made in two: GradIn alone, by each thread for its rows, and the
	// gradients of the parameters alone, which byRows.Begin describes before.
	gradInOnly, gradInDone bool
}

// Kept is a named intermediate value of a pass.
type Kept[T matrix.Float] struct {
	Name  string
	Value matrix.Matrix[T]
}

// keptRoom is storage of a Kept for a full batch.
type keptRoom[T matrix.Float] struct {
	value      matrix.Matrix[T]
	perExample bool // whether its rows are those of the batch
}

// NewCache returns room for a layer of so many features in and out.
func NewCache[T matrix.Float](o CacheOptions, in, out int) *Cache[T] {
	c := &Cache[T]{engine: kernel.NewEngine[T](nil), out: matrix.New[T](o.Batch, out)}
	if o.GradIn {
		c.gradIn = matrix.New[T](o.Batch, in)
	}
	return c
}

// Keep adds room for an intermediate value [1, cols], which the layer fills in each pass:
// the next of c.Kept, in the order of these calls.
func (c *Cache[T]) Keep(name string, cols int) { c.keepRows(name, 1, cols, false) }

// KeepPerExample adds room for an intermediate value [batch, cols].
func (c *Cache[T]) KeepPerExample(name string, cols int) { c.keepRows(name, c.out.Rows, cols, true) }

func (c *Cache[T]) keepRows(name string, rows, cols int, perExample bool) {
	value := matrix.New[T](rows, cols)
	c.kept = append(c.kept, keptRoom[T]{value, perExample})
	c.Kept = append(c.Kept, Kept[T]{name, value})
}

// Begin prepares a forward pass of x [batch, in] through layer and returns where its
// output [batch, out] goes, not cleared. It panics when the shape of x does not fit, or
// its Data.
func (c *Cache[T]) Begin(layer Layer[T], x matrix.Matrix[T], mode Mode) (out matrix.Matrix[T]) {
	if len(x.Data) != x.Rows*x.Cols {
		panic(fmt.Sprintf("nn: %s.Forward: got shape %v of %d numbers", layer.Spec().Kind, x, len(x.Data)))
	}
	c.begin(layer, x, mode)
	out.Rows, out.Cols, out.Data = c.Out.Rows, c.Out.Cols, c.Out.Data // word by word, as there
	return out
}

// begin is Begin; the Data of x may be elsewhere.
func (c *Cache[T]) begin(layer Layer[T], x matrix.Matrix[T], mode Mode) {
	in, _ := layer.Widths()
	if x.Cols != in || x.Rows < 0 || x.Rows > c.out.Rows {
		panic(fmt.Sprintf("nn: %s.Forward: got shape %v, want [%d, %d] or fewer rows", layer.Spec().Kind, x, c.out.Rows, in))
	}
	// Word by word, and nothing that is empty already: a matrix copied as a whole waits for
	// its words to be written, which took a tenth of the time of one prediction.
	c.In.Rows, c.In.Cols, c.In.Data = x.Rows, x.Cols, x.Data
	c.Out.Rows, c.Out.Cols, c.Out.Data = x.Rows, c.out.Cols, c.out.Data[:x.Rows*c.out.Cols]
	c.mode = mode
	if c.Pixels.Cols > 0 {
		c.Pixels = matrix.Pixels{}
	}
	if c.GradOut.Rows > 0 || c.GradIn.Rows > 0 {
		c.GradOut, c.GradIn = matrix.Matrix[T]{}, matrix.Matrix[T]{}
	}
	for i, k := range c.kept {
		if k.perExample {
			c.Kept[i].Value = k.value.Head(x.Rows)
		}
	}
}

// BeginBackward prepares a backward pass; GradIn, not cleared, stays empty without room
// for it. It panics unless gradOut has the shape of Out, and its Data fits that.
func (c *Cache[T]) BeginBackward(layer Layer[T], gradOut matrix.Matrix[T]) {
	if gradOut.Rows != c.Out.Rows || gradOut.Cols != c.Out.Cols || len(gradOut.Data) != len(c.Out.Data) {
		panic(fmt.Sprintf("nn: %s.Backward: got shape %v of %d numbers, want %v, as Forward gave", layer.Spec().Kind, gradOut, len(gradOut.Data), c.Out))
	}
	c.GradOut = gradOut
	if c.gradIn.Rows > 0 {
		c.GradIn = c.gradIn.Head(gradOut.Rows)
	}
}

// Mode returns what the pass that began last is for.
func (c *Cache[T]) Mode() Mode { return c.mode }

// WantsGradIn reports whether this backward pass computes dCost/dIn.
func (c *Cache[T]) WantsGradIn() bool { return c.GradIn.Data != nil && !c.gradInDone }

// wantsGrads reports whether this backward pass computes the gradients of the parameters.
func (c *Cache[T]) wantsGrads() bool { return !c.gradInOnly }
