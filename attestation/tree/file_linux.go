// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"os"

	"golang.org/x/sys/unix"
)

// file is an open regular file. It does without what an [os.File] does for
// files that can make one wait: small files cost little more than that.
type file struct {
	fd  int
	own *os.File // that fd belongs to, if any
}

// openFile opens the regular file at p, and says what the system says of it.
func (b *base) openFile(p string) (*file, looked, error) {
	fd, err := b.openat(p, 0)
	if err != nil {
		// The root can do more, and knows better what is wrong.
		own, err := openRegular(b.root, b.name(p))
		if err != nil {
			return nil, looked{}, err
		}
		f := &file{int(own.Fd()), own}
		at, err := (&folder{fd: f.fd}).self()
		return f, at, err
	}
	f := &file{fd: fd}
	at, err := (&folder{fd: fd}).self()
	if err == nil && at.kind != File {
		err = &SpecialFileError{Path: b.name(p), Type: typeOfMode(at.stat.Mode)}
	}
	if err != nil {
		f.close()
		return nil, looked{}, err
	}
	return f, at, nil
}

func (f *file) read(buf []byte) (n int, err error) {
	err = again(func() error { n, err = unix.Read(f.fd, buf); return err })
	return max(n, 0), err
}

// osFile returns the file as the rest of the world has it.
func (f *file) osFile() *os.File {
	if f.own == nil {
		f.own = os.NewFile(uintptr(f.fd), "")
	}
	return f.own
}

func (f *file) close() {
	if f.own != nil {
		_ = f.own.Close()
		return
	}
	_ = unix.Close(f.fd)
}
