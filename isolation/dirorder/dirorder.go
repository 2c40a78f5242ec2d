// SPDX-License-Identifier: Apache-2.0

// Package dirorder decides in which order folders list what is in them.
//
// Start with [Skeleton]. A file system lists a folder as it pleases, by hashes
// of names or by age, and programs take that order on. Where an overlay is
// mounted anyway, its lowest layer decides: the kernel lists what is in it first,
// in its order, and what other layers have on top of it in the same places. So a
// layer below all others, in memory, with nothing but the names, is enough.
//
// The package reads and makes files and mounts nothing. Functions are safe for
// concurrent use on folders that differ.
package dirorder

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Arrange puts the names of one folder, which come as a file system listed
// them, in the order that is wanted.
type Arrange func(names []string)

// Sorted is the order of the names' bytes.
func Sorted(names []string) { slices.Sort(names) }

// Reversed is the other way round than it was.
func Reversed(names []string) { slices.Reverse(names) }

// Skeleton makes in dir, an empty folder of a tmpfs, a file or folder for every
// name that stands in one of the layers, the uppermost first, so that dir and
// each folder in it list them as arranged. A name is a folder where its
// uppermost layer has one. It reports whether there was anything to arrange: a
// folder with two names in it at least.
//
// An error means that the order is not the one wanted: nothing is known of a
// file system that lists neither by age nor the other way round.
//
// What is called skip, at the top, is left out, with all that is in it.
func Skeleton(dir string, layers []string, arrange Arrange, skip ...string) (arranged bool, err error) {
	newest, err := newestFirst(dir)
	if err != nil {
		return false, err
	}
	s := &skeleton{arrange: arrange, newestFirst: newest, skip: skip}
	err = s.fill(dir, layers)
	return s.arranged, err
}

type skeleton struct {
	arrange     Arrange
	newestFirst bool
	arranged    bool
	skip        []string // of the next folder
}

// fill makes the content of one folder, which the layers have.
func (s *skeleton) fill(dir string, layers []string) error {
	names, folders, err := union(layers)
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(s.skip, name) })
	s.skip = nil
	s.arrange(names)
	if s.arranged = s.arranged || len(names) > 1; s.newestFirst {
		slices.Reverse(names)
	}
	for _, name := range names {
		path := filepath.Join(dir, name)
		below := folders[name]
		if below == nil {
			err = os.WriteFile(path, nil, 0o600)
		} else if err = os.Mkdir(path, 0o755); err == nil {
			err = s.fill(path, below)
		}
		if err != nil {
			return fmt.Errorf("arranging a folder: %w", err)
		}
	}
	return nil
}

// union returns the names in all layers, each once and in the order of their
// listings, and for those that are folders, where they are.
func union(layers []string) (names []string, folders map[string][]string, err error) {
	folders = map[string][]string{}
	seen := map[string]bool{}
	for _, layer := range layers {
		f, err := os.Open(layer)
		if err != nil {
			return nil, nil, err
		}
		items, err := f.ReadDir(-1) // as the file system has them, unlike os.ReadDir
		_ = f.Close()
		if err != nil {
			return nil, nil, err
		}
		for _, item := range items {
			name := item.Name()
			// A layer below may have a folder where this one has a file.
			if item.IsDir() && (!seen[name] || folders[name] != nil) {
				folders[name] = append(folders[name], filepath.Join(layer, name))
			}
			if !seen[name] {
				seen[name] = true
				names = append(names, name)
			}
		}
	}
	return names, folders, nil
}

var errOrder = errors.New("this file system lists files in no order that could be chosen")

// newestFirst finds out how folders below dir list their files.
func newestFirst(dir string) (bool, error) {
	probe, err := os.MkdirTemp(dir, ".attest-order-")
	if err != nil {
		return false, fmt.Errorf("arranging a folder: %w", err)
	}
	defer os.RemoveAll(probe)
	made := []string{"d", "a", "f", "b", "e", "c"}
	for _, name := range made {
		if err := os.WriteFile(filepath.Join(probe, name), nil, 0o600); err != nil {
			return false, fmt.Errorf("arranging a folder: %w", err)
		}
	}
	listed, err := list(probe)
	if err != nil {
		return false, err
	}
	if slices.Equal(listed, made) {
		return false, nil
	}
	slices.Reverse(made)
	if slices.Equal(listed, made) {
		return true, nil
	}
	return false, errOrder
}

// list returns the names in a folder as the file system has them.
func list(dir string) ([]string, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}
