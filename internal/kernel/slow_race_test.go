//go:build race

package kernel

// slowness is a divisor of the number of shapes that tests draw: the race detector makes
// the portable kernels some ten times slower, and finds what it looks for in few.
const slowness = 4
