// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/attest-pipeline/attest/attestation/cas"
	"github.com/attest-pipeline/attest/attestation/digest"
)

// Get returns the Result of the key and notes that it was used. Every error but
// the end of ctx matches [ErrMiss]; the user was warned where that was not the
// plain absence of a Result.
//
// It reads one small file. That the content is there and right is found out by
// [Store.Restore].
func (s *Store) Get(ctx context.Context, key digest.Digest) (*Entry, error) {
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	e, err := s.read(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrMiss
	}
	if err != nil {
		s.o.Warn(fmt.Errorf("the cached result %s cannot be used: %w", short(key), err))
		if errors.Is(err, cas.ErrDamaged) {
			s.drop(key)
		}
		return nil, fmt.Errorf("%w: %w", ErrMiss, err)
	}
	if receipts, err := s.folder(receiptsDir); err == nil {
		now := s.o.Now()
		// Where it cannot be noted, the Result only seems older than it is.
		_ = receipts.Chtimes(nameOf(key), now, now)
	}
	return e, nil
}

// short is a key as people read it.
func short(key digest.Digest) string { return key.Hex()[:min(12, len(key.Hex()))] }

// read returns the entry of the key; fs.ErrNotExist where there is none, and
// cas.ErrDamaged where it is of no use.
func (s *Store) read(key digest.Digest) (*Entry, error) {
	if key.Algorithm() != digest.BLAKE3 {
		return nil, fs.ErrNotExist
	}
	receipts, err := s.folder(receiptsDir)
	if err != nil {
		return nil, err
	}
	data, err := readFile(receipts, nameOf(key), maxRecord)
	if err != nil {
		return nil, err
	}
	return unmarshal(key, data)
}

// drop removes the entry of the key, so that nobody stumbles over it again.
func (s *Store) drop(key digest.Digest) {
	if receipts, err := s.folder(receiptsDir); err == nil {
		_ = receipts.RemoveAll(nameOf(key))
	}
}

// Log returns the log of the step, to be closed by the caller. Where the cache
// does not have it any more the error matches [cas.ErrNotFound]; reading ends
// with [cas.ErrDamaged] where it is not what the step printed.
func (s *Store) Log(ctx context.Context, e *Entry) (io.ReadCloser, error) {
	if e.Log.Size == 0 {
		return nil, fmt.Errorf("%w: the step printed nothing", cas.ErrNotFound)
	}
	blobs, err := s.content()
	if errors.Is(err, fs.ErrNotExist) {
		err = cas.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return blobs.Open(ctx, e.Log)
}
