//go:build (!amd64 && !arm64) || purego

package kernel

var native []implementation

// pause passes a moment.
func pause() {
	for range 16 {
	}
}
