// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"os"
)

// Open opens a file below root for reading. It does not follow a symbolic link
// at the end of name and does not wait for the writer of a FIFO: what is no
// regular file is an error, a [SpecialFileError] where it is none of a Tree's
// kinds.
func Open(root *os.Root, name string) (*os.File, error) { return openRegular(root, name) }
