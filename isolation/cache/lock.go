// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/attest-pipeline/attest/attestation/digest"
)

// lockMode says who else may have a lock.
type lockMode int

const (
	shared    lockMode = iota // others who want it shared
	exclusive                 // nobody
)

// hold takes the cache's lock: shared by those who store, so that nothing they
// rely on is removed before their entry names it; exclusive for those who
// remove. Readers need none: an entry that goes while they read is a miss.
func (s *Store) hold(ctx context.Context, mode lockMode) (release func(), err error) {
	root, err := s.top()
	if err != nil {
		return nil, err
	}
	flag := os.O_RDONLY
	if mode == exclusive {
		flag = os.O_RDWR // some network file systems want that for it
	}
	f, err := root.OpenFile(lockFile, flag|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := wait(ctx, f, mode, nil); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil
}

// wait waits for a lock on f. waiting, when not nil, is called once before a
// wait.
func wait(ctx context.Context, f *os.File, mode lockMode, waiting func()) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		got, err := tryLock(f, mode)
		if got || err != nil {
			return err
		}
		if waiting != nil {
			waiting()
			waiting = nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
}

// Reservation is the right to do a key's work. Nothing in it changes once Reserve
// has returned it; it is safe for concurrent use.
type Reservation struct {
	// Waited says that somebody else had it before. The Result is in the cache
	// now, unless their work failed: ask [Store.Get] again.
	Waited bool

	release func()
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
	r := &Reservation{release: func() {}}
	locks, err := s.makeFolder(locksDir)
	if err != nil {
		return r, context.Cause(ctx)
	}
	name := key.Hex()
	note := func() {
		r.Waited = true
		if waiting != nil {
			waiting()
		}
		waiting = nil
	}
	for {
		f, err := locks.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return r, context.Cause(ctx)
		}
		if err := wait(ctx, f, exclusive, note); err != nil {
			_ = f.Close()
			return r, context.Cause(ctx)
		}
		// Whoever had the lock has removed the file before letting it go.
		if current(locks, name, f) {
			r.release = sync.OnceFunc(func() {
				_ = locks.Remove(name)
				_ = f.Close()
			})
			return r, nil
		}
		_ = f.Close()
	}
}

// Release lets others go on. It may be called more than once.
func (r *Reservation) Release() { r.release() }

// current reports whether f still stands at name.
func current(root *os.Root, name string, f *os.File) bool {
	open, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := root.Lstat(name)
	return err == nil && os.SameFile(open, there)
}
