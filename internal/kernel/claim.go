package kernel

import "unsafe"

// claimLines claims the cache lines that v fills: it writes a word of each back as it was.
//
// A core writes a line fast that nobody else has, and reads one fast that another core has
// written. Slow to write is what another core has only read: some 7 ns a line where 1
// would do, and 28 between cores that share no cache (Zen 4). So who reads what another
// thread will write again, and hardly anybody else reads, claims it: the line then changes
// hands as one that was written. Others may read it meanwhile, but nobody may write.
func claimLines[E any](claim func(p *byte, lines int), v []E) {
	var e E
	bytes := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), len(v)*int(unsafe.Sizeof(e)))
	before := -int(uintptr(unsafe.Pointer(unsafe.SliceData(bytes)))) & (line - 1)
	if n := (len(bytes) - before) / line; n > 0 {
		claim(&bytes[before], n)
	}
}
