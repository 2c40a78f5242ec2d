// SPDX-License-Identifier: Apache-2.0

// Package tree describes a set of files by value: paths, kinds, permissions
// and contents, with one listing of it that is hashed.
//
// Start with [New] and [Tree.Listing]. A Tree is what a step sees, what a step
// leaves, and what a receipt names by one digest. It holds no content and does
// not touch a file system; [Walk] and [Hasher] read one.
//
// A Tree does not change after it was made and is safe for concurrent use.
package tree

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/attest-pipeline/attest/attestation/digest"
)

// Kind says what stands at a path.
type Kind uint8

// The kinds that a Tree can hold. Devices, FIFOs and sockets are none of them:
// reading a tree with one in it is an error that names it.
const (
	File    Kind = iota + 1 // a regular file
	Symlink                 // a symbolic link, never followed
	Dir                     // a folder with nothing in it; others follow from their content
)

// Entry is one path of a Tree.
type Entry struct {
	// Path is relative, slash-separated and clean: no "." or ".." component,
	// no slash at either end. Any byte but NUL may stand in a component.
	Path string
	Kind Kind
	// Perm holds the permission bits (0o777) of a file or folder, 0o777 for
	// a symbolic link. Of these, only the owner's execute bit of a file is
	// evidence: see [Entry.Mode].
	Perm uint32
	// Size is the length of the content in bytes: a file's, or that of a
	// symbolic link's target. Zero for a folder.
	Size int64
	// Digest is the BLAKE3 digest of the content; for a symbolic link, of the
	// target's bytes. Zero for a folder.
	Digest digest.Digest
	// SHA256 is the same content's other name. Zero where nobody asked for it.
	SHA256 digest.Digest
	// Target is where a symbolic link points, verbatim.
	Target string
}

// Mode is the entry's mode as evidence has it: 0o755 for a folder and for a
// file that its owner may execute, 0o644 for every other file, 0o777 for a
// symbolic link. Umask and checkout habits differ between machines doing the
// same work; the execute bit does not (git records the same).
func (e Entry) Mode() uint32 {
	switch {
	case e.Kind == Symlink:
		return 0o777
	case e.Kind == Dir || e.Perm&0o100 != 0:
		return 0o755
	default:
		return 0o644
	}
}

// ErrInvalid is matched by every error of [New] and [Parse].
var ErrInvalid = errors.New("invalid tree")

// Tree is a set of entries ordered by path, bytewise.
type Tree struct {
	entries []Entry
}

// New makes a Tree of the entries, in whatever order they come; it keeps and
// sorts the slice. Two entries with one path, an entry below another that is
// no folder, and a path that is not clean are errors that match [ErrInvalid].
func New(entries []Entry) (Tree, error) {
	if !slices.IsSortedFunc(entries, byPath) {
		slices.SortFunc(entries, byPath)
	}
	// Of the entries so far, those whose paths the current one begins with. A
	// folder of the current one is among them, should it be an entry.
	var around []*Entry
	for i := range entries {
		e := &entries[i]
		if !cleanPath(e.Path) {
			return Tree{}, fmt.Errorf("%w: %q is not a clean relative path", ErrInvalid, e.Path)
		}
		if e.Kind < File || e.Kind > Dir {
			return Tree{}, fmt.Errorf("%w: %q has no kind", ErrInvalid, e.Path)
		}
		for n := len(around); n > 0 && !strings.HasPrefix(e.Path, around[n-1].Path); n = len(around) {
			around = around[:n-1]
		}
		for _, other := range around {
			if err := compatible(other, e); err != nil {
				return Tree{}, err
			}
		}
		around = append(around, e)
	}
	return Tree{entries}, nil
}

// compatible complains about two entries, one's path beginning with the
// other's, that cannot both be.
func compatible(other, e *Entry) error {
	switch rest := e.Path[len(other.Path):]; {
	case rest == "":
		return fmt.Errorf("%w: %q stands in it twice", ErrInvalid, e.Path)
	case rest[0] != '/':
		return nil
	case other.Kind == Dir:
		return fmt.Errorf("%w: %q is listed as an empty folder and holds %q", ErrInvalid, other.Path, e.Path)
	default:
		return fmt.Errorf("%w: %q is no folder and holds %q", ErrInvalid, other.Path, e.Path)
	}
}

// cleanPath reports whether p is relative and made of names alone: no "." or
// "..", nothing empty, no NUL.
func cleanPath(p string) bool {
	start := 0
	for i := 0; i <= len(p); i++ {
		if i < len(p) && p[i] != '/' {
			if p[i] == 0 {
				return false
			}
			continue
		}
		switch i - start {
		case 0:
			return false
		case 1:
			if p[start] == '.' {
				return false
			}
		case 2:
			if p[start] == '.' && p[start+1] == '.' {
				return false
			}
		}
		start = i + 1
	}
	return true
}

// Entries returns the entries ordered by path. The caller must not change them.
func (t Tree) Entries() []Entry { return t.entries }

// Len returns the number of entries.
func (t Tree) Len() int { return len(t.entries) }

// Find returns the entry at exactly this path.
func (t Tree) Find(p string) (Entry, bool) {
	i, ok := slices.BinarySearchFunc(t.entries, p, func(e Entry, p string) int { return strings.Compare(e.Path, p) })
	if !ok {
		return Entry{}, false
	}
	return t.entries[i], true
}

// Below returns the entries under the folder dir, with their paths relative to
// it. An empty dir is the whole tree. Where dir itself is an empty folder, or
// nothing stands below it, the result is empty.
func (t Tree) Below(dir string) Tree {
	if dir == "" || dir == "." {
		return t
	}
	dir = strings.TrimSuffix(dir, "/")
	from := func(p string) int {
		i, _ := slices.BinarySearchFunc(t.entries, p, func(e Entry, p string) int { return strings.Compare(e.Path, p) })
		return i
	}
	const next = string('/' + 1) // all that begins with "dir/" stands before this
	below := slices.Clone(t.entries[from(dir+"/"):from(dir+next)])
	for i := range below {
		below[i].Path = below[i].Path[len(dir)+1:]
	}
	return Tree{below}
}
