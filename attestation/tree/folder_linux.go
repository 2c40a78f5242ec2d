// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// base is the folder that paths are relative to. Through an [os.Root] every
// component of every path costs a system call or two; here the kernel makes
// sure, in one, that a path neither leaves the base nor leads through a link.
type base struct {
	root *os.Root
	dir  string
	file *os.File
	fd   int
}

func openBase(root *os.Root, dir string) (*base, error) {
	if dir == "" {
		dir = "."
	}
	f, err := root.Open(filepath.FromSlash(dir))
	if err != nil {
		return nil, err
	}
	return &base{root, dir, f, int(f.Fd())}, nil
}

func (b *base) close() { _ = b.file.Close() }

// errUnable says that the kernel, or who guards it, does not know the call.
var errUnable = errors.New("no openat2")

// openat opens what stands at p, and errUnable where only the root can.
func (b *base) openat(p string, flags uint64) (int, error) {
	how := unix.OpenHow{
		Flags:   flags | unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NOFOLLOW | unix.O_NONBLOCK,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS,
	}
	for {
		fd, err := unix.Openat2(b.fd, p, &how)
		switch {
		case err == nil:
			return fd, nil
		case err == unix.EINTR:
			continue
		// EAGAIN: something above p was renamed just now. ENAMETOOLONG: the root
		// goes component by component.
		case err == unix.ENOSYS, err == unix.EPERM, err == unix.EAGAIN, err == unix.ENAMETOOLONG:
			return -1, errUnable
		default:
			return -1, &fs.PathError{Op: "open", Path: path.Join(b.dir, p), Err: err}
		}
	}
}

// folder is an open folder.
type folder struct {
	fd   int
	file *os.File // that it belongs to, if any
}

// open opens the folder at p, the base itself where p is empty.
func (b *base) open(p string) (*folder, error) {
	if p == "" {
		p = "."
	}
	fd, err := b.openat(p, unix.O_DIRECTORY)
	if err != errUnable {
		return &folder{fd: fd}, err
	}
	f, err := b.root.Open(filepath.FromSlash(path.Join(b.dir, p)))
	if err != nil {
		return nil, err
	}
	return &folder{int(f.Fd()), f}, nil
}

func (f *folder) close() error {
	if f.file != nil {
		return f.file.Close()
	}
	return unix.Close(f.fd)
}

// self looks at the folder itself.
func (f *folder) self() (looked, error) {
	var st unix.Stat_t
	err := again(func() error { return unix.Fstat(f.fd, &st) })
	return lookedOf(&st), err
}

// look looks at what is called name in the folder.
func (f *folder) look(name string) (looked, error) {
	var st unix.Stat_t
	err := again(func() error { return unix.Fstatat(f.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil {
		return looked{}, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return lookedOf(&st), nil
}

// again repeats what a signal interrupts.
func again(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

func lookedOf(st *unix.Stat_t) looked {
	l := looked{perm: st.Mode & 0o777, stat: statOfUnix(st)}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		l.kind, l.size = File, st.Size
	case unix.S_IFDIR:
		l.kind = Dir
	case unix.S_IFLNK:
		l.kind, l.perm = Symlink, 0o777
	}
	return l
}

func statOfUnix(st *unix.Stat_t) Stat {
	return Stat{
		Dev: st.Dev, Inode: st.Ino, Size: st.Size, Mode: st.Mode,
		Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(),
	}
}

// read adds what stands in the folder.
func (f *folder) read(to *scratch, prefix string) error {
	for {
		var n int
		err := again(func() (err error) { n, err = unix.Getdents(f.fd, to.buf); return err })
		if err != nil {
			return &fs.PathError{Op: "readdir", Path: prefix, Err: err}
		}
		if n <= 0 {
			return nil
		}
		for rest := to.buf[:n]; len(rest) > 0; {
			// struct linux_dirent64 of getdents64(2).
			size := binary.NativeEndian.Uint16(rest[16:])
			ino, kind, name := binary.NativeEndian.Uint64(rest), rest[18], rest[19:size]
			rest = rest[size:]
			name = name[:bytes.IndexByte(name, 0)]
			if ino == 0 || string(name) == "." || string(name) == ".." {
				continue
			}
			mode, err := f.typeOf(kind, name)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			to.add(prefix, name, mode)
		}
	}
}

// typeOf reads the type in a folder's listing. Not all file systems have it
// there.
func (f *folder) typeOf(kind byte, name []byte) (fs.FileMode, error) {
	switch kind {
	case unix.DT_REG:
		return 0, nil
	case unix.DT_DIR:
		return fs.ModeDir, nil
	case unix.DT_LNK:
		return fs.ModeSymlink, nil
	case unix.DT_FIFO:
		return fs.ModeNamedPipe, nil
	case unix.DT_SOCK:
		return fs.ModeSocket, nil
	case unix.DT_BLK:
		return fs.ModeDevice, nil
	case unix.DT_CHR:
		return fs.ModeDevice | fs.ModeCharDevice, nil
	}
	l, err := f.look(string(name))
	if err != nil {
		return 0, err
	}
	return typeOfMode(l.stat.Mode), nil
}

// typeOfMode returns the type bits of a file's mode.
func typeOfMode(mode uint32) fs.FileMode {
	switch mode & unix.S_IFMT {
	case unix.S_IFREG:
		return 0
	case unix.S_IFDIR:
		return fs.ModeDir
	case unix.S_IFLNK:
		return fs.ModeSymlink
	case unix.S_IFIFO:
		return fs.ModeNamedPipe
	case unix.S_IFSOCK:
		return fs.ModeSocket
	case unix.S_IFBLK:
		return fs.ModeDevice
	case unix.S_IFCHR:
		return fs.ModeDevice | fs.ModeCharDevice
	default:
		return fs.ModeIrregular
	}
}
