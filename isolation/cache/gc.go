// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"
)

// Freed says what was removed, and what became smaller.
type Freed struct {
	Results int
	Blobs   int
	Packed  int   // blobs that were compressed
	Bytes   int64 // of the disk, by all of it
}

// tidyEvery is how often a cache is looked at that is not too large.
const tidyEvery = 24 * time.Hour

// Maintain is for the end of a run: it does what [Store.GC] does when the cache
// holds more than it may, or has not been tidied for a day. For compressing it takes
// about two seconds at most where it makes room, and two for what nobody used of
// late, and leaves the rest of that to the next run, and what is very large to GC. A
// cache that cannot be written is left alone.
func (s *Store) Maintain(ctx context.Context) error {
	top, err := s.top()
	if errors.Is(err, fs.ErrNotExist) || s.off.Load() {
		return nil
	}
	size, known := readSize(top)
	info, err := top.Lstat(tidiedFile)
	if err == nil && s.o.Now().Sub(info.ModTime()) < tidyEvery && known && (s.o.MaxSize == 0 || size <= s.o.MaxSize) {
		return nil
	}
	if _, err = s.collect(ctx, s.o.MaxSize, s.hurry); err != nil && readOnly(err) {
		return nil
	}
	return err
}

// GC removes what is older than Options.Retention and what no Result needs. Until
// the rest fits into Options.MaxSize it compresses what was used least recently,
// where Options.Compress allows for it, and then removes it. In the end it compresses
// what nobody used for a day. It waits for others that are storing something. After
// an error, the end of ctx included, the cache is as good as before.
func (s *Store) GC(ctx context.Context) (Freed, error) {
	return s.collect(ctx, s.o.MaxSize, atLeisure())
}

// collect is GC with a size of its own to come down to; 0 means that there is
// none.
func (s *Store) collect(ctx context.Context, most int64, p patience) (Freed, error) {
	release, err := s.hold(ctx, exclusive)
	if errors.Is(err, fs.ErrNotExist) {
		return Freed{}, nil
	}
	if err != nil {
		return Freed{}, fmt.Errorf("tidying the cache: %w", err)
	}
	defer release()
	freed, err := s.collectLocked(ctx, most, p)
	if err != nil {
		return freed, fmt.Errorf("tidying the cache: %w", err)
	}
	return freed, nil
}

func (s *Store) collectLocked(ctx context.Context, most int64, p patience) (Freed, error) {
	v, err := s.survey(ctx)
	if err != nil {
		return Freed{}, err
	}
	top, err := s.top()
	if err != nil {
		return Freed{}, err
	}
	t := &tidying{store: s, top: top, survey: v, size: v.size()}
	t.dropOld(s.o.Now(), s.o.Retention)
	if err := t.makeRoom(ctx, most, p); err != nil {
		return t.freed, err
	}
	if err := t.remove(); err != nil {
		return t.freed, err
	}
	left, err := t.packIdle(ctx, p)
	if err := errors.Join(err, setSize(context.WithoutCancel(ctx), top, t.size)); err != nil || left {
		return t.freed, err
	}
	_, err = writeFile(top, tidiedFile, nil, s.stamp())
	return t.freed, err
}

// tidying is one run of collect.
type tidying struct {
	store  *Store
	top    *os.Root
	survey *survey
	going  []*root // no more in survey; to be removed
	size   int64   // what stays takes of the disk
	freed  Freed
}

// dropOld lets those roots go that cannot be read or have not been used for too
// long, and orders the others: those first that go first, which are the least
// recently used, results before the last keys of pipelines.
func (t *tidying) dropOld(now time.Time, retention time.Duration) {
	staying := t.survey.roots[:0]
	for _, r := range t.survey.roots {
		if r.err != nil || retention > 0 && now.Sub(r.used) > retention {
			t.drop(r)
		} else {
			staying = append(staying, r)
		}
	}
	slices.SortFunc(staying, func(a, b *root) int {
		if a.result != b.result {
			if a.result {
				return -1
			}
			return 1
		}
		return a.used.Compare(b.used)
	})
	t.survey.roots = staying
}

func (t *tidying) drop(r *root) {
	t.size -= r.disk
	for _, p := range r.parts {
		t.size -= p.release()
	}
	t.going = append(t.going, r)
}

// makeRoom has all fit into most bytes; 0 means that there is no bound. The error
// is the end of ctx.
func (t *tidying) makeRoom(ctx context.Context, most int64, p patience) error {
	if most == 0 {
		return nil
	}
	dropWhile := func(tooLarge func() bool) {
		for tooLarge() && len(t.survey.roots) > 0 {
			t.drop(t.survey.roots[0])
			t.survey.roots = t.survey.roots[1:]
		}
	}
	if t.store.o.Compress {
		// Of most content about half is left: who needs more room than that has no
		// use for making it so.
		dropWhile(func() bool { return t.size/2 > most })
		all := t.survey.packable(func(c *part) bool { return c.packable <= p.largest })
		started := time.Now()
		_, err := t.pack(ctx, all, func() bool { return t.size > most && time.Since(started) < p.room })
		if cause := context.Cause(ctx); cause != nil && err != nil {
			return cause
		}
		// A full disk, say, is the more a reason to make room in the other way.
	}
	dropWhile(func() bool { return t.size > most })
	return nil
}

// remove removes the roots that go, then whatever no other root needs, and what
// killed processes left. The cache is held exclusively.
func (t *tidying) remove() error {
	s, v, freed := t.store, t.survey, &t.freed
	var errs []error
	for _, r := range t.going {
		folder, err := s.folder(r.folder)
		if err == nil {
			err = folder.RemoveAll(r.name)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		freed.Bytes += r.disk
		if r.result {
			freed.Results++
		}
	}
	errs = append(errs, s.removeDocuments(v, freed), s.removeBlobs(v, freed), s.removeFolders(v, freed), s.removeLeftovers())
	return errors.Join(errs...)
}

func (s *Store) removeDocuments(v *survey, freed *Freed) error {
	folder, err := s.folder(metadataDir)
	if err != nil {
		return ignoreNotExist(err)
	}
	var errs []error
	for key, p := range v.documents {
		if p.found && p.refs == 0 {
			errs = append(errs, folder.RemoveAll(nameOf(key)))
			freed.Bytes += p.disk
		}
	}
	return errors.Join(errs...)
}

func (s *Store) removeBlobs(v *survey, freed *Freed) error {
	blobs, err := s.content()
	if err != nil {
		return ignoreNotExist(err)
	}
	var errs []error
	for d, p := range v.blobs {
		if p.found && p.refs == 0 {
			errs = append(errs, blobs.Remove(d))
			freed.Blobs++
			freed.Bytes += p.disk
		}
	}
	return errors.Join(errs...)
}

// removeFolders removes what is empty now, and what a killed process has left so.
func (s *Store) removeFolders(v *survey, freed *Freed) error {
	top, err := s.top()
	if err != nil {
		return err
	}
	for dir, p := range v.folders {
		if p.refs == 0 && top.Remove(dir) == nil { // which fails where something strange is in it
			freed.Bytes += p.disk
		}
	}
	for _, dir := range []string{outputsDir, receiptsDir, metadataDir} {
		names, err := namesIn(top, dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, name := range names {
			below := dir + "/" + name
			if info, err := top.Lstat(below); err == nil && info.IsDir() && len(name) == 2 && v.folders[below] == nil {
				_ = top.Remove(below)
			}
		}
	}
	return nil
}

func ignoreNotExist(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// removeLeftovers removes files that were never finished, and locks that nobody
// holds.
func (s *Store) removeLeftovers() error {
	var errs []error
	if blobs, err := s.content(); err == nil {
		errs = append(errs, blobs.RemoveTemporary())
	}
	for _, name := range []string{receiptsDir, metadataDir} {
		if f, err := s.folder(name); err == nil {
			errs = append(errs, s.removeTemporary(f, 0))
		}
	}
	// What stands in these is written without the lock.
	if f, err := s.folder(lastDir); err == nil {
		errs = append(errs, s.removeTemporary(f, abandoned))
	}
	top, err := s.top()
	if err != nil {
		return err
	}
	return errors.Join(append(errs, s.removeTemporary(top, abandoned), s.removeLocks())...)
}

// abandoned is the age from which on nobody writes a small file any more.
const abandoned = time.Hour

func (s *Store) removeTemporary(folder *os.Root, age time.Duration) error {
	names, err := namesIn(folder, ".")
	errs := []error{err}
	for _, name := range names {
		if !strings.HasPrefix(name, tempPrefix) {
			continue
		}
		info, err := folder.Lstat(name)
		if err == nil && s.o.Now().Sub(info.ModTime()) >= age {
			errs = append(errs, folder.RemoveAll(name))
		}
	}
	return errors.Join(errs...)
}

func (s *Store) removeLocks() error {
	locks, err := s.folder(locksDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	names, err := namesIn(locks, ".")
	for _, name := range names {
		f, err := locks.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			continue // released a moment ago
		}
		if got, _ := tryLock(f, exclusive); got && current(locks, name, f) {
			_ = locks.Remove(name)
		}
		_ = f.Close()
	}
	return err
}

// Clear removes everything, the remembered digests of inputs included.
func (s *Store) Clear(ctx context.Context) (Freed, error) {
	release, err := s.hold(ctx, exclusive)
	if errors.Is(err, fs.ErrNotExist) {
		return Freed{}, nil
	}
	if err != nil {
		return Freed{}, fmt.Errorf("clearing the cache: %w", err)
	}
	defer release()
	stats, err := s.Stats(ctx)
	if err != nil {
		return Freed{}, err
	}
	top, err := s.top()
	if err != nil {
		return Freed{}, err
	}
	// What names others goes first.
	for _, name := range []string{receiptsDir, metadataDir, outputsDir, inputsDir, tidiedFile} {
		if err := s.clear(top, name); err != nil {
			return Freed{}, fmt.Errorf("clearing the cache: %w", err)
		}
	}
	freed := Freed{Results: stats.Results, Blobs: stats.Blobs, Bytes: stats.Size + stats.Inputs}
	return freed, errors.Join(setSize(ctx, top, 0), s.removeLeftovers())
}

// clear empties a folder, or removes a file. The folder stays: others may have
// it open to write to it next.
func (s *Store) clear(top *os.Root, name string) error {
	info, err := top.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return top.Remove(name)
	}
	names, err := namesIn(top, name)
	for _, n := range names {
		if below := name + "/" + n; below != lastDir {
			err = errors.Join(err, top.RemoveAll(below))
		} else {
			err = errors.Join(err, s.clear(top, below))
		}
	}
	return err
}
