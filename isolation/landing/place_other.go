// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package landing

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// errNoFolder says that a file stands where a folder was expected.
var errNoFolder = errors.New("is not a folder")

// place is a path in the project, held inside it by os.Root.
type place struct {
	root *os.Root
	path string
}

// open returns the place of p, whose folders exist or, where made is not nil,
// are made and added to it. A symbolic link among them matches [ErrRefused].
func open(project *os.Root, p string, made *[]string) (place, error) {
	if dir := path.Dir(p); dir != "." {
		if err := enter(project, dir, made); err != nil {
			return place{}, err
		}
	}
	return place{project, filepath.FromSlash(p)}, nil
}

func enter(project *os.Root, dir string, made *[]string) error {
	if above := path.Dir(dir); above != "." {
		if err := enter(project, above, made); err != nil {
			return err
		}
	}
	info, err := project.Lstat(filepath.FromSlash(dir))
	switch {
	case made != nil && errors.Is(err, fs.ErrNotExist):
		if err = project.Mkdir(filepath.FromSlash(dir), 0o777); err == nil {
			*made = append(*made, dir)
		}
		return err
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("%q: %w: it is a symbolic link, and outputs are not put through links", dir, ErrRefused)
	case !info.IsDir():
		return fmt.Errorf("%q: %w", dir, errNoFolder)
	}
	return nil
}

func (p place) close() {}

func (p place) stat() (fs.FileMode, error) {
	info, err := p.root.Lstat(p.path)
	if err != nil {
		return 0, err
	}
	return info.Mode() & (fs.ModePerm | fs.ModeDir | fs.ModeSymlink), nil
}

func (p place) chmod(perm fs.FileMode) error { return p.root.Chmod(p.path, perm) }

// rmdir removes the folder at p if it is empty, and says whether it did.
func (p place) rmdir() bool {
	mode, err := p.stat()
	return err == nil && mode.IsDir() && p.root.Remove(p.path) == nil
}

// moveTo moves what stands at from to to, where nothing stands.
func moveTo(from, to place) error { return from.root.Rename(from.path, to.path) }

// exchange is not to be had here.
func exchange(place, place) error { return errors.ErrUnsupported }
