// SPDX-License-Identifier: Apache-2.0

package cas

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"

	"github.com/attest-pipeline/attest/attestation/digest"
)

// WriteError says that content could not be written to where it was copied; the
// store is not to blame.
type WriteError struct{ Err error }

// Error says what happened.
func (e *WriteError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *WriteError) Unwrap() error { return e.Err }

func damaged(b Blob, format string, args ...any) error {
	return fmt.Errorf("%w: %v of %d bytes: %s", ErrDamaged, b.Digest, b.Size, fmt.Sprintf(format, args...))
}

// reader hands out what hashes to the name in the end, and never a byte more
// than was promised.
type reader struct {
	r      io.Reader
	packed bool
	hash   *digest.Hash
	want   Blob
	left   int64
	close  func() error
}

// Read is for io.Reader.
func (v *reader) Read(p []byte) (int, error) {
	if int64(len(p)) > v.left+1 {
		p = p[:v.left+1]
	}
	n, err := v.r.Read(p)
	if v.left -= int64(n); v.left < 0 {
		return 0, damaged(v.want, "there is more")
	}
	_, _ = v.hash.Write(p[:n])
	switch {
	case errors.Is(err, io.EOF) && v.left > 0:
		return n, damaged(v.want, "%d are missing", v.left)
	case errors.Is(err, io.EOF):
		if got := v.hash.Digest(); got != v.want.Digest {
			return n, damaged(v.want, "its content is %v", got)
		}
		return n, io.EOF
	case err != nil && v.packed:
		return n, damaged(v.want, "%v", err)
	}
	return n, err
}

// Close is for io.Closer.
func (v *reader) Close() error { return v.close() }

// CopyTo writes the content to the empty file to, which is open for reading and
// writing, by the cheapest way that the file system offers. What has been
// written is right if there is no error, and of no use otherwise. Errors are
// those of [Getter] and its reader, or a [WriteError].
func (d *Dir) CopyTo(ctx context.Context, b Blob, to *os.File) error { return d.copy(ctx, b, to) }

// copy is CopyTo; without to it only checks.
func (d *Dir) copy(ctx context.Context, b Blob, to *os.File) error {
	f, size, packed, err := d.open(b.Digest)
	if err != nil {
		return err
	}
	defer f.Close()
	w := d.bench()
	defer d.benches.Put(w)
	if packed {
		return w.unpack(ctx, f, size, b, to)
	}
	if size != b.Size {
		return damaged(b, "it has %d bytes", size)
	}
	if to != nil && d.clone(to, f) {
		// What is checked is the clone itself: it cannot change any more when
		// the store does.
		return w.copy(ctx, to, b, nil, false)
	}
	return w.copy(ctx, f, b, to, false)
}

// copy reads exactly the content of b from r, writing it where to is not nil.
// The bytes that are hashed are those that are written.
func (w *bench) copy(ctx context.Context, r io.Reader, b Blob, to *os.File, packed bool) error {
	w.hash.Reset()
	for left := b.Size; left > 0; {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		n, err := io.ReadFull(r, w.buf[:min(left, int64(len(w.buf)))])
		if err != nil {
			if packed || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return damaged(b, "%v", err)
			}
			return fmt.Errorf("reading %v: %w", b.Digest, err)
		}
		_, _ = w.hash.Write(w.buf[:n])
		if to != nil {
			if _, err := to.Write(w.buf[:n]); err != nil {
				return &WriteError{err}
			}
		}
		left -= int64(n)
	}
	if packed {
		if n, err := r.Read(w.buf[:1]); n > 0 || !errors.Is(err, io.EOF) {
			return damaged(b, "there is more, or it ends badly: %v", err)
		}
	}
	if got := w.hash.Digest(); got != b.Digest {
		return damaged(b, "its content is %v", got)
	}
	return nil
}

// unpack is copy for content that is compressed in the size bytes of f.
func (w *bench) unpack(ctx context.Context, f *os.File, size int64, b Blob, to *os.File) error {
	if b.Size <= benchSize && size <= benchSize {
		return w.copyWhole(f, size, b, to)
	}
	if err := w.reset(f); err != nil {
		return damaged(b, "%v", err)
	}
	return w.copy(ctx, w.dec, b, to, true)
}

// copyWhole is copy for content that is compressed in the size bytes of f, and
// small: it is read, unpacked and written in one piece each.
func (w *bench) copyWhole(f io.Reader, size int64, b Blob, to *os.File) error {
	if w.whole == nil {
		var err error
		if w.whole, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxWindow),
			zstd.WithDecoderMaxWindow(maxWindow), zstd.IgnoreChecksum(true)); err != nil {
			return err
		}
		w.packed = make([]byte, benchSize)
	}
	n, err := io.ReadFull(f, w.packed[:size])
	if err != nil {
		return fmt.Errorf("reading %v: %w", b.Digest, err)
	}
	content, err := w.whole.DecodeAll(w.packed[:n], w.buf[:0])
	if err != nil {
		return damaged(b, "%v", err)
	}
	if int64(len(content)) != b.Size {
		return damaged(b, "it has %d bytes", len(content))
	}
	if got := digest.Of(content); got != b.Digest {
		return damaged(b, "its content is %v", got)
	}
	if to == nil {
		return nil
	}
	if _, err := to.Write(content); err != nil {
		return &WriteError{err}
	}
	return nil
}

// maxWindow bounds the memory that reading compressed content takes. What Dir
// writes needs less.
const maxWindow = 8 << 20

func newDecoder(r io.Reader) (*zstd.Decoder, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow),
		zstd.WithDecoderLowmem(true), zstd.IgnoreChecksum(true))
}

// reset makes w.dec read from r.
func (w *bench) reset(r io.Reader) (err error) {
	if w.dec == nil {
		w.dec, err = newDecoder(r)
		return err
	}
	return w.dec.Reset(r)
}
