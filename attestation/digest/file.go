// SPDX-License-Identifier: Apache-2.0

package digest

import (
	"context"
	"io"
	"os"
)

// OfFile returns the BLAKE3 digest of the first size bytes of f, on every
// processor when they are many. io.ErrUnexpectedEOF says that f holds less, be
// it only from some moment on. The cause of ctx ends it.
func OfFile(ctx context.Context, f *os.File, size int64) (Digest, error) {
	if size >= Large {
		if d, ok, err := ofMapped(ctx, f, size); ok {
			return d, err
		}
	}
	d, n, err := Read(io.NewSectionReader(f, 0, size))
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	return d, err
}
