// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"context"
	"errors"
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
}

// Sum reads the content of every entry below the folder dir of root and sets
// Size, Digest, Target and, when asked for, SHA256. Symbolic links are not
// followed. The first file that cannot be read ends it.
func (h Hasher) Sum(ctx context.Context, root *os.Root, dir string, entries []Entry) error {
	return h.each(ctx, len(entries), func(ctx context.Context, one *one, i int) error {
		return one.sum(ctx, root, dir, &entries[i], nil)
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
	return h.each(ctx, len(missing), func(ctx context.Context, one *one, k int) error {
		i := missing[k]
		return one.sum(ctx, root, "", &found.Entries[i], &found.Stats[i])
	})
}

// each calls do for 0 to n-1, with as many workers as the Hasher has.
func (h Hasher) each(ctx context.Context, n int, do func(context.Context, *one, int) error) error {
	workers := h.Workers
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range min(workers, max(1, n/16)) {
		group.Go(func() error {
			one := newOne(h.SHA256)
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
	blake, sha *digest.Hash
}

func newOne(both bool) *one {
	o := &one{blake: digest.NewHash(digest.BLAKE3)}
	if both {
		o.sha = digest.NewHash(digest.SHA256)
	}
	return o
}

// sum fills in e, and s when it is not nil.
func (o *one) sum(ctx context.Context, root *os.Root, dir string, e *Entry, s *Stat) error {
	name := filepath.FromSlash(path.Join(dir, e.Path))
	switch e.Kind {
	case Dir:
		return nil
	case Symlink:
		target, err := root.Readlink(name)
		if err != nil {
			return err
		}
		e.Target, e.Size, e.Digest = target, int64(len(target)), digest.Of([]byte(target))
		if o.sha != nil {
			e.SHA256 = digest.OfSHA256([]byte(target))
		}
		return nil
	}
	f, err := openRegular(root, name)
	if err != nil {
		return err
	}
	defer f.Close()
	if s != nil {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		*s = StatOf(info)
	}
	o.blake.Reset()
	if o.sha != nil {
		o.sha.Reset()
	}
	e.Size, err = o.blake.ReadFrom(readFunc(func(p []byte) (int, error) {
		if err := context.Cause(ctx); err != nil {
			return 0, err // a file can be as large as a disk
		}
		n, err := f.Read(p)
		if o.sha != nil {
			_, _ = o.sha.Write(p[:n])
		}
		return n, err
	}))
	if err != nil {
		return err
	}
	e.Digest = o.blake.Digest()
	if o.sha != nil {
		e.SHA256 = o.sha.Digest()
	}
	return nil
}

type readFunc func([]byte) (int, error)

// Read calls f.
func (f readFunc) Read(p []byte) (int, error) { return f(p) }

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

// regular returns f when it is the regular file at name, else closes it. An
// os.Root follows a symbolic link that stays inside it, whatever the flags say;
// what stands at the name itself tells.
func regular(root *os.Root, name string, f *os.File) (*os.File, error) {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &SpecialFileError{Path: name, Type: info.Mode().Type()}
	}
	if err == nil {
		var here fs.FileInfo
		if here, err = root.Lstat(name); err == nil && !os.SameFile(info, here) {
			err = &fs.PathError{Op: "open", Path: name, Err: errReplaced}
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
