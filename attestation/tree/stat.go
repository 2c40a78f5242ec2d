// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"io/fs"
	"slices"
	"strings"
)

// Stat is what a file system says of a file without reading it: enough to tell
// one state of the file from another. The zero Stat says nothing; walks leave
// it so where the system does not tell.
type Stat struct {
	Dev, Inode uint64
	Size       int64  // bytes
	Mode       uint32 // as the system has it: type and all twelve bits
	// Mtime and Ctime are nanoseconds since 1970. Anybody may set the first;
	// the second is the system's, and every change of the file moves it.
	Mtime, Ctime int64
}

// IsZero reports whether s says nothing.
func (s Stat) IsZero() bool { return s == Stat{} }

// StatOf returns what info holds of the system's own answer.
func StatOf(info fs.FileInfo) Stat { return statOf(info) }

// Found is what a walk found: entries ordered by path, without digests, and at
// the same places what the file system said of them.
type Found struct {
	Entries []Entry
	Stats   []Stat
	// Folders are those that were listed, ordered by path, with what the file
	// system said of each before it was: a name that comes or goes changes it.
	Folders []Folder
}

// Folder is a folder that a walk has listed.
type Folder struct {
	Path string // as an Entry has it; empty for the walk's base
	Stat Stat
}

// Len returns the number of entries.
func (f Found) Len() int { return len(f.Entries) }

// At returns the place of the entry at exactly this path.
func (f Found) At(p string) (int, bool) {
	return slices.BinarySearchFunc(f.Entries, p, func(e Entry, p string) int { return strings.Compare(e.Path, p) })
}

func (f *Found) add(e Entry, s Stat) {
	f.Entries, f.Stats = append(f.Entries, e), append(f.Stats, s)
}

// Join returns what was found in several walks, ordered, every path once. It may
// put it in the memory of one of them: they are not to be used any more.
func Join(found ...Found) Found {
	found = slices.DeleteFunc(slices.Clone(found), func(f Found) bool { return f.Len() == 0 && len(f.Folders) == 0 })
	switch len(found) {
	case 0:
		return Found{}
	case 1:
		return found[0]
	}
	if all, ok := insert(found); ok {
		return all
	}
	var entries, folders int
	for _, f := range found {
		entries, folders = entries+len(f.Entries), folders+len(f.Folders)
	}
	all := Found{make([]Entry, 0, entries), make([]Stat, 0, entries), make([]Folder, 0, folders)}
	for _, f := range found {
		all.Entries, all.Stats = append(all.Entries, f.Entries...), append(all.Stats, f.Stats...)
		all.Folders = append(all.Folders, f.Folders...)
	}
	all.order()
	n := 0
	for i := range all.Entries {
		if n > 0 && all.Entries[n-1].Path == all.Entries[i].Path {
			continue
		}
		if n < i {
			all.Entries[n], all.Stats[n] = all.Entries[i], all.Stats[i]
		}
		n++
	}
	all.Entries, all.Stats = all.Entries[:n], all.Stats[:n]
	return all
}

// spare is how many entries a walk leaves room for, so that a few that were found
// by themselves join a hundred thousand without a copy of them.
const spare = 16

// insert joins one large walk, in its own memory, and some that found little.
func insert(found []Found) (all Found, ok bool) {
	large, few := 0, 0
	for i, f := range found {
		if f.Len() > found[large].Len() {
			large = i
		}
	}
	for i, f := range found {
		if i != large {
			few += f.Len()
		}
	}
	all = found[large]
	if few > cap(all.Entries)-len(all.Entries) || few > cap(all.Stats)-len(all.Stats) {
		return all, false
	}
	for i, f := range found {
		if i == large {
			continue
		}
		for k, e := range f.Entries {
			if at, there := all.At(e.Path); !there {
				all.Entries = slices.Insert(all.Entries, at, e)
				all.Stats = slices.Insert(all.Stats, at, f.Stats[k])
			}
		}
		all.Folders = append(all.Folders, f.Folders...)
	}
	all.orderFolders()
	return all, true
}

func byPath(a, b Entry) int { return strings.Compare(a.Path, b.Path) }

// orderFolders sorts the folders by path, each once.
func (f *Found) orderFolders() {
	if byName := func(a, b Folder) int { return strings.Compare(a.Path, b.Path) }; !slices.IsSortedFunc(f.Folders, byName) {
		slices.SortStableFunc(f.Folders, byName)
	}
	f.Folders = slices.CompactFunc(f.Folders, func(a, b Folder) bool { return a.Path == b.Path })
}

// order sorts by path, unless that is done. Entries with one path stay in
// their order.
func (f *Found) order() {
	f.orderFolders()
	if slices.IsSortedFunc(f.Entries, byPath) {
		return
	}
	order := make([]int, len(f.Entries))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return byPath(f.Entries[i], f.Entries[j]) })
	entries, stats := make([]Entry, len(order)), make([]Stat, len(order))
	for to, from := range order {
		entries[to], stats[to] = f.Entries[from], f.Stats[from]
	}
	f.Entries, f.Stats = entries, stats
}
