// SPDX-License-Identifier: Apache-2.0

package declare

import (
	"path"
	"slices"
	"strings"
)

// What is enough for one entry to stand for many files.
const (
	// A folder, or all files of a kind in it, is named as a whole where at least
	// three in four of its files were used.
	mostUsed, mostTotal = 3, 4
	// A kind is worth a pattern from so many files on, and one through all folders
	// below from so many folders on.
	manyFiles, manyFolders = 3, 5
	// A folder that would take more entries than this is named as a whole.
	maxEntries = 12
)

func most(used, total int) bool { return used*mostTotal >= total*mostUsed }

// Fold returns patterns, in the syntax of attest.yaml, that cover the files used,
// where all are the files that there are: few patterns rather than the fewest
// files. A folder of which most was used is named as a whole, and so is one that
// would take many entries; files of one kind in one folder, or in many, become a
// pattern. Paths are clean and relative to the project.
func Fold(used, all []string) []string {
	n := &folder{}
	is := map[string]bool{}
	for _, p := range used {
		is[p] = true
	}
	for _, p := range slices.Concat(all, used) {
		n.add(p, p, is[p])
	}
	return n.fold()
}

// folder is one of the project's.
type folder struct {
	path    string // empty for the project's own
	files   []*file
	folders []*folder
	known   map[string]bool
	below   map[string]*folder
}

type file struct {
	path    string
	used    bool
	covered bool // by a pattern of a folder above
}

func (d *folder) add(full, rest string, used bool) {
	name, more, deeper := strings.Cut(rest, "/")
	if !deeper {
		if d.known[name] {
			return
		}
		if d.known == nil {
			d.known = map[string]bool{}
		}
		d.known[name] = true
		d.files = append(d.files, &file{path: full, used: used})
		return
	}
	next := d.below[name]
	if next == nil {
		next = &folder{path: strings.TrimPrefix(d.path+"/"+name, "/")}
		if d.below == nil {
			d.below = map[string]*folder{}
		}
		d.below[name] = next
		d.folders = append(d.folders, next)
	}
	next.add(full, more, used)
}

// each calls f for every file in the folder and below.
func (d *folder) each(f func(*file)) {
	for _, x := range d.files {
		f(x)
	}
	for _, sub := range d.folders {
		sub.each(f)
	}
}

// fold returns the patterns for what is used in the folder and not yet covered.
func (d *folder) fold() []string {
	var used, total, left int
	d.each(func(f *file) {
		total++
		if f.used {
			used++
			if !f.covered {
				left++
			}
		}
	})
	if left == 0 {
		return nil
	}
	const several = 2
	whole := []string{Literal(d.path) + "/"}
	if d.path != "" && total >= several && most(used, total) {
		return whole
	}
	entries := d.kinds(manyFolders)
	slices.SortFunc(d.folders, func(a, b *folder) int { return strings.Compare(a.path, b.path) })
	for _, sub := range d.folders {
		entries = append(entries, sub.fold()...)
	}
	here := &folder{path: d.path, files: d.files}
	entries = append(entries, here.kinds(1)...)
	slices.SortFunc(d.files, func(a, b *file) int { return strings.Compare(a.path, b.path) })
	for _, f := range d.files {
		if f.used && !f.covered {
			entries = append(entries, Literal(f.path))
		}
	}
	if d.path != "" && len(entries) > maxEntries {
		return whole
	}
	return entries
}

// kind counts files whose names end in the same way.
type kind struct {
	used, total int
	folders     map[string]bool // of the used ones
}

// kinds returns patterns for the kinds of files of which most were used, in at
// least so many folders, and marks these as covered.
func (d *folder) kinds(folders int) []string {
	all := map[string]*kind{}
	d.each(func(f *file) {
		if f.covered {
			return
		}
		end := ending(f.path)
		k := all[end]
		if k == nil {
			k = &kind{folders: map[string]bool{}}
			all[end] = k
		}
		k.total++
		if f.used {
			k.used++
			k.folders[path.Dir(f.path)] = true
		}
	})
	var ends []string
	for end, k := range all {
		if end != "" && k.used >= manyFiles && most(k.used, k.total) && len(k.folders) >= folders {
			ends = append(ends, end)
		}
	}
	slices.Sort(ends)
	prefix := ""
	if d.path != "" {
		prefix = Literal(d.path) + "/"
	}
	if len(d.folders) > 0 {
		prefix += "**/"
	}
	var entries, without []string
	for _, end := range ends {
		entries = append(entries, prefix+"*"+Literal(end))
	}
	for other, k := range all {
		covered := slices.ContainsFunc(ends, func(end string) bool { return strings.HasSuffix(other, end) })
		if covered && !slices.Contains(ends, other) && k.used == 0 {
			without = append(without, "!"+prefix+"*"+Literal(other))
		}
	}
	slices.Sort(without)
	d.each(func(f *file) {
		end := ending(f.path)
		f.covered = f.covered || slices.ContainsFunc(ends, func(e string) bool { return strings.HasSuffix(end, e) }) && (f.used || slices.Contains(ends, end))
	})
	return append(entries, without...) // the last one that covers a file counts
}

// ending is what tells the kind of a file: its extension, and what marks tests of
// that kind; empty where there is none.
func ending(p string) string {
	name := path.Base(p)
	ext := path.Ext(name)
	if ext == name || ext == "" || ext == "." {
		return ""
	}
	stem := strings.TrimSuffix(name, ext)
	for _, mark := range []string{"_test", ".test", ".spec"} {
		if strings.HasSuffix(stem, mark) && stem != mark {
			return mark + ext
		}
	}
	return ext
}

// Literal returns the pattern that matches the path and nothing else.
func Literal(p string) string {
	var b strings.Builder
	for _, r := range p {
		if strings.ContainsRune("*?[]{}", r) {
			b.WriteString("[" + string(r) + "]")
		} else {
			b.WriteRune(r)
		}
	}
	if strings.HasPrefix(p, "!") {
		return "./" + b.String()
	}
	return b.String()
}
