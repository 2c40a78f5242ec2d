// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/cache"
	"github.com/attest-pipeline/attest/isolation/event"
)

// ErrNotCached is matched by the error of a step that would have to run,
// although [Options.ExpectCached] says that none does.
var ErrNotCached = errors.New("the step would have to run")

// cacheOff is the reason of a step that was run without looking for a result.
const cacheOff = "cache off"

// recall uses the result of an earlier run, where there is one, and says
// whether it did. Otherwise nobody else does the same work until the walk ends.
func (w *walk) recall(ctx context.Context) (bool, error) {
	store := w.run.keeper.store
	if store == nil || !w.step.Cache {
		w.why = cacheOff
		if err := w.expected(); err != nil {
			return false, err
		}
		return false, w.hashInputs(ctx)
	}
	w.facts.Cache = receipt.Miss
	hit, err := w.lookUp(ctx, store)
	if hit || err != nil {
		return hit, err
	}
	if err := w.hashInputs(ctx); err != nil {
		return false, err
	}
	if !w.run.ExpectCached {
		w.run.source.hurry(ctx)
		w.reserved, err = store.Reserve(ctx, w.key.Digest, func() { w.doing("waiting for the same work to be done elsewhere") })
		if err != nil {
			return false, err
		}
		// It may have been done since it was looked for.
		if hit, err := w.lookUp(ctx, store); hit || err != nil {
			return hit, err
		}
	}
	if w.why = w.unfit; w.why == "" {
		w.why = w.run.keeper.reason(ctx, w.step.Name, w.preimage())
	}
	return false, w.expected()
}

// expected is the error of a step that was expected to be cached and is not.
func (w *walk) expected() error {
	if !w.run.ExpectCached {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrNotCached, w.why)
}

// lookUp looks for a result and puts it in place.
func (w *walk) lookUp(ctx context.Context, store *cache.Store) (bool, error) {
	entry, err := store.Get(ctx, w.key.Digest)
	if errors.Is(err, cache.ErrMiss) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	facts, err := parseFacts(entry.Facts)
	if err != nil {
		w.warn("a result in the cache is of no use: " + err.Error())
		return false, nil
	}
	if w.unfit = w.misfit(ctx, facts); w.unfit != "" {
		return false, nil
	}
	err = w.reuse(ctx, store, entry)
	if errors.Is(err, cache.ErrMiss) { // the store has said what was wrong
		w.removeDir()
		return false, nil
	}
	if err != nil {
		return false, err
	}
	w.kept = true
	w.facts.Cache, w.facts.Log = receipt.Hit, facts.Log
	w.restate(facts.findings)
	if w.run.ReplayLogs {
		w.replay(ctx, store, entry)
	}
	return true, nil
}

// misfit says why a result that is there does not do for this run, or nothing:
// less was asked of the run that made it, or something that it depends on, and
// that is not in the key, is not what it was.
func (w *walk) misfit(ctx context.Context, made stepFacts) string {
	switch {
	case w.run.Strict && !made.Strict:
		return "last run without --strict"
	case w.traces() && !made.Traced:
		return "last run without --trace"
	case w.run.Update && w.step.Network == pipeline.NetworkRecorded:
		return "what it fetches is asked for anew"
	case w.run.Locked && len(w.disagreements(made.Fetched)) > 0:
		return "last run fetched what attest.lock does not have"
	case w.step.Attestation.Reproducible && made.Reproduction == nil:
		return "not yet run twice"
	}
	return w.outdated(ctx, made)
}

// reuse makes the entry's outputs those of the project. An error that matches
// [cache.ErrMiss] means that the cache does not have them after all.
func (w *walk) reuse(ctx context.Context, store *cache.Store, e *cache.Entry) error {
	earlier, err := w.run.space.readLanded(w.step.Name)
	if err != nil {
		return err
	}
	ok, err := w.inPlace(ctx, e, earlier)
	if err != nil {
		return err
	}
	if ok {
		return w.adopt(e.Outputs, earlier)
	}
	return w.restore(ctx, store, e)
}

// inPlace reports whether landing the outputs would change nothing: what is
// there is what the entry has, to the permission bit, nothing is there that
// would go, and nothing that an earlier run left has to.
func (w *walk) inPlace(ctx context.Context, e *cache.Entry, earlier []string) (bool, error) {
	if len(w.stale(e.Outputs, earlier)) > 0 {
		return false, nil
	}
	found, _, err := plan.FindOutputs(ctx, w.run.root, w.step.Outputs)
	if len(source.All(err)) > 0 { // a file where a folder should be, and the like
		return false, nil
	}
	if err != nil {
		return false, err
	}
	outputs, err := w.run.files.look(w.nameOf("outputs"), found)
	if err == nil {
		err = outputs.fill(ctx)
	}
	if err != nil {
		return false, err
	}
	// Other files that a glob matches are nobody's, and stay; see stale.
	there := slices.DeleteFunc(slices.Clone(found.Entries), func(f tree.Entry) bool {
		_, ours := e.Outputs.Find(f.Path)
		return !ours && !w.namedLiterally(f.Path) && !slices.Contains(earlier, f.Path)
	})
	if !e.InPlace(w.run.root, there, w.namedLiterally) {
		return false, nil
	}
	outputs.confirm(e.Outputs)
	w.outputs = outputs
	return true, nil
}

// adopt takes note of outputs that are in place, and touches nothing.
func (w *walk) adopt(left tree.Tree, earlier []string) error {
	units, globbed := w.units(left)
	w.run.lander.mu.Lock()
	defer w.run.lander.mu.Unlock()
	if err := w.run.lander.claim(w.step.Name, units); err != nil {
		return err
	}
	if err := w.run.nameable(left); err != nil {
		return fmt.Errorf("outputs: %w", err)
	}
	if err := w.run.space.writeLanded(w.step.Name, earlier, globbed); err != nil {
		return err
	}
	w.landed(left, w.outputs.view.Found)
	return nil
}

// restore lands the entry's outputs, as if the step had just left them.
func (w *walk) restore(ctx context.Context, store *cache.Store, e *cache.Entry) error {
	w.doing("restoring outputs")
	w.run.source.hurry(ctx)
	if err := w.makeDir(); err != nil {
		return err
	}
	staging, err := w.run.root.OpenRoot(w.staging())
	if err != nil {
		return err
	}
	defer staging.Close()
	if err := store.Restore(ctx, e, staging); err != nil {
		return err
	}
	// An entry says what its outputs are; that they are outputs of this step
	// is seen here, before any of them comes near the project.
	found, missing, err := plan.FindOutputs(ctx, staging, w.step.Outputs)
	if err == nil && (len(missing) > 0 || !slices.EqualFunc(found.Entries, e.Outputs.Entries(), sameShape)) {
		err = errors.New("its outputs are not those that the step declares")
	}
	if err != nil {
		w.warn("a result in the cache is of no use: " + err.Error())
		return cache.ErrMiss
	}
	copy(found.Entries, e.Outputs.Entries())
	w.run.source.before(ctx)
	return w.land(found)
}

// sameShape compares an entry that was not read with one that was.
func sameShape(a, b tree.Entry) bool {
	return a.Path == b.Path && a.Kind == b.Kind && a.Perm == b.Perm && (a.Kind != tree.File || a.Size == b.Size)
}

// replay emits the log that is kept with an entry.
func (w *walk) replay(ctx context.Context, store *cache.Store, e *cache.Entry) {
	if e.Log.Size == 0 {
		return
	}
	r, err := store.Log(ctx, e)
	if err == nil {
		out := &logStream{emit: func(piece []byte) {
			w.run.events.Record(event.StepLog{Step: w.step.Name, Stream: event.LogStream, Data: string(piece)})
		}}
		_, err = io.Copy(out, r)
		out.flush()
		_ = r.Close()
	}
	if err != nil {
		w.warn("the log of the cached result cannot be shown: " + err.Error())
	}
}
