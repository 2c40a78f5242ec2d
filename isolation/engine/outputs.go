// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/landing"
)

// collect looks at what the command left in a staging folder, and hashes it.
func (w *walk) collect(ctx context.Context, folder string) (tree.Found, error) {
	w.doing("collecting outputs")
	staging, err := w.run.root.OpenRoot(folder)
	if err != nil {
		return tree.Found{}, err
	}
	defer staging.Close()
	files, err := landing.Prepare(ctx, staging)
	if err == nil {
		// Not before: a file may have been a hard link to one of the user's.
		err = fixTimes(w.run.space.abs(folder), w.fixed)
	}
	if err != nil {
		return tree.Found{}, fmt.Errorf("outputs: %w", err)
	}
	left, missing, err := plan.FindOutputs(ctx, staging, w.step.Outputs)
	if err != nil {
		return tree.Found{}, err
	}
	if len(missing) > 0 {
		return tree.Found{}, w.missing(missing)
	}
	for _, e := range left.Entries {
		if e.Kind != tree.Dir {
			files--
		}
	}
	if files != 0 {
		return tree.Found{}, fmt.Errorf("the staging folder holds %d files that no output names", files)
	}
	m := w.newMeter("hashing outputs", left)
	if err := (tree.Hasher{SHA256: true, Read: m.add}).SumMissing(ctx, staging, left); err != nil {
		return tree.Found{}, fmt.Errorf("reading outputs: %w", err)
	}
	if err := w.refuseSecretNames(left.Entries); err != nil {
		return tree.Found{}, err
	}
	return left, nil
}

// missing is one error for each output that should be there and is not.
func (w *walk) missing(patterns []pipeline.Pattern) error {
	var errs []*source.Error
	for _, p := range patterns {
		what := fmt.Sprintf("the command succeeded, but left no %q", patternText(p))
		errs = append(errs, w.at(p.Pos, what,
			fmt.Sprintf("outputs are relative to the project, wherever working_dir is; write %q if it may be absent", patternText(p)+"?")))
	}
	return source.Join(errs)
}

func patternText(p pipeline.Pattern) string {
	if p.Folder {
		return p.Text + "/"
	}
	return p.Text
}

// land puts the outputs in place, and what earlier runs left of them away.
func (w *walk) land(found tree.Found) error {
	left, err := tree.New(found.Entries)
	if err != nil {
		return err
	}
	earlier, err := w.run.space.readLanded(w.step.Name)
	if err != nil {
		return err
	}
	coming, globbed := w.units(left)
	units := append(coming, w.stale(left, earlier)...)
	w.run.lander.mu.Lock()
	defer w.run.lander.mu.Unlock()
	if err := w.run.lander.claim(w.step.Name, units); err != nil {
		return err
	}
	protected := []string{stateDir, ".git", w.run.PipelineFile}
	done, err := landing.Land(w.run.root, w.staging(), units, protected...)
	if err != nil {
		return err
	}
	err = w.run.nameable(left)
	if err == nil {
		err = w.giveBack(left, earlier, protected)
	}
	if err == nil {
		err = w.run.space.writeLanded(w.step.Name, earlier, globbed)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("outputs: %w", err), done.Undo())
	}
	w.landed(left, w.run.files.learn(w.run.root, found))
	return nil
}

// landed takes note of what the step left in the project, and how it looks there.
func (w *walk) landed(left tree.Tree, found tree.Found) {
	w.result.Outputs = left
	w.run.setLanded(w.step.Index, landed{left, found})
}

// units says what is put in place as a whole: what outputs name literally, and
// every single match of a glob. The latter are globbed.
func (w *walk) units(left tree.Tree) (units []landing.Unit, globbed []string) {
	for _, p := range w.step.Outputs {
		if !p.Glob {
			units = append(units, landing.Unit{Path: p.Text, Whole: true})
		}
	}
	for _, e := range left.Entries() {
		if !w.namedLiterally(e.Path) {
			units = append(units, landing.Unit{Path: e.Path})
			globbed = append(globbed, e.Path)
		}
	}
	return units, globbed
}

// namedLiterally reports whether outputs name p, or a folder above it, as it is.
func (w *walk) namedLiterally(p string) bool {
	return slices.ContainsFunc(w.step.Outputs, func(o pipeline.Pattern) bool {
		return !o.Glob && (p == o.Text || strings.HasPrefix(p, o.Text+"/"))
	})
}

// stale says what goes: matches of globs that an earlier run left and this one
// did not. Other files that a glob matches stay: nobody knows whose they are.
func (w *walk) stale(left tree.Tree, earlier []string) (units []landing.Unit) {
	for _, p := range earlier {
		if _, again := left.Find(p); !again && !w.namedLiterally(p) {
			units = append(units, landing.Unit{Path: p})
		}
	}
	return units
}

// giveBack returns to the project what a process step had to move aside though
// it was nothing of its own: the same files that stale leaves alone.
func (w *walk) giveBack(left tree.Tree, earlier, protected []string) error {
	aside, err := w.run.root.OpenRoot(w.aside())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer aside.Close()
	entries, err := tree.Walk(context.Background(), aside, "", nil)
	if err != nil {
		return err
	}
	var units []landing.Unit
	for _, e := range entries {
		if e.Kind != tree.Dir && !w.namedLiterally(e.Path) && !slices.Contains(earlier, e.Path) && !inTheWay(left, e.Path) {
			units = append(units, landing.Unit{Path: e.Path})
		}
	}
	_, err = landing.Land(w.run.root, w.aside(), units, protected...)
	return err
}

// inTheWay reports whether a tree has something at, above or below p.
func inTheWay(t tree.Tree, p string) bool {
	if t.Below(p).Len() > 0 {
		return true
	}
	for ; p != "."; p = path.Dir(p) {
		if _, ok := t.Find(p); ok {
			return true
		}
	}
	return false
}

// lander keeps two steps of one run from landing on the same path.
type lander struct {
	mu    sync.Mutex
	owner map[string]string // path of a unit: step
	above map[string]string // folder above a unit: step
}

func (l *lander) claim(step string, units []landing.Unit) error {
	if l.owner == nil {
		l.owner, l.above = map[string]string{}, map[string]string{}
	}
	for _, u := range units {
		other, taken := l.above[u.Path]
		for p := u.Path; p != "." && !taken; p = path.Dir(p) {
			other, taken = l.owner[p]
		}
		if taken && other != step {
			return fmt.Errorf("%w: %q was written by step %s in this run", landing.ErrRefused, u.Path, other)
		}
	}
	for _, u := range units {
		l.owner[u.Path] = step
		for p := path.Dir(u.Path); p != "."; p = path.Dir(p) {
			l.above[p] = step
		}
	}
	return nil
}
