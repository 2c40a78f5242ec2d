// SPDX-License-Identifier: Apache-2.0

package process

import (
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/glob"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// tell notes in the outcome what the step looked for, together with what t saw
// of it, which may be nothing.
func (l *lookups) tell(at *overlay, t *trace, out *executor.Outcome) error {
	seen := &executor.Seen{}
	opened := map[string]bool{}
	for name, use := range l.found {
		p, inside := at.inProject(name)
		switch {
		case !inside:
		case use&useListed != 0 && at.stood(p):
			seen.Listed = append(seen.Listed, p)
		case use&(useOpened|useExecuted) != 0:
			opened[p] = true
		case use&useListed == 0:
			seen.Looked = append(seen.Looked, p)
		}
	}
	// t takes files that were only written for read ones.
	if t != nil && len(l.unseen) > 0 {
		for name := range t.opened {
			if p, inside := at.inProject(name); inside {
				opened[p] = true
			}
		}
	}
	for p := range opened {
		if at.stood(p) {
			seen.Opened = append(seen.Opened, p)
		}
	}
	slices.Sort(seen.Opened)
	seen.Looked = slices.DeleteFunc(seen.Looked, func(p string) bool { return opened[p] || !at.stood(p) })
	slices.Sort(seen.Looked)
	slices.Sort(seen.Listed)
	for why := range l.unseen {
		seen.Unseen = append(seen.Unseen, why)
	}
	slices.Sort(seen.Unseen)
	out.Seen = seen

	for _, e := range at.job.Inputs.Entries() {
		if e.Kind == tree.File && !opened[e.Path] {
			out.Unread = append(out.Unread, e.Path)
		}
	}
	out.MissingPrograms = l.missingPrograms()
	var err error
	out.Missing, err = l.missing(at)
	return err
}

// tellReads notes what was read and executed that nobody declared, for where t
// cannot tell: as the step named it, which is a hint and no proof.
func (l *lookups) tellReads(at *overlay, out *executor.Outcome) {
	for name, use := range l.found {
		p, inside := at.inProject(name)
		switch {
		case use&(useOpened|useExecuted) == 0 || unix.Access(name, unix.R_OK) != nil:
		case inside && at.undeclared(p):
			out.Read = append(out.Read, executor.File{Path: p})
		case !inside && use&useExecuted != 0 && !ofStep(name):
			out.Programs = append(out.Programs, executor.File{Path: name})
		}
	}
	slices.SortFunc(out.Read, byPath)
	slices.SortFunc(out.Programs, byPath)
}

// tellLinks notes which symbolic links were followed that nobody declared: where
// they lead decides what is read.
func (l *lookups) tellLinks(at *overlay, out *executor.Outcome) {
	for name, use := range l.found {
		p, inside := at.inProject(name)
		if _, declared := at.job.Inputs.Find(p); use&useLink == 0 || !inside || declared || !at.saw(p) {
			continue
		}
		if info, err := at.root.Lstat(filepath.FromSlash(p)); err == nil && info.Mode().Type() == fs.ModeSymlink {
			out.Read = append(out.Read, executor.File{Path: p})
		}
	}
	slices.SortFunc(out.Read, byPath)
}

// ofStep reports whether a path is in a folder that every step has of its own.
func ofStep(p string) bool {
	return slices.ContainsFunc([]string{"/tmp", "/var/tmp"}, func(dir string) bool { _, ok := below(p, dir); return ok })
}

// missing returns the paths of the project that were looked for and that were
// not there, ordered: not those that the step made itself, or may have made, and
// not those that it removed.
func (l *lookups) missing(at *overlay) ([]string, error) {
	var outputs []glob.Glob
	for _, pattern := range at.job.Outputs {
		if pattern.Exclude {
			continue
		}
		globs, err := pattern.Globs()
		if err != nil {
			return nil, fmt.Errorf("matching outputs: %w", err)
		}
		outputs = append(outputs, globs...)
	}
	var all []string
	for name := range l.absent {
		p, inside := at.inProject(name)
		if !inside || l.makes(name) || slices.ContainsFunc(outputs, func(g glob.Glob) bool { return g.Covers(p) }) {
			continue
		}
		if _, err := at.root.Lstat(filepath.FromSlash(p)); err == nil && at.saw(p) {
			continue
		}
		all = append(all, p)
	}
	slices.Sort(all)
	return all, nil
}

// makes reports whether the step made what has this name, or something above it.
func (l *lookups) makes(name string) bool {
	for ; name != l.project && name != "/"; name = path.Dir(name) {
		if l.made[name] {
			return true
		}
	}
	return false
}

// missingPrograms returns the names that were looked for in every folder of PATH
// that is there, and were in none, ordered.
func (l *lookups) missingPrograms() []string {
	var all []string
	dirs := slices.DeleteFunc(slices.Clone(l.search), func(dir string) bool { return unix.Access(dir, unix.X_OK) != nil })
	for name, where := range l.sought {
		nowhere := func(dir string) bool { there, looked := where[dir]; return looked && !there }
		if len(dirs) > 0 && !slices.ContainsFunc(dirs, func(dir string) bool { return !nowhere(dir) }) {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// inProject returns the path of the project that a path of the step stands for:
// nothing for what is git's or ours.
func (o *overlay) inProject(name string) (string, bool) {
	rest, inside := below(name, o.job.Root)
	p := strings.TrimPrefix(rest, "/")
	first, _, _ := strings.Cut(p, "/")
	return p, inside && p != "" && first != ".git" && first != ".attest"
}

// stood reports whether the project has p, and the step saw it.
func (o *overlay) stood(p string) bool {
	_, err := o.root.Lstat(filepath.FromSlash(p))
	return err == nil && o.saw(p)
}

func byPath(a, b executor.File) int { return strings.Compare(a.Path, b.Path) }
