package hugepages

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// advise asks for the whole pages of the system's smallest size inside b.
func advise(b []byte) {
	page := uintptr(unix.Getpagesize())
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (page - 1)
	whole := b[skip:]
	whole = whole[:len(whole)&^int(page-1)]
	_ = unix.Madvise(whole, unix.MADV_HUGEPAGE) // kernels without large pages refuse
}
