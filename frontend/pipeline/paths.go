// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
)

// checkPaths reports paths that two steps write, and inputs that are outputs
// of the step itself or of a step that it does not need. What wildcards will
// match is not known yet: they are held against names that were written out.
func (p *parser) checkPaths(steps []draft, index map[string]int) {
	w := newWriters(len(steps))
	for i := range steps {
		if pat := w.add(i, steps[i].Outputs); pat != nil {
			p.report(pat.Pos, fmt.Sprintf("more than %d outputs with wildcards begin in one folder", maxGlobs),
				"give each step an output folder of its own")
			return
		}
	}
	for i := range steps {
		p.checkOutputs(steps, w, i)
		p.checkInputs(steps, w, index, i)
	}
}

func (p *parser) checkOutputs(steps []draft, w Writers, i int) {
	own := make(map[string]bool, len(steps[i].Outputs))
	for k := range steps[i].Outputs {
		pat := &steps[i].Outputs[k]
		if own[pat.Text] {
			p.report(pat.Pos, fmt.Sprintf("outputs names %s twice", show(pat.Text)))
			continue
		}
		own[pat.Text] = true
		globs, err := pat.Globs()
		if err != nil {
			continue
		}
		for _, g := range globs {
			if p.clash(steps, w, i, pat, g.Base()) {
				break
			}
		}
	}
}

// clash reports an output of another step that covers all of pat, which begins
// at base. Where the two are one path, the later step's is reported.
func (p *parser) clash(steps []draft, w Writers, i int, pat *Pattern, base string) (found bool) {
	w.Covering(base, func(j int, other *Pattern) bool {
		switch {
		case j == i, pat.Glob && other.Glob:
			return true
		case other.Text == pat.Text && j > i:
			return false
		}
		first, second, at := j, i, pat
		if j > i {
			first, second, at = i, j, other
		}
		p.report(at.Pos, fmt.Sprintf("steps %s and %s both write %s", show(steps[first].Name), show(steps[second].Name), both(pat, other)),
			"let one of them write it and the other need it")
		found = true
		return false
	})
	return found
}

func both(inner, outer *Pattern) string {
	if inner.Text == outer.Text {
		return show(inner.Text)
	}
	return show(inner.String()) + ", which is part of " + show(outer.String())
}

func (p *parser) checkInputs(steps []draft, w Writers, index map[string]int, i int) {
	d := &steps[i]
	if len(d.Inputs) == 0 {
		return
	}
	needed := make(map[int]bool, len(d.Needs))
	for _, n := range d.Needs {
		if j, ok := index[n.Name]; ok {
			needed[j] = true
		}
	}
	for _, pat := range d.Inputs {
		if pat.Exclude || pat.Glob || pat.Text == "." {
			continue
		}
		w.Covering(pat.Text, func(j int, out *Pattern) bool {
			switch {
			case j == i:
				p.report(pat.Pos, fmt.Sprintf("input %s is an output of the same step", show(pat.Text)),
					"a step cannot read what it writes: write to another path")
				return false
			case !needed[j]:
				p.report(pat.Pos, fmt.Sprintf("input %s is written by step %s, which %s does not need",
					show(pat.Text), show(steps[j].Name), show(d.Name)), "add it: needs: ["+steps[j].Name+"]")
				return false
			}
			return true
		})
	}
}
