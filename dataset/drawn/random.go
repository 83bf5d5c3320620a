package drawn

import "math"

// stream is the source of chance of one example: SplitMix64 (Steele, Lea,
// Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
type stream struct{ state uint64 }

// newStream starts the stream of example index of a seed. Two rounds of mix
// put the streams of neighbouring seeds and examples far apart.
func newStream(seed, index uint64) *stream {
	return &stream{mix(mix(seed) + index)}
}

// mix is SplitMix64's finaliser, a bijection in which every input bit changes
// about half of the output bits.
func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (s *stream) next() uint64 {
	s.state += 0x9e3779b97f4a7c15 // 2^64 / golden ratio
	return mix(s.state)
}

// below returns an integer 0..n-1; for the small n used here the bias of the
// remainder is below 1e-17.
func (s *stream) below(n int) int { return int(s.next() % uint64(n)) }

// uniform returns a number in [0, 1), a multiple of 2^-53.
func (s *stream) uniform() float64 { return float64(s.next()>>11) / (1 << 53) }

// between returns a number in [low, high).
func (s *stream) between(low, high float64) float64 {
	return low + float64((high-low)*s.uniform())
}

// bell returns a number with mean 0, standard deviation 1 and a density shaped
// like the normal one's but ending at ±2·√3: the sum of four uniforms, whose
// variance is 4/12, scaled. Its bounds keep the freak shapes out.
func (s *stream) bell() float64 {
	sum := s.uniform() + s.uniform() + s.uniform() + s.uniform()
	return float64((sum - 2) * math.Sqrt(3))
}
