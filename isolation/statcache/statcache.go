// SPDX-License-Identifier: Apache-2.0

// Package statcache remembers, from run to run, the digests of a project's
// files, so that only what changed is read again.
//
// Start with [Open]; [Cache.Sum] fills in the digests of what a walk found and
// [Cache.Save] keeps them for the next run. [Cache.View] and [Cache.Summary] do
// without them where all files of a step look as they did.
//
// A digest is used again only for a file whose device, inode, size, mode and
// both times are what they were when it was read. The time of the last change
// is the system's to set: who rewrites a file and puts its size and mtime back
// has moved it. And a digest is remembered only for a file that was last
// changed clearly before it was read, by the clock of its own file system: what
// is written twice within one tick looks the same after both.
//
// That leaves one gap, which every such cache has: a program that keeps a file
// mapped into its memory can change it some seconds after the system noted the
// change. A step that does so has ended before its outputs are looked at.
//
// What is remembered is a convenience. When it is damaged, somebody else's, or
// of another version, it is as if nothing were; when it cannot be written, the
// next run reads the files again.
package statcache

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// Options says whose digests are remembered, and where.
type Options struct {
	// Dir is the folder that they are kept in. Projects may share one: each
	// has a file of its own there. It is made when something is to be kept.
	Dir string
	// Root is the project's folder. The Cache uses it and does not close it.
	Root *os.Root
	// Now is the clock that says which digests have not been of use for long;
	// nil means the system's.
	Now func() time.Time
	// Log is told what is wrong with what was kept; nil means nobody.
	Log *slog.Logger
}

// Cache holds the digests of one project's files. It is safe for concurrent
// use, and any number of processes may have one for the same project: what the
// last of them saves is added to what the others did.
type Cache struct {
	options Options
	name    string // of its file

	load      func() // reads the file, once
	readClock func(dir string) (Moment, error)

	// reading is held while files are read. Reading keeps all processors busy
	// by itself, and two steps that start together with the same inputs would
	// each read them all.
	reading sync.Mutex

	mu    sync.Mutex
	kept  table // what the file held
	stamp tree.Stat
	fresh map[string]int32 // path: place in added
	added []record
	today uint32 // days since 1970
	dirty bool   // the file should be written

	loadSummaries  func() // reads their file, once
	summaries      map[string]*keptSummary
	summariesDirty bool
}

// record is what is known of one file.
type record struct {
	path  string
	stat  tree.Stat
	blake [digest.Size]byte
	used  uint32 // the day of its last use
}

// Open returns the Cache for a project. Nothing is read before it is needed,
// and nothing can go wrong: a Cache that cannot be read is an empty one.
func Open(o Options) *Cache {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Cache{options: o, name: fileName(o.Root.Name()), readClock: ReadClock, fresh: map[string]int32{}}
	c.load, c.loadSummaries = sync.OnceFunc(c.read), sync.OnceFunc(c.readSummaries)
	return c
}

// Sum fills in what [tree.Hasher.Sum] does, reading only the files that are not
// known. found comes from a walk of the project's folder; its Stats are what
// the files are known by.
func (c *Cache) Sum(ctx context.Context, found tree.Found) error {
	var h tree.Hasher
	c.load()
	if c.recall(found) == 0 {
		return h.SumMissing(ctx, c.options.Root, found) // symbolic links
	}
	c.reading.Lock()
	defer c.reading.Unlock()
	if c.recall(found) == 0 {
		return h.SumMissing(ctx, c.options.Root, found)
	}
	now := c.Now() // before the files are looked at again
	var read []int
	for i := range found.Entries {
		if e := &found.Entries[i]; e.Kind == tree.File && e.Digest.IsZero() {
			read = append(read, i)
		}
	}
	if err := h.SumMissing(ctx, c.options.Root, found); err != nil {
		return err
	}
	c.remember(found, read, now)
	return nil
}

// Learn remembers digests that came about in another way: found.Entries have
// them, and found.Stats are of the files as they stand in the project. Who
// calls it promises that nothing has written to the files between the making
// of the digests and that of the Stats. Files that were changed only just now
// are left out, as everywhere.
func (c *Cache) Learn(found tree.Found) {
	c.load()
	now := c.Now()
	var all []int
	for i := range found.Entries {
		if e := &found.Entries[i]; e.Kind == tree.File && !e.Digest.IsZero() {
			all = append(all, i)
		}
	}
	c.remember(found, all, now)
}

// recall sets the digests that are known, clears the others, and returns how
// many files are not known.
func (c *Cache) recall(found tree.Found) (unknown int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := 0 // place in what was kept
	for i := range found.Entries {
		e := &found.Entries[i]
		e.Digest, e.SHA256 = digest.Digest{}, digest.Digest{}
		if e.Kind != tree.File {
			continue
		}
		var r record
		at, ok := -1, false
		if place, is := c.fresh[e.Path]; is {
			r, ok = c.added[place], true
		} else if next, ok = c.kept.find(e.Path, next); ok {
			at, r = next, c.kept.record(next)
			next++
		}
		s := found.Stats[i]
		if !ok || s.IsZero() || r.stat != s {
			unknown++
			continue
		}
		e.Size, e.Digest = s.Size, digest.New(digest.BLAKE3, r.blake)
		if r.used != c.today && at >= 0 {
			c.kept.use(at, c.today)
			c.dirty = true
		}
	}
	return unknown
}

// remember keeps the digests of the entries at the places.
func (c *Cache) remember(found tree.Found, places []int, now Moment) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, i := range places {
		e, s := &found.Entries[i], found.Stats[i]
		if s.IsZero() || s.Size != e.Size || !now.settled(s) {
			continue
		}
		r := record{path: e.Path, stat: s, blake: e.Digest.Bytes(), used: c.today}
		if place, ok := c.fresh[e.Path]; ok {
			c.added[place] = r
		} else {
			c.fresh[e.Path] = int32(len(c.added))
			c.added = append(c.added, r)
		}
		c.dirty = true
	}
}

func (c *Cache) path() string { return filepath.Join(c.options.Dir, c.name) }
