// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/glob"
	"github.com/attest-pipeline/attest/frontend/pipeline"
)

// selection is a list of patterns, compiled. The last pattern that covers a
// path decides on it: one that matches it, or a folder that it is in.
type selection struct {
	patterns []pipeline.Pattern
	globs    []glob.Glob
	of       []int         // the pattern that a glob belongs to
	matched  []atomic.Bool // by pattern, filled while walking
}

func newSelection(patterns []pipeline.Pattern) (*selection, error) {
	s := &selection{patterns: patterns, matched: make([]atomic.Bool, len(patterns))}
	for i, pat := range patterns {
		globs, err := pat.Globs()
		if err != nil {
			return nil, err
		}
		for _, g := range globs {
			s.globs, s.of = append(s.globs, g), append(s.of, i)
		}
	}
	return s, nil
}

// cursor is what a selection knows at a folder.
type cursor struct {
	last int    // the last pattern that covers the folder; -1 for none
	live []live // the globs that can still match below it
}

type live struct {
	glob  int
	state glob.State
}

func (s *selection) start() cursor {
	c := cursor{last: -1}
	for i, g := range s.globs {
		state := g.Start()
		if g.Matches(state) {
			c.last = max(c.last, s.of[i])
			s.match(s.of[i])
		}
		if g.Open(state) {
			c.live = append(c.live, live{i, state})
		}
	}
	return c
}

// step moves the cursor to what is called name in its folder.
func (s *selection) step(c cursor, name string, isDir bool) cursor {
	next := cursor{last: c.last}
	for _, l := range c.live {
		g, pattern := &s.globs[l.glob], s.of[l.glob]
		state := g.Step(l.state, name)
		if g.Matches(state) && (isDir || !s.patterns[pattern].Folder) {
			next.last = max(next.last, pattern)
			s.match(pattern)
		}
		if isDir && g.Open(state) {
			next.live = append(next.live, live{l.glob, state})
		}
	}
	return next
}

// match notes that a pattern matches something. Several goroutines walk, and
// most of what they find, others have found already.
func (s *selection) match(pattern int) {
	if m := &s.matched[pattern]; !m.Load() {
		m.Store(true)
	}
}

// verdict says what the cursor means for the path that it stands at.
func (s *selection) verdict(c cursor, isDir bool) tree.Verdict {
	v := tree.Verdict{Take: c.last >= 0 && !s.patterns[c.last].Exclude}
	v.Descend = isDir && (v.Take || slices.ContainsFunc(c.live, func(l live) bool {
		i := s.of[l.glob]
		return i > c.last && !s.patterns[i].Exclude
	}))
	return v
}

// walk returns what the patterns select, and complaints about what they should
// not. hidden says what is not there for them. Only folders that hold, or are
// held by, what a pattern begins with are read.
func (s *selection) walk(ctx context.Context, root *os.Root, hidden func(p string) bool) (tree.Found, specials, error) {
	var bad specials
	w := &tree.Walker[cursor]{
		Root: root,
		Child: func(p string, isDir bool, at cursor) (cursor, tree.Verdict) {
			if hidden(p) {
				return at, tree.Verdict{}
			}
			next := s.step(at, base(p), isDir)
			return next, s.verdict(next, isDir)
		},
		Special: func(err *tree.SpecialFileError, at cursor) { bad.add(err, s.patterns[at.last].Pos) },
	}
	var all []tree.Found
	for _, begin := range s.beginnings() {
		found, err := s.walkFrom(ctx, w, begin)
		if err != nil {
			return tree.Found{}, nil, err
		}
		all = append(all, found)
	}
	return tree.Join(all...), bad, nil
}

// beginnings returns the paths that the patterns begin with, without those
// below another: the walk from there comes by.
func (s *selection) beginnings() []string {
	var all []string
	for i, g := range s.globs {
		if !s.patterns[s.of[i]].Exclude {
			all = append(all, g.Base())
		}
	}
	// With a slash behind it, a folder is followed by all that is in it.
	slices.SortFunc(all, func(a, b string) int { return strings.Compare(a+"/", b+"/") })
	if slices.Contains(all, ".") {
		return []string{"."}
	}
	kept := all[:0]
	for _, p := range all {
		if n := len(kept); n == 0 || p != kept[n-1] && !strings.HasPrefix(p, kept[n-1]+"/") {
			kept = append(kept, p)
		}
	}
	return kept
}

// walkFrom returns what stands at begin, should only folders lead there.
func (s *selection) walkFrom(ctx context.Context, w *tree.Walker[cursor], begin string) (tree.Found, error) {
	at := s.start()
	if begin == "." {
		return w.Walk(ctx, "", at, tree.Verdict{})
	}
	for end := range len(begin) + 1 {
		if end < len(begin) && begin[end] != '/' {
			continue
		}
		p := begin[:end]
		info, err := w.Root.Lstat(filepath.FromSlash(p))
		if errors.Is(err, fs.ErrNotExist) {
			return tree.Found{}, nil
		}
		if err != nil {
			return tree.Found{}, err
		}
		var v tree.Verdict
		at, v = w.Child(p, info.IsDir(), at)
		switch {
		case end == len(begin) && v.Descend:
			return w.Walk(ctx, p, at, v)
		case end == len(begin) && v.Take && !info.IsDir():
			return foundAt(p, info, w.Special, at)
		case !info.IsDir():
			return tree.Found{}, nil
		}
	}
	return tree.Found{}, nil
}

// foundAt returns what info says stands at p, which is no folder.
func foundAt(p string, info fs.FileInfo, complain func(*tree.SpecialFileError, cursor), at cursor) (tree.Found, error) {
	e, err := tree.EntryOf(p, info)
	var special *tree.SpecialFileError
	if errors.As(err, &special) {
		complain(special, at)
		return tree.Found{}, nil
	}
	return tree.Found{Entries: []tree.Entry{e}, Stats: []tree.Stat{tree.StatOf(info)}}, err
}
