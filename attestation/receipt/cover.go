// SPDX-License-Identifier: Apache-2.0

package receipt

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// Cover returns a step's inputs as a receipt names them: the fewest entries that
// say exactly which files of the project are selected, ordered by path. A folder
// stands for all that is below it, and only where all that is below it on disk is
// selected; the project itself never does. So whoever has the files can compute
// each entry again without knowing patterns or ignore files. The listing of a
// folder entry p is selected.Below(p.Path).Listing().
//
// list returns the names that stand directly in a folder of the project; an
// error that matches [fs.ErrNotExist] means that none do any more.
// A selected folder that is selected as empty and is not empty on disk has no
// entry. A path that needs one and is not valid UTF-8 is an error.
//
// Call it when the run ends, not when the step does: what other steps left
// beside the step's files decides which folders can stand for them.
func Cover(selected tree.Tree, list func(dir string) ([]string, error)) ([]Path, error) {
	return coverer{selected, list, false}.project()
}

// CoverOutputs is [Cover] for a step's outputs, whose entries must have both
// digests. So have the paths.
func CoverOutputs(selected tree.Tree, list func(dir string) ([]string, error)) ([]Path, error) {
	return coverer{selected, list, true}.project()
}

type coverer struct {
	selected tree.Tree
	list     func(dir string) ([]string, error)
	both     bool // both digests
}

func (c coverer) project() ([]Path, error) {
	paths, _, err := c.folder("", c.selected.Entries())
	if err != nil {
		return nil, err
	}
	// The tree is ordered without the slash that a folder's path ends with.
	slices.SortFunc(paths, func(a, b Path) int { return strings.Compare(a.Path, b.Path) })
	return paths, nil
}

// child is what stands directly in a folder: one entry, or a folder with more.
type child struct {
	path    string // ends with a slash for a folder
	entries []tree.Entry
	whole   bool   // path can stand for all that is on disk
	paths   []Path // otherwise, what stands for the entries
}

// folder returns what stands for the entries, all below dir, which is empty or
// ends with a slash. Where dir itself can, whole is true and there are no paths.
func (c coverer) folder(dir string, entries []tree.Entry) (paths []Path, whole bool, err error) {
	names, err := c.names(dir)
	if err != nil {
		return nil, false, err
	}
	children := split(dir, entries)
	whole = dir != ""
	for i := range children {
		ch := &children[i]
		if err := c.look(ch); err != nil {
			return nil, false, err
		}
		whole = whole && ch.whole
	}
	if whole && among(names, dir, children) {
		return nil, true, nil
	}
	for _, ch := range children {
		if !ch.whole {
			paths = append(paths, ch.paths...)
			continue
		}
		p, err := c.path(ch)
		if err != nil {
			return nil, false, err
		}
		paths = append(paths, p)
	}
	return paths, false, nil
}

// look finds out whether the child's path can stand for it.
func (c coverer) look(ch *child) (err error) {
	switch {
	case !strings.HasSuffix(ch.path, "/"):
		ch.whole = true
	case ch.entries[0].Kind == tree.Dir && len(ch.entries[0].Path) < len(ch.path):
		var names []string
		names, err = c.names(ch.path)
		ch.whole = len(names) == 0
	default:
		ch.paths, ch.whole, err = c.folder(ch.path, ch.entries)
	}
	return err
}

// names returns what is in the folder on disk, ordered; of the project itself,
// nothing, since it never stands for its content.
func (c coverer) names(dir string) ([]string, error) {
	if dir == "" {
		return nil, nil
	}
	names, err := c.list(strings.TrimSuffix(dir, "/"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listing %q: %w", dir, err)
	}
	if !slices.IsSorted(names) {
		names = slices.Sorted(slices.Values(names))
	}
	return names, nil
}

// among reports whether all names, ordered, are those of children of dir.
func among(names []string, dir string, children []child) bool {
	selected := make([]string, len(children))
	for i := range children {
		selected[i] = strings.TrimSuffix(children[i].path[len(dir):], "/")
	}
	if !slices.IsSorted(selected) {
		slices.Sort(selected) // a slash is not the least of characters
	}
	for _, name := range names {
		for len(selected) > 0 && selected[0] < name {
			selected = selected[1:]
		}
		if len(selected) == 0 || selected[0] != name {
			return false
		}
	}
	return true
}

// split groups the entries by the name that they have directly below dir.
func split(dir string, entries []tree.Entry) []child {
	var children []child
	for len(entries) > 0 {
		e, n := entries[0], 1
		path := e.Path
		if name, _, deeper := strings.Cut(e.Path[len(dir):], "/"); deeper {
			path = dir + name + "/"
			for n < len(entries) && strings.HasPrefix(entries[n].Path, path) {
				n++
			}
		} else if e.Kind == tree.Dir {
			path += "/"
		}
		children = append(children, child{path: path, entries: entries[:n]})
		entries = entries[n:]
	}
	return children
}

// path describes a child that stands for itself.
func (c coverer) path(ch child) (Path, error) {
	if !utf8.ValidString(ch.path) {
		return Path{}, fmt.Errorf("%q: a receipt cannot hold this name, which is not valid UTF-8", ch.path)
	}
	if strings.HasSuffix(ch.path, "/") {
		below := c.selected.Below(ch.path)
		p := Path{Path: ch.path, Hash: below.Digest()}
		if c.both {
			p.SHA256 = digest.OfSHA256(below.Listing())
		}
		return p, nil
	}
	e := ch.entries[0]
	p := Path{Path: ch.path, Mode: ModeOf(e), Hash: e.Digest}
	if c.both {
		p.SHA256 = e.SHA256
	}
	return p, nil
}

// ModeOf returns the mode that a receipt gives the entry, empty for a folder.
func ModeOf(e tree.Entry) string {
	switch {
	case e.Kind == tree.Dir:
		return ""
	case e.Kind == tree.Symlink:
		return ModeSymlink
	case e.Mode() == 0o755:
		return ModeExecutable
	default:
		return ModeFile
	}
}
