// SPDX-License-Identifier: Apache-2.0

package landing

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// errNoFolder says that a file stands where a folder was expected.
var errNoFolder = errors.New("is not a folder")

// place is a name in a folder that is held open: no renaming of folders above
// it, and no symbolic link put in their stead, leads anywhere else.
type place struct {
	dir  int
	name string
}

// open returns the place of p, whose folders exist or, where made is not nil,
// are made and added to it. A symbolic link among them matches [ErrRefused].
func open(project *os.Root, p string, made *[]string) (place, error) {
	top, err := project.Open(".")
	if err != nil {
		return place{}, err
	}
	defer top.Close()
	dir, err := unix.Openat(int(top.Fd()), ".", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return place{}, err
	}
	parent, name := path.Split(p)
	var sofar string
	for _, part := range strings.FieldsFunc(parent, func(r rune) bool { return r == '/' }) {
		sofar = path.Join(sofar, part)
		next, err := enter(dir, part)
		if made != nil && errors.Is(err, unix.ENOENT) {
			if err = unix.Mkdirat(dir, part, 0o777); err == nil {
				*made = append(*made, sofar)
			}
			if err == nil || errors.Is(err, unix.EEXIST) {
				next, err = enter(dir, part)
			}
		}
		_ = unix.Close(dir)
		if err != nil {
			return place{}, fmt.Errorf("%q: %w", sofar, err)
		}
		dir = next
	}
	return place{dir, name}, nil
}

// enter opens the folder name in dir, and nothing else of that name.
func enter(dir int, name string) (int, error) {
	next, err := unix.Openat(dir, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if !errors.Is(err, unix.ENOTDIR) && !errors.Is(err, unix.ELOOP) {
		return next, err
	}
	if mode, err := (place{dir, name}).stat(); err == nil && mode&fs.ModeSymlink != 0 {
		return -1, fmt.Errorf("%w: it is a symbolic link, and outputs are not put through links", ErrRefused)
	}
	return -1, errNoFolder
}

func (p place) close() { _ = unix.Close(p.dir) }

// stat returns the permission bits and the type of what stands at p: a folder,
// a symbolic link, or something else.
func (p place) stat() (fs.FileMode, error) {
	var st unix.Stat_t
	if err := unix.Fstatat(p.dir, p.name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return 0, err
	}
	mode := fs.FileMode(st.Mode & 0o777)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		mode |= fs.ModeDir
	case unix.S_IFLNK:
		mode |= fs.ModeSymlink
	}
	return mode, nil
}

func (p place) chmod(perm fs.FileMode) error {
	return unix.Fchmodat(p.dir, p.name, uint32(perm), 0)
}

// rmdir removes the folder at p if it is empty, and says whether it did.
func (p place) rmdir() bool { return unix.Unlinkat(p.dir, p.name, unix.AT_REMOVEDIR) == nil }

// moveTo moves what stands at from to to, where nothing stands.
func moveTo(from, to place) error {
	err := unix.Renameat2(from.dir, from.name, to.dir, to.name, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		// The file system has no such flag. The caller has looked.
		err = unix.Renameat(from.dir, from.name, to.dir, to.name)
	}
	return explain(err)
}

// exchange makes from and to change places at once. It matches
// [errors.ErrUnsupported] where the file system cannot do that.
func exchange(from, to place) error {
	err := unix.Renameat2(from.dir, from.name, to.dir, to.name, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return errors.ErrUnsupported
	}
	return explain(err)
}

func explain(err error) error {
	if errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("it lies on another file system than the project, or is a mount point: %w", err)
	}
	return err
}
