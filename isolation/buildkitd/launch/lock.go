// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Lock is an advisory lock that the kernel gives up with its holder. It is safe for
// concurrent use, but two calls of Describe at once may leave parts of both texts.
type Lock struct{ file *os.File }

// ErrLocked means that another process holds the lock.
var ErrLocked = errors.New("held by another process")

// TryLock takes the lock of a file, which is made where it is missing, or
// returns [ErrLocked]. The file is never removed: a lock on a name that can
// vanish is held twice sooner or later.
func TryLock(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err = flock(f, true); err == nil {
		return &Lock{f}, nil
	}
	f.Close()
	if errors.Is(err, ErrLocked) {
		return nil, ErrLocked
	}
	return nil, fmt.Errorf("locking %s: %w", path, err)
}

// Describe replaces the text of the lock file: who holds it.
func (l *Lock) Describe(text string) error {
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err := l.file.WriteAt([]byte(text), 0)
	return err
}

// Close gives the lock up.
func (l *Lock) Close() error { return l.file.Close() }

// WaitLock takes the lock as soon as it is free.
func WaitLock(ctx context.Context, path string) (*Lock, error) {
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for {
		l, err := TryLock(path)
		if !errors.Is(err, ErrLocked) {
			return l, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// locked reports whether somebody holds the lock; it makes no file.
func locked(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer f.Close()
	// Shared, so that two who look at once do not see each other.
	if err = flock(f, false); errors.Is(err, ErrLocked) {
		return true, nil
	}
	return false, err
}
