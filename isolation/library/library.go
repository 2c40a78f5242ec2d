// SPDX-License-Identifier: Apache-2.0

// Package library says with which shared libraries a program is linked, without
// running it: what its file names, what these name in turn, and where the dynamic
// linker of the GNU C library would find them (ld.so(8)).
//
// Start with [Finder.Of]. It is for watching libraries for changes, not for loading
// them: where several files could be meant, it names all of them. What a program
// loads by itself while it runs (plugins, modules of interpreters) no file says.
package library

import (
	"debug/elf"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// cacheFile is where ldconfig(8) says which libraries the machine has.
const cacheFile = "/etc/ld.so.cache"

// Finder finds libraries. The zero value is ready; what it has read of the machine
// it does not read again. Safe for concurrent use.
type Finder struct {
	// Cache is a file in place of /etc/ld.so.cache; empty means that one.
	Cache string

	mu      sync.Mutex
	cached  map[string][]string // paths by name; nil before the cache was read
	objects map[string]*object  // by path; nil for what is no ELF file
}

// object is what an ELF file says of itself.
type object struct {
	class   elf.Class
	machine elf.Machine
	needed  []string
	// rpath comes before the environment's folders, runpath after them.
	rpath, runpath []string
}

// Of returns the libraries of the programs, and symbolic links that lead to them:
// absolute paths without a link among their folders, ordered. searched are the
// folders of the programs' LD_LIBRARY_PATH, and preloaded the names of LD_PRELOAD.
// What cannot be found or is no ELF file has none.
func (f *Finder) Of(programs, searched, preloaded []string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := map[string]bool{}
	seen := map[string]bool{}
	todo := slices.Clone(programs)
	for len(todo) > 0 {
		path := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[path] {
			continue
		}
		seen[path] = true
		o := f.read(path)
		if o == nil {
			continue
		}
		for _, name := range slices.Concat(o.needed, preloaded) {
			for _, found := range f.find(name, o, searched) {
				for _, p := range withTarget(found) {
					all[p] = true
				}
				todo = append(todo, found)
			}
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// find returns the files that the linker could take for a name that o needs.
func (f *Finder) find(name string, o *object, searched []string) []string {
	if strings.Contains(name, "/") {
		return f.fitting(o, name)
	}
	for _, dirs := range [][]string{o.rpath, searched, o.runpath} {
		for _, dir := range dirs {
			if found := f.fitting(o, filepath.Join(dir, name)); len(found) > 0 {
				return found
			}
		}
	}
	if found := f.fitting(o, f.inCache(name)...); len(found) > 0 {
		return found
	}
	for _, dir := range []string{"/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"} {
		if found := f.fitting(o, filepath.Join(dir, name)); len(found) > 0 {
			return found
		}
	}
	return nil
}

// fitting returns those of the paths that are files for the machine of o.
func (f *Finder) fitting(o *object, paths ...string) []string {
	var fit []string
	for _, path := range paths {
		if lib := f.read(path); filepath.IsAbs(path) && lib != nil && lib.class == o.class && lib.machine == o.machine {
			fit = append(fit, path)
		}
	}
	return fit
}

// read returns what the file says; nil where it is no ELF file.
func (f *Finder) read(path string) *object {
	o, known := f.objects[path]
	if known {
		return o
	}
	if f.objects == nil {
		f.objects = map[string]*object{}
	}
	o, _ = readObject(path) // whatever is wrong with it, it names no libraries
	f.objects[path] = o
	return o
}

var errNoFile = errors.New("no regular file")

func readObject(path string) (*object, error) {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() { // to open a FIFO would wait
		return nil, errors.Join(errNoFile, err)
	}
	file, err := elf.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	o := &object{class: file.Class, machine: file.Machine}
	if o.needed, err = file.ImportedLibraries(); err != nil || len(o.needed) == 0 {
		return o, nil //nolint:nilerr // it is linked with nothing
	}
	origin := filepath.Dir(path)
	if real, err := filepath.EvalSymlinks(path); err == nil {
		origin = filepath.Dir(real)
	}
	o.runpath = folders(file, elf.DT_RUNPATH, origin)
	if len(o.runpath) == 0 {
		o.rpath = folders(file, elf.DT_RPATH, origin)
	}
	return o, nil
}

// folders reads a list of them from the file. Those that hang on more than where
// it lies are left out.
func folders(file *elf.File, tag elf.DynTag, origin string) []string {
	lists, err := file.DynString(tag)
	if err != nil {
		return nil
	}
	var dirs []string
	for _, list := range lists {
		for dir := range strings.SplitSeq(list, ":") {
			dir = strings.NewReplacer("${ORIGIN}", origin, "$ORIGIN", origin).Replace(dir)
			if filepath.IsAbs(dir) && !strings.Contains(dir, "$") {
				dirs = append(dirs, filepath.Clean(dir))
			}
		}
	}
	return dirs
}

// withTarget returns a file's path without links among its folders, and what it
// leads to where it is a link itself.
func withTarget(path string) []string {
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return nil
	}
	path = filepath.Join(dir, filepath.Base(path))
	info, err := os.Lstat(path)
	if err != nil {
		return nil
	}
	if info.Mode().Type() != fs.ModeSymlink {
		return []string{path}
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil
	}
	return []string{path, target}
}
