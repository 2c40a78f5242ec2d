// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/attest-pipeline/attest/frontend/declare"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/engine"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// declaredStep is what init --from-trace added to a step.
type declaredStep struct {
	Name    string   `json:"name"`
	Inputs  []string `json:"inputs,omitempty"`
	Outputs []string `json:"outputs,omitempty"`
	Needs   []string `json:"needs,omitempty"`
	Notes   []string `json:"notes,omitempty"`
	failed  bool
}

// fromTrace adds to attest.yaml what steps were seen to use and did not declare.
func (c *initCmd) fromTrace(ctx context.Context, env *Env) error {
	if c.Template != "" || c.Force {
		return &usageError{err: errors.New("--from-trace writes no new file: it goes without --template and --force")}
	}
	p, err := c.load(env)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(c.root(env))
	if err != nil {
		return fmt.Errorf("opening the project: %w", err)
	}
	defer root.Close()
	traces, err := c.traces(p, root)
	if err != nil {
		return err
	}
	text := p.File.Data
	var steps []declaredStep
	for _, t := range traces {
		add, notes, err := declare.Lacking(ctx, p, root, t.Step, declare.Seen{
			Used: slices.Concat(t.Opened, t.Looked), Missing: t.Missing, Wrote: t.Unexpected, Failed: t.Failed,
		})
		if err != nil {
			return err
		}
		if text, err = declare.Edit(text, t.Step, add); err != nil {
			return byHand(c.File, t.Step, add, err)
		}
		if p, err = pipeline.Parse(&source.File{Name: p.File.Name, Data: text}); err == nil {
			_, err = plan.New(p)
		}
		if err != nil {
			return byHand(c.File, t.Step, add, fmt.Errorf("the steps do not fit together with what %s used: %w", t.Step, err))
		}
		steps = append(steps, declaredStep{t.Step, add.Inputs, add.Outputs, add.Needs, append(notes, unsure(t)...), t.Failed})
	}
	if err := replaceFile(env.path(c.File), text); err != nil {
		return err
	}
	return c.tell(env, steps)
}

// traces returns those of the steps that were named, or of all that have one.
func (c *initCmd) traces(p *pipeline.Pipeline, root *os.Root) ([]*engine.Trace, error) {
	names := c.Steps
	if len(names) == 0 {
		for _, s := range p.Steps {
			names = append(names, s.Name)
		}
	}
	var all []*engine.Trace
	for _, name := range names {
		if !slices.ContainsFunc(p.Steps, func(s pipeline.Step) bool { return s.Name == name }) {
			return nil, &usageError{err: fmt.Errorf("%s has no step %s", c.File, name)}
		}
		t, err := engine.LastTrace(root, filepath.Base(c.File), name)
		if errors.Is(err, engine.ErrNotTraced) && len(c.Steps) == 0 {
			continue
		}
		if errors.Is(err, engine.ErrNotTraced) {
			return nil, notTraced(err, name)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	if len(all) == 0 {
		return nil, notTraced(fmt.Errorf("%s: %w", c.File, engine.ErrNotTraced), "")
	}
	return all, nil
}

func notTraced(err error, step string) error {
	return &executor.HintedError{Err: err, Hints: []string{strings.TrimSpace("run it first: attest run --trace " + step)}}
}

// byHand is the error of a file that was not changed, with what was to be added.
func byHand(file, step string, add declare.Lists, err error) error {
	hints := []string{file + " was left as it is"}
	for _, l := range lists(add.Inputs, add.Outputs, add.Needs) {
		hints = append(hints, fmt.Sprintf("step %s lacks in %s: %s", step, l.key, strings.Join(l.entries, " ")))
	}
	return &executor.HintedError{Err: err, Hints: hints}
}

// unsure says what a person should know of a trace.
func unsure(t *engine.Trace) []string {
	var notes []string
	if t.Failed {
		notes = append(notes, "it failed when it was traced, and may need more: trace it again")
	}
	if len(t.Modified) > 0 {
		notes = append(notes, "it changed its inputs, which --strict refuses: "+strings.Join(t.Modified, ", "))
	}
	for _, why := range t.Unseen {
		notes = append(notes, "there may be more, because "+why)
	}
	return notes
}

type list struct {
	key     string
	entries []string
}

func lists(inputs, outputs, needs []string) []list {
	all := []list{{"needs", needs}, {"inputs", inputs}, {"outputs", outputs}}
	return slices.DeleteFunc(all, func(l list) bool { return len(l.entries) == 0 })
}

// tell prints what was added.
func (c *initCmd) tell(env *Env, steps []declaredStep) error {
	if env.json {
		env.result = struct {
			File  string         `json:"file"`
			Steps []declaredStep `json:"steps"`
		}{c.File, steps}
		return nil
	}
	var b strings.Builder
	changed, flag := false, "--strict"
	for _, s := range steps {
		all := lists(s.Inputs, s.Outputs, s.Needs)
		if len(all) == 0 && !s.failed {
			fmt.Fprintf(&b, "%s: declares all that it was seen to use\n", s.Name)
		}
		if s.failed {
			flag = "--trace"
		}
		for _, l := range all {
			changed = true
			for _, entry := range l.entries {
				fmt.Fprintf(&b, "%s: %s + %s\n", s.Name, l.key, entry)
			}
		}
		for _, note := range s.Notes {
			fmt.Fprintf(&b, "%s: note: %s\n", s.Name, note)
		}
	}
	next := c.File + " is as it was"
	if changed {
		next = "changed " + c.File + "\nnext: attest run " + flag
	}
	return env.print("%s%s", b.String(), next)
}

// replaceFile puts a text in a file's place, unless it is there. Whoever reads
// the file meanwhile sees the one or the other.
func replaceFile(name string, text []byte) error {
	real, err := filepath.EvalSymlinks(name)
	if err != nil {
		return err
	}
	info, err := os.Stat(real)
	if err != nil {
		return err
	}
	if old, err := os.ReadFile(real); err == nil && bytes.Equal(old, text) {
		return nil
	}
	f, err := os.CreateTemp(filepath.Dir(real), ".attest-yaml-*")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Chmod(info.Mode().Perm()), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), real)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("writing %s: %w", name, err), os.Remove(f.Name()))
	}
	return nil
}
