// SPDX-License-Identifier: Apache-2.0

package gitstate

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/isolation/statcache"
)

// errUnsure says that an answer may not be remembered, because what it hangs on
// cannot be told.
var errUnsure = errors.New("only git can tell")

// recall returns what is remembered, nil where that is nothing, or where a first
// look shows that it no longer holds: git can then be asked while the files are
// looked at for other reasons.
func (q *Query) recall() *memory {
	if q.options.Memory == "" {
		return nil
	}
	identity, err := q.identify()
	if err != nil {
		q.options.Memory = ""
		return nil
	}
	q.identity = identity
	data, err := statcache.ReadOwn(q.options.Memory)
	if err != nil {
		return nil
	}
	m, err := parse(data)
	if err != nil || m.identity != q.identity || !m.outside.holds(context.Background(), "", "", nil) {
		return nil
	}
	return m
}

// identify returns all that the question consists of besides files.
func (q *Query) identify() (string, error) {
	if dotGit, err := os.Lstat(filepath.Join(q.top, ".git")); err != nil || !dotGit.IsDir() {
		return "", errUnsure // a worktree's, or a submodule's
	}
	real, err := filepath.EvalSymlinks(q.top) // conditions in settings are about it
	if err != nil {
		return "", err
	}
	home, xdg := q.variable("HOME"), q.variable("XDG_CONFIG_HOME")
	if !filepath.IsAbs(home) || xdg != "" && !filepath.IsAbs(xdg) {
		return "", errUnsure
	}
	return strings.Join([]string{q.top, real, q.git, home, xdg, strconv.Itoa(os.Geteuid())}, "\x00"), nil
}

// holds reports whether everything looks as it did.
func (m *memory) holds(ctx context.Context, dir string, seen []tree.Found) bool {
	top, _, _ := strings.Cut(m.identity, "\x00")
	prefix, err := below(top, dir)
	return err == nil &&
		m.outside.holds(ctx, "", "", nil) &&
		m.folders.holds(ctx, top, prefix, nil) &&
		m.files.holds(ctx, top, prefix, newMerge(seen))
}

// below returns what the paths of a project in dir begin with in the repository:
// nothing, or a folder with a slash at its end.
func below(top, dir string) (string, error) {
	rel, err := filepath.Rel(top, dir)
	if err != nil || rel == "." {
		return "", err
	}
	return filepath.ToSlash(rel) + "/", nil
}

// holds reports whether everything in the table looks as it did. top is the
// folder that paths are relative to, empty for a table of files elsewhere; known
// is what was seen of files whose paths begin with prefix.
func (t *table) holds(ctx context.Context, top, prefix string, known *merge) bool {
	for i := range t.len() {
		if i%4096 == 4095 && ctx.Err() != nil {
			return false
		}
		p, want := t.path(i), t.stat(i)
		if rest, in := strings.CutPrefix(p, prefix); in && known != nil {
			if s := known.find(rest); !s.IsZero() {
				if s != want {
					return false
				}
				continue
			}
		}
		var s tree.Stat
		var err error
		if top == "" {
			s, err = look(os.Stat, p)
		} else {
			s, err = look(os.Lstat, top+"/"+p)
		}
		if err != nil || s != want {
			return false
		}
	}
	return true
}

// look asks the file system: the zero Stat is what is not there.
func look(stat func(string) (fs.FileInfo, error), p string) (tree.Stat, error) {
	info, err := stat(p)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return tree.Stat{}, nil
	}
	if err != nil {
		return tree.Stat{}, err
	}
	s := tree.StatOf(info)
	if s.IsZero() {
		return s, errUnsure // this system does not tell
	}
	return s, nil
}

// merge finds, among what several walks saw, paths that are asked for in order.
type merge struct {
	found []tree.Found
	at    []int
	last  int // the walk that knew the path before
}

func newMerge(found []tree.Found) *merge {
	return &merge{found: found, at: make([]int, len(found))}
}

// find returns what a walk saw at p, the zero Stat where none looked.
func (m *merge) find(p string) tree.Stat {
	for k := range m.found {
		// Neighbours are mostly known from the same walk.
		i := (m.last + k) % len(m.found)
		entries := m.found[i].Entries
		for m.at[i] < len(entries) && entries[m.at[i]].Path < p {
			m.at[i]++
		}
		if at := m.at[i]; at < len(entries) && entries[at].Path == p && !m.found[i].Stats[at].IsZero() {
			m.last = i
			return m.found[i].Stats[at]
		}
	}
	return tree.Stat{}
}

// What is of no use for so long is forgotten.
const forget = 30 * 24 * time.Hour

// sweep removes what was remembered of projects that are gone.
func (q *Query) sweep() {
	dir, name := filepath.Split(q.options.Memory)
	kind := filepath.Ext(name)
	items, err := os.ReadDir(dir)
	if err != nil || kind == "" {
		return
	}
	for _, item := range items {
		if item.Name() == name || filepath.Ext(item.Name()) != kind {
			continue
		}
		if info, err := item.Info(); err == nil && time.Since(info.ModTime()) > forget {
			_ = os.Remove(filepath.Join(dir, item.Name()))
		}
	}
}
