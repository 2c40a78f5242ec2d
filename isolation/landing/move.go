// SPDX-License-Identifier: Apache-2.0

package landing

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
)

// move takes what stands at from to the free path to.
func (l *Landed) move(from, to string) error {
	if err := l.rename(from, to, moveTo); err != nil {
		return err
	}
	l.done = append(l.done, step{from: from, to: to})
	return nil
}

// swap exchanges what stands at from and at to.
func (l *Landed) swap(from, to string) error {
	err := l.rename(from, to, exchange)
	if errors.Is(err, errors.ErrUnsupported) {
		err = l.swapByThree(from, to)
	}
	if err != nil {
		return err
	}
	l.done = append(l.done, step{from: from, to: to, swapped: true})
	return nil
}

// swapByThree is swap for file systems that cannot exchange.
func (l *Landed) swapByThree(from, to string) error {
	spare := l.spare()
	if err := l.rename(to, spare, moveTo); err != nil {
		return err
	}
	if err := l.rename(from, to, moveTo); err != nil {
		return errors.Join(err, l.rename(spare, to, moveTo))
	}
	return l.rename(spare, from, moveTo)
}

// open is the package's open; folders that are not there are made, and noted.
func (l *Landed) open(p string) (place, error) {
	var made []string
	at, err := open(l.project, p, &made)
	for _, dir := range made {
		l.done = append(l.done, step{to: dir})
	}
	return at, err
}

// rename opens both places and applies how to them. A folder that its owner
// may not write cannot be moved by the owner either, so it is made writable
// for that moment.
func (l *Landed) rename(from, to string, how func(from, to place) error) error {
	src, err := open(l.project, from, nil)
	if err != nil {
		return err
	}
	defer src.close()
	dst, err := l.open(to)
	if err != nil {
		return err
	}
	defer dst.close()
	srcMode, err := unlock(src)
	if err != nil {
		return err
	}
	dstMode, err := unlock(dst)
	if err != nil {
		return err
	}
	if err := how(src, dst); err != nil {
		return errors.Join(err, lock(src, srcMode), lock(dst, dstMode))
	}
	return errors.Join(lock(dst, srcMode), lock(src, dstMode))
}

// unlock makes a read-only folder writable and returns its mode for lock; zero
// where there was nothing to do.
func unlock(at place) (fs.FileMode, error) {
	mode, err := at.stat()
	if errors.Is(err, fs.ErrNotExist) || err == nil && (!mode.IsDir() || mode&0o200 != 0) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return mode, at.chmod(mode.Perm() | 0o700)
}

func lock(at place, mode fs.FileMode) error {
	if mode == 0 {
		return nil
	}
	return at.chmod(mode.Perm())
}

// Undo takes back everything that was done, last things first. It may be
// called once.
func (l *Landed) Undo() error {
	var errs []error
	for _, s := range slices.Backward(l.done) {
		if err := l.undo(s); err != nil {
			errs = append(errs, fmt.Errorf("taking %q back: %w", s.to, err))
		}
	}
	return errors.Join(errs...)
}

func (l *Landed) undo(s step) error {
	switch {
	case s.from == "":
		at, err := open(l.project, s.to, nil)
		if err != nil {
			return err
		}
		at.rmdir() // it stays where something else came into it
		at.close()
		return nil
	case !s.swapped:
		return l.rename(s.to, s.from, moveTo)
	}
	err := l.rename(s.to, s.from, exchange)
	if errors.Is(err, errors.ErrUnsupported) {
		err = l.swapByThree(s.to, s.from)
	}
	return err
}
