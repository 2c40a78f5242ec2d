// SPDX-License-Identifier: Apache-2.0

package cas

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/klauspost/compress/zstd"

	"github.com/attest-pipeline/attest/attestation/digest"
)

// Pack compresses content that stands verbatim, where that pays, and returns how
// much of the disk that gave back: in bytes, whole blocks. It pays where an eighth
// of the first 32 KiB and a block of the disk are saved, and of the whole at least
// a block. Where it does not, or where the content is compressed already, Pack
// returns 0. What does not pay is given the mode 0400, and not tried again: see
// [File.Packable].
//
// Content that is not there matches [ErrNotFound], and what is not what its name
// says [ErrDamaged]: then, as after every other error, the content stands as it
// stood, unless saved is not 0. Whoever reads it meanwhile misses nothing, and a
// kill at any moment leaves at least one form that is right; where both are there,
// the verbatim one goes when the other has been read and found right. Where several
// pack the same content at once, each may count what it gave back.
func (d *Dir) Pack(ctx context.Context, b Blob) (saved int64, err error) {
	if err := context.Cause(ctx); err != nil {
		return 0, err
	}
	if b.Digest.Algorithm() != digest.BLAKE3 {
		return 0, fmt.Errorf("%w: %q is no BLAKE3 digest", ErrNotFound, b.Digest.String())
	}
	name := nameOf(b.Digest)
	f, size, err := d.openFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		_, err = d.Stat(b.Digest)
		return 0, err
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if size != b.Size {
		return 0, damaged(b, "it has %d bytes", size)
	}
	w := d.bench()
	defer d.benches.Put(w)
	before := blocks(size)
	there, right, err := d.packed(ctx, w, b)
	if err != nil {
		return 0, err
	}
	if !right {
		after, err := d.pack(ctx, w, f, b)
		if after == 0 || err != nil {
			return 0, err
		}
		saved = there - after // what was there is no more
	}
	if err := d.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return saved, err
	}
	return saved + before, nil
}

// packed looks at the compressed form of b: how much of the disk it takes, 0 where
// there is none, and whether it is right.
func (d *Dir) packed(ctx context.Context, w *bench, b Blob) (disk int64, right bool, err error) {
	f, size, err := d.openFile(nameOf(b.Digest) + packedSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	defer f.Close()
	err = w.unpack(ctx, f, size, b, nil)
	if errors.Is(err, ErrDamaged) {
		return blocks(size), false, nil
	}
	return blocks(size), err == nil, err
}

// pack makes the compressed form of b, which f holds, and returns what it takes of
// the disk; 0 where it does not pay.
func (d *Dir) pack(ctx context.Context, w *bench, f *os.File, b Blob) (size int64, err error) {
	head := w.buf[:min(b.Size, sample)]
	if _, err := f.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if !w.pays(head) {
		settle(f)
		return 0, nil
	}
	t, err := d.create()
	if err != nil {
		return 0, err
	}
	defer t.discard()
	enc := w.encoder()
	enc.ResetContentSize(t.file, b.Size)
	got, err := w.fill(ctx, enc, io.NewSectionReader(f, 0, b.Size+1))
	if err != nil {
		return 0, err
	}
	if got != b {
		return 0, damaged(b, "its content is %v of %d bytes", got.Digest, got.Size)
	}
	if err := enc.Close(); err != nil {
		return 0, err
	}
	info, err := t.file.Stat()
	if err != nil {
		return 0, err
	}
	if blocks(info.Size()) >= blocks(b.Size) {
		settle(f)
		return 0, nil
	}
	return t.keep(nameOf(b.Digest) + packedSuffix)
}

// settle notes that f does not become smaller. Where that cannot be noted it is
// found out once more.
func settle(f *os.File) { _ = f.Chmod(0o400) }

// Packable reports whether [Dir.Pack] may make the file smaller: it stands
// verbatim, takes more than a block, and Pack has not found out before that it
// does not pay.
func (f File) Packable() bool {
	return !f.Foreign && !f.Packed && f.Info.Size() > blockSize && f.Info.Mode()&0o200 != 0
}

// sample is how much of the beginning of a content is tried.
const sample = 32 << 10

// pays reports whether compressing content that begins so saves an eighth, and
// a block of the disk.
func (w *bench) pays(head []byte) bool {
	if len(head) <= blockSize {
		return false
	}
	packed := len(w.encoder().EncodeAll(head, nil))
	return packed <= len(head)-len(head)/8 && blocks(int64(packed)) < blocks(int64(len(head)))
}

// encoder returns w.enc, to be reset.
func (w *bench) encoder() *zstd.Encoder {
	if w.enc == nil {
		// The options are right, and there is nothing else to go wrong. The next
		// level leaves a twentieth less and takes a quarter longer. Text in which nothing
		// repeats, base64 say, becomes smaller by the entropy of its bytes alone.
		w.enc, _ = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithAllLitEntropyCompression(true),
			zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithWindowSize(1<<20))
	}
	return w.enc
}
