// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// homeCache is a folder below the home of a user in which a tool keeps what it
// fetched or made, to find it again in the next build.
type homeCache struct {
	path string
	// tool makes the folder. Where it is not installed, the folder is not made
	// for it; empty means that it always is.
	tool string
}

// homeCaches are the folders of a home that stay open to writing. There is
// nothing in them but what a tool can make again: no settings, no programs, no
// credentials.
func homeCaches() []homeCache {
	return []homeCache{
		{".cache", ""},
		{".bun/install/cache", "bun"},
		{".cabal/packages", "cabal"},
		{".cargo/git", "cargo"},
		{".cargo/registry", "cargo"},
		{".ccache", "ccache"},
		{".gradle/caches", "java"},
		{".gradle/wrapper", "java"},
		{".hex/packages", "mix"},
		{".ivy2/cache", "sbt"},
		{".local/share/pnpm/store", "pnpm"},
		{".m2/repository", "java"},
		{".npm", "npm"},
		{".nuget/packages", "dotnet"},
		{".pub-cache/hosted", "dart"},
		{".yarn/berry", "yarn"},
		{"go/pkg", "go"},
	}
}

// openCaches returns the caches below home that are there, and makes those whose
// tools are, so that what one step fetched is there for the next. made are the
// folders that were not there before, each before what is in it.
func openCaches(home, path string) (there, made []string) {
	for _, c := range homeCaches() {
		dir := filepath.Join(home, filepath.FromSlash(c.path))
		if info, err := os.Stat(dir); err == nil {
			if info.IsDir() {
				there = append(there, dir)
			}
			continue
		}
		if c.tool != "" && !installed(c.tool, path) {
			continue
		}
		if ok, above := makeBelow(home, c.path); ok {
			there, made = append(there, dir), append(made, above...)
		}
	}
	return there, made
}

// homes remembers, for the home that steps have, which of its caches are open.
type homes struct {
	mu    sync.Mutex
	known map[string][]string // by home and PATH
	made  []string
}

// home returns the home that a step with this environment has, empty where
// there is none that could be made private, and the caches in it.
func (e *Executor) home(env []string) (home string, caches []string) {
	var path string
	for _, v := range env {
		if value, ok := strings.CutPrefix(v, "HOME="); ok {
			home = value
		} else if value, ok := strings.CutPrefix(v, "PATH="); ok {
			path = value
		}
	}
	if !filepath.IsAbs(home) || filepath.Clean(home) == "/" {
		return "", nil
	}
	home = filepath.Clean(home)
	e.homes.mu.Lock()
	defer e.homes.mu.Unlock()
	key := home + "\x00" + path
	caches, ok := e.homes.known[key]
	if ok {
		return home, caches
	}
	if info, err := os.Stat(home); err == nil && info.IsDir() {
		var made []string
		caches, made = openCaches(home, path)
		e.homes.made = append(e.homes.made, made...)
	}
	if e.homes.known == nil {
		e.homes.known = map[string][]string{}
	}
	e.homes.known[key] = caches
	return home, caches
}

// removeUnused removes folders that were made and that nobody has used.
func (h *homes) removeUnused() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, dir := range slices.Backward(h.made) {
		_ = os.Remove(dir) // which does not remove a folder with something in it
	}
	h.made = nil
}

// makeBelow makes the folder at p below home, as private as tools make theirs.
func makeBelow(home, p string) (ok bool, made []string) {
	at := home
	for name := range strings.SplitSeq(p, "/") {
		at = filepath.Join(at, name)
		if err := os.Mkdir(at, privateDir); err == nil {
			made = append(made, at)
		}
	}
	info, err := os.Lstat(at)
	return err == nil && info.IsDir(), made
}

// installed reports whether a program is found by a PATH.
func installed(tool, path string) bool {
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		if found, err := exec.LookPath(filepath.Join(dir, tool)); err == nil && found != "" {
			return true
		}
	}
	return false
}
