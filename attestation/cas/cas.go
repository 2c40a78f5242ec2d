// SPDX-License-Identifier: Apache-2.0

// Package cas keeps content by its digest: blobs that are found by what is in
// them, and checked whenever they are read.
//
// Start with [Dir], a store in a folder. What comes out of a store hashes to
// the name it was asked for by, or an error comes out instead: a store may be
// damaged, or in the hands of somebody else, and still not lie.
package cas

import (
	"context"
	"errors"
	"io"

	"github.com/attest-pipeline/attest/attestation/digest"
)

// Blob names content.
type Blob struct {
	// Digest is the BLAKE3 digest of the content.
	Digest digest.Digest
	// Size is the length of the content in bytes. It bounds what is read, so
	// that compressed content cannot grow without end.
	Size int64
}

// ErrNotFound is matched by the error of whoever asks for content that a store
// does not have.
var ErrNotFound = errors.New("content not found")

// ErrDamaged is matched by every error about content that is not what its name
// says.
var ErrDamaged = errors.New("stored content is damaged")

// Getter gives content out. Safe for concurrent use.
type Getter interface {
	// Open returns a reader of the content, to be closed by the caller. Content
	// that is not there matches [ErrNotFound]. The reader ends with an error that
	// matches [ErrDamaged] where it would have handed out anything else than
	// what b names: who reads to the end without an error has verified it.
	Open(ctx context.Context, b Blob) (io.ReadCloser, error)
}

// Putter takes content in. Safe for concurrent use, with other processes too.
type Putter interface {
	// Put stores all that r holds and returns its name. Content that is there
	// already is not written again.
	Put(ctx context.Context, r io.Reader) (Blob, error)
}

// Store is both.
type Store interface {
	Getter
	Putter
}
