// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package tree

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// base is the folder that paths are relative to.
type base struct {
	root *os.Root
	dir  string
}

func openBase(root *os.Root, dir string) (*base, error) { return &base{root, dir}, nil }

func (b *base) close() {}

// folder is an open folder.
type folder struct {
	file  *os.File
	items map[string]fs.DirEntry
}

func (b *base) open(p string) (*folder, error) {
	name := path.Join(b.dir, p)
	if name == "" {
		name = "."
	}
	f, err := b.root.Open(filepath.FromSlash(name))
	if err != nil {
		return nil, err
	}
	return &folder{file: f, items: map[string]fs.DirEntry{}}, nil
}

func (f *folder) close() error { return f.file.Close() }

func (f *folder) self() (looked, error) {
	info, err := f.file.Stat()
	if err != nil {
		return looked{}, err
	}
	return lookedOf(info), nil
}

func (f *folder) look(name string) (looked, error) {
	info, err := f.items[name].Info()
	if err != nil {
		return looked{}, err
	}
	return lookedOf(info), nil
}

func lookedOf(info fs.FileInfo) looked {
	var special *SpecialFileError
	e, err := EntryOf("", info)
	if errors.As(err, &special) {
		return looked{}
	}
	return looked{e.Kind, e.Perm, e.Size, StatOf(info)}
}

// read adds what stands in the folder.
func (f *folder) read(to *scratch, prefix string) error {
	entries, err := f.file.ReadDir(-1)
	for _, e := range entries {
		f.items[e.Name()] = e
		to.add(prefix, []byte(e.Name()), e.Type())
	}
	return err
}
