// SPDX-License-Identifier: Apache-2.0

package gitstate

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/attest-pipeline/attest/attestation/tree"
)

// quick finds out without git status that nothing has changed: git says that
// nothing is staged and nothing untracked, which takes no look at tracked files,
// and the index says what those looked like when they were as committed. It
// claims no more than that: where anything is different, or cannot be told, git
// status is asked.
type quick struct {
	top    string
	prefix string // of the project's paths in the index: empty, or with a slash at its end
	index  string
	before tree.Stat // of the index, before git was asked
	commit string
	clean  bool // but for tracked files
}

// tick is how long after a change of a file another one may have the same time.
const tick = int64(20 * time.Millisecond)

// maxIndex bounds the index that is read into memory.
const maxIndex = 1 << 29

// startQuick asks git what the index does not tell. It returns nil where git
// status is to be asked at once.
func (q *Query) startQuick(ctx context.Context) *quick {
	dotGit, err := os.Lstat(filepath.Join(q.top, ".git"))
	if err != nil || !dotGit.IsDir() { // a worktree's, or a submodule's
		return nil
	}
	r := &quick{top: q.top, index: filepath.Join(q.top, ".git", "index")}
	info, err := os.Lstat(r.index)
	if err != nil || !info.Mode().IsRegular() || info.Size() < q.options.Large || info.Size() > maxIndex {
		return nil
	}
	r.before = tree.StatOf(info)
	below, err := filepath.Rel(q.top, q.options.Dir)
	if err != nil {
		return nil
	}
	if below != "." {
		r.prefix = filepath.ToSlash(below) + "/"
	}
	r.clean, err = q.askQuick(ctx, r)
	if err != nil {
		return nil
	}
	return r
}

// askQuick asks git for the commit, and whether anything is staged or untracked.
func (q *Query) askQuick(ctx context.Context, r *quick) (clean bool, err error) {
	var group errgroup.Group
	var staged, untracked []byte
	group.Go(func() error {
		out, err := q.run(ctx, q.top, "rev-parse", "--show-toplevel", "HEAD")
		if err != nil {
			return err
		}
		// The files may be elsewhere: core.worktree.
		top, rest, _ := strings.Cut(string(out), "\n")
		r.commit = strings.TrimSpace(rest)
		there, err := os.Stat(top)
		here, hereErr := os.Stat(q.top)
		if err := errors.Join(err, hereErr); err != nil {
			return err
		}
		if !os.SameFile(here, there) {
			return errUnsure
		}
		staged, err = q.run(ctx, q.top, "diff-index", "--cached", "--raw", "-z", "HEAD", "--")
		return err
	})
	group.Go(func() (err error) {
		untracked, err = q.run(ctx, q.top, "ls-files", "--others", "--exclude-standard", "--directory", "--no-empty-directory", "-z")
		return err
	})
	if err := group.Wait(); err != nil {
		return false, err
	}
	return len(bytes.TrimSpace(staged)) == 0 && len(untracked) == 0, nil
}

// answer returns the state where it is sure, else nil.
func (r *quick) answer(ctx context.Context, seen []tree.Found) *State {
	if !r.clean {
		return &State{Commit: r.commit, Dirty: true}
	}
	info, err := os.Lstat(r.index)
	if err != nil || tree.StatOf(info) != r.before {
		return nil
	}
	data, err := os.ReadFile(r.index)
	if err != nil {
		return nil
	}
	if !r.unchanged(ctx, data, seen) {
		return nil
	}
	return &State{Commit: r.commit}
}

// unchanged reports whether every tracked file is what it was when git last
// looked at it.
func (r *quick) unchanged(ctx context.Context, data []byte, seen []tree.Found) bool {
	settled := momentOf(r.before.Mtime - tick)
	known, prefix := newMerge(seen), []byte(r.prefix)
	folders := map[string]bool{".": true}
	same := true
	n := 0
	err := readIndex(data, len(r.commit)/2, func(e entry) bool {
		if n++; n%4096 == 0 && ctx.Err() != nil {
			same = false
			return false
		}
		// What was written just before the index was, may have been written
		// again without looking different: git itself reads such files ("racy").
		if !e.mtime.before(settled) {
			same = false
			return false
		}
		var stat tree.Stat
		if below, in := bytes.CutPrefix(e.path, prefix); in {
			stat = known.find(below)
		}
		if stat.IsZero() {
			stat = r.look(string(e.path), folders)
		}
		same = e.matches(stat)
		return same
	})
	return err == nil && same
}

// look asks the file system for what no walk has seen. The folders above must
// be folders: what a link leads to is not what git tracks. What is not there has
// the zero Stat.
func (r *quick) look(p string, folders map[string]bool) tree.Stat {
	for dir := path.Dir(p); !folders[dir]; dir = path.Dir(dir) {
		info, err := os.Lstat(filepath.Join(r.top, filepath.FromSlash(dir)))
		if err != nil || !info.IsDir() {
			return tree.Stat{}
		}
		folders[dir] = true
	}
	info, err := os.Lstat(filepath.Join(r.top, filepath.FromSlash(p)))
	if err != nil {
		return tree.Stat{}
	}
	return tree.StatOf(info)
}

// matches reports whether a file is the one that the index describes.
func (e entry) matches(s tree.Stat) bool {
	const typeBits, link, regular = 0o170000, 0o120000, 0o100000
	kind := s.Mode & typeBits
	switch {
	case s.IsZero(), momentOf(s.Mtime) != e.mtime, momentOf(s.Ctime) != e.ctime,
		uint32(s.Inode) != e.inode, uint32(s.Size) != e.size:
		return false
	case e.mode == modeSymlink:
		return kind == link
	}
	return kind == regular && (s.Mode&0o100 != 0) == (e.mode == modeExecutable)
}

func momentOf(nanoseconds int64) moment {
	const second = 1_000_000_000
	return moment{uint32(nanoseconds / second), uint32(nanoseconds % second)}
}

// merge finds, among what several walks saw, paths that are asked for in order.
type merge struct {
	found []tree.Found
	at    []int
}

// mostWalks bounds how many walks are searched: where each step saw everything,
// one knows as much as all.
const mostWalks = 32

func newMerge(found []tree.Found) *merge {
	found = found[:min(len(found), mostWalks)]
	return &merge{found, make([]int, len(found))}
}

// find returns what a walk saw at p, the zero Stat where none looked.
func (m *merge) find(p []byte) tree.Stat {
	for i, f := range m.found {
		for m.at[i] < len(f.Entries) && f.Entries[m.at[i]].Path < string(p) {
			m.at[i]++
		}
		if k := m.at[i]; k < len(f.Entries) && f.Entries[k].Path == string(p) {
			return f.Stats[k]
		}
	}
	return tree.Stat{}
}
