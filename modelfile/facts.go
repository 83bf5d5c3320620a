package modelfile

import (
	"encoding/hex"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"glassnet/internal/usererr"
	"glassnet/nn"
)

// Facts say what a model's images are and how it was trained. Nothing here
// depends on clock, machine, kernel, threads or path, so that equal trainings
// give equal files. Zero means that it is not said.
type Facts struct {
	Dataset       string // name of the data set
	DatasetSHA256 string // its fingerprint, 64 hex digits

	Width, Height int  // of the images; their product is the network's input
	Classes       int  // the network's outputs, at most 256
	Digits        bool // handwritten digits: other images are to be prepared as MNIST's were

	Loss         string  // as nn.NewLoss takes it
	L2           float64 // lambda of the penalty
	L2Form       string
	Rule         string // of the update
	LearningRate float64
	Batch        int // examples per step
	Epochs       int // trained
	Steps        int // trained
	Seed         uint64
	Random       string // which generator the seed is for
	Init         string // rule for the initial weights
}

const (
	prefix          = "glassnet."
	formatKey       = prefix + "format"
	architectureKey = prefix + "architecture"
	format          = "1"

	maxText  = 256 // bytes of a text in Facts
	maxSide  = 1024
	maxClass = 256
)

// fact is one of the Facts with its key in the metadata.
type fact struct {
	key   string
	field any // *string, *int, *uint64, *float64 or *bool
}

func (f *Facts) fields() []fact {
	return []fact{
		{prefix + "dataset", &f.Dataset},
		{prefix + "dataset_sha256", &f.DatasetSHA256},
		{prefix + "width", &f.Width},
		{prefix + "height", &f.Height},
		{prefix + "classes", &f.Classes},
		{prefix + "digits", &f.Digits},
		{prefix + "loss", &f.Loss},
		{prefix + "l2", &f.L2},
		{prefix + "l2_form", &f.L2Form},
		{prefix + "rule", &f.Rule},
		{prefix + "learning_rate", &f.LearningRate},
		{prefix + "batch", &f.Batch},
		{prefix + "epochs", &f.Epochs},
		{prefix + "steps", &f.Steps},
		{prefix + "seed", &f.Seed},
		{prefix + "random", &f.Random},
		{prefix + "init", &f.Init},
	}
}

// encode adds the facts to the metadata. What is not UTF-8 becomes "?".
func (f Facts) encode(metadata map[string]string) {
	for _, fact := range f.fields() {
		var s string
		switch p := fact.field.(type) {
		case *string:
			s = strings.Map(func(r rune) rune {
				if r == utf8.RuneError {
					return '?'
				}
				return r
			}, *p)
		case *int:
			s = strconv.Itoa(*p)
		case *uint64:
			s = strconv.FormatUint(*p, 10)
		case *float64:
			s = strconv.FormatFloat(*p, 'g', -1, 64)
		case *bool:
			s = strconv.FormatBool(*p)
		}
		metadata[fact.key] = s
	}
}

// decodeFacts reads the facts. Keys of other programs, without the prefix, are
// ignored.
func decodeFacts(metadata map[string]string) (f Facts, err error) {
	known := map[string]bool{formatKey: true, architectureKey: true}
	for _, fact := range f.fields() {
		known[fact.key] = true
		s, said := metadata[fact.key]
		if !said {
			continue
		}
		want := "text"
		switch p := fact.field.(type) {
		case *string:
			*p = s
		case *int:
			want = "a whole number from 0 to 2147483647"
			var v uint64
			v, err = strconv.ParseUint(s, 10, 31)
			*p = int(v)
		case *uint64:
			want = "a whole number from 0 to 18446744073709551615"
			*p, err = strconv.ParseUint(s, 10, 64)
		case *float64:
			want = "a number in decimal digits"
			if *p, err = strconv.ParseFloat(s, 64); strings.Trim(s, "0123456789+-.e") != "" {
				err = strconv.ErrSyntax
			}
		case *bool:
			want = "true or false"
			if *p = s == "true"; !*p && s != "false" {
				err = strconv.ErrSyntax
			}
		}
		if err != nil {
			return f, usererr.New("metadata: %s is %.80q, want %s", fact.key, s, want)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(metadata)) {
		if strings.HasPrefix(key, prefix) && !known[key] {
			return f, usererr.New("metadata: unknown key %.80q", key)
		}
	}
	return f, nil
}

// check compares the facts with the widths of the network they belong to.
func (f Facts) check(in, out int) error {
	for _, fact := range f.fields() {
		switch p := fact.field.(type) {
		case *string:
			if len(*p) > maxText {
				return usererr.New("metadata: %s of %d bytes, want at most %d", fact.key, len(*p), maxText)
			}
		case *int:
			if *p < 0 || *p > math.MaxInt32 {
				return usererr.New("metadata: %s is %d, want 0 to %d", fact.key, *p, math.MaxInt32)
			}
		case *float64:
			if !(*p >= 0 && *p <= math.MaxFloat64) {
				return usererr.New("metadata: %s is %v, want a finite number >= 0", fact.key, *p)
			}
		}
	}
	if sum, err := hex.DecodeString(f.DatasetSHA256); err != nil || f.DatasetSHA256 != strings.ToLower(f.DatasetSHA256) || len(sum) != 32 && len(sum) != 0 {
		return usererr.New("metadata: %sdataset_sha256 is %q, want 64 hex digits or nothing", prefix, f.DatasetSHA256)
	}
	if f.Width > maxSide || f.Height > maxSide {
		return usererr.New("metadata: images of %dx%d pixels, want at most %d in width and height", f.Width, f.Height, maxSide)
	}
	if (f.Width != 0 || f.Height != 0) && f.Width*f.Height != in {
		return usererr.New("metadata: images of %dx%d pixels, but the network takes %d features", f.Width, f.Height, in)
	}
	if f.Digits && f.Width == 0 {
		return usererr.New("metadata: %sdigits is true, but width and height of the images are not said", prefix)
	}
	if f.Classes != 0 && (f.Classes != out || f.Classes > maxClass) {
		return usererr.New("metadata: %d classes, but the network gives %d logits; want as many, at most %d", f.Classes, out, maxClass)
	}
	if f.Loss != "" {
		if _, err := nn.NewLoss[float32](f.Loss); err != nil {
			return usererr.New("metadata: %w", err)
		}
	}
	return nil
}
