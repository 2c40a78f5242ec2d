// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"path"

	"github.com/attest-pipeline/attest/frontend/pipeline"
)

// Left reports whether a path of the project names what steps of the pipeline leave,
// or something in it, or what is git's or ours: what comes and goes.
func (p *Plan) Left(name string) bool {
	if b := base(name); b == ".git" || b == ".attest" || name == p.lockFile() {
		return true
	}
	left := false
	p.writers.Covering(name, func(int, *pipeline.Pattern) bool {
		left = true
		return false
	})
	return left
}

// Holds reports whether steps may leave something in a folder of the project, or
// further down, so that the folder may come to be with it.
func (p *Plan) Holds(folder string) bool { return p.holders()[folder] }

// holdersOf returns the folders that outputs begin in, and those around them.
func holdersOf(p *pipeline.Pipeline) map[string]bool {
	holders := map[string]bool{}
	for _, s := range p.Steps {
		for _, pat := range s.Outputs {
			globs, err := pat.Globs()
			if err != nil {
				continue // no pattern that was read is invalid
			}
			for _, g := range globs {
				at := g.Base()
				if pat.Glob {
					holders[at] = true
				}
				for at != "." {
					at = path.Dir(at)
					holders[at] = true
				}
			}
		}
	}
	return holders
}
