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
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/attest-pipeline/attest/attestation/cas"
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
	// Compress says that content is compressed where that pays. What was
	// stored with the other setting is found all the same.
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

// Entry is a Result as the cache has it. It must not be changed.
type Entry struct {
	Key digest.Digest
	// Outputs have digests of both algorithms where the Result had them, exact
	// permission bits and targets.
	Outputs tree.Tree
	// Folders are those that Outputs stand in, with their permission bits;
	// ordered by path, no digests. Empty folders are among Outputs instead.
	Folders []tree.Entry
	// Log names the step's log; zero where it printed nothing.
	Log cas.Blob
	// Facts are the caller's own.
	Facts []byte
	// Stored is when the Result was stored.
	Stored time.Time
}

// InPlace reports whether the project has the outputs already, so that there is
// nothing to restore. there is all that stands in the project where the step's
// outputs belong, with digests and targets filled in, in any order; owned says
// which folders are outputs themselves, so that their permissions matter, and
// nil means all of them. Permissions are compared exactly.
func (e *Entry) InPlace(project *os.Root, there []tree.Entry, owned func(folder string) bool) bool {
	panic("being written")
}

// Store is a cache on disk.
type Store struct {
	Options
}

// Open returns the cache at o.Dir. A folder that is not there is an empty
// cache. Errors match [ErrUnsafe], or are those of looking at the folder; a
// caller does without a cache then.
func Open(o Options) (*Store, error) { return &Store{o}, nil }

// Close gives back what the Store holds open.
func (s *Store) Close() error { return nil }

// Get returns the Result of the key and notes that it was used. Every error but
// the end of ctx matches [ErrMiss]; the user was warned where that was not the
// plain absence of a Result.
//
// It reads one small file. That the content is there and right is found out by
// [Store.Restore].
func (s *Store) Get(ctx context.Context, key digest.Digest) (*Entry, error) { return nil, ErrMiss }

// Restore puts the entry's outputs below into, an empty folder, bit for bit:
// content, permissions, symbolic links, empty folders. All content is verified
// on the way. Where the cache cannot deliver, the user is warned, what is
// damaged is removed from the cache, and the error matches [ErrMiss]; other
// errors are about into, or the end of ctx. After an error, into holds
// something that is of no use.
func (s *Store) Restore(ctx context.Context, e *Entry, into *os.Root) error { return ErrMiss }

// Log returns the log of the step, to be closed by the caller. Where the cache
// does not have it any more the error matches [cas.ErrNotFound]; reading ends
// with [cas.ErrDamaged] where it is not what the step printed.
func (s *Store) Log(ctx context.Context, e *Entry) (io.ReadCloser, error) { return nil, cas.ErrNotFound }

// Put stores a Result, reading its outputs below from. An error means that the
// Result is not kept, and is no reason for a step to fail: see [ErrOff] and
// [ErrTooLarge]. Results that were used least recently go where there is no
// room.
func (s *Store) Put(ctx context.Context, r Result, from *os.Root) error { return ErrOff }

// Reservation is the right to do a key's work.
type Reservation struct {
	// Waited says that somebody else had it before. The Result is in the cache
	// now, unless their work failed: ask [Store.Get] again.
	Waited bool
}

// Reserve waits until nobody else, in this process or another, does the work of
// the key, and keeps others from beginning with it until Release. waiting, when
// not nil, is called once where there is a wait. The error is the end of ctx:
// where a folder does not allow for locks, work is done twice rather than not
// at all.
//
// Who asks for a second key before releasing the first must do so in the order
// of the keys.
func (s *Store) Reserve(ctx context.Context, key digest.Digest, waiting func()) (*Reservation, error) {
	return &Reservation{}, nil
}

// Release lets others go on. It may be called more than once.
func (r *Reservation) Release() {}

// Document returns the pre-image of a key: also of one whose Result has been
// evicted, for as long as it is the last of some step (see [Store.SaveLast]).
// The error matches fs.ErrNotExist where the cache does not have it.
func (s *Store) Document(key digest.Digest) ([]byte, error) { return nil, os.ErrNotExist }

// Listing returns the input tree of a digest that stands as "inputs" in a
// [Store.Document]. Targets of symbolic links are not in it. The error matches
// fs.ErrNotExist where the cache does not have it.
func (s *Store) Listing(ctx context.Context, inputs digest.Digest) (tree.Tree, error) {
	return tree.Tree{}, os.ErrNotExist
}

// Last returns the keys that the steps of a pipeline had when they last
// succeeded, by step; pipeline is any text that names the pipeline and the
// project, in which it is run. An empty map where nothing is known.
func (s *Store) Last(pipeline string) map[string]digest.Digest { return nil }

// SaveLast remembers keys for [Store.Last]; steps that are not among them keep
// theirs. Nothing is written where nothing changed. Calls for one pipeline must
// not overlap.
func (s *Store) SaveLast(pipeline string, keys map[string]digest.Digest) error { return nil }

// Maintain is for the end of a run: it does what [Store.GC] does when the cache
// holds more than it may, or has not been tidied for a day.
func (s *Store) Maintain(ctx context.Context) error { return nil }

// Freed says what was removed.
type Freed struct {
	Results int
	Blobs   int
	Bytes   int64 // of the disk
}

// GC removes what is older than Options.Retention, then what was used least
// recently until the rest fits into Options.MaxSize, and what no Result needs.
// It waits for others that are storing something.
func (s *Store) GC(ctx context.Context) (Freed, error) { return Freed{}, nil }

// Clear removes everything.
func (s *Store) Clear(ctx context.Context) (Freed, error) { return Freed{}, nil }

// Stats describe a cache.
type Stats struct {
	Dir     string
	Results int
	Blobs   int
	// Size is what the cache takes of the disk, in bytes, and MaxSize what it
	// may take; 0 means that there is no bound.
	Size, MaxSize int64
	// Content is how long the content of all blobs is without compression.
	Content   int64
	Retention time.Duration
	// Oldest and Newest are when the Results were last used; zero where there
	// are none.
	Oldest, Newest time.Time
	// Inputs is the size of the part of it that remembers digests of files.
	Inputs int64
}

// Stats looks at everything that is there, and reads little of it.
func (s *Store) Stats(ctx context.Context) (Stats, error) { return Stats{}, nil }

// Verified is what [Store.Verify] found.
type Verified struct {
	Results, Blobs int   // that were looked at
	Bytes          int64 // of content that was read
	Problems       []Problem
}

// Problem is something in the cache that is not as it should be.
type Problem struct {
	// Path is relative to the cache's folder.
	Path string
	// What is wrong, and which Result that makes useless, if any.
	What string
	// Key is the Result's; zero where the problem is not one of a Result.
	Key digest.Digest
	// Repaired says that what was wrong has been removed.
	Repaired bool
}

// VerifyOptions say what [Store.Verify] does besides looking.
type VerifyOptions struct {
	// Repair removes damaged content and the Results that need it.
	Repair bool
}

// Verify reads everything that is there and checks it. What it finds is no
// error; the error is that of looking, or of repairing.
func (s *Store) Verify(ctx context.Context, o VerifyOptions) (Verified, error) { return Verified{}, nil }
