// Package dataset finds, fetches, verifies, draws and reads sets of labelled
// greyscale images, and brings single images to the size and look a network was
// trained on.
package dataset

// Set holds labelled greyscale images as bytes, one example after the other.
type Set struct {
	Width, Height int
	Classes       int     // labels are < Classes (2..256)
	Pixels        []byte  // example i: Pixels[i*Width*Height : (i+1)*Width*Height], 0 background .. 255 ink
	Labels        []uint8 // [examples]
}

// Len is the number of examples.
func (s *Set) Len() int { return len(s.Labels) }

// Features is the number of pixels of an example, Width*Height.
func (s *Set) Features() int { return s.Width * s.Height }

// Image returns the pixels of example i, row by row from the top. The memory is
// the set's own.
func (s *Set) Image(i int) []byte {
	n := s.Features()
	return s.Pixels[i*n : (i+1)*n : (i+1)*n]
}

// Data is a named data set: its training and its test part and where they came from.
type Data struct {
	Name   string // "mnist", "drawn-digits" or the folder's base name
	Origin string // for people: "found in ../shared/data/mnist", "drawn by this program with seed 1"
	// SHA256 is the fingerprint of the data in hex: the SHA-256 over the four
	// SHA-256 (32 bytes each) of the decompressed IDX files, in the order training
	// images, training labels, test images, test labels.
	SHA256      string
	Train, Test *Set
	// Fallback is true when MNIST was wanted, could not be had, and drawn-digits
	// stands in.
	Fallback bool
}

// Options says where Load and its kin look and whom they tell.
type Options struct {
	Dir     string // --data; searched first
	Offline bool   // never download
	// Progress, when not nil, is called now and then: with bytes during a download,
	// with images while drawing. A total of 0 is unknown.
	Progress func(stage string, done, total int64)
	// Warn, when not nil, receives lines for people, such as the fallback notice.
	Warn func(line string)
	// Mirrors are the folders on the web that hold the four .gz files of MNIST; nil
	// means the built-in ones.
	Mirrors   []string
	DrawnSeed uint64 // of drawn-digits; 0 means drawn.StandardSeed
}

func (o Options) warn(line string) {
	if o.Warn != nil {
		o.Warn(line)
	}
}

func (o Options) progress(stage string, done, total int64) {
	if o.Progress != nil {
		o.Progress(stage, done, total)
	}
}
