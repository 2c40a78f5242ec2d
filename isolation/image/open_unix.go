// SPDX-License-Identifier: Apache-2.0

//go:build unix

package image

import (
	"os"
	"syscall"
)

// openNonblocking opens for reading and does not wait for the writer of a FIFO.
func openNonblocking(name string) (*os.File, error) {
	return os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
}
