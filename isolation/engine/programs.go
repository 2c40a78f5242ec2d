// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process"
)

// The kernel tells which file was executed, and not by which name it was found. A
// program of that name which comes to be in an earlier folder of PATH would be
// executed in its place: so the names that lead to what was executed are kept with
// the result, and must still do so before it is used again.

// searches looks programs up by name, for the whole run: every name once, every
// folder once. The zero value is ready. Safe for concurrent use.
type searches struct {
	mu     sync.Mutex
	byPath map[string]*search
}

// in returns the search in the folders of one PATH.
func (s *searches) in(folders []string) *search {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.Join(folders, "\x00")
	if s.byPath[key] == nil {
		if s.byPath == nil {
			s.byPath = map[string]*search{}
		}
		n := &search{folders: folders, found: map[string]place{}}
		n.links = sync.OnceValue(n.readLinks)
		s.byPath[key] = n
	}
	return s.byPath[key]
}

// search is one PATH.
type search struct {
	folders []string
	links   func() map[fileID][]string // names of symbolic links, by the file that they lead to

	mu    sync.Mutex
	found map[string]place
}

// place is where a program was found; the zero value is nowhere.
type place struct {
	path string
	file fileID
}

// fileID tells files apart, whatever their names.
type fileID struct{ dev, inode uint64 }

func idOf(info fs.FileInfo) fileID {
	stat := tree.StatOf(info)
	return fileID{stat.Dev, stat.Inode}
}

// look returns where a name leads.
func (s *search) look(name string) place {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, known := s.found[name]
	if known {
		return p
	}
	for _, dir := range s.folders {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			p = place{path, idOf(info)}
			break
		}
	}
	s.found[name] = p
	return p
}

// readLinks reads the folders: cc may stand for x86_64-linux-gnu-gcc-12.
func (s *search) readLinks() map[fileID][]string {
	links := map[fileID][]string{}
	read := map[fileID]bool{} // /bin and /usr/bin are often one
	for _, dir := range s.folders {
		info, err := os.Stat(dir)
		if err != nil || read[idOf(info)] {
			continue // it need not be there
		}
		read[idOf(info)] = true
		folder, err := os.Open(dir)
		if err != nil {
			continue
		}
		entries, _ := folder.ReadDir(-1) // as many as can be read
		_ = folder.Close()
		for _, e := range entries {
			if e.Type()&fs.ModeSymlink == 0 {
				continue
			}
			if info, err := os.Stat(filepath.Join(dir, e.Name())); err == nil {
				links[idOf(info)] = append(links[idOf(info)], e.Name())
			}
		}
	}
	return links
}

// names returns the names that lead to the programs, each with the path under
// which that was executed.
func (s *search) names(programs []receipt.File) map[string]string {
	names := map[string]string{}
	for _, p := range programs {
		info, err := os.Stat(p.Path)
		if err != nil {
			continue
		}
		id := idOf(info)
		for _, name := range append(s.links()[id], filepath.Base(p.Path)) {
			if s.look(name).file == id {
				names[name] = p.Path
			}
		}
	}
	return names
}

// search returns the PATH of a process step; nil where files have no identity
// by which to tell what was found.
func (w *walk) search() *search {
	if runtime.GOOS == "windows" {
		return nil
	}
	return w.run.searches.in(process.SearchPath(w.run.Environ, w.env.effective()))
}

// prepareNames has the folders of PATH read while the command runs, for named.
func (w *walk) prepareNames() {
	if s := w.search(); s != nil && w.step.Isolation == pipeline.Process && w.facts.Cache == receipt.Miss {
		go s.links()
	}
}

// named returns the names under which the step's programs are found.
func (w *walk) named() map[string]string {
	s := w.search()
	if s == nil || len(w.facts.Programs) == 0 {
		return nil
	}
	return s.names(w.facts.Programs)
}

// elsewhere says which name leads to another program than the one that was
// executed, or to one where there was none; or nothing.
func (w *walk) elsewhere(made stepFacts) string {
	s := w.search()
	if s == nil || len(made.Named)+len(made.NoPrograms) == 0 {
		return ""
	}
	for _, name := range slices.Sorted(maps.Keys(made.Named)) {
		now := s.look(name)
		info, err := os.Stat(made.Named[name])
		if err == nil && now.path != "" && now.file != idOf(info) {
			return "another program is found: " + now.path + " in place of " + made.Named[name]
		}
	}
	if made.Strict { // it did not see every folder
		return ""
	}
	var appeared []string
	for _, name := range made.NoPrograms {
		if now := s.look(name); now.path != "" {
			appeared = append(appeared, now.path)
		}
	}
	if len(appeared) > 0 {
		return "there now, and looked for in vain before: " + some(appeared)
	}
	return ""
}

// librariesOf returns the libraries that the programs are linked with, for a result
// that may be kept.
func (w *walk) librariesOf(programs []executor.File) []executor.File {
	if w.facts.Cache != receipt.Miss {
		return nil
	}
	var paths, searched, preloaded []string
	for _, p := range programs {
		paths = append(paths, p.Path)
	}
	for _, v := range w.env.effective() {
		switch v.Name {
		case "LD_LIBRARY_PATH":
			searched = strings.FieldsFunc(v.Value, func(r rune) bool { return r == ':' || r == ';' })
		case "LD_PRELOAD":
			preloaded = strings.FieldsFunc(v.Value, func(r rune) bool { return r == ':' || r == ' ' })
		}
	}
	var libraries []executor.File
	for _, p := range w.plain(w.run.libraries.Of(paths, searched, preloaded)) {
		libraries = append(libraries, executor.File{Path: p})
	}
	return libraries
}
