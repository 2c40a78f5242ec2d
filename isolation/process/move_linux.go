// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/attestation/tree"
)

// mover moves files between two folders, at the same relative paths. It opens
// folder by folder and follows no symbolic link: a step that runs at the same
// time may put one in the way of another's output.
type mover struct {
	from, to int
	// untie makes files of their own of those with several names, and drops
	// set-user-ID, set-group-ID and sticky bits: what arrives depends on
	// nothing that stays behind.
	untie bool

	dir      string // where src and dst are, when they are open
	src, dst int
	made     []madeDir
}

// madeDir is a folder that was made in to, and what its mode is to be once
// nothing more is put into it.
type madeDir struct {
	path string
	perm uint32
}

// move moves the entries from one folder to another, folders above them made as
// needed with the modes that they have in from. On an error some have moved.
func move(ctx context.Context, from, to string, entries []tree.Entry, untie untie) (err error) {
	m := &mover{untie: bool(untie), src: -1, dst: -1}
	if m.from, err = openFolder(unix.AT_FDCWD, from); err != nil {
		return &fs.PathError{Op: "open", Path: from, Err: err}
	}
	defer unix.Close(m.from)
	if m.to, err = openFolder(unix.AT_FDCWD, to); err != nil {
		return &fs.PathError{Op: "open", Path: to, Err: err}
	}
	defer unix.Close(m.to)
	defer m.leave()
	for _, e := range entries {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if err := m.one(e); err != nil {
			return fmt.Errorf("%q: %w", e.Path, err)
		}
	}
	m.leave()
	for _, made := range slices.Backward(m.made) {
		if err := chmodBelow(m.to, made.path, made.perm); err != nil {
			return fmt.Errorf("%q: %w", made.path, err)
		}
	}
	return nil
}

func openFolder(at int, name string) (int, error) {
	return unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
}

func (m *mover) leave() {
	if m.src >= 0 {
		_ = unix.Close(m.src)
		_ = unix.Close(m.dst)
	}
	m.src, m.dst = -1, -1
}

// enter opens the folder dir on both sides.
func (m *mover) enter(dir string) (err error) {
	if m.src >= 0 && m.dir == dir {
		return nil
	}
	m.leave()
	if m.src, err = openFolder(m.from, "."); err != nil {
		return err
	}
	if m.dst, err = openFolder(m.to, "."); err != nil {
		_ = unix.Close(m.src)
		m.src = -1
		return err
	}
	m.dir = dir
	if dir == "." {
		return nil
	}
	var at string
	for name := range strings.SplitSeq(dir, "/") {
		at = path.Join(at, name)
		if err := m.down(at, name); err != nil {
			m.leave()
			return err
		}
	}
	return nil
}

// down goes from the open folders to the folder name in them, which is at.
func (m *mover) down(at, name string) error {
	src, err := openFolder(m.src, name)
	if err != nil {
		return err
	}
	var info unix.Stat_t
	if err := unix.Fstat(src, &info); err != nil {
		_ = unix.Close(src)
		return err
	}
	switch err := unix.Mkdirat(m.dst, name, 0o700); {
	case err == nil:
		m.made = append(m.made, madeDir{at, info.Mode & 0o777})
	case !errors.Is(err, unix.EEXIST):
		_ = unix.Close(src)
		return err
	}
	dst, err := openFolder(m.dst, name)
	if err != nil {
		_ = unix.Close(src)
		return err
	}
	// A folder that is closed to writing gives nothing up.
	if info.Mode&0o300 != 0o300 {
		err = unix.Fchmod(src, info.Mode&0o777|0o700)
	}
	m.leave()
	m.src, m.dst = src, dst
	return err
}

func (m *mover) one(e tree.Entry) error {
	dir, name := path.Dir(e.Path), path.Base(e.Path)
	if err := m.enter(dir); err != nil {
		return err
	}
	var info unix.Stat_t
	if err := unix.Fstatat(m.src, name, &info, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	switch info.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return m.folder(e.Path, name, info.Mode&0o777)
	case unix.S_IFREG:
		return m.file(name, info)
	case unix.S_IFLNK:
		err := unix.Renameat(m.src, name, m.dst, name)
		if errors.Is(err, unix.EXDEV) {
			err = m.copyLink(name)
		}
		return err
	default:
		return &tree.SpecialFileError{Path: e.Path, Type: specialType(info.Mode)}
	}
}

func specialType(mode uint32) fs.FileMode {
	switch mode & unix.S_IFMT {
	case unix.S_IFIFO:
		return fs.ModeNamedPipe
	case unix.S_IFSOCK:
		return fs.ModeSocket
	default:
		return fs.ModeDevice
	}
}

// folder moves an empty folder.
func (m *mover) folder(p, name string, perm uint32) error {
	switch err := unix.Mkdirat(m.dst, name, 0o700); {
	case err == nil:
		m.made = append(m.made, madeDir{p, perm})
	case !errors.Is(err, unix.EEXIST):
		return err
	}
	return unix.Unlinkat(m.src, name, unix.AT_REMOVEDIR)
}

func (m *mover) file(name string, info unix.Stat_t) error {
	if m.untie && info.Nlink > 1 {
		return m.copyFile(name, info)
	}
	err := unix.Renameat(m.src, name, m.dst, name)
	if errors.Is(err, unix.EXDEV) {
		return m.copyFile(name, info)
	}
	if err == nil && m.untie && info.Mode&0o7000 != 0 {
		err = unix.Fchmodat(m.dst, name, info.Mode&0o777, 0)
	}
	return err
}

// copyFile moves a file by its content.
func (m *mover) copyFile(name string, info unix.Stat_t) error {
	fd, err := unix.Openat(m.src, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	source := os.NewFile(uintptr(fd), name)
	defer source.Close()
	if fd, err = unix.Openat(m.dst, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_CLOEXEC, 0o600); err != nil {
		return err
	}
	target := os.NewFile(uintptr(fd), name)
	_, err = target.ReadFrom(source)
	if err == nil {
		err = unix.Fchmod(fd, info.Mode&0o777)
	}
	if err == nil {
		err = unix.Futimes(fd, []unix.Timeval{timeval(info.Atim), timeval(info.Mtim)})
	}
	if err = errors.Join(err, target.Close()); err != nil {
		return err
	}
	return unix.Unlinkat(m.src, name, 0)
}

func timeval(t unix.Timespec) unix.Timeval { return unix.NsecToTimeval(t.Nano()) }

func (m *mover) copyLink(name string) error {
	target := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(m.src, name, target)
	if err != nil {
		return err
	}
	if err := unix.Symlinkat(string(target[:n]), m.dst, name); err != nil {
		return err
	}
	return unix.Unlinkat(m.src, name, 0)
}

// chmodBelow sets the mode of a folder that this process made.
func chmodBelow(at int, p string, perm uint32) error {
	how := &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(at, p, how)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Fchmod(fd, perm)
}

func notEmpty(err error) bool { return errors.Is(err, unix.ENOTEMPTY) }

// writeExecutable writes a file that can be executed at once. No other process
// is started meanwhile: it would hold the file open for writing until it had
// executed its own program, and the kernel executes no such file.
func writeExecutable(name, text string) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(name, []byte(text), scriptFile)
}
