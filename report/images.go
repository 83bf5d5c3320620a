package report

import (
	"bytes"
	"encoding/base64"
	"html/template"
	"image"
	"image/color"
	"image/png"

	"glassnet/experiment"
)

// digitImage draws an example dark on white, whatever its set does: pixels are 0
// for the background and 255 for ink.
func digitImage(d experiment.Digit, width, height int) *image.Gray {
	img := image.NewGray(image.Rect(0, 0, width, height))
	for i, v := range d.Pixels {
		img.Pix[i] = 255 - v
	}
	return img
}

// dataURI is a digit's image as an address that holds the image itself.
func dataURI(d experiment.Digit, width, height int) template.URL {
	var b bytes.Buffer
	png.Encode(&b, digitImage(d, width, height)) // a bytes.Buffer takes everything
	return template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(b.Bytes()))
}

// sheet puts digits in rows of so many columns on one image, each pixel drawn as
// a square of about two.
func sheet(digits []experiment.Digit, width, height, columns int) image.Image {
	scale := max(1, 56/max(width, height))
	gap := 4
	cellW, cellH := width*scale+gap, height*scale+gap
	rows := (len(digits) + columns - 1) / columns
	img := image.NewGray(image.Rect(0, 0, min(columns, len(digits))*cellW+gap, rows*cellH+gap))
	for i := range img.Pix {
		img.Pix[i] = 255
	}
	for i, d := range digits {
		left, top := gap+i%columns*cellW, gap+i/columns*cellH
		small := digitImage(d, width, height)
		for y := range height * scale {
			for x := range width * scale {
				img.SetGray(left+x, top+y, color.Gray{small.GrayAt(x/scale, y/scale).Y})
			}
		}
	}
	return img
}
