// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"strings"

	"github.com/attest-pipeline/attest/frontend/glob"
)

// Writers says which steps declare a path as their output. The zero value has
// none. Safe for concurrent use once every step was added.
type Writers struct {
	// at holds every output by the folder, or the path itself, that it begins
	// with: what covers a path is found by going up from it.
	at map[string][]output
	// lengths has the lengths of at's keys, all from the last on as one: of the
	// folders around a path, most need no look into at.
	lengths *[maxLength + 1]bool
}

const maxLength = 255

type output struct {
	step    int
	pattern *Pattern
	glob    glob.Glob // of a pattern with wildcards
}

// Writers returns the index of all outputs; steps are told by their place in
// p.Steps.
func (p *Pipeline) Writers() Writers {
	w := newWriters(len(p.Steps))
	for i := range p.Steps {
		w.add(i, p.Steps[i].Outputs)
	}
	return w
}

func newWriters(n int) Writers {
	return Writers{make(map[string][]output, n), new([maxLength + 1]bool)}
}

// maxGlobs bounds how many outputs with wildcards begin in one folder, for each
// path in it is held against all of them.
const maxGlobs = 1000

// add returns the first pattern that is one too many for its folder, if any.
func (w Writers) add(step int, patterns []Pattern) (tooMany *Pattern) {
	for i := range patterns {
		pat := &patterns[i]
		globs, err := pat.Globs()
		if err != nil {
			continue // no pattern that was read is invalid
		}
		for _, g := range globs {
			base := g.Base()
			if pat.Glob && len(w.at[base]) >= maxGlobs {
				return pat
			}
			w.at[base] = append(w.at[base], output{step, pat, g})
			w.lengths[min(len(base), maxLength)] = true
		}
	}
	return nil
}

// Covering calls yield for every declared output that covers name, which is
// clean and relative: that is it, matches it, or is a folder around it. It
// stops when yield returns false.
func (w Writers) Covering(name string, yield func(step int, pattern *Pattern) bool) {
	for dir := name; len(w.at) > 0; dir = above(dir) {
		var begin []output
		if w.lengths[min(len(dir), maxLength)] {
			begin = w.at[dir]
		}
		for _, o := range begin {
			if o.pattern.Glob && !o.glob.Covers(name) {
				continue
			}
			if !yield(o.step, o.pattern) {
				return
			}
		}
		if dir == "." {
			return
		}
	}
}

// above returns the folder that a clean path is in, "." at the top.
func above(p string) string {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i]
	}
	return "."
}
