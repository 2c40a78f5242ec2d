// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/frontend/source"
)

// readInputs finds the files that the step sees and hashes them.
func (w *walk) readInputs(ctx context.Context) error {
	w.doing("hashing inputs")
	entries, err := w.run.Plan.Inputs(ctx, w.run.root, w.step.Index)
	if err != nil {
		return err
	}
	now, err := w.run.space.clock(w.dir)
	if err != nil {
		return err
	}
	if err := w.run.memo.sum(ctx, w.run.root, entries, now); err != nil {
		return fmt.Errorf("reading inputs: %w", err)
	}
	inputs, err := tree.New(entries)
	if err != nil {
		return err
	}
	if err := w.run.nameable(inputs); err != nil {
		return fmt.Errorf("inputs: %w", err)
	}
	w.result.Inputs = w.run.memo.share(inputs)
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
