// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"os"
	"path/filepath"
	"slices"
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
	// reading is held while files are read. Reading keeps all processors busy
	// by itself, and two steps that start together with the same inputs would
	// each read them all.
	reading sync.Mutex
	known   map[string]remembered

	mu    sync.Mutex
	trees map[int][]tree.Tree // by length
}

type remembered struct {
	stamp stamp
	entry tree.Entry
}

// settled is how long a file must have been left alone before its digest is
// remembered: the coarsest clock of a file system in use ticks every second or
// two (ext3, FAT).
const settled = 3 * time.Second

func newMemo() *memo {
	return &memo{known: map[string]remembered{}, trees: map[int][]tree.Tree{}}
}

// sum fills in the digests of the entries. now is the file system's time, taken
// before the call.
func (m *memo) sum(ctx context.Context, root *os.Root, entries []tree.Entry, now time.Time) error {
	m.reading.Lock()
	defer m.reading.Unlock()
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
	old, ok := m.known[e.Path]
	if !ok || s.isZero() || old.stamp != s {
		return false
	}
	*e = old.entry
	return true
}

func (m *memo) remember(entries []tree.Entry, stamps []stamp, now time.Time) {
	for i, e := range entries {
		if s := stamps[i]; !s.isZero() && s.before(now.Add(-settled)) {
			m.known[e.Path] = remembered{s, e}
		}
	}
}

// share returns t, or a tree with the same entries that another step has
// already: the run holds all of them until its end.
func (m *memo) share(t tree.Tree) tree.Tree {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, other := range m.trees[t.Len()] {
		if slices.Equal(other.Entries(), t.Entries()) {
			return other
		}
	}
	m.trees[t.Len()] = append(m.trees[t.Len()], t)
	return t
}
