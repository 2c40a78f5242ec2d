// SPDX-License-Identifier: Apache-2.0

package declare

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
)

// Seen is what a step was seen to do, in paths relative to the project.
type Seen struct {
	Used    []string // files and symbolic links that were there, and that it looked at
	Missing []string // what it looked for and did not find
	Wrote   []string // besides its outputs; a folder ends with a slash
	// Failed says that it failed, perhaps for want of what is Missing, and may use
	// more than this.
	Failed bool
}

// maxMissing is how many files that were not there are declared, as inputs that
// may be absent. Where a tool tries many names, each of them says little.
const maxMissing = 10

// Lacking returns what the step does not declare and should, for it to see and
// leave all that it did. Where it names no inputs, and so has the whole project,
// those that it used become its inputs. Of a step that failed, what was missing and
// is in the project is lacking, and one that has the whole project keeps it. Notes
// say what is left to a person.
//
// root is the project's folder. The error is that of looking at it.
func Lacking(ctx context.Context, p *pipeline.Pipeline, root *os.Root, step string, seen Seen) (add Lists, notes []string, err error) {
	i := slices.IndexFunc(p.Steps, func(s pipeline.Step) bool { return s.Name == step })
	if i < 0 {
		return Lists{}, nil, fmt.Errorf("no step is called %s", step)
	}
	s := &p.Steps[i]
	all, err := everything(ctx, p, root, i)
	if err != nil {
		return Lists{}, nil, err
	}
	l := lacking{pipeline: p, step: s, inputs: s.Inputs}
	if s.AllInputs && !seen.Failed && len(seen.Used)+len(seen.Missing) == 0 {
		notes = append(notes, "it used no file of the project: write inputs: [] yourself if that is always so")
	}
	var used []string
	for _, u := range seen.Used {
		switch writer := l.writer(u); {
		case writer == step, l.needs(writer):
		case writer != "":
			add.Needs = append(add.Needs, writer)
		case !l.declared(u):
			used = append(used, u)
		}
	}
	if seen.Failed {
		add.Inputs, notes = l.failed(root, seen.Missing, used, all, &add.Needs, notes)
	} else {
		add.Inputs, notes = usable(Fold(used, all), notes)
		var missing []string
		missing, notes = l.missing(seen.Missing, add.Inputs, notes)
		add.Inputs = append(add.Inputs, missing...)
	}
	slices.Sort(add.Needs)
	add.Needs = slices.Compact(add.Needs)
	add.Outputs, notes = usable(l.outputs(seen.Wrote, all), notes)
	return add, notes, nil
}

// everything returns all files of the project that could be inputs.
func everything(ctx context.Context, p *pipeline.Pipeline, root *os.Root, i int) ([]string, error) {
	open := *p
	open.Steps = slices.Clone(p.Steps)
	open.Steps[i].AllInputs, open.Steps[i].Inputs, open.Steps[i].Needs = true, nil, nil
	planned, err := plan.New(&open)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(planned.Steps, func(s plan.Step) bool { return s.Name == p.Steps[i].Name })
	entries, err := planned.Inputs(ctx, root, at)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Path)
	}
	return all, nil
}

type lacking struct {
	pipeline *pipeline.Pipeline
	step     *pipeline.Step
	inputs   []pipeline.Pattern
}

// covers reports whether a pattern covers the path. One that could not be read
// covers nothing; the pipeline has none of these.
func covers(pat pipeline.Pattern, p string) bool {
	globs, err := pat.Globs()
	if err != nil {
		return false
	}
	for _, g := range globs {
		if g.Covers(p) {
			return true
		}
	}
	return false
}

// declared reports whether the path is an input: the last pattern that covers it
// says so.
func (l lacking) declared(p string) bool {
	if l.step.AllInputs {
		return false
	}
	for _, pat := range slices.Backward(l.inputs) {
		if covers(pat, p) {
			return !pat.Exclude
		}
	}
	return false
}

// writer returns the step that has the path among its outputs; empty for none.
func (l lacking) writer(p string) string {
	for _, s := range l.pipeline.Steps {
		if slices.ContainsFunc(s.Outputs, func(pat pipeline.Pattern) bool { return covers(pat, p) }) {
			return s.Name
		}
	}
	return ""
}

func (l lacking) needs(step string) bool {
	return slices.ContainsFunc(l.step.Needs, func(n pipeline.Need) bool { return n.Name == step })
}

// failed returns the inputs that a step lacks which failed, and adds to its needs.
// What it looked for and is in the project, it was not shown.
func (l lacking) failed(root *os.Root, missing, used, all []string, needs *[]string, notes []string) (entries, more []string) {
	var folders, nowhere []string
	for _, p := range missing {
		writer := l.writer(p)
		info, err := root.Lstat(filepath.FromSlash(p))
		switch {
		case writer != "" && writer != l.step.Name && !l.needs(writer):
			if l.follows(writer) {
				notes = append(notes, fmt.Sprintf("it looked for %s, which %s leaves, which needs this step itself", p, writer))
			} else {
				*needs = append(*needs, writer)
			}
		case err != nil || writer != "":
			nowhere = append(nowhere, p)
		case l.declared(p):
		case info.IsDir():
			folders = append(folders, Literal(p)+"/")
		default:
			used = append(used, p)
		}
	}
	if n := len(nowhere); n > 0 {
		notes = append(notes, fmt.Sprintf("it looked for what is not there: %s", few(nowhere)))
	}
	if l.step.AllInputs {
		return nil, append(notes, "it has the whole project, and keeps it: what it needs is known when it succeeds")
	}
	slices.Sort(used)
	entries, notes = usable(append(Fold(slices.Compact(used), all), folders...), notes)
	return entries, notes
}

// follows reports whether a step needs this one, directly or not.
func (l lacking) follows(step string) bool {
	for _, s := range l.pipeline.Steps {
		if s.Name == step {
			return slices.ContainsFunc(s.Needs, func(n pipeline.Need) bool { return n.Name == l.step.Name || l.follows(n.Name) })
		}
	}
	return false
}

// few names the first of many.
func few(names []string) string {
	if len(names) <= maxMissing {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:maxMissing], ", "), len(names)-maxMissing)
}

// missing returns inputs that may be absent for what was not there, less what the
// inputs cover anyway.
func (l lacking) missing(paths, inputs, notes []string) (entries, more []string) {
	var left []string
	for _, p := range paths {
		inNew := slices.ContainsFunc(inputs, func(entry string) bool {
			return strings.HasSuffix(entry, "/") && strings.HasPrefix(Literal(p), entry)
		})
		if !inNew && !l.declared(p) && l.writer(p) == "" {
			left = append(left, p)
		}
	}
	if len(left) > maxMissing {
		return nil, append(notes, fmt.Sprintf("%d paths that it looked for and did not find are not written, because they are many: %s and others", len(left), strings.Join(left[:3], ", ")))
	}
	entries, notes = usable(literals(left), notes)
	for i := range entries {
		entries[i] += "?"
	}
	return entries, notes
}

// outputs returns what it wrote that its outputs do not cover. Many files of a kind
// in a folder become a pattern, where no file of the project is like them.
func (l lacking) outputs(wrote, all []string) []string {
	byKind := map[string][]string{}
	var entries []string
	for _, p := range wrote {
		switch name := strings.TrimSuffix(p, "/"); {
		case slices.ContainsFunc(l.step.Outputs, func(pat pipeline.Pattern) bool { return covers(pat, name) }):
		case name != p:
			entry := Literal(name) + "/"
			if remade(path.Base(name)) {
				entry += "?"
			}
			entries = append(entries, entry)
		default:
			k := path.Dir(p) + "/*" + ending(p)
			byKind[k] = append(byKind[k], p)
		}
	}
	for _, files := range byKind {
		dir, end := path.Dir(files[0]), ending(files[0])
		alike := func(p string) bool {
			return path.Dir(p) == dir && strings.HasSuffix(p, end) && !slices.Contains(files, p)
		}
		if end == "" || len(files) < manyFiles || slices.ContainsFunc(all, alike) {
			entries = append(entries, literals(files)...)
			continue
		}
		entries = append(entries, strings.TrimPrefix(Literal(dir)+"/*"+Literal(end), "./"))
	}
	slices.Sort(entries)
	return entries
}

// remade reports whether a folder is one that tools make for themselves, or not.
func remade(name string) bool {
	return slices.Contains([]string{"__pycache__", ".pytest_cache", ".mypy_cache", ".ruff_cache", ".cache"}, name)
}

func literals(paths []string) []string {
	var all []string
	for _, p := range paths {
		all = append(all, Literal(p))
	}
	return all
}

// usable leaves out what no attest.yaml can name, and says so.
func usable(entries, notes []string) (left, more []string) {
	for _, e := range entries {
		if strings.ContainsFunc(e, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' || r == 0xFFFD }) {
			notes = append(notes, fmt.Sprintf("%q cannot be named in attest.yaml", e))
			continue
		}
		left = append(left, e)
	}
	return left, notes
}
