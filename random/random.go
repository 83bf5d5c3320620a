// Package random gives every use of chance its own named stream, all of them
// grown from one seed: drawing more numbers for one purpose (say, the split)
// never changes another (say, the initial weights). There is no global
// generator, and a stream's state can be stored and taken up again.
package random

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"

	"glassnet/internal/elementary"
)

// The streams that training draws from.
const (
	Init    = "init"    // initial weights
	Split   = "split"   // training and validation examples
	Shuffle = "shuffle" // order of the examples in each epoch
)

// Stream is a PCG-DXSM generator (O'Neill 2014) with 128 bits of state. It is
// not safe for use by several goroutines at once.
type Stream struct{ pcg rand.PCG }

// New returns the stream of that name for seed. Streams of different names or
// seeds are unrelated: the state is the SHA-256 of both.
func New(seed uint64, name string) *Stream {
	h := sha256.Sum256(fmt.Appendf(nil, "glassnet stream %q of seed %d", name, seed))
	return &Stream{*rand.NewPCG(binary.LittleEndian.Uint64(h[:8]), binary.LittleEndian.Uint64(h[8:16]))}
}

// Uint64 returns 64 random bits.
func (s *Stream) Uint64() uint64 { return s.pcg.Uint64() }

// Float64 returns a uniform number in [0, 1): a multiple of 2^-53.
func (s *Stream) Float64() float64 { return float64(s.Uint64()>>11) * 0x1p-53 }

// IntN returns a uniform number in [0, n) by Lemire's method ("Fast random
// integer generation in an interval", 2019). It panics when n < 1.
func (s *Stream) IntN(n int) int {
	if n < 1 {
		panic(fmt.Sprintf("random.IntN: n = %d, want >= 1", n))
	}
	hi, lo := bits.Mul64(s.Uint64(), uint64(n))
	if lo < uint64(n) {
		for threshold := -uint64(n) % uint64(n); lo < threshold; {
			hi, lo = bits.Mul64(s.Uint64(), uint64(n))
		}
	}
	return int(hi)
}

// Normal returns a standard normal deviate by Marsaglia's polar method: for
// (u, v) uniform in the unit disc with s = u² + v², u·√(-2 ln s / s) is standard
// normal. The second deviate of each pair, v·√(-2 ln s / s), is not kept, so the
// generator's state is all the state there is.
func (s *Stream) Normal() float64 {
	for {
		u := 2*s.Float64() - 1
		v := 2*s.Float64() - 1
		r := float64(u*u) + float64(v*v)
		if r < 1 && r > 0 {
			return u * math.Sqrt(-2*elementary.Log64(r)/r)
		}
	}
}

// Permutation returns the numbers 0 to n-1 in random order (Fisher-Yates).
func (s *Stream) Permutation(n int) []int32 {
	p := make([]int32, n)
	for i := range p {
		p[i] = int32(i)
	}
	s.Shuffle(p)
	return p
}

// Shuffle puts p into random order (Fisher-Yates, from the end).
func (s *Stream) Shuffle(p []int32) {
	for i := len(p) - 1; i > 0; i-- {
		j := s.IntN(i + 1)
		p[i], p[j] = p[j], p[i]
	}
}

// MarshalBinary returns the state; UnmarshalBinary takes it up again.
func (s *Stream) MarshalBinary() ([]byte, error) { return s.pcg.MarshalBinary() }

// UnmarshalBinary restores a state that MarshalBinary returned.
func (s *Stream) UnmarshalBinary(state []byte) error { return s.pcg.UnmarshalBinary(state) }
