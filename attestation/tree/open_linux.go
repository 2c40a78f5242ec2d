// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"os"
	"syscall"
)

// openRegular opens a file for reading without waiting for a writer, should it
// have become a FIFO since it was listed.
func openRegular(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return regular(root, name, f)
}
