// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/statcache"
)

// readInputs finds the files that the step sees and hashes them.
func (w *walk) readInputs(ctx context.Context) error {
	w.doing("hashing inputs")
	if err := w.lookAtInputs(ctx); err != nil {
		return err
	}
	if !w.inputs.known {
		if err := w.hashInputs(ctx); err != nil {
			return err
		}
	}
	if !w.run.Plan.Pipeline.Attestation.VerifyDependencies {
		return nil
	}
	for _, need := range w.step.Needs {
		if err := w.verifyNeed(ctx, need); err != nil {
			return err
		}
	}
	return nil
}

// lookAtInputs finds the files that the step sees.
func (w *walk) lookAtInputs(ctx context.Context) error {
	found, err := w.run.Plan.FindInputs(ctx, w.run.root, w.step.Index)
	if err != nil {
		return err
	}
	w.run.files.see(found)
	inputs, err := w.run.files.look(w.nameOf("inputs"), found)
	if err != nil {
		return fmt.Errorf("reading inputs: %w", err)
	}
	w.inputs, w.result.inputs = inputs, inputs
	return nil
}

// hashInputs finds out what the files hold, and that a receipt can name them.
func (w *walk) hashInputs(ctx context.Context) error {
	inputs, err := w.inputs.Tree(ctx)
	if err != nil {
		return fmt.Errorf("reading inputs: %w", err)
	}
	if err := w.run.nameable(inputs); err != nil {
		return fmt.Errorf("inputs: %w", err)
	}
	return nil
}

// currentInputs returns the files that the step sees, as they are now and look.
func (w *walk) currentInputs(ctx context.Context) (tree.Tree, tree.Found, error) {
	found, err := w.run.Plan.FindInputs(ctx, w.run.root, w.step.Index)
	if err != nil {
		return tree.Tree{}, found, err
	}
	if err := w.run.files.digests.Sum(ctx, found); err != nil {
		return tree.Tree{}, found, fmt.Errorf("reading inputs: %w", err)
	}
	t, err := tree.New(found.Entries)
	return t, found, err
}

// files is what the run knows of the project's files.
type files struct {
	digests *statcache.Cache
	// host is the same for the whole machine: where programs are.
	host func() (*machine, error)

	opened *machine    // nil before host was called
	begun  atomic.Bool // a step was started

	mu    sync.Mutex
	trees map[int][]tree.Tree // by length
	walks []tree.Found
}

// machine is all that there is on this one, for a look at programs.
type machine struct {
	root    *os.Root
	digests *statcache.Cache

	mu  sync.Mutex
	now map[string]digest.Digest // of what differing looked at, zero where there is no such file
}

// differing is differing for files of the machine. Each is looked at once, but
// anew once a step has begun: it may change some.
func (m *machine) differing(ctx context.Context, files []receipt.File, begun bool) []string {
	if begun {
		return differing(ctx, m.digests, m.root, files, hostPath)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var looks []executor.File
	for _, f := range files {
		if _, known := m.now[f.Path]; !known {
			looks = append(looks, executor.File{Path: f.Path})
		}
	}
	const never = 1<<63 - 1
	if _, err := fill(ctx, m.digests, m.root, never, looks, hostPath); err != nil {
		return paths(files) // they cannot be read; nobody may say that they are the same
	}
	for _, f := range looks {
		m.now[f.Path] = f.Digest
	}
	var changed []string
	for _, f := range files {
		if m.now[f.Path] != f.Hash {
			changed = append(changed, f.Path)
		}
	}
	return changed
}

// mostWalks bounds how many walks are remembered.
const mostWalks = 16

// see takes note of what stands in the project, for whoever asks about the same
// files once more: the state of the repository.
func (f *files) see(found tree.Found) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.walks) < mostWalks {
		f.walks = append(f.walks, found)
	}
}

func (f *files) seen() []tree.Found {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.walks)
}

// inputsDir is where digests of files are remembered, in the cache's folder.
const inputsDir = "inputs"

func newFiles(root *os.Root, cacheDir string) *files {
	dir := filepath.Join(cacheDir, inputsDir)
	f := &files{
		digests: statcache.Open(statcache.Options{Dir: dir, Root: root}),
		trees:   map[int][]tree.Tree{},
	}
	f.host = sync.OnceValues(func() (*machine, error) {
		root, err := os.OpenRoot("/")
		if err != nil {
			return nil, fmt.Errorf("looking at programs: %w", err)
		}
		f.opened = &machine{
			root: root, digests: statcache.Open(statcache.Options{Dir: dir, Root: root}), now: map[string]digest.Digest{},
		}
		return f.opened, nil
	})
	return f
}

// share returns t, or a tree with the same entries that another step has
// already: the run holds all of them until its end.
func (f *files) share(t tree.Tree) tree.Tree {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, other := range f.trees[t.Len()] {
		if slices.Equal(other.Entries(), t.Entries()) {
			return other
		}
	}
	f.trees[t.Len()] = append(f.trees[t.Len()], t)
	return t
}

// learn spares the next run the reading of what has landed: files that have
// digests, and the Stats that they had in the staging folder when those were
// made. Moving a file changes the time of its last change, and nothing else. It
// returns the files for which that is so, as they look now.
func (f *files) learn(root *os.Root, left tree.Found) (known tree.Found) {
	for i, e := range left.Entries {
		if e.Kind != tree.File {
			continue
		}
		info, err := root.Lstat(filepath.FromSlash(e.Path))
		if err != nil {
			continue
		}
		was, is := left.Stats[i], tree.StatOf(info)
		if was.Ctime = is.Ctime; was == is {
			known.Entries, known.Stats = append(known.Entries, e), append(known.Stats, is)
		}
	}
	if len(known.Entries) > 0 {
		f.digests.Learn(known)
	}
	return known
}

// save lets the next run know. Nothing else may be asked afterwards.
func (f *files) save(warn func(string)) {
	if err := f.digests.Save(); err != nil {
		warn(err.Error())
	}
	if f.opened == nil {
		return
	}
	if err := f.opened.digests.Save(); err != nil {
		warn(err.Error())
	}
	_ = f.opened.root.Close()
}

// verifyNeed makes sure that what a needed step left is still what it left:
// nothing changed, nothing gone, nothing added.
func (w *walk) verifyNeed(ctx context.Context, need int) error {
	step := &w.run.Plan.Steps[need]
	complain := func(path, what string) error {
		return w.at(w.needPos(step.Name), fmt.Sprintf("%q, an output of step %s, %s since that step ended", path, step.Name, what),
			"find out what else writes to the project while it is built")
	}
	left := w.run.landed(need)
	recorded := left.tree
	there, err := w.seen(ctx, left)
	if err != nil {
		return fmt.Errorf("reading inputs: %w", err)
	}
	for _, want := range recorded.Entries() {
		got, ok := there.Find(want.Path)
		switch {
		case !ok:
			return complain(want.Path, "was removed")
		case got.Kind != want.Kind || got.Mode() != want.Mode() || got.Digest != want.Digest:
			return complain(want.Path, "was changed")
		}
	}
	match, _, err := plan.MatchOutputs(ctx, w.run.root, step.Outputs)
	if err != nil {
		return err
	}
	for _, e := range match {
		if _, ok := recorded.Find(e.Path); !ok {
			return w.at(w.needPos(step.Name), fmt.Sprintf("%q stands among the outputs of step %s, which did not leave it there", e.Path, step.Name),
				"remove it, if an earlier run left it", "name the outputs of step "+step.Name+" so that it is none of them, if it is yours")
		}
	}
	return nil
}

// seen returns those of the step's inputs that a needed step left, with their
// digests. What looks as it did when that step ended holds what it held.
func (w *walk) seen(ctx context.Context, left landed) (tree.Tree, error) {
	if w.inputs.read {
		return w.inputs.tree, nil
	}
	found := w.inputs.view.Found
	var some, unknown tree.Found
	next := 0
	for _, want := range left.tree.Entries() {
		i, ok := found.At(want.Path)
		if !ok {
			continue
		}
		e, stat := found.Entries[i], found.Stats[i]
		for next < left.found.Len() && left.found.Entries[next].Path < want.Path {
			next++
		}
		looked := next < left.found.Len() && left.found.Entries[next].Path == want.Path
		if e.Kind != tree.File || looked && !stat.IsZero() && left.found.Stats[next] == stat {
			if e.Kind == tree.File {
				e.Size, e.Digest = want.Size, want.Digest
			}
			some.Entries = append(some.Entries, e)
			continue
		}
		unknown.Entries, unknown.Stats = append(unknown.Entries, e), append(unknown.Stats, stat)
	}
	if err := w.run.files.digests.Sum(ctx, unknown); err != nil {
		return tree.Tree{}, err
	}
	return tree.New(append(some.Entries, unknown.Entries...))
}

// needPos is where the step says that it needs another.
func (w *walk) needPos(name string) source.Pos {
	for _, n := range w.step.Step.Needs {
		if n.Name == name {
			return n.Pos
		}
	}
	return w.step.Pos
}

// nameable makes sure that a receipt can name the files: names that are not
// UTF-8 have a place in a folder's listing only. The folders that will stand in
// the receipt are known when the run ends; what would not do now, would not
// then.
func (r *run) nameable(t tree.Tree) error {
	if allUTF8(t) {
		return nil
	}
	_, err := receipt.Cover(t, newFolders(r.root).list)
	return err
}
