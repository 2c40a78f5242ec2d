// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/statcache"
)

// readInputs finds the files that the step sees and hashes them.
func (w *walk) readInputs(ctx context.Context) error {
	w.doing("hashing inputs")
	inputs, err := w.currentInputs(ctx)
	if err != nil {
		return err
	}
	if err := w.run.nameable(inputs); err != nil {
		return fmt.Errorf("inputs: %w", err)
	}
	w.result.Inputs = w.run.files.share(inputs)
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

// currentInputs returns the files that the step sees, as they are now.
func (w *walk) currentInputs(ctx context.Context) (tree.Tree, error) {
	found, err := w.run.Plan.FindInputs(ctx, w.run.root, w.step.Index)
	if err != nil {
		return tree.Tree{}, err
	}
	if err := w.run.files.digests.Sum(ctx, found); err != nil {
		return tree.Tree{}, fmt.Errorf("reading inputs: %w", err)
	}
	w.run.files.see(found)
	return tree.New(found.Entries)
}

// files is what the run knows of the project's files.
type files struct {
	digests *statcache.Cache

	mu    sync.Mutex
	trees map[int][]tree.Tree // by length
	walks []tree.Found
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
	return &files{
		digests: statcache.Open(statcache.Options{Dir: filepath.Join(cacheDir, inputsDir), Root: root}),
		trees:   map[int][]tree.Tree{},
	}
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
// made. Moving a file changes the time of its last change, and nothing else.
func (f *files) learn(root *os.Root, left tree.Found) {
	var known tree.Found
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
}

// save lets the next run know.
func (f *files) save(warn func(string)) {
	if err := f.digests.Save(); err != nil {
		warn(err.Error())
	}
}

// verifyNeed makes sure that what a needed step left is still what it left:
// nothing changed, nothing gone, nothing added.
func (w *walk) verifyNeed(ctx context.Context, need int) error {
	step := &w.run.Plan.Steps[need]
	complain := func(path, what string) error {
		return w.at(w.needPos(step.Name), fmt.Sprintf("%q, an output of step %s, %s since that step ended", path, step.Name, what),
			"find out what else writes to the project while it is built")
	}
	recorded := w.run.landed(need)
	for _, want := range recorded.Entries() {
		got, ok := w.result.Inputs.Find(want.Path)
		switch {
		case !ok:
			return complain(want.Path, "was removed")
		case got.Kind != want.Kind || got.Mode() != want.Mode() || got.Digest != want.Digest:
			return complain(want.Path, "was changed")
		}
	}
	there, _, err := plan.MatchOutputs(ctx, w.run.root, step.Outputs)
	if err != nil {
		return err
	}
	for _, e := range there {
		if _, ok := recorded.Find(e.Path); !ok {
			return w.at(w.needPos(step.Name), fmt.Sprintf("%q stands among the outputs of step %s, which did not leave it there", e.Path, step.Name),
				"remove it, if an earlier run left it", "name the outputs of step "+step.Name+" so that it is none of them, if it is yours")
		}
	}
	return nil
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
