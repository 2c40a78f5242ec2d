// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"go.yaml.in/yaml/v4"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/frontend/source"
)

// Version is the version of the format that this package reads.
const Version = "0.1"

// ErrInvalid is matched by every error about what stands in an attest.yaml.
var ErrInvalid = errors.New("invalid pipeline")

// Parse reads the bytes of an attest.yaml. On error the Pipeline is nil, and
// the error holds one [source.Error] for every problem, ordered by place: see
// [source.All]. Each matches [ErrInvalid]. Of more than 100 problems the first
// 100 are returned, and one error without a place that says how many more
// there are.
func Parse(file *source.File) (*Pipeline, error) { return parse(file, maxValues) }

func parse(file *source.File, most int) (*Pipeline, error) {
	p := &parser{file: file, most: most, budget: most}
	pipe := &Pipeline{
		File:        file,
		Digest:      digest.Of(file.Data),
		Attestation: Attestation{VerifyDependencies: true},
		Cache:       DefaultCache(),
	}
	if root := p.document(); root != nil {
		p.pipeline(root, pipe)
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return pipe, nil
}

// parser holds what is common to the reading of one file.
type parser struct {
	file     *source.File
	most     int // values that are read, aliases expanded
	budget   int // of these, how many more; below 0 when there were too many
	problems []problem
}

// problem is a [source.Error] before its snippet was cut and its suggestion
// searched for: both are done only for those that are shown.
type problem struct {
	pos   source.Pos
	msg   string
	hints []string
	word  string   // misspelt, perhaps, one
	known []string // of these
}

func (p *parser) report(pos source.Pos, msg string, hints ...string) {
	p.add(problem{pos: pos, msg: msg, hints: hints})
}

// add keeps a problem, unless the budget is gone: what seems to be missing then may
// be what was not read.
func (p *parser) add(b problem) {
	if p.budget >= 0 {
		p.problems = append(p.problems, b)
	}
}

// unknown reports a word that is none of those known.
func (p *parser) unknown(pos source.Pos, msg, word string, known []string, hints ...string) {
	p.add(problem{pos, msg, hints, word, known})
}

// whole reports a problem of the file as such.
func (p *parser) whole(msg string, hints ...string) {
	p.report(source.Pos{File: p.file.Name}, msg, hints...)
}

func (p *parser) at(n *yaml.Node) source.Pos {
	return source.Pos{File: p.file.Name, Line: n.Line, Column: n.Column}
}

// maxProblems bounds how many problems are returned.
const maxProblems = 100

func (p *parser) err() error {
	slices.SortStableFunc(p.problems, func(a, b problem) int {
		return cmp.Or(cmp.Compare(a.pos.Line, b.pos.Line), cmp.Compare(a.pos.Column, b.pos.Column))
	})
	// An alias leads to one place many times.
	p.problems = slices.CompactFunc(p.problems, func(a, b problem) bool { return a.pos == b.pos && a.msg == b.msg })
	shown := p.problems[:min(len(p.problems), maxProblems)]
	errs := make([]*source.Error, 0, len(shown)+1)
	for _, b := range shown {
		e := &source.Error{Pos: b.pos, Msg: b.msg, Hints: b.hints, Err: ErrInvalid}
		if meant, ok := source.Closest(b.word, b.known); ok {
			e.Hints = append([]string{"did you mean `" + meant + "`?"}, e.Hints...)
		}
		errs = append(errs, e)
	}
	p.file.Annotate(errs)
	if more := len(p.problems) - len(shown); more > 0 {
		errs = append(errs, whole(p.file.Name, fmt.Sprintf("and %d more problems", more)))
	}
	return source.Join(errs)
}
