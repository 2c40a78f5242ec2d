// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/cache"
	"github.com/attest-pipeline/attest/isolation/cachekey"
	"github.com/attest-pipeline/attest/isolation/process"
)

// keeper is the cache in the hands of one run.
//
// A result is kept when its step succeeded, its outputs have landed, and its
// inputs were the same after the command as before: the key names no others. An
// executor of containers vouches for that itself.
type keeper struct {
	store    *cache.Store // nil where the cache is off
	warn     func(string)
	pipeline string // names this pipeline in this project
	last     func() map[string]digest.Digest
}

// newKeeper opens the cache, unless it is not to be used. The keeper does
// without where there is an error.
func newKeeper(o Options, warn func(string)) (*keeper, error) {
	k := &keeper{warn: warn, pipeline: o.Root + "\n" + o.PipelineFile}
	settings := o.Plan.Pipeline.Cache
	if o.NoCache || !settings.Enabled {
		return k, nil
	}
	store, err := cache.Open(cache.Options{
		Dir: o.CacheDir, MaxSize: settings.MaxSize, Retention: settings.Retention, Compress: settings.Compression,
		Warn: func(err error) { warn("cache: " + err.Error()) }, Now: o.Now,
	})
	if err != nil {
		return k, err
	}
	k.store = store
	k.last = sync.OnceValue(func() map[string]digest.Digest { return store.Last(k.pipeline) })
	return k, nil
}

// close remembers the keys of this run, for the reasons of the next, and keeps
// the cache within its bounds.
func (k *keeper) close(ctx context.Context, walks []*walk) {
	if k.store == nil {
		return
	}
	keys := make(map[string]digest.Digest, len(walks))
	for _, w := range walks {
		if w.kept {
			keys[w.step.Name] = w.key.Digest
		}
	}
	err := k.store.SaveLast(k.pipeline, keys)
	if err == nil && ctx.Err() == nil {
		err = k.store.Maintain(ctx)
	}
	if err != nil && ctx.Err() == nil && !errors.Is(err, cache.ErrOff) {
		k.warn("cache: " + err.Error())
	}
	_ = k.store.Close() // nothing is lost with it
}

// confirmInputs looks whether the inputs are still what the key says. A file
// that changed meanwhile was seen by the command in one form or the other. Where
// the command had a view of its own, it was not the command that changed it, and
// nothing may be said of what came of that. Of files that are again as they were it
// is not known whether the command saw them otherwise, which --strict does not take.
func (w *walk) confirmInputs(ctx context.Context) error {
	if w.step.Isolation != pipeline.Process {
		return nil
	}
	w.doing("looking at inputs again")
	now, found, err := w.currentInputs(ctx)
	const way = "find out what else writes to the project while it is built, and run it again"
	if err != nil {
		if w.run.Strict {
			return err
		}
		w.unsettled(w.oneLine(err))
		return nil
	}
	files := slices.DeleteFunc(cachekey.CompareFiles(w.inputs.tree, now), func(f cachekey.File) bool {
		return isFolder(f.Path, w.inputs.tree, now) && within(w.step.WorkingDir, f.Path) // the executor makes it
	})
	if len(files) > 0 {
		reason := cachekey.Reason([]cachekey.Change{{What: "inputs", Files: files}})
		// A folder is an input while it is empty: outputs of other steps end that.
		content := slices.ContainsFunc(files, func(f cachekey.File) bool { return !isFolder(f.Path, w.inputs.tree, now) })
		if content && slices.Contains(w.facts.Controls, process.ControlProjectOverlay) {
			return w.at(w.step.RunPos, reason+" while the step ran, and not by the step", way)
		}
		w.unsettled(reason)
		return nil
	}
	if back := restored(w.inputs.view.Found, found); len(back) > 0 {
		reason := "written and now again as they were: " + some(back)
		if w.run.Strict {
			return w.at(w.step.RunPos, "the step's inputs did not stay as they were while it ran: "+reason, way)
		}
		w.unsettled(reason)
	}
	return nil
}

// isFolder reports whether a path is a folder in those trees that have it.
func isFolder(path string, trees ...tree.Tree) bool {
	for _, t := range trees {
		if e, ok := t.Find(path); ok && e.Kind != tree.Dir {
			return false
		}
	}
	return true
}

// within reports whether a path is a folder or stands below it.
func within(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

// unsettled says that the inputs did not stay as they were, and sees to it that the
// result is not kept.
func (w *walk) unsettled(why string) {
	w.changed = true
	text := "the step's inputs did not stay as they were while it ran: " + why
	if w.facts.Cache == receipt.Miss {
		text = "the result is not kept, because " + text
	}
	w.warn(text)
}

// restored returns the files of two looks that hold the same and were changed in
// between: the time of a file's last change is the system's, and nobody puts it
// back.
func restored(before, now tree.Found) (files []string) {
	for i, e := range now.Entries {
		at, ok := before.At(e.Path)
		if ok && !before.Stats[at].IsZero() && before.Stats[at] != now.Stats[i] {
			files = append(files, e.Path)
		}
	}
	return files
}

// keep stores the result.
func (w *walk) keep(ctx context.Context) {
	if w.facts.Cache != receipt.Miss || w.changed {
		return
	}
	w.doing("storing the result")
	facts, err := json.Marshal(stepFacts{
		Schema: factsSchema, Step: w.step.Name, Isolation: w.facts.Isolation, Network: w.facts.Network,
		Strict: w.run.Strict, Traced: w.traces(), Log: w.facts.Log,
		Named: w.named(), Libraries: w.libraries, Listed: w.listed, findings: w.findings(),
	})
	if err == nil {
		result := cache.Result{
			Key: w.key.Digest, Document: w.key.Document,
			Inputs: w.inputs.tree, Outputs: w.result.Outputs, Facts: facts,
		}
		if w.log.size > 0 {
			result.LogFile = w.result.Log
		}
		err = w.run.keeper.store.Put(ctx, result, w.run.root)
	}
	w.kept = err == nil
	if err != nil && ctx.Err() == nil && !errors.Is(err, cache.ErrOff) {
		w.warn("the result is not kept: " + err.Error())
	}
}

// stepFacts are what is kept of how a step ran, for the receipts of runs that
// use its result. The environment is not among them.
type stepFacts struct {
	Schema    string        `json:"schema"`
	Step      string        `json:"step"`
	Isolation string        `json:"isolation"`
	Network   string        `json:"network"`
	Strict    bool          `json:"strict"`
	Traced    bool          `json:"traced,omitempty"`
	Log       digest.Digest `json:"log"`
	// Named are the names that led to the programs which were executed.
	Named map[string]string `json:"named,omitempty"`
	// Libraries are those that these are linked with: by what they say of
	// themselves, and not because somebody saw them read.
	Libraries []receipt.File `json:"libraries,omitempty"`
	// Listed are folders of the project, with a digest of the names in them.
	Listed []receipt.File `json:"listed,omitempty"`
	findings
}

const factsSchema = "attest.step/v1"

func parseFacts(text []byte) (stepFacts, error) {
	var f stepFacts
	if err := json.Unmarshal(text, &f); err != nil {
		return f, fmt.Errorf("reading its facts: %w", err)
	}
	if f.Schema != factsSchema || f.ExitCode != 0 {
		return f, fmt.Errorf("it has the facts %q with exit code %d", f.Schema, f.ExitCode)
	}
	return f, nil
}

// reason says why the step's result is not in the cache.
func (k *keeper) reason(ctx context.Context, step string, now cachekey.Preimage) string {
	changes, why := k.changes(ctx, step, now)
	if why != "" {
		return why
	}
	return cachekey.Reason(changes)
}

// changes compares with when the step last succeeded. Where there is nothing to
// compare, it says why.
func (k *keeper) changes(ctx context.Context, step string, now cachekey.Preimage) ([]cachekey.Change, string) {
	last, ok := k.last()[step]
	switch {
	case !ok:
		return nil, "first run"
	case last == now.Digest():
		return nil, "evicted"
	}
	const forgotten = "what the step's last result was made of is not known any more"
	before, err := k.preimage(ctx, last)
	if err != nil {
		return nil, forgotten
	}
	changes, err := cachekey.Compare(before, now)
	if err != nil {
		return nil, forgotten
	}
	return changes, ""
}

// preimage returns what a key was made of, as far as the cache has it.
func (k *keeper) preimage(ctx context.Context, key digest.Digest) (cachekey.Preimage, error) {
	document, err := k.store.Document(key)
	if err != nil {
		return cachekey.Preimage{}, err
	}
	p := cachekey.Preimage{Document: document}
	inputs, image, err := cachekey.Parts(document)
	if err != nil {
		return p, nil // of another version: Compare says so
	}
	// Without the rest, less can be said, and that is all.
	p.Inputs, _ = k.store.Listing(ctx, inputs)
	if !image.IsZero() {
		if e, err := k.store.Get(ctx, key); err == nil {
			facts, _ := parseFacts(e.Facts)
			p.Image = facts.Image
		}
	}
	return p, nil
}

func (w *walk) preimage() cachekey.Preimage {
	return cachekey.Preimage{Document: w.key.Document, Inputs: w.inputs.tree, Image: w.facts.Image}
}
