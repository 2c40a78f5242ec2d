// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/attest-pipeline/attest/attestation/tree"
)

// memo remembers, for one run, the digests of files that several steps see, so
// that ten steps with the same inputs read them once. Safe for concurrent use.
//
// A digest is used again only for a file whose identity, size, mode and both
// times are what they were before it was read: the time of the last change is
// the kernel's to set, nobody can put it back. And it is remembered only when
// that time lay well before the reading: a file that is written twice within
// one tick of the file system's clock looks the same after both.
type memo struct {
	mu    sync.Mutex
	known map[string]remembered
}

type remembered struct {
	stamp stamp
	entry tree.Entry
}

// settled is how long a file must have been left alone before its digest is
// remembered: the coarsest clock of a file system in use ticks every second or
// two (ext3, FAT).
const settled = 3 * time.Second

func newMemo() *memo { return &memo{known: map[string]remembered{}} }

// sum fills in the digests of the entries. now is the file system's time, taken
// before the call.
func (m *memo) sum(ctx context.Context, root *os.Root, entries []tree.Entry, now time.Time) error {
	stamps := make([]stamp, len(entries))
	var open []tree.Entry // those without a digest yet
	var places []int
	for i := range entries {
		e := &entries[i]
		if e.Kind == tree.File {
			info, err := root.Lstat(filepath.FromSlash(e.Path))
			if err != nil {
				return err
			}
			stamps[i] = stampOf(info)
			if m.recall(e, stamps[i]) {
				continue
			}
		}
		open, places = append(open, *e), append(places, i)
	}
	if err := (tree.Hasher{}).Sum(ctx, root, "", open); err != nil {
		return err
	}
	for k, i := range places {
		entries[i] = open[k]
	}
	m.remember(entries, stamps, now)
	return nil
}

func (m *memo) recall(e *tree.Entry, s stamp) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	old, ok := m.known[e.Path]
	if !ok || s.isZero() || old.stamp != s {
		return false
	}
	*e = old.entry
	return true
}

func (m *memo) remember(entries []tree.Entry, stamps []stamp, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i, e := range entries {
		if s := stamps[i]; !s.isZero() && s.before(now.Add(-settled)) {
			m.known[e.Path] = remembered{s, e}
		}
	}
}
