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
