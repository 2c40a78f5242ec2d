// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/lock"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/source"
)

// Inputs returns the files, symbolic links and empty folders of the project
// that step i sees, ordered by path, without digests: what its inputs name as
// it is on disk now, and what the outputs of the steps that it needs name.
// root is the project's folder. Call it when the step is about to start.
//
// Nothing in a folder called .git or .attest is an input, and no output of a
// step that this one does not need, itself included: those come and go. The
// pipeline's attest.lock is an input where inputs name it, and not otherwise:
// what it has of a step is part of the step's key already, and what it has of
// others must not change that.
//
// What does not fit the declaration (a file that is not there, a device among
// the files) is a [source.Error] at its place in attest.yaml that matches
// [ErrInput]; all of them are returned at once.
func (p *Plan) Inputs(ctx context.Context, root *os.Root, i int) ([]tree.Entry, error) {
	found, err := p.FindInputs(ctx, root, i)
	return found.Entries, err
}

// FindInputs is [Plan.Inputs], with what the file system said of each file.
func (p *Plan) FindInputs(ctx context.Context, root *os.Root, i int) (tree.Found, error) {
	step := &p.Steps[i]
	look := p.selected
	if step.AllInputs {
		look = p.everything
	}
	found, errs, err := look(ctx, root, step)
	if err != nil {
		return tree.Found{}, fmt.Errorf("looking for the inputs of step %s: %w", step.Name, err)
	}
	parts := []tree.Found{found}
	for _, j := range step.Needs {
		more, wrong, err := p.needed(ctx, root, step, j)
		if err != nil {
			return tree.Found{}, fmt.Errorf("looking for the outputs of step %s: %w", p.Steps[j].Name, err)
		}
		parts, errs = append(parts, more), append(errs, wrong...)
	}
	if len(errs) > 0 {
		return tree.Found{}, p.errors(errs)
	}
	return tree.Join(parts...), nil
}

// errors gives the errors their lines of attest.yaml.
func (p *Plan) errors(errs []*source.Error) error {
	if p.Pipeline.File != nil {
		p.Pipeline.File.Annotate(errs)
	}
	return source.Join(errs)
}

// everything is what a step without declared inputs sees: the project less its
// attest.lock, and what its ignore files name.
func (p *Plan) everything(ctx context.Context, root *os.Root, step *Step) (tree.Found, []*source.Error, error) {
	hidden, locked := p.hidden(step), p.lockFile()
	var bad specials
	w := tree.Walker[*level]{
		Root: root,
		Enter: func(dir string, items []tree.Item, at *level) (*level, error) {
			return at.below(root, dir, items)
		},
		Child: func(path string, isDir bool, at *level) (*level, tree.Verdict) {
			seen := !hidden(path) && !at.ignores(path, isDir) && (path != locked || isDir)
			return at, tree.Verdict{Take: seen, Descend: seen && isDir}
		},
		Special: func(err *tree.SpecialFileError, _ *level) { bad.add(err, step.Pos) },
	}
	found, err := w.Walk(ctx, "", nil, tree.Verdict{})
	return found, bad, err
}

// lockFile returns the name of the pipeline's attest.lock in the project, whose
// folder is the pipeline's; empty for a pipeline that is no file.
func (p *Plan) lockFile() string {
	if p.Pipeline.File == nil {
		return ""
	}
	return filepath.Base(lock.Name(p.Pipeline.File.Name))
}

// selected is what the patterns of a step name.
func (p *Plan) selected(ctx context.Context, root *os.Root, step *Step) (tree.Found, []*source.Error, error) {
	s, err := newSelection(step.Inputs)
	if err != nil {
		return tree.Found{}, nil, err
	}
	found, bad, err := s.walk(ctx, root, p.hidden(step))
	if err != nil {
		return tree.Found{}, nil, err
	}
	errs := []*source.Error(bad)
	for i, pat := range step.Inputs {
		if !s.matched[i].Load() && !pat.Exclude {
			if e := explain(root, "input", pat); e != nil {
				errs = append(errs, e)
			}
		}
	}
	return found, errs, nil
}

// hidden returns what is not there for a step, whatever it declares.
func (p *Plan) hidden(step *Step) func(path string) bool {
	needed := make(map[string]bool, len(step.Needs))
	for _, j := range step.Needs {
		needed[p.Steps[j].Name] = true
	}
	return func(path string) bool {
		if name := base(path); name == ".git" || name == ".attest" {
			return true
		}
		foreign := false
		p.writers.Covering(path, func(writer int, _ *pipeline.Pattern) bool {
			foreign = !needed[p.Pipeline.Steps[writer].Name]
			return !foreign
		})
		return foreign
	}
}

// needed returns the outputs of step j, which step needs.
func (p *Plan) needed(ctx context.Context, root *os.Root, step *Step, j int) (tree.Found, []*source.Error, error) {
	writer := &p.Steps[j]
	found, missing, err := FindOutputs(ctx, root, writer.Outputs)
	if wrong := source.All(err); len(wrong) > 0 {
		return tree.Found{}, wrong, nil
	}
	if err != nil {
		return tree.Found{}, nil, err
	}
	var errs []*source.Error
	for _, pat := range missing {
		e := &source.Error{Pos: step.Pos, Err: ErrInput,
			Msg:   fmt.Sprintf("output %s of step %s, which %s needs, is not there", pat, writer.Name, step.Name),
			Hints: []string{"run step " + writer.Name + " first, and let nothing remove what it wrote"}}
		for _, need := range step.Step.Needs {
			if need.Name == writer.Name {
				e.Pos = need.Pos
			}
		}
		errs = append(errs, e)
	}
	return found, errs, nil
}

// MatchOutputs returns what stands below root and matches the output patterns,
// ordered by path and without digests, and those patterns that match nothing
// although they are not optional. An empty folder counts as something. root is
// the project's folder, or one laid out like it.
//
// Something that cannot be an output (a file where the pattern says folder, a
// device) is a [source.Error] at the pattern's place that matches [ErrInput].
func MatchOutputs(ctx context.Context, root *os.Root, patterns []pipeline.Pattern) (entries []tree.Entry, missing []pipeline.Pattern, err error) {
	found, missing, err := FindOutputs(ctx, root, patterns)
	return found.Entries, missing, err
}

// FindOutputs is [MatchOutputs], with what the file system said of each file.
func FindOutputs(ctx context.Context, root *os.Root, patterns []pipeline.Pattern) (found tree.Found, missing []pipeline.Pattern, err error) {
	if len(patterns) == 0 {
		return tree.Found{}, nil, nil
	}
	s, err := newSelection(patterns)
	if err != nil {
		return tree.Found{}, nil, err
	}
	found, bad, err := s.walk(ctx, root, func(path string) bool { return path == ".git" || path == ".attest" })
	if err != nil {
		return tree.Found{}, nil, err
	}
	errs := []*source.Error(bad)
	for i, pat := range patterns {
		if s.matched[i].Load() {
			continue
		}
		if e := explain(root, "output", pat); e != nil && !errors.Is(e, errAbsent) {
			errs = append(errs, e)
		} else if !pat.Optional {
			missing = append(missing, pat)
		}
	}
	if len(errs) > 0 {
		return tree.Found{}, nil, source.Join(errs)
	}
	return found, missing, nil
}
