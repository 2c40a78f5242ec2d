// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/attest-pipeline/attest/attestation/digest"
)

// Hasher fills in the digests of entries. Its zero value hashes with BLAKE3
// alone, on every processor. Safe for concurrent use.
type Hasher struct {
	// SHA256 asks for the second digest too.
	SHA256 bool
	// Workers bounds how many files are read at once; 0 means one per CPU.
	Workers int
	// Read is told of every piece that was read of a file, by several goroutines at
	// once, but for what is hashed on all processors: large files without SHA256.
	// nil means nobody wants to know.
	Read func(bytes int)
}

// Sum reads the content of every entry below the folder dir of root and sets
// Size, Digest, Target and, when asked for, SHA256. Symbolic links are not
// followed. The first file that cannot be read ends it.
func (h Hasher) Sum(ctx context.Context, root *os.Root, dir string, entries []Entry) error {
	return h.each(ctx, root, dir, len(entries), func(ctx context.Context, one *one, i int) error {
		return one.sum(ctx, &entries[i], nil)
	})
}

// SumMissing is [Hasher.Sum] for those entries, with paths relative to root,
// that have no digest yet. The Stats of files that it reads become what the
// system said of each when it was opened: what changes a file afterwards
// changes its Stat, unless that happens in the tick of the file system's clock
// in which it was changed before.
func (h Hasher) SumMissing(ctx context.Context, root *os.Root, found Found) error {
	var missing []int
	for i := range found.Entries {
		if e := &found.Entries[i]; e.Kind != Dir && (e.Digest.IsZero() || h.SHA256 && e.SHA256.IsZero()) {
			missing = append(missing, i)
		}
	}
	return h.each(ctx, root, "", len(missing), func(ctx context.Context, one *one, k int) error {
		i := missing[k]
		return one.sum(ctx, &found.Entries[i], &found.Stats[i])
	})
}

// each calls do for 0 to n-1, with as many workers as the Hasher has.
func (h Hasher) each(ctx context.Context, root *os.Root, dir string, n int, do func(context.Context, *one, int) error) error {
	if n == 0 {
		return nil
	}
	base, err := openBase(root, dir)
	if err != nil {
		return err
	}
	defer base.close()
	workers := h.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range min(workers, max(1, n/16)) {
		group.Go(func() error {
			one := newOne(base, h.SHA256)
			if h.Read != nil {
				one.told = h.Read
			}
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				if err := context.Cause(ctx); err != nil {
					return err
				}
				if err := do(ctx, one, i); err != nil {
					return err
				}
			}
		})
	}
	return group.Wait()
}

var errReplaced = errors.New("not the file that was there a moment ago")

// one is what a single worker needs, made once.
type one struct {
	base       *base
	blake, sha *digest.Hash
	buf        []byte
	told       func(bytes int)
}

func newOne(base *base, both bool) *one {
	o := &one{base: base, blake: digest.NewHash(digest.BLAKE3), buf: make([]byte, 256<<10), told: func(int) {}}
	if both {
		o.sha = digest.NewHash(digest.SHA256)
	}
	return o
}

// sum fills in e, and s when it is not nil.
func (o *one) sum(ctx context.Context, e *Entry, s *Stat) error {
	switch e.Kind {
	case Dir:
		return nil
	case Symlink:
		target, err := o.base.root.Readlink(o.base.name(e.Path))
		if err != nil {
			return err
		}
		e.Target, e.Size, e.Digest = target, int64(len(target)), digest.Of([]byte(target))
		if o.sha != nil {
			e.SHA256 = digest.OfSHA256([]byte(target))
		}
		return nil
	}
	f, at, err := o.base.openFile(e.Path)
	if err != nil {
		return err
	}
	defer f.close()
	if s != nil {
		*s = at.stat
	}
	if at.size >= digest.Large && o.sha == nil {
		e.Size = at.size
		e.Digest, err = digest.OfFile(ctx, f.osFile(), at.size)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			err = &fs.PathError{Op: "read", Path: e.Path, Err: errReplaced}
		}
		return err
	}
	return o.read(ctx, f, at.size, e)
}

// read hashes what f holds, size bytes by all appearances.
func (o *one) read(ctx context.Context, f *file, size int64, e *Entry) error {
	o.blake.Reset()
	if o.sha != nil {
		o.sha.Reset()
	}
	e.Size = 0
	for {
		if err := context.Cause(ctx); err != nil {
			return err // a file can be as large as a disk
		}
		n, err := f.read(o.buf)
		if err != nil {
			return &fs.PathError{Op: "read", Path: e.Path, Err: err}
		}
		_, _ = o.blake.Write(o.buf[:n])
		if o.sha != nil {
			_, _ = o.sha.Write(o.buf[:n])
		}
		e.Size += int64(n)
		if n > 0 {
			o.told(n)
		}
		// Fewer bytes than asked for, and as many as there should be, are the
		// end: asking again is half of what a small file costs.
		if n == 0 || n < len(o.buf) && e.Size == size {
			break
		}
	}
	e.Digest = o.blake.Digest()
	if o.sha != nil {
		e.SHA256 = o.sha.Digest()
	}
	return nil
}

// name is what stands at p for the root.
func (b *base) name(p string) string { return filepath.FromSlash(path.Join(b.dir, p)) }

// Scan walks and hashes the folder dir of root: all that is below it, as a
// Tree. See [Walk] for skip.
func (h Hasher) Scan(ctx context.Context, root *os.Root, dir string, skip func(string, bool) bool) (Tree, error) {
	entries, err := Walk(ctx, root, dir, skip)
	if err != nil {
		return Tree{}, err
	}
	if err := h.Sum(ctx, root, dir, entries); err != nil {
		return Tree{}, err
	}
	return New(entries)
}
