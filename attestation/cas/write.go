// SPDX-License-Identifier: Apache-2.0

package cas

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/attest-pipeline/attest/attestation/digest"
)

// Put is for [Putter].
func (d *Dir) Put(ctx context.Context, r io.Reader) (Blob, error) {
	b, _, err := d.write(ctx, r, Blob{Size: -1})
	return b, err
}

// PutFile stores the content of a file, read from its beginning, of which the
// caller knows the name. It returns what that took of the disk, in bytes: 0
// where the content was there. A file that has another content is an error
// that matches [digest.ErrMismatch], and nothing is stored.
func (d *Dir) PutFile(ctx context.Context, src *os.File, b Blob) (int64, error) {
	if d.has(b) {
		return 0, nil
	}
	if size, err := d.putClone(ctx, src, b); size > 0 || err != nil {
		return size, err
	}
	_, size, err := d.write(ctx, src, b)
	return size, err
}

// PutBytes stores content that the caller has in memory, and returns its name
// and what that took of the disk, in bytes: 0 where the content was there.
func (d *Dir) PutBytes(ctx context.Context, content []byte) (Blob, int64, error) {
	b := Blob{digest.Of(content), int64(len(content))}
	if d.has(b) {
		return b, 0, nil
	}
	return d.write(ctx, bytes.NewReader(content), b)
}

// putClone stores a file that shares its blocks with src; it returns 0 where the
// file system has no such thing.
func (d *Dir) putClone(ctx context.Context, src *os.File, b Blob) (size int64, err error) {
	if d.noClone.Load() || b.Size == 0 {
		return 0, nil
	}
	t, err := d.create()
	if err != nil {
		return 0, err
	}
	defer t.discard()
	if !d.clone(t.file, src) {
		return 0, nil
	}
	return d.keepShared(ctx, t, b)
}

// keepShared keeps a temporary file whose blocks are another's, if b is what it
// holds: whoever writes to the other from now on does not change it.
func (d *Dir) keepShared(ctx context.Context, t *temporary, b Blob) (size int64, err error) {
	w := d.bench()
	defer d.benches.Put(w)
	w.hash.Reset()
	n, err := w.hash.ReadFrom(readFunc(func(p []byte) (int, error) {
		if err := context.Cause(ctx); err != nil {
			return 0, err // a file can be as large as a disk
		}
		return t.file.Read(p)
	}))
	if err != nil {
		return 0, err
	}
	if err := (Blob{w.hash.Digest(), n}).mustBe(b); err != nil {
		return 0, err
	}
	return t.keep(nameOf(b.Digest))
}

// mustBe complains about content that is not what its owner said.
func (b Blob) mustBe(want Blob) error {
	if b != want {
		return fmt.Errorf("storing %d bytes: %w", want.Size, &digest.MismatchError{Want: want.Digest, Got: b.Digest})
	}
	return nil
}

// write stores what r holds, and returns its name and what it takes of the
// disk. want is what r should hold; a Size below zero means that this is not
// known.
func (d *Dir) write(ctx context.Context, r io.Reader, want Blob) (Blob, int64, error) {
	t, err := d.create()
	if err != nil {
		return Blob{}, 0, err
	}
	defer t.discard()
	w := d.bench()
	defer d.benches.Put(w)
	got, err := w.fill(ctx, t.file, r)
	if err != nil {
		return Blob{}, 0, err
	}
	if want.Size >= 0 {
		if err := got.mustBe(want); err != nil {
			return Blob{}, 0, err
		}
	} else if d.has(got) {
		return got, 0, nil
	}
	size, err := t.keep(nameOf(got.Digest))
	return got, size, err
}

// fill copies all that r holds to f and hashes it on the way.
func (w *bench) fill(ctx context.Context, f io.Writer, r io.Reader) (Blob, error) {
	var b Blob
	w.hash.Reset()
	for {
		if err := context.Cause(ctx); err != nil {
			return Blob{}, err
		}
		n, err := fillUp(r, w.buf)
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return Blob{}, err
		}
		_, _ = w.hash.Write(w.buf[:n])
		if _, err := f.Write(w.buf[:n]); err != nil {
			return Blob{}, err
		}
		b.Size += int64(n)
		if end {
			b.Digest = w.hash.Digest()
			return b, nil
		}
	}
}

// fillUp is io.ReadFull, but for the end of r, which is io.EOF wherever it comes: r
// may itself say that it ended too early.
func fillUp(r io.Reader, p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		var m int
		m, err = r.Read(p[n:])
		n += m
	}
	return n, err
}

const blockSize = 4 << 10

// blocks is what a file of so many bytes takes of a disk.
func blocks(size int64) int64 { return (size + blockSize - 1) / blockSize * blockSize }

// temporary is a file that has no name of a blob yet.
type temporary struct {
	dir  *Dir
	name string
	file *os.File
	done bool
}

func (d *Dir) create() (*temporary, error) {
	for {
		name := tempPrefix + rand.Text()
		f, err := d.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return &temporary{dir: d, name: name, file: f}, nil
	}
}

// keep gives the file its name, and returns what it takes of the disk, with the
// folder that was made for it, if any.
func (t *temporary) keep(name string) (int64, error) {
	info, err := t.file.Stat()
	if err := errors.Join(err, t.file.Close()); err != nil {
		return 0, err
	}
	root := t.dir.root
	size := blocks(info.Size())
	err = root.Rename(t.name, name)
	if errors.Is(err, fs.ErrNotExist) {
		switch err := root.Mkdir(path.Dir(name), 0o700); {
		case err == nil:
			size += blockSize
		case !errors.Is(err, fs.ErrExist):
			return 0, err
		}
		err = root.Rename(t.name, name)
	}
	if err != nil {
		return 0, err
	}
	t.done = true
	return size, nil
}

// discard removes the file unless it was kept.
func (t *temporary) discard() {
	if !t.done {
		_ = t.file.Close()
		_ = t.dir.root.Remove(t.name)
	}
}

// readFunc is a function as an io.Reader.
type readFunc func([]byte) (int, error)

// Read calls f.
func (f readFunc) Read(p []byte) (int, error) { return f(p) }
