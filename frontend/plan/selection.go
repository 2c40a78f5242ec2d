// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/attest-pipeline/attest/frontend/glob"
	"github.com/attest-pipeline/attest/frontend/pipeline"
)

// selection is a list of patterns, compiled. The last pattern that covers a
// path decides on it: one that matches it, or a folder that it is in.
type selection struct {
	patterns []pipeline.Pattern
	globs    []glob.Glob
	of       []int  // the pattern that a glob belongs to
	matched  []bool // by pattern, filled while walking
}

func newSelection(patterns []pipeline.Pattern) (*selection, error) {
	s := &selection{patterns: patterns, matched: make([]bool, len(patterns))}
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
			s.matched[s.of[i]] = true
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
			s.matched[pattern] = true
		}
		if isDir && g.Open(state) {
			next.live = append(next.live, live{l.glob, state})
		}
	}
	return next
}

// verdict says what the cursor means for the path that it stands at.
func (s *selection) verdict(c cursor, isDir bool) verdict {
	var v verdict
	if c.last >= 0 {
		v.take, v.why = !s.patterns[c.last].Exclude, s.patterns[c.last].Pos
	}
	v.descend = isDir && (v.take || slices.ContainsFunc(c.live, func(l live) bool {
		i := s.of[l.glob]
		return i > c.last && !s.patterns[i].Exclude
	}))
	return v
}

// walk collects into w what the patterns select. hidden says what is not there
// for them. Only folders that hold, or are held by, what a pattern begins with
// are read.
func (s *selection) walk(ctx context.Context, w *walker[cursor], hidden func(p string) bool) error {
	w.child = func(p string, isDir bool, at cursor) (cursor, verdict) {
		if hidden(p) {
			return at, verdict{}
		}
		next := s.step(at, base(p), isDir)
		return next, s.verdict(next, isDir)
	}
	for _, begin := range s.beginnings() {
		if err := s.walkFrom(ctx, w, begin); err != nil {
			return err
		}
	}
	return nil
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

// walkFrom walks what stands at begin, should only folders lead there.
func (s *selection) walkFrom(ctx context.Context, w *walker[cursor], begin string) error {
	at := s.start()
	if begin == "." {
		_, err := w.folder(ctx, ".", at)
		return err
	}
	for end := range len(begin) + 1 {
		if end < len(begin) && begin[end] != '/' {
			continue
		}
		p := begin[:end]
		info, err := w.root.Lstat(filepath.FromSlash(p))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		var v verdict
		at, v = w.child(p, info.IsDir(), at)
		switch {
		case end == len(begin) && (v.take || v.descend):
			return w.visit(ctx, p, fs.FileInfoToDirEntry(info), at, v)
		case !info.IsDir():
			return nil
		}
	}
	return nil
}
