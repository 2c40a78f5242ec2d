// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package cas

import "os"

// clone reports that there is no such thing.
func (d *Dir) clone(_, _ *os.File) bool {
	d.noClone.Store(true)
	return false
}
