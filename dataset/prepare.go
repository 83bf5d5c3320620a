package dataset

import (
	"bytes"
	"fmt"
	"image"
	"image/png"
	"io"
	"math"
	"slices"
	"strings"

	"glassnet/internal/inputfile"
	"glassnet/internal/usererr"
)

// Prepared is an image brought to a model's input size, with the list of what was done to it.
type Prepared struct {
	Pixels []byte   // [height*width], row by row from the top
	Steps  []string // short sentences for people, in the order of the work
}

const (
	maxPNGFile  = 64 << 20 // bytes
	maxPNGSide  = 4096
	maxPNGBytes = 64 << 20 // of the decoded image: 16 million pixels, or half as many with 16 bits per colour
)

// PreparePNG reads a PNG image of any colour mode and brings it to width x
// height (1..1024) grey pixels. Colours become their luma (ITU-R BT.601).
//
// With digit, it is prepared by PrepareDigit, and transparent parts become the
// background: the median grey of all that is opaque when less than half of the image is
// transparent, otherwise white under dark ink and black under light ink. Without
// digit, transparent parts become black and the image is scaled, by area and
// whatever its proportions, and nothing else.
//
// The image has at most 4096x4096 pixels (half as many with 16 bits per colour),
// the file at most 64 MiB; both are checked before anything is decoded. The name
// serves the errors, which are usererr.Errors.
func PreparePNG(r io.Reader, name string, width, height int, digit bool) (Prepared, error) {
	img, err := decodePNG(r, name)
	if err != nil {
		return Prepared{}, err
	}
	grey, w, h, steps := toGrey(img, digit)
	var p Prepared
	if digit {
		p, err = PrepareDigit(grey, w, h, width, height)
	} else {
		p, err = scaleOnly(grey, w, h, width, height)
	}
	if err != nil {
		return Prepared{}, usererr.New("%q: %w", name, err)
	}
	p.Steps = append(steps, p.Steps...)
	return p, nil
}

// Stage is an image on its way to a network, and what has just been done to it.
type Stage struct {
	What   string // a short sentence
	Width  int    // pixels
	Height int    // pixels
	Pixels []byte // [Height*Width], row by row from the top
}

// PreparePNGInStages is PreparePNG of a digit, with its limits and errors, and tells each
// stage of the work: the first is the image in grey levels, the last what it has become.
// pixels is [height*width].
func PreparePNGInStages(r io.Reader, name string, width, height int) (pixels []byte, stages []Stage, err error) {
	img, err := decodePNG(r, name)
	if err != nil {
		return nil, nil, err
	}
	grey, w, h, steps := toGrey(img, true)
	what := "as it was drawn"
	if len(steps) > 0 {
		what = strings.Join(steps, ", ")
	}
	stages = []Stage{{what, w, h, grey}}
	p, err := prepareDigit(grey, w, h, width, height, func(what string, w, h int, pixels []byte) {
		stages = append(stages, Stage{what, w, h, pixels})
	})
	if err != nil {
		return nil, nil, usererr.New("%q: %w", name, err)
	}
	return p.Pixels, stages, nil
}

func decodePNG(r io.Reader, name string) (image.Image, error) {
	file, err := io.ReadAll(io.LimitReader(r, maxPNGFile+1))
	if err != nil {
		return nil, fmt.Errorf("read %q: %w", name, inputfile.Cause(err))
	}
	if len(file) > maxPNGFile {
		return nil, usererr.New("%q: more than %d bytes, want a PNG file of at most 64 MiB", name, maxPNGFile)
	}
	left := bytes.NewReader(file)
	damaged := func(err error) error {
		return usererr.New("%q: damaged or not a PNG file, near byte %d of %d: %w", name, len(file)-left.Len(), len(file), err)
	}
	config, err := png.DecodeConfig(left)
	if err != nil {
		return nil, damaged(err)
	}
	// DecodeConfig has read the image header, which the format puts first: bit
	// depth at byte 24, colour type at byte 25.
	depth, channels := int(file[24]), map[byte]int{2: 3, 4: 2, 6: 4}[file[25]]
	w, h := config.Width, config.Height
	decoded := 4
	if depth == 16 {
		decoded = 8
	}
	if w > maxPNGSide || h > maxPNGSide || w*h*decoded > maxPNGBytes {
		return nil, usererr.New("%q: byte 16: image of %dx%d pixels with %d bits per colour, want at most %dx%d (half as many pixels with 16 bits)",
			name, w, h, depth, maxPNGSide, maxPNGSide)
	}
	if rows := w * max(channels, 1) * depth / 8 * h; rows/maxDeflateRatio > len(file) {
		return nil, usererr.New("%q: byte 16: image of %dx%d pixels, more than a PNG file of %d bytes can hold", name, w, h, len(file))
	}
	left.Reset(file)
	img, err := png.Decode(left)
	if err != nil {
		return nil, damaged(err)
	}
	return img, nil
}

// toGrey turns colours to grey levels and fills what is transparent.
func toGrey(img image.Image, digit bool) (grey []byte, w, h int, steps []string) {
	b := img.Bounds()
	w, h = b.Dx(), b.Dy()
	grey = make([]byte, w*h)
	alpha := make([]byte, w*h)
	coloured := false
	var opaque [256]int64 // how much of each grey level there is
	var covered int64
	for i := range grey {
		r, g, b, a := img.At(b.Min.X+i%w, b.Min.Y+i/w).RGBA() // multiplied by a, all 0..65535
		alpha[i] = to8(a)
		if a == 0 {
			continue
		}
		coloured = coloured || r != g || g != b
		luma := (19595*r + 38470*g + 7471*b + 1<<15) >> 16 // 0.299, 0.587, 0.114
		grey[i] = to8(min(luma*0xffff/a, 0xffff))
		opaque[grey[i]] += int64(alpha[i])
		covered += int64(alpha[i])
	}
	if coloured {
		steps = append(steps, "turned colours into grey levels")
	}
	whole := 255 * int64(len(grey))
	if covered == whole {
		return grey, w, h, steps
	}

	fill := byte(0)
	if digit {
		median := levelBelow(opaque[:], covered/2)
		switch {
		case covered > whole/2:
			fill = median
		case median < 128:
			fill = 255
		}
	}
	for i, a := range alpha {
		grey[i] = byte((int(grey[i])*int(a) + int(fill)*(255-int(a)) + 127) / 255)
	}
	return grey, w, h, append(steps, fmt.Sprintf("filled transparent parts with grey level %d", fill))
}

// to8 rounds a level of 16 bits to 8.
func to8(v uint32) byte { return byte((v + 128) / 257) }

// levelBelow returns the smallest level such that more than n lie at or below it.
func levelBelow(count []int64, n int64) byte {
	for level, c := range count {
		if n -= c; n < 0 {
			return byte(level)
		}
	}
	return 255
}

const (
	minContrast = 16 // between ink and background; less is noise
	minInk      = 64 // of 255: the ink that counts for the bounding box
)

// PrepareDigit brings a drawn or written digit, w x h grey levels, to the look
// of MNIST's images, as its page (yann.lecun.com/exdb/mnist) describes: light ink
// on black, scaled with its proportions into a box of 20x20 (for other sizes than
// 28x28: 20/28 of them), and shifted by whole pixels so that its centre of mass
// lies in the middle of the field: as in MNIST's files at 13.5 up to 14.5, where
// the first pixel is 0. As there, the strongest ink is 255.
//
// Dark ink on a light ground is inverted; the border tells the ground. An image
// of outW x outH that has all this already stays as it is. An image without ink
// is a usererr.Error. Sizes are 1..4096 going in and 1..1024 coming out.
func PrepareDigit(grey []byte, w, h, outW, outH int) (Prepared, error) {
	return prepareDigit(grey, w, h, outW, outH, func(string, int, int, []byte) {})
}

// prepareDigit tells each stage, whose pixels are not written to afterwards.
func prepareDigit(grey []byte, w, h, outW, outH int, tell func(what string, w, h int, pixels []byte)) (Prepared, error) {
	if err := checkSizes(grey, w, h, outW, outH); err != nil {
		return Prepared{}, err
	}
	boxW, boxH := max(1, (outW*20+14)/28), max(1, (outH*20+14)/28)
	if w == outW && h == outH && isDigit(grey, w, h, boxW, boxH) {
		p := leave(grey, w, h)
		tell(p.Steps[0], w, h, p.Pixels)
		return p, nil
	}

	lowest, highest := slices.Min(grey), slices.Max(grey)
	if highest-lowest < minContrast {
		return Prepared{}, usererr.New("no ink: all grey levels are from %d to %d", lowest, highest)
	}
	var steps []string
	step := func(w, h int, pixels []byte, format string, args ...any) {
		steps = append(steps, fmt.Sprintf(format, args...))
		tell(steps[len(steps)-1], w, h, pixels)
	}
	ground, strongest := borderLevel(grey, w, h), highest
	levels := grey
	if 2*int(ground) > int(lowest)+int(highest) {
		levels = mapped(levels, func(v byte) byte { return 255 - v })
		ground, strongest = 255-ground, 255-lowest
		step(w, h, levels, "inverted dark ink on a light ground")
	}
	if ground > 0 || strongest < 255 {
		levels = mapped(levels, func(v byte) byte {
			return byte((max(int(v)-int(ground), 0)*255 + int(strongest-ground)/2) / int(strongest-ground))
		})
		step(w, h, levels, "stretched grey levels %d..%d to 0..255", ground, strongest)
	}

	x, y, inkW, inkH := inkBox(levels, w, h, minInk)
	if inkW < w || inkH < h {
		step(inkW, inkH, cut(levels, w, x, y, inkW, inkH), "cropped to %dx%d at (%d,%d)", inkW, inkH, x, y)
	}
	// The larger scale that fits into the box: of boxW/inkW and boxH/inkH the smaller.
	newW, newH := boxW, boxH
	if inkW*boxH > inkH*boxW {
		newH = max(1, (inkH*boxW+inkW/2)/inkW)
	} else {
		newW = max(1, (inkW*boxH+inkH/2)/inkH)
	}
	sums := areaSums(levels[y*w+x:], w, inkW, inkH, newW, newH)
	white, strongestSum := 255*int64(inkW)*int64(inkH), slices.Max(sums)
	if newW != inkW || newH != inkH {
		step(newW, newH, toLevels(sums, white), "scaled to %dx%d", newW, newH)
	}
	digit := toLevels(sums, strongestSum)
	if strongestSum < white {
		step(newW, newH, digit, "brightened the strongest ink from %d to 255", strongestSum*255/white)
	}

	// The first whole position that brings the centre to the middle or beyond,
	// kept inside the field. MNIST's 70,000 images all but two lie so.
	cx, cy := centreOfMass(digit, newW, newH)
	left := min(max(int(math.Ceil(float64(outW-1)/2-cx)), 0), outW-newW)
	top := min(max(int(math.Ceil(float64(outH-1)/2-cy)), 0), outH-newH)
	out := make([]byte, outW*outH)
	for row := range newH {
		copy(out[(top+row)*outW+left:], digit[row*newW:(row+1)*newW])
	}
	step(outW, outH, out, "centred by mass in %dx%d, at (%d,%d)", outW, outH, left, top)
	return Prepared{Pixels: out, Steps: steps}, nil
}

// mapped returns f of each level.
func mapped(levels []byte, f func(byte) byte) []byte {
	out := make([]byte, len(levels))
	for i, v := range levels {
		out[i] = f(v)
	}
	return out
}

// cut returns the rectangle of an image that is stride wide.
func cut(levels []byte, stride, x, y, w, h int) []byte {
	out := make([]byte, 0, w*h)
	for row := range h {
		out = append(out, levels[(y+row)*stride+x:][:w]...)
	}
	return out
}

func checkSizes(grey []byte, w, h, outW, outH int) error {
	if w < 1 || h < 1 || w > maxPNGSide || h > maxPNGSide || len(grey) != w*h {
		return usererr.New("image of %dx%d pixels in %d bytes, want 1x1 to %dx%d and a byte for each", w, h, len(grey), maxPNGSide, maxPNGSide)
	}
	if outW < 1 || outH < 1 || outW > maxSide || outH > maxSide {
		return usererr.New("image wanted in %dx%d pixels, want 1x1 to %dx%d", outW, outH, maxSide, maxSide)
	}
	return nil
}

func leave(grey []byte, w, h int) Prepared {
	return Prepared{Pixels: slices.Clone(grey), Steps: []string{fmt.Sprintf("left as it is: already %dx%d", w, h)}}
}

// scaleOnly is the preparation of images that are no digits.
func scaleOnly(grey []byte, w, h, outW, outH int) (Prepared, error) {
	if err := checkSizes(grey, w, h, outW, outH); err != nil {
		return Prepared{}, err
	}
	if w == outW && h == outH {
		return leave(grey, w, h), nil
	}
	return Prepared{
		Pixels: toLevels(areaSums(grey, w, w, h, outW, outH), 255*int64(w)*int64(h)),
		Steps:  []string{fmt.Sprintf("scaled from %dx%d to %dx%d", w, h, outW, outH)},
	}, nil
}

// isDigit says whether the image looks as MNIST's all do: black ground, strongest
// ink 254 or 255, ink (every pixel above 0) that fills the box in one direction
// to within two pixels, centre of mass not a pixel away from where it belongs.
func isDigit(grey []byte, w, h, boxW, boxH int) bool {
	if borderLevel(grey, w, h) != 0 || slices.Max(grey) < 254 {
		return false
	}
	_, _, inkW, inkH := inkBox(grey, w, h, 1)
	cx, cy := centreOfMass(grey, w, h)
	return inkW <= boxW && inkH <= boxH && (inkW >= boxW-2 || inkH >= boxH-2) &&
		math.Abs(cx-float64(w)/2) < 1 && math.Abs(cy-float64(h)/2) < 1
}

// borderLevel returns the median grey level of the outermost pixels.
func borderLevel(grey []byte, w, h int) byte {
	var count [256]int64
	var n int64
	for i, v := range grey {
		if x, y := i%w, i/w; x == 0 || y == 0 || x == w-1 || y == h-1 {
			count[v]++
			n++
		}
	}
	return levelBelow(count[:], n/2)
}

// inkBox returns the smallest rectangle that holds all pixels of at least least.
func inkBox(grey []byte, w, h int, least byte) (x, y, boxW, boxH int) {
	x, y = w, h
	right, bottom := 0, 0
	for i, v := range grey {
		if v >= least {
			x, right = min(x, i%w), max(right, i%w+1)
			y, bottom = min(y, i/w), max(bottom, i/w+1)
		}
	}
	return x, y, right - x, bottom - y
}

// centreOfMass weighs pixel (x, y) with its grey level; the first pixel is (0, 0).
func centreOfMass(grey []byte, w, h int) (x, y float64) {
	var sum, sumX, sumY int64
	for i, v := range grey {
		sum += int64(v)
		sumX += int64(v) * int64(i%w)
		sumY += int64(v) * int64(i/w)
	}
	return float64(sumX) / float64(sum), float64(sumY) / float64(sum)
}

// areaSums scales the w x h pixels of src, whose rows are stride apart, to
// newW x newH pixels. Each is the sum over the area that it covers:
//
//	new[Y,X] = Σ src[y,x] · share(y,Y) · share(x,X)
//
// with the shares that overlaps counts, so that the mean is new/(w·h).
func areaSums(src []byte, stride, w, h, newW, newH int) []int64 {
	narrow := make([]int64, newW*h)
	overlaps(w, newW, func(x, newX, share int) {
		for y := range h {
			narrow[y*newW+newX] += int64(src[y*stride+x]) * int64(share)
		}
	})
	sums := make([]int64, newW*newH)
	overlaps(h, newH, func(y, newY, share int) {
		for x, v := range narrow[y*newW : (y+1)*newW] {
			sums[newY*newW+x] += v * int64(share)
		}
	})
	return sums
}

// overlaps calls f with each pair of an old and a new pixel that overlap when a
// line of n pixels becomes one of newN, and with their overlap: 1 is one newN-th
// of an old pixel and one n-th of a new one.
func overlaps(n, newN int, f func(old, new, share int)) {
	for i := range newN {
		begin, end := i*n, (i+1)*n
		for old := begin / newN; old*newN < end; old++ {
			f(old, i, min(end, (old+1)*newN)-max(begin, old*newN))
		}
	}
}

// toLevels divides, so that white becomes 255, and rounds.
func toLevels(sums []int64, white int64) []byte {
	out := make([]byte, len(sums))
	for i, sum := range sums {
		out[i] = byte((sum*255 + white/2) / white)
	}
	return out
}
