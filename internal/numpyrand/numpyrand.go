// Package numpyrand gives the numbers of numpy's legacy generator
// (numpy.random.seed and the functions of the global RandomState), so that an
// experiment published with numpy can be replayed from its seed.
package numpyrand

import (
	"math"

	"glassnet/internal/elementary"
)

// State is a Mersenne Twister MT19937 (Matsumoto and Nishimura 1998) with numpy's
// legacy ways of drawing from it.
type State struct {
	key [keyLen]uint32
	pos int
	// The polar method makes normal deviates in pairs; the second is kept for
	// the next call, however many other draws come between.
	kept    float64
	hasKept bool
}

const (
	keyLen = 624
	shift  = 397
)

// New returns the state after numpy.random.seed(seed). numpy takes seeds below
// 2^32 only, which the type says.
func New(seed uint32) *State {
	s := &State{pos: keyLen}
	for i := range s.key {
		s.key[i] = seed
		seed = 1812433253*(seed^seed>>30) + uint32(i) + 1
	}
	return s
}

// uint32 returns the next 32 bits.
func (s *State) uint32() uint32 {
	if s.pos == keyLen {
		s.twist()
	}
	y := s.key[s.pos]
	s.pos++
	y ^= y >> 11
	y ^= y << 7 & 0x9d2c5680
	y ^= y << 15 & 0xefc60000
	return y ^ y>>18
}

func (s *State) twist() {
	for i := range s.key {
		y := s.key[i]&0x80000000 | s.key[(i+1)%keyLen]&0x7fffffff
		next := s.key[(i+shift)%keyLen] ^ y>>1
		if y&1 == 1 {
			next ^= 0x9908b0df
		}
		s.key[i] = next
	}
	s.pos = 0
}

// float64 returns a uniform number in [0, 1) with 53 bits from two draws.
func (s *State) float64() float64 {
	a, b := s.uint32()>>5, s.uint32()>>6
	return (float64(a)*(1<<26) + float64(b)) / (1 << 53) // exact: an integer below 2^53
}

// interval returns a uniform integer in [0, top]: draws are masked to the bits of
// top and rejected while too large.
func (s *State) interval(top uint32) uint32 {
	mask := top
	for _, k := range []int{1, 2, 4, 8, 16} {
		mask |= mask >> k
	}
	for {
		if v := s.uint32() & mask; v <= top {
			return v
		}
	}
}

// Permutation returns what numpy.random.permutation(n) does: 0 to n-1, shuffled
// from the top by Fisher and Yates.
func (s *State) Permutation(n int) []int32 {
	p := make([]int32, n)
	for i := range p {
		p[i] = int32(i)
	}
	for i := n - 1; i > 0; i-- {
		j := s.interval(uint32(i))
		p[i], p[j] = p[j], p[i]
	}
	return p
}

// Normal returns what numpy.random.randn() does: a standard normal deviate by
// Marsaglia's polar method.
func (s *State) Normal() float64 {
	if s.hasKept {
		s.hasKept = false
		return s.kept
	}
	for {
		u := 2*s.float64() - 1
		v := 2*s.float64() - 1
		r := float64(u*u) + float64(v*v)
		if r < 1 && r != 0 {
			f := math.Sqrt(-2 * elementary.Log64(r) / r)
			s.kept, s.hasKept = f*u, true
			return f * v
		}
	}
}
