// SPDX-License-Identifier: Apache-2.0

package cas

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/klauspost/compress/zstd"

	"github.com/attest-pipeline/attest/attestation/digest"
)

// Dir is a [Store] in a folder. Content stands at <two digits>/<the other 62>
// of its BLAKE3 digest, verbatim as it was stored, or compressed with zstd by
// [Dir.Pack] and ".zst" after the name. Any number of processes may use the
// folder at once; a file that is half written never has such a name.
type Dir struct {
	root    *os.Root
	noClone atomic.Bool // the file system has said that it cannot
	benches sync.Pool   // of *bench
}

var _ Store = (*Dir)(nil)

// NewDir returns the store in a folder, which the caller closes after the last
// use of the Dir.
func NewDir(root *os.Root) *Dir { return &Dir{root: root} }

// packedSuffix ends the name of a file that is compressed.
const packedSuffix = ".zst"

// tempPrefix begins the name of a file that is being written. Those that stay
// are what a killed process left: see [Dir.RemoveTemporary].
const tempPrefix = "tmp-"

func nameOf(d digest.Digest) string {
	hex := d.Hex()
	return hex[:2] + "/" + hex[2:]
}

// bench is what copying content needs, kept for the next time.
type bench struct {
	hash *digest.Hash
	buf  []byte
	dec  *zstd.Decoder // made at first use
	enc  *zstd.Encoder

	// For content that fits into buf as a whole.
	whole  *zstd.Decoder
	packed []byte
}

const benchSize = 256 << 10

func (d *Dir) bench() *bench {
	if b, ok := d.benches.Get().(*bench); ok {
		return b
	}
	return &bench{hash: digest.NewHash(digest.BLAKE3), buf: make([]byte, benchSize)}
}

// Open is for [Getter].
func (d *Dir) Open(ctx context.Context, b Blob) (io.ReadCloser, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	f, size, packed, err := d.open(b.Digest)
	if err != nil {
		return nil, err
	}
	v := &reader{r: f, hash: digest.NewHash(digest.BLAKE3), want: b, left: b.Size}
	if !packed {
		if size != b.Size {
			return nil, errors.Join(damaged(b, "it has %d bytes", size), f.Close())
		}
		v.close = f.Close
		return v, nil
	}
	dec, err := newDecoder(f)
	if err != nil {
		return nil, errors.Join(damaged(b, "%v", err), f.Close())
	}
	v.r, v.packed = dec, true
	v.close = func() error { dec.Close(); return f.Close() }
	return v, nil
}

// open finds the file that holds the content. packed says that it is compressed.
// The verbatim form is looked for first: it goes only when the other is there, so
// that who comes while content is being compressed finds one of them.
func (d *Dir) open(id digest.Digest) (f *os.File, size int64, packed bool, err error) {
	if id.Algorithm() != digest.BLAKE3 {
		return nil, 0, false, fmt.Errorf("%w: %q is no BLAKE3 digest", ErrNotFound, id.String())
	}
	name := nameOf(id)
	if f, size, err = d.openFile(name); !errors.Is(err, fs.ErrNotExist) {
		return f, size, false, err
	}
	if f, size, err = d.openFile(name + packedSuffix); !errors.Is(err, fs.ErrNotExist) {
		return f, size, true, err
	}
	return nil, 0, false, fmt.Errorf("%w: %v", ErrNotFound, id)
}

// openFile opens what is there only if it is a file; a FIFO in its place is not
// waited for.
func (d *Dir) openFile(name string) (*os.File, int64, error) {
	f, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%w: %s is not a file", ErrDamaged, name)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, info.Size(), nil
}

// Has reports whether the store has content of this name and, where it is not
// compressed, of this length. It reads nothing.
func (d *Dir) Has(b Blob) bool {
	name := nameOf(b.Digest)
	info, err := d.root.Lstat(name)
	if err == nil {
		return info.Mode().IsRegular() && info.Size() == b.Size
	}
	info, err = d.root.Lstat(name + packedSuffix)
	return err == nil && info.Mode().IsRegular() && info.Size() > 0
}

// has is Has for those who store the content next: what is there and is not
// the content goes out of their way.
func (d *Dir) has(b Blob) bool {
	if d.Has(b) {
		return true
	}
	_ = d.root.Remove(nameOf(b.Digest))
	return false
}

// Stat returns the blob of a digest, its length as the store has it: good for a
// bound, and for nothing else before the content was read. Content that is not
// there matches [ErrNotFound].
func (d *Dir) Stat(id digest.Digest) (Blob, error) {
	f, size, packed, err := d.open(id)
	if err != nil {
		return Blob{}, err
	}
	defer f.Close()
	if packed {
		var head zstd.Header
		buf := make([]byte, zstd.HeaderMaxSize)
		n, err := io.ReadFull(f, buf)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			return Blob{}, fmt.Errorf("%w: %v: %w", ErrDamaged, id, err)
		}
		if err := head.Decode(buf[:n]); err != nil || !head.HasFCS || head.FrameContentSize > 1<<62 {
			return Blob{}, fmt.Errorf("%w: %v does not say how long it is", ErrDamaged, id)
		}
		size = int64(head.FrameContentSize)
	}
	return Blob{id, size}, nil
}

// Check reads the content and returns nil if it is what its name says; else the
// error is that of [Getter] and its reader.
func (d *Dir) Check(ctx context.Context, b Blob) error { return d.copy(ctx, b, nil) }

// Remove removes the content; that it is not there is no error.
func (d *Dir) Remove(id digest.Digest) error {
	name := nameOf(id)
	var errs []error
	for _, n := range []string{name, name + packedSuffix} {
		if err := d.root.RemoveAll(n); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// File is one file of a [Dir].
type File struct {
	Path   string // relative to the folder
	Digest digest.Digest
	Info   fs.FileInfo
	// Packed says that the content stands here compressed.
	Packed bool
	// Foreign says that the Dir has not made it: its name or its kind is not
	// one that a Dir makes. There is no Digest.
	Foreign bool
}

// Files yields everything that stands in the folder but what is being written
// just now. After an error there is nothing more.
func (d *Dir) Files() iter.Seq2[File, error] {
	return func(yield func(File, error) bool) {
		tops, err := readDir(d.root, ".")
		if err != nil {
			yield(File{}, err)
			return
		}
		for _, top := range tops {
			if strings.HasPrefix(top.Name(), tempPrefix) {
				continue
			}
			if !top.IsDir() || !isHex(top.Name(), 2) {
				info, err := top.Info()
				if !yield(File{Path: top.Name(), Info: info, Foreign: true}, err) || err != nil {
					return
				}
				continue
			}
			if !d.filesIn(top.Name(), yield) {
				return
			}
		}
	}
}

func (d *Dir) filesIn(dir string, yield func(File, error) bool) bool {
	items, err := readDir(d.root, dir)
	if err != nil {
		yield(File{}, err)
		return false
	}
	for _, item := range items {
		info, err := item.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			yield(File{}, err)
			return false
		}
		f := File{Path: dir + "/" + item.Name(), Info: info}
		rest, packed := strings.CutSuffix(item.Name(), packedSuffix)
		f.Packed = packed
		f.Digest, err = digest.Parse("blake3:" + dir + rest)
		f.Foreign = err != nil || !info.Mode().IsRegular()
		if !yield(f, nil) {
			return false
		}
	}
	return true
}

// RemoveTemporary removes what killed processes left half written. No other
// process may be writing to the folder.
func (d *Dir) RemoveTemporary() error {
	items, err := readDir(d.root, ".")
	if err != nil {
		return err
	}
	var errs []error
	for _, item := range items {
		if strings.HasPrefix(item.Name(), tempPrefix) {
			errs = append(errs, d.root.RemoveAll(item.Name()))
		}
	}
	return errors.Join(errs...)
}

func readDir(root *os.Root, dir string) ([]fs.DirEntry, error) {
	f, err := root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.ReadDir(-1)
}

func isHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == ""
}
