// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package tree

import (
	"io"
	"os"
)

// file is an open regular file.
type file struct{ own *os.File }

func (b *base) openFile(p string) (*file, looked, error) {
	f, err := openRegular(b.root, b.name(p))
	if err != nil {
		return nil, looked{}, err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, looked{}, err
	}
	return &file{f}, lookedOf(info), nil
}

func (f *file) read(buf []byte) (int, error) {
	n, err := f.own.Read(buf)
	if err == io.EOF {
		err = nil
	}
	return n, err
}

func (f *file) osFile() *os.File { return f.own }

func (f *file) close() { _ = f.own.Close() }
