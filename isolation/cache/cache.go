// SPDX-License-Identifier: Apache-2.0

// Package cache keeps the Results of steps by their Keys, so that no work is
// done twice.
//
// Start with [Open], [Store.Get] and [Store.Put]. FORMAT.md in this folder
// specifies what is on disk.
//
// # What is promised
//
// A hit is never wrong: every byte is checked against its digest on the way
// out, and an entry names its own key. Damage, a folder that cannot be read or
// written, a full disk: each is a miss and a warning, never a failed build.
// Any number of processes may use one folder at once, and each may be killed at
// any moment; what that leaves behind is used, or thrown away by the next
// [Store.GC].
//
// A Store is safe for concurrent use.
package cache

import (
	"errors"
	"time"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// ErrMiss is matched by the error of [Store.Get] and [Store.Restore] where
// there is no Result, or none that can be believed.
var ErrMiss = errors.New("cache miss")

// ErrOff is matched by the error of every [Store.Put] after one that failed for
// a reason that would make all others fail: the folder cannot be written, the
// disk is full. There is no use in telling the user again.
var ErrOff = errors.New("the cache is not written to any more")

// ErrTooLarge is matched by the error of [Store.Put] for a Result that does not
// fit into Options.MaxSize even alone.
var ErrTooLarge = errors.New("larger than the whole cache may be")

// ErrUnsafe is matched by the error of a folder that cannot be trusted: other
// users own it or may write to it, it is a symbolic link, or it holds what is
// not a cache. Nothing is read from it, written to it or removed in it.
var ErrUnsafe = errors.New("the cache folder is not safe to use")

// Options say where a cache is and how much it may hold.
type Options struct {
	// Dir is the absolute path of the cache's folder. It is made, with the
	// folders above it, when something is stored for the first time.
	Dir string
	// MaxSize is the most that the cache may take of the disk, in bytes; 0
	// means that there is no bound.
	MaxSize int64
	// Retention is how long a Result is kept that nobody uses; 0 means for
	// ever.
	Retention time.Duration
	// Compress says that content is compressed, where that pays, once nobody has
	// used it for a day, and sooner where there is no room. It is stored as it is:
	// that is restored fastest. Both forms are found, whatever it says.
	Compress bool
	// Warn is told what the user should know of, in no more than one line and
	// once for each trouble; nil means nobody is. It may be called concurrently.
	Warn func(error)
	// Now is the clock by which Results grow old; nil means time.Now.
	Now func() time.Time
}

// Result is what a step left, to be stored.
type Result struct {
	// Key is the step's key: the BLAKE3 digest of Document.
	Key      digest.Digest
	Document []byte
	// Inputs are what the step saw; their listing is kept, so that a later
	// miss can be explained.
	Inputs tree.Tree
	// Outputs are what it left, with digests and targets filled in.
	Outputs tree.Tree
	// LogFile is the path of the step's log; empty where there is none.
	LogFile string
	// Facts are what the caller wants to know again of how the step ran; the
	// cache does not look into them. At most 1 MiB.
	Facts []byte
}
