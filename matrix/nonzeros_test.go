package matrix

import (
	"slices"
	"testing"
)

func TestListNonzeros(t *testing.T) {
	for _, cols := range []int{1, 7, 15, 16, 17, 33, 784} {
		const images = 5
		pixels := make([]byte, images*cols)
		for i := range pixels {
			if i%3 == 1 || i >= 2*cols && i < 3*cols { // the third image has no 0 but byte(256)
				pixels[i] = byte(i)
			}
		}
		l := ListNonzeros(pixels, cols)
		if l.Cols() != cols || l.Images() != images {
			t.Fatalf("lists of %d images of %d pixels, want %d of %d", l.Images(), l.Cols(), images, cols)
		}
		for i := range images {
			image := make([]byte, cols)
			for _, e := range l.Row(i) {
				image[e>>PlaceShift] = byte(e)
			}
			if !slices.Equal(image, pixels[i*cols:(i+1)*cols]) {
				t.Errorf("image %d of %d pixels is %v, want %v", i, cols, image, pixels[i*cols:(i+1)*cols])
			}
			if !slices.IsSorted(l.Row(i)) {
				t.Errorf("the entries of image %d of %d pixels are not in order", i, cols)
			}
			behind := l.Row(i)[len(l.Row(i)) : len(l.Row(i))+Padding]
			if slices.Max(behind) != 0 {
				t.Errorf("behind image %d of %d pixels is %v, want zeros", i, cols, behind)
			}
		}
	}
}

func TestListNonzerosPanics(t *testing.T) {
	for _, bad := range []struct{ pixels, cols int }{{10, 0}, {10, -1}, {10, 3}, {0, MaxPlaces + 1}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%d pixels in images of %d: no panic", bad.pixels, bad.cols)
				}
			}()
			ListNonzeros(make([]byte, bad.pixels), bad.cols)
		}()
	}
}
