package dataset

import (
	"bytes"
	"compress/zlib"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"math"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"glassnet/internal/usererr"
)

// seven is a drawing of w x h pixels in the given grey levels: a slanted seven
// with a bar, off the middle.
func seven(w, h int, ground, ink byte) []byte {
	grey := bytes.Repeat([]byte{ground}, w*h)
	thick := max(w/14, 1)
	for y := h / 8; y < h*5/8; y++ {
		x := w/2 - (y-h/8)*w/(3*h)
		if y < h/8+thick {
			x = w / 4
		}
		for ; x < w/2-(y-h/8)*w/(3*h)+thick; x++ {
			grey[y*w+x] = ink
		}
	}
	return grey
}

func greyImage(grey []byte, w, h int) *image.Gray {
	return &image.Gray{Pix: grey, Stride: w, Rect: image.Rect(0, 0, w, h)}
}

func encode(t *testing.T, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func difference(a, b []byte) (mean float64, worst int) {
	for i := range a {
		d := int(a[i]) - int(b[i])
		d = max(d, -d)
		mean += float64(d) / float64(len(a))
		worst = max(worst, d)
	}
	return mean, worst
}

// MNIST's own images come through bit by bit, and come back nearly the same when
// they are blown up, inverted and put off the middle of a sheet.
func TestPrepareMNIST(t *testing.T) {
	data := realMNIST(t)
	sets := []*Set{data.Test}
	if os.Getenv("GLASSNET_EXHAUSTIVE") == "1" { // a full run left all 70,000 as they are
		sets = append(sets, data.Train)
	}
	for _, set := range sets {
		for i := range set.Len() {
			got, err := PrepareDigit(set.Image(i), 28, 28, 28, 28)
			if err != nil || !bytes.Equal(got.Pixels, set.Image(i)) {
				t.Fatalf("PrepareDigit(image %d of %d) = %q, %v; want it as it is", i, set.Len(), got.Steps, err)
			}
		}
	}
	var sum float64
	const n = 200
	for i := range n {
		digit := data.Test.Image(i)
		got, err := PreparePNG(bytes.NewReader(encode(t, greyImage(digit, 28, 28))), "x", 28, 28, true)
		if err != nil || !bytes.Equal(got.Pixels, digit) || !slices.Equal(got.Steps, []string{"left as it is: already 28x28"}) {
			t.Fatalf("PreparePNG(test image %d) = %q, %v; want it as it is", i, got.Steps, err)
		}
		const w, h, zoom = 400, 350, 9
		sheet := bytes.Repeat([]byte{240}, w*h)
		for j := range 28 * 28 * zoom * zoom {
			x, y := j%(28*zoom), j/(28*zoom)
			sheet[(y+80)*w+x+15] = 240 - byte(int(digit[y/zoom*28+x/zoom])*230/255)
		}
		if got, err = PrepareDigit(sheet, w, h, 28, 28); err != nil {
			t.Fatal(err)
		}
		mean, _ := difference(got.Pixels, digit)
		sum += mean / n
	}
	t.Logf("blown up and back: mean difference %.2f of 255", sum)
	if sum > 1 {
		t.Errorf("mean difference of %d images blown up and back = %.2f of 255, want at most 1", n, sum)
	}
}

func TestPrepareDigit(t *testing.T) {
	tests := []struct {
		name  string
		grey  []byte
		w, h  int
		steps []string
	}{
		{"light on dark", seven(280, 560, 0, 255), 280, 560, []string{
			"cropped to 90x280 at (70,70)", "scaled to 6x20", "centred by mass in 28x28, at (11,6)"}},
		{"dark on light", seven(280, 560, 230, 30), 280, 560, []string{
			"inverted dark ink on a light ground", "stretched grey levels 25..225 to 0..255",
			"cropped to 90x280 at (70,70)", "scaled to 6x20", "centred by mass in 28x28, at (11,6)"}},
		{"faint", seven(280, 560, 100, 116), 280, 560, []string{
			"stretched grey levels 100..116 to 0..255",
			"cropped to 90x280 at (70,70)", "scaled to 6x20", "centred by mass in 28x28, at (11,6)"}},
		{"faint smudges", put(put(seven(280, 560, 0, 255), 0, 60, 60), -2, 60, 60), 280, 560, []string{
			"cropped to 90x280 at (70,70)", "scaled to 6x20", "centred by mass in 28x28, at (11,6)"}},
		{"small", seven(14, 14, 0, 255), 14, 14, nil},
		{"one pixel", []byte{0, 0, 0, 0, 255, 0, 0, 0, 0}, 3, 3, []string{
			"cropped to 1x1 at (1,1)", "scaled to 20x20", "centred by mass in 28x28, at (4,4)"}},
		{"wide line", put(make([]byte, 9*100), 4*100+10, bytes.Repeat([]byte{255}, 80)...), 100, 9, []string{
			"cropped to 80x1 at (10,4)", "scaled to 20x1", "centred by mass in 28x28, at (4,14)"}},
		{"two specks far apart", put(put(make([]byte, 2000*2000), 2001, 255), -2002, 255), 2000, 2000, []string{
			"cropped to 1998x1998 at (1,1)", "scaled to 20x20", "brightened the strongest ink from 0 to 255", "centred by mass in 28x28, at (4,4)"}},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			before := slices.Clone(c.grey)
			got, err := PrepareDigit(c.grey, c.w, c.h, 28, 28)
			if err != nil {
				t.Fatal(err)
			}
			if c.steps != nil && !slices.Equal(got.Steps, c.steps) {
				t.Errorf("steps = %q, want %q", got.Steps, c.steps)
			}
			if len(got.Pixels) != 28*28 || slices.Max(got.Pixels) != 255 {
				t.Errorf("%d pixels up to %d, want 784 up to 255", len(got.Pixels), slices.Max(got.Pixels))
			}
			if !bytes.Equal(c.grey, before) {
				t.Error("PrepareDigit wrote into its input")
			}
			x, y := centreOfMass(got.Pixels, 28, 28)
			if math.Abs(x-14) > 0.5 || math.Abs(y-14) > 0.5 {
				t.Errorf("centre of mass = (%.3f,%.3f), want (14,14) within 0.5", x, y)
			}
			again, err := PrepareDigit(got.Pixels, 28, 28, 28, 28)
			if err != nil || !bytes.Equal(again.Pixels, got.Pixels) || len(again.Steps) != 1 {
				t.Errorf("prepared again: %q, %v; want it left as it is", again.Steps, err)
			}
		})
	}

	// Light on dark and dark on light are the same drawing.
	light, _ := PrepareDigit(seven(280, 560, 0, 255), 280, 560, 28, 28)
	dark, _ := PrepareDigit(seven(280, 560, 230, 30), 280, 560, 28, 28)
	if !bytes.Equal(light.Pixels, dark.Pixels) {
		t.Error("dark on light differs from light on dark")
	}
	// The same on every machine.
	if got, want := fmt.Sprintf("%x", sha256.Sum256(light.Pixels))[:16], "9eb38b7a3e92eec5"; got != want {
		t.Errorf("SHA-256 of the prepared seven = %s, want %s", got, want)
	}
}

// Near MNIST's look is not enough to be left alone.
func TestPrepareDigitNotLeft(t *testing.T) {
	good, err := PrepareDigit(seven(280, 560, 0, 255), 280, 560, 28, 28)
	if err != nil {
		t.Fatal(err)
	}
	shift := func(by int) []byte {
		out := make([]byte, 28*28)
		copy(out, good.Pixels[by:])
		return out
	}
	dim := slices.Clone(good.Pixels)
	inverted := slices.Clone(good.Pixels)
	for i, v := range dim {
		dim[i] = byte(int(v) * 2 / 3)
		inverted[i] = 255 - v
	}
	small := make([]byte, 28*28)
	copy(small[10*28+10:], []byte{255, 255, 255, 255})
	for name, grey := range map[string][]byte{
		"two pixels left": shift(2), "two pixels up": shift(2 * 28), "dim": dim, "inverted": inverted, "small": small,
	} {
		got, err := PrepareDigit(grey, 28, 28, 28, 28)
		if err != nil || bytes.Equal(got.Pixels, grey) {
			t.Errorf("%s: %q, %v; want it changed", name, got.Steps, err)
		}
		if mean, worst := difference(got.Pixels, good.Pixels); name != "small" && mean > 2 {
			t.Errorf("%s: differs from the good image by %.2f on average, %d at most", name, mean, worst)
		}
	}
}

func TestPrepareDigitSizes(t *testing.T) {
	for _, out := range [][2]int{{1, 1}, {2, 1}, {8, 8}, {28, 56}, {64, 64}, {1024, 1024}} {
		got, err := PrepareDigit(seven(90, 70, 255, 0), 90, 70, out[0], out[1])
		if err != nil || len(got.Pixels) != out[0]*out[1] || slices.Max(got.Pixels) != 255 {
			t.Errorf("PrepareDigit to %v = %d pixels, %q, %v", out, len(got.Pixels), got.Steps, err)
		}
	}
}

func TestPrepareDigitErrors(t *testing.T) {
	tests := []struct {
		name             string
		grey             []byte
		w, h, outW, outH int
		want             string
	}{
		{"blank", bytes.Repeat([]byte{255}, 100), 10, 10, 28, 28, "no ink: all grey levels are from 255 to 255"},
		{"nearly blank", put(bytes.Repeat([]byte{250}, 100), 50, 235), 10, 10, 28, 28, "no ink: all grey levels are from 235 to 250"},
		{"no pixels", nil, 0, 0, 28, 28, "image of 0x0 pixels in 0 bytes, want 1x1 to 4096x4096"},
		{"negative", nil, -1, -1, 28, 28, "image of -1x-1 pixels"},
		{"too wide", make([]byte, 4097), 4097, 1, 28, 28, "image of 4097x1 pixels"},
		{"783 pixels", make([]byte, 783), 28, 28, 28, 28, "image of 28x28 pixels in 783 bytes"},
		{"no size out", make([]byte, 4), 2, 2, 28, 0, "image wanted in 28x0 pixels, want 1x1 to 1024x1024"},
		{"huge size out", make([]byte, 4), 2, 2, 1025, 28, "image wanted in 1025x28 pixels"},
	}
	for _, c := range tests {
		_, err := PrepareDigit(c.grey, c.w, c.h, c.outW, c.outH)
		checkUserError(t, c.name, err, c.want)
	}
	_, err := scaleOnly(nil, 1, 1, 28, 28)
	checkUserError(t, "scaleOnly", err, "image of 1x1 pixels in 0 bytes")
}

// The same drawing in every colour mode of PNG gives the same pixels.
func TestPreparePNGModes(t *testing.T) {
	const w, h = 60, 80
	want, err := PrepareDigit(seven(w, h, 0, 255), w, h, 28, 28)
	if err != nil {
		t.Fatal(err)
	}
	paint := func(img interface {
		image.Image
		Set(x, y int, c color.Color)
	}, ground, ink color.Color) image.Image {
		for i, v := range seven(w, h, 0, 255) {
			c := ground
			if v > 0 {
				c = ink
			}
			img.Set(i%w, i/w, c)
		}
		return img
	}
	r := image.Rect(0, 0, w, h)
	none := color.NRGBA{}
	navy, red, cream := color.NRGBA{0, 0, 90, 255}, color.NRGBA{200, 0, 0, 255}, color.NRGBA{255, 250, 220, 255}
	mostlyInk := color.NRGBA{250, 250, 250, 255} // an opaque card
	card := paint(image.NewNRGBA(r), mostlyInk, navy).(*image.NRGBA)
	for y := range h { // with one transparent edge
		card.Set(0, y, none)
	}
	tests := []struct {
		name string
		img  image.Image
		step string
	}{
		{"grey", paint(image.NewGray(r), color.White, color.Black), "inverted"},
		{"grey 16 bit", paint(image.NewGray16(r), color.Black, color.White), ""},
		{"two colours", paint(image.NewPaletted(r, color.Palette{color.White, color.Black}), color.White, color.Black), "inverted"},
		{"palette", paint(image.NewPaletted(r, color.Palette{red, cream, navy}), cream, navy), "colours"},
		{"palette with transparency", paint(image.NewPaletted(r, color.Palette{none, navy}), none, navy), "filled transparent parts with grey level 255"},
		{"colour", paint(image.NewRGBA(r), cream, red), "colours"},
		{"colour 16 bit", paint(image.NewRGBA64(r), navy, cream), "colours"},
		{"dark ink on nothing", paint(image.NewNRGBA(r), none, navy), "filled transparent parts with grey level 255"},
		{"light ink on nothing", paint(image.NewNRGBA(r), none, cream), "filled transparent parts with grey level 0"},
		{"dark ink on nothing, 16 bit", paint(image.NewNRGBA64(r), none, color.Black), "filled transparent parts with grey level 255"},
		{"ink a little darker than grey on nothing", paint(image.NewNRGBA(r), none, color.Gray{127}), "filled transparent parts with grey level 255"},
		{"ink a little lighter than grey on nothing", paint(image.NewNRGBA(r), none, color.Gray{128}), "filled transparent parts with grey level 0"},
		{"half transparent ink", paint(image.NewNRGBA(r), none, color.NRGBA{0, 0, 0, 128}), "filled transparent parts with grey level 255"},
		{"a card with a transparent edge", card, "filled transparent parts with grey level 250"},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			got, err := PreparePNG(bytes.NewReader(encode(t, c.img)), "x", 28, 28, true)
			if err != nil || !bytes.Equal(got.Pixels, want.Pixels) {
				t.Errorf("PreparePNG = %q, %v; want the pixels of the plain drawing", got.Steps, err)
			}
			if !strings.Contains(strings.Join(got.Steps, "; "), c.step) {
				t.Errorf("steps = %q, want one with %q", got.Steps, c.step)
			}
		})
	}
}

func TestPreparePNGScaleOnly(t *testing.T) {
	img := greyImage([]byte{
		10, 20, 30, 50,
		30, 40, 50, 70,
		0, 0, 255, 255,
		0, 1, 255, 255,
	}, 4, 4)
	tests := []struct {
		w, h int
		want []byte
		step string
	}{
		{2, 2, []byte{25, 50, 0, 255}, "scaled from 4x4 to 2x2"},
		// Columns of 4/3: (10·3+20)/4, (20·2+30·2)/4, (30+50·3)/4 and so on.
		{3, 4, []byte{13, 25, 45, 33, 45, 65, 0, 128, 255, 0, 128, 255}, "scaled from 4x4 to 3x4"},
		{4, 4, img.Pix, "left as it is: already 4x4"},
		{8, 1, []byte{10, 10, 15, 15, 148, 148, 158, 158}, "scaled from 4x4 to 8x1"},
	}
	for _, c := range tests {
		got, err := PreparePNG(bytes.NewReader(encode(t, img)), "x", c.w, c.h, false)
		if err != nil || !bytes.Equal(got.Pixels, c.want) || !slices.Equal(got.Steps, []string{c.step}) {
			t.Errorf("PreparePNG to %dx%d = %v, %q, %v; want %v, %q", c.w, c.h, got.Pixels, got.Steps, err, c.want, c.step)
		}
	}

	// Colours become their luma: red, green, blue.
	colours := image.NewNRGBA(image.Rect(0, 0, 3, 1))
	for x, c := range []color.NRGBA{{R: 255, A: 255}, {G: 255, A: 255}, {B: 255, A: 255}} {
		colours.Set(x, 0, c)
	}
	if got, err := PreparePNG(bytes.NewReader(encode(t, colours)), "x", 3, 1, false); err != nil || !bytes.Equal(got.Pixels, []byte{76, 150, 29}) {
		t.Errorf("PreparePNG of red, green, blue = %v, %v; want 76, 150, 29", got.Pixels, err)
	}

	// Transparent is black, and nothing is inverted.
	half := image.NewNRGBA(image.Rect(0, 0, 2, 1))
	half.Set(1, 0, color.NRGBA{255, 255, 255, 128})
	got, err := PreparePNG(bytes.NewReader(encode(t, half)), "x", 2, 1, false)
	if want := []byte{0, 128}; err != nil || !bytes.Equal(got.Pixels, want) {
		t.Errorf("PreparePNG of transparent pixels = %v, %v; want %v", got.Pixels, err, want)
	}
}

// pngFile puts a PNG file together: header, image data, and what comes before it.
func pngFile(w, h uint32, depth, colour byte, data []byte, extra int) []byte {
	var b bytes.Buffer
	b.WriteString("\x89PNG\r\n\x1a\n")
	chunk := func(kind string, data []byte) {
		binary.Write(&b, binary.BigEndian, uint32(len(data)))
		body := append([]byte(kind), data...)
		b.Write(body)
		binary.Write(&b, binary.BigEndian, crc32.ChecksumIEEE(body))
	}
	header := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, w), h)
	chunk("IHDR", append(header, depth, colour, 0, 0, 0))
	for range extra {
		chunk("tEXt", []byte("k\x00v"))
	}
	var zipped bytes.Buffer
	z := zlib.NewWriter(&zipped)
	z.Write(data)
	z.Close()
	chunk("IDAT", zipped.Bytes())
	chunk("IEND", nil)
	return b.Bytes()
}

func TestPreparePNGErrors(t *testing.T) {
	good := encode(t, greyImage(seven(60, 80, 255, 0), 60, 80))
	tests := []badFile{
		{"empty", nil, "near byte 0 of 0: unexpected EOF"},
		{"JPEG", []byte("\xff\xd8\xff\xe0\x00\x10JFIF"), "damaged or not a PNG file"},
		{"40000x40000 in 65 bytes", pngFile(40000, 40000, 8, 0, nil, 0), `"x\t": `}, // where int has 32 bits, image/png says it
		{"20000x10000", pngFile(20000, 10000, 8, 0, nil, 0), "byte 16: image of 20000x10000 pixels with 8 bits per colour, want at most 4096x4096"},
		{"4097x1", pngFile(4097, 1, 8, 0, make([]byte, 4098), 0), "byte 16: image of 4097x1 pixels"},
		{"16 bit colours, 16 MPixel", pngFile(4096, 4096, 16, 6, make([]byte, 1<<20), 0), "byte 16: image of 4096x4096 pixels with 16 bits"},
		{"0x0", pngFile(0, 0, 8, 0, nil, 0), "damaged or not a PNG file"},
		{"2^31 wide", pngFile(1<<31, 1, 8, 0, nil, 0), "damaged or not a PNG file"},
		{"4000x4000 in few bytes", pngFile(4000, 4000, 8, 0, nil, 0), "image of 4000x4000 pixels, more than a PNG file of 68 bytes can hold"},
		{"4000x4000 colours in few bytes", pngFile(4000, 4000, 8, 2, make([]byte, 1<<20), 0), "image of 4000x4000 pixels, more than a PNG file of"},
		{"too few data", pngFile(60, 80, 8, 0, make([]byte, 100), 0), "damaged or not a PNG file"},
		{"too much data", pngFile(60, 80, 8, 0, make([]byte, 20<<20), 0), "damaged or not a PNG file"},
		{"cut", good[:len(good)/2], fmt.Sprintf("near byte %d of %[1]d: png: ", len(good)/2)},
		{"wrong checksum", put(good, len(good)/2, good[len(good)/2]^1), "damaged or not a PNG file"},
		{"bad bit depth", pngFile(60, 80, 7, 0, nil, 0), "damaged or not a PNG file"},
		{"blank", encode(t, image.NewGray(image.Rect(0, 0, 50, 50))), `"x\t": no ink: all grey levels are from 0 to 0`},
		{"all transparent", encode(t, image.NewNRGBA(image.Rect(0, 0, 50, 50))), `"x\t": no ink: all grey levels are from 0 to 0`},
		{"64 MiB and a byte", append(bytes.Clone(good), make([]byte, 64<<20)...), `"x\t": more than 67108864 bytes`},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			var err error
			prepare := func() { _, err = PreparePNG(bytes.NewReader(c.content), "x\t", 28, 28, true) }
			memory := allocated(prepare)
			checkUserError(t, "PreparePNG", err, c.want)
			if took := fastest(prepare); took > 200*time.Millisecond && len(c.content) < 64<<20 {
				t.Errorf("PreparePNG took %v, want at most 200 ms", took)
			}
			if limit := uint64(max(64<<20, 6*len(c.content))); memory > limit { // 6: io.ReadAll grows in steps
				t.Errorf("PreparePNG allocated %d bytes, want at most %d", memory, limit)
			}
		})
	}

	for _, disk := range []error{syscall.EIO, &fs.PathError{Op: "read", Path: "x", Err: syscall.EIO}} {
		_, err := PreparePNG(failingReader{bytes.NewReader(good), disk}, "x", 28, 28, true)
		if _, user := usererr.Find(err); !errors.Is(err, syscall.EIO) || user {
			t.Errorf("PreparePNG from a failing disk = %v (of the user: %v), want EIO, not of the user", err, user)
		}
	}
}

// Odd, but images.
func TestPreparePNGOddities(t *testing.T) {
	rows := func(w, h, bytesPerRow int) []byte { // every row: filter 0, then ink at its left end
		data := make([]byte, h*(bytesPerRow+1))
		for y := range h {
			data[y*(bytesPerRow+1)+1] = 0xf0
		}
		return data
	}
	for name, file := range map[string][]byte{
		"1 bit":             pngFile(60, 80, 1, 0, rows(60, 80, 8), 0),
		"1x80":              pngFile(1, 80, 8, 0, append([]byte{0, 0xff}, make([]byte, 2*79)...), 0),
		"100000 chunks":     pngFile(60, 80, 8, 0, rows(60, 80, 60), 100_000),
		"4096x4096":         pngFile(4096, 4096, 1, 0, rows(4096, 4096, 512), 0),
		"bytes after IEND":  append(pngFile(60, 80, 8, 0, rows(60, 80, 60), 0), "more"...),
		"text after header": pngFile(60, 80, 8, 0, rows(60, 80, 60), 1),
	} {
		if _, err := PreparePNG(bytes.NewReader(file), name, 28, 28, true); err != nil {
			t.Errorf("PreparePNG(%s) = %v, want nil", name, err)
		}
	}
}

func FuzzPreparePNG(f *testing.F) {
	var b bytes.Buffer
	png.Encode(&b, greyImage(seven(20, 20, 255, 0), 20, 20))
	f.Add(b.Bytes())
	f.Add(pngFile(8, 8, 8, 6, make([]byte, 8*33), 1))
	f.Fuzz(func(t *testing.T, file []byte) {
		for _, digit := range []bool{true, false} {
			got, err := PreparePNG(bytes.NewReader(file), "x", 28, 28, digit)
			if err != nil {
				checkUserError(t, "PreparePNG", err, "")
			} else if len(got.Pixels) != 28*28 || len(got.Steps) == 0 {
				t.Errorf("PreparePNG = %d pixels, %q", len(got.Pixels), got.Steps)
			}
		}
	})
}
