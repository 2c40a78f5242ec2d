// SPDX-License-Identifier: Apache-2.0

// Package landing puts what a step left in its staging folder in place in the
// project: each output at once, none through a symbolic link, and all of it to
// be taken back as long as the staging folder stands.
//
// Start with [Prepare] and [Land]. An output is in the project as it was or as
// it is now, never half: on Linux a path that exists is exchanged with its
// successor in one system call. Where a file system cannot do that, the path
// is absent for a moment. Several outputs are put in place one after the other.
//
// The functions are safe for concurrent use on different staging folders, as
// long as calls of [Land] and [Landed.Undo] in one project do not overlap.
package landing

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
)

// Unit is one path that is put in place as a whole.
type Unit struct {
	// Path is relative to the project and to the staging folder alike. Where
	// staging has nothing at it, what stands in the project is removed.
	Path string
	// Whole says that the path was named literally: whatever stands there, a
	// folder with all that is in it included, makes way. Otherwise the path
	// came from a glob, and a folder never makes way: it may hold what nobody
	// meant.
	Whole bool
}

// ErrRefused is matched by errors about an output that is not put where it was
// meant to go because that would harm something else.
var ErrRefused = errors.New("output refused")

// Landed is what [Land] did. It is of use for as long as the staging folder
// stands, and not safe for concurrent use.
type Landed struct {
	project *os.Root
	staging string
	done    []step
}

// step is one change: what stood at from came to stand at to, and the reverse
// where swapped is set. Without from, the folder to was made.
type step struct {
	from, to string // relative to the project
	swapped  bool
}

// Land moves every unit from the staging folder to the project: first those
// that only go, then those that come. staging is the folder's path relative to
// project, slash-separated; it lies in the same file system and is reached
// without symbolic links. What stood in the project before stands afterwards
// in the staging folder or beside it, in the folder named like it with ".old".
//
// protected are paths of the project that no unit may touch, nor anything
// below them. Errors about a unit name its path; after an error the project is
// as it was.
func Land(project *os.Root, staging string, units []Unit, protected ...string) (*Landed, error) {
	l := &Landed{project: project, staging: staging}
	if err := l.land(units, protected); err != nil {
		if undo := l.Undo(); undo != nil {
			err = errors.Join(err, undo)
		}
		return nil, err
	}
	return l, nil
}

func (l *Landed) land(units []Unit, protected []string) error {
	var coming []Unit
	for _, u := range units {
		if err := check(u.Path, protected); err != nil {
			return err
		}
		there, err := l.staged(u)
		if err != nil {
			return err
		}
		if there {
			coming = append(coming, u)
			continue
		}
		if err := l.remove(u); err != nil {
			return fmt.Errorf("removing output %q of an earlier run: %w", u.Path, err)
		}
	}
	for _, u := range coming {
		if err := l.put(u); err != nil {
			return fmt.Errorf("putting output %q in place: %w", u.Path, err)
		}
	}
	return nil
}

// check refuses paths that leave the project or meet a protected one.
func check(p string, protected []string) error {
	if p == "" || p == "." || p[0] == '/' || path.Clean(p) != p || p == ".." || strings.HasPrefix(p, "../") {
		return fmt.Errorf("%w: %q is not a path below the project", ErrRefused, p)
	}
	for _, no := range protected {
		if p == no || strings.HasPrefix(p, no+"/") || strings.HasPrefix(no, p+"/") {
			return fmt.Errorf("%w: %q would touch %s", ErrRefused, p, no)
		}
	}
	return nil
}

// staged reports whether the staging folder has the unit. A folder that is there
// only because a glob matched something in it is not the unit.
func (l *Landed) staged(u Unit) (bool, error) {
	p := path.Join(l.staging, u.Path)
	at, err := open(l.project, p, nil)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoFolder) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer at.close()
	mode, err := at.stat()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil || u.Whole || !mode.IsDir():
		return err == nil, err
	default:
		return emptyFolder(l.project, p)
	}
}

// remove takes an output of an earlier run away, and the folders that it leaves
// empty, because an empty folder is an output too.
func (l *Landed) remove(u Unit) error {
	old, err := open(l.project, u.Path, nil)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNoFolder) {
		return nil
	}
	if err != nil {
		return err
	}
	defer old.close()
	mode, err := old.stat()
	if errors.Is(err, fs.ErrNotExist) || err == nil && mode.IsDir() && !u.Whole {
		return nil
	}
	if err != nil {
		return err
	}
	if err := l.move(u.Path, l.spare()); err != nil {
		return err
	}
	return l.prune(path.Dir(u.Path))
}

// spare returns a free path beside the staging folder.
func (l *Landed) spare() string {
	return path.Join(l.staging+".old", strconv.Itoa(len(l.done)))
}

// prune removes dir and the folders above it for as long as they are empty.
func (l *Landed) prune(dir string) error {
	for ; dir != "."; dir = path.Dir(dir) {
		at, err := open(l.project, dir, nil)
		if err != nil {
			return err
		}
		removed := at.rmdir()
		at.close()
		if !removed {
			return nil
		}
	}
	return nil
}

func (l *Landed) put(u Unit) error {
	from := path.Join(l.staging, u.Path)
	to, err := l.open(u.Path)
	if err != nil {
		return err
	}
	defer to.close()
	mode, err := to.stat()
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return l.move(from, u.Path)
	case err != nil:
		return err
	case mode.IsDir() && !u.Whole:
		return l.keepFolder(u, from)
	default:
		return l.swap(from, u.Path)
	}
}

// keepFolder is the case of a glob's match where the project has a folder:
// all is well when both are folders without content.
func (l *Landed) keepFolder(u Unit, from string) error {
	for _, p := range []string{from, u.Path} {
		switch empty, err := emptyFolder(l.project, p); {
		case err != nil:
			return err
		case !empty:
			return fmt.Errorf("%w: a folder stands there, and only a path that outputs names literally may replace one", ErrRefused)
		}
	}
	return nil
}

// emptyFolder reports whether a folder without content stands at p.
func emptyFolder(project *os.Root, p string) (bool, error) {
	info, err := project.Lstat(p)
	if err != nil || !info.IsDir() {
		return false, err
	}
	f, err := project.Open(p)
	if err != nil {
		return false, err
	}
	defer f.Close()
	names, err := f.Readdirnames(1)
	if len(names) > 0 {
		return false, nil
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return err == nil, err
}

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
