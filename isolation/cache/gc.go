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

// Freed says what was removed.
type Freed struct {
	Results int
	Blobs   int
	Bytes   int64 // of the disk
}

// tidyEvery is how often a cache is looked at that is not too large.
const tidyEvery = 24 * time.Hour

// Maintain is for the end of a run: it does what [Store.GC] does when the cache
// holds more than it may, or has not been tidied for a day. A cache that cannot
// be written is left alone.
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
	if _, err = s.GC(ctx); err != nil && readOnly(err) {
		return nil
	}
	return err
}

// GC removes what is older than Options.Retention, then what was used least
// recently until the rest fits into Options.MaxSize, and what no Result needs.
// It waits for others that are storing something.
func (s *Store) GC(ctx context.Context) (Freed, error) { return s.collect(ctx, s.o.MaxSize) }

// collect is GC with a size of its own to come down to; 0 means that there is
// none.
func (s *Store) collect(ctx context.Context, most int64) (Freed, error) {
	release, err := s.hold(ctx, exclusive)
	if errors.Is(err, fs.ErrNotExist) {
		return Freed{}, nil
	}
	if err != nil {
		return Freed{}, fmt.Errorf("tidying the cache: %w", err)
	}
	defer release()
	freed, err := s.collectLocked(ctx, most)
	if err != nil {
		return freed, fmt.Errorf("tidying the cache: %w", err)
	}
	return freed, nil
}

func (s *Store) collectLocked(ctx context.Context, most int64) (Freed, error) {
	v, err := s.survey(ctx)
	if err != nil {
		return Freed{}, err
	}
	going, size := v.choose(s.o.Now(), s.o.Retention, most)
	freed, err := s.remove(v, going)
	if err != nil {
		return freed, err
	}
	top, err := s.top()
	if err != nil {
		return freed, err
	}
	if err := setSize(ctx, top, size); err != nil {
		return freed, err
	}
	_, err = writeFile(top, tidiedFile, nil, s.stamp())
	return freed, err
}

// choose takes the roots that have to go out of the survey and returns them,
// with the size of what stays: first those that cannot be read or have not been
// used for too long, then the least recently used, results before the last keys
// of pipelines.
func (v *survey) choose(now time.Time, retention time.Duration, most int64) (going []*root, size int64) {
	slices.SortFunc(v.roots, func(a, b *root) int {
		if a.result != b.result {
			if a.result {
				return -1
			}
			return 1
		}
		return a.used.Compare(b.used)
	})
	size = v.size()
	drop := func(r *root) {
		size -= r.disk
		for _, p := range r.parts {
			size -= p.release()
		}
		going = append(going, r)
	}
	staying := v.roots[:0]
	for _, r := range v.roots {
		if r.err != nil || retention > 0 && now.Sub(r.used) > retention {
			drop(r)
		} else {
			staying = append(staying, r)
		}
	}
	for most > 0 && size > most && len(staying) > 0 {
		drop(staying[0])
		staying = staying[1:]
	}
	v.roots = staying
	return going, size
}

// remove removes the roots, then whatever no other root needs, and what killed
// processes left. The cache is held exclusively.
func (s *Store) remove(v *survey, going []*root) (freed Freed, err error) {
	var errs []error
	for _, r := range going {
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
	errs = append(errs, s.removeDocuments(v, &freed), s.removeBlobs(v, &freed), s.removeFolders(v), s.removeLeftovers())
	return freed, errors.Join(errs...)
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

func (s *Store) removeFolders(v *survey) error {
	top, err := s.top()
	if err != nil {
		return err
	}
	for dir, p := range v.folders {
		if p.refs == 0 {
			_ = top.Remove(dir) // which fails where something strange is in it
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
