// SPDX-License-Identifier: Apache-2.0

package digest

import (
	"context"
	"errors"
	"io"
	"os"
)

// OfFile returns the BLAKE3 digest of the first size bytes of f, on every
// processor when they are many. io.ErrUnexpectedEOF says that f holds less, be
// it only from some moment on. The cause of ctx ends it.
func OfFile(ctx context.Context, f *os.File, size int64) (Digest, error) {
	if size >= Large {
		return large(ctx, size, func() source { return fileSource(f) })
	}
	d, n, err := Read(io.NewSectionReader(f, 0, size))
	if err == nil && n < size {
		err = io.ErrUnexpectedEOF
	}
	return d, err
}

// fileSource reads a file in pieces that stay in the processor's cache. That
// costs less than mapping it, where the system has its content in small pages.
func fileSource(f *os.File) source {
	buf := make([]byte, segmentSize)
	return func(at int64, n int) ([]byte, error) {
		_, err := f.ReadAt(buf[:n], at)
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return buf[:n], err
	}
}
