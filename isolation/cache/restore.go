// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"runtime"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/attest-pipeline/attest/attestation/cas"
	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// Restore puts the entry's outputs below into, an empty folder, bit for bit:
// content, permissions, symbolic links, empty folders. All content is verified
// on the way. Where the cache cannot deliver, the user is warned, what is
// damaged is removed from the cache, and the error matches [ErrMiss]; other
// errors are about into, or the end of ctx. After an error, into holds
// something that is of no use.
func (s *Store) Restore(ctx context.Context, e *Entry, into *os.Root) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	for _, f := range e.Folders {
		if err := into.Mkdir(f.Path, 0o700); err != nil {
			return err
		}
	}
	var files []tree.Entry
	for _, o := range e.Outputs.Entries() {
		switch o.Kind {
		case tree.File:
			files = append(files, o)
		case tree.Symlink:
			if err := into.Symlink(o.Target, o.Path); err != nil {
				return err
			}
		case tree.Dir:
			if err := errors.Join(into.Mkdir(o.Path, 0o700), into.Chmod(o.Path, fs.FileMode(o.Perm))); err != nil {
				return err
			}
		}
	}
	if err := s.restoreFiles(ctx, files, into); err != nil {
		return s.blame(ctx, e, err)
	}
	for _, f := range slices.Backward(e.Folders) {
		if err := into.Chmod(f.Path, fs.FileMode(f.Perm)); err != nil {
			return err
		}
	}
	return nil
}

// batch is how many files a worker takes at once: neighbours, which mostly stand
// in one folder.
const batch = 32

func (s *Store) restoreFiles(ctx context.Context, files []tree.Entry, into *os.Root) error {
	blobs, err := s.content()
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if blobs == nil && slices.ContainsFunc(files, func(f tree.Entry) bool { return f.Size > 0 }) {
		return cas.ErrNotFound
	}
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range min(runtime.GOMAXPROCS(0), 1+len(files)/batch) {
		group.Go(func() error {
			r := restorer{blobs: blobs, into: into}
			defer r.leave()
			for {
				end := int(next.Add(batch))
				for _, f := range files[min(end-batch, len(files)):min(end, len(files))] {
					if err := r.restore(ctx, f); err != nil {
						return err
					}
				}
				if end >= len(files) {
					return nil
				}
			}
		})
	}
	return group.Wait()
}

// restorer is one worker. It holds the folder open that it works in, so that a
// deep path is not walked for each file.
type restorer struct {
	blobs *cas.Dir
	into  *os.Root
	at    string   // path of dir
	dir   *os.Root // nil before the first
}

func (r *restorer) leave() {
	if r.dir != nil {
		_ = r.dir.Close()
	}
}

func (r *restorer) enter(dir string) error {
	if r.dir != nil && r.at == dir {
		return nil
	}
	r.leave()
	var err error
	r.at = dir
	r.dir, err = r.into.OpenRoot(dir)
	return err
}

// restore makes one file. Errors that are not about the content are WriteErrors.
func (r *restorer) restore(ctx context.Context, e tree.Entry) error {
	if err := r.enter(path.Dir(e.Path)); err != nil {
		return &cas.WriteError{Err: err}
	}
	f, err := r.dir.OpenFile(path.Base(e.Path), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return &cas.WriteError{Err: err}
	}
	if err := r.fill(ctx, e, f); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := errors.Join(f.Chmod(fs.FileMode(e.Perm)), f.Close()); err != nil {
		return &cas.WriteError{Err: err}
	}
	return nil
}

func (r *restorer) fill(ctx context.Context, e tree.Entry, f *os.File) error {
	b := cas.Blob{Digest: e.Digest, Size: e.Size}
	if b.Size > 0 {
		return r.blobs.CopyTo(ctx, b, f)
	}
	if b.Digest != digest.Of(nil) {
		return fmt.Errorf("%w: %v is not the digest of nothing", cas.ErrDamaged, b.Digest)
	}
	return nil
}

// blame finds out what it means that a file could not be restored.
func (s *Store) blame(ctx context.Context, e *Entry, err error) error {
	var outside *cas.WriteError
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if errors.As(err, &outside) {
		return err
	}
	if errors.Is(err, cas.ErrNotFound) {
		if _, gone := s.read(e.Key); errors.Is(gone, fs.ErrNotExist) {
			return fmt.Errorf("%w: it has been evicted a moment ago", ErrMiss)
		}
	}
	s.o.Warn(fmt.Errorf("the cached result %s cannot be used: %w", short(e.Key), err))
	s.drop(e.Key)
	s.removeDamaged(ctx, e)
	return fmt.Errorf("%w: %w", ErrMiss, err)
}

// removeDamaged removes what is damaged of the content that the entry names, so
// that it is stored anew with the next Result that has it. Should somebody have
// done so just now, no more than a miss comes of it.
func (s *Store) removeDamaged(ctx context.Context, e *Entry) {
	blobs, err := s.content()
	if err != nil {
		return
	}
	for _, b := range e.blobs() {
		if errors.Is(blobs.Check(ctx, b), cas.ErrDamaged) {
			_ = blobs.Remove(b.Digest)
		}
	}
}
