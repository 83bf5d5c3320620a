package kernel

import (
	"encoding/binary"
	"math/bits"
)

const (
	// placeShift is how far left the place of an entry stands of its byte.
	placeShift = 8
	// maxPlaces is how many pixels an image may have.
	maxPlaces = 1 << (32 - placeShift)
	// padding is the number of zeros behind the entries of an image.
	padding = 16
)

// appendNonzeros appends an entry for each pixel that is not 0, in order: its
// place, counted from first, shifted left by placeShift, plus its byte.
func appendNonzeros(entries []uint32, pixels []byte, first int) []uint32 {
	p := 0
	for ; p+8 <= len(pixels); p += 8 {
		word := binary.LittleEndian.Uint64(pixels[p:])
		for word != 0 {
			shift := bits.TrailingZeros64(word) &^ 7 // of the first byte that is not 0
			b := word >> shift & 0xff
			entries = append(entries, uint32(first+p+shift/8)<<placeShift|uint32(b))
			word ^= b << shift
		}
	}
	for ; p < len(pixels); p++ {
		if b := pixels[p]; b != 0 {
			entries = append(entries, uint32(first+p)<<placeShift|uint32(b))
		}
	}
	return entries
}
