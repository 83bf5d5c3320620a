//go:build !race

package kernel

const slowness = 1
