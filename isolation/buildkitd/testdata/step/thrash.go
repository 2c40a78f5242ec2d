// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"syscall"
)

// thrash takes n bytes of memory, and touches, for ever, the pages of a mapped file
// that is larger than what is left. To the kernel that is progress.
func thrash(n int) {
	const size, page = 8 << 20, 4096
	f, err := os.Create("/large")
	if err != nil {
		fail(err)
	}
	block := make([]byte, 1<<20)
	for range size / len(block) {
		if _, err := f.Write(block); err != nil {
			fail(err)
		}
	}
	if err := f.Sync(); err != nil {
		fail(err)
	}
	mapped, err := syscall.Mmap(int(f.Fd()), 0, size, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		fail(err)
	}
	own := make([]byte, n)
	for i := 0; i < n; i += page {
		own[i] = 1
	}
	for i := 0; ; i = (i*5 + 7*page) % size { // not in the order of the file
		own[i%n] += mapped[i]
	}
}
