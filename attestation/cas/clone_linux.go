// SPDX-License-Identifier: Apache-2.0

package cas

import (
	"os"

	"golang.org/x/sys/unix"
)

// clone makes to share the blocks of from, and reports whether that was
// possible.
func (d *Dir) clone(to, from *os.File) bool {
	if d.noClone.Load() {
		return false
	}
	if unix.IoctlFileClone(int(to.Fd()), int(from.Fd())) == nil {
		return true
	}
	// Whatever the reason is, copying works as well. Files that stand on two
	// file systems, or on one that has no clones, are asked about once.
	d.noClone.Store(true)
	return false
}
