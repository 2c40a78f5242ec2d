// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/isolation/cache"
	"github.com/attest-pipeline/attest/isolation/cachekey"
	"github.com/attest-pipeline/attest/isolation/event"
)

// Explanation is what the next run would find for one step, were everything to
// stay as it is now.
type Explanation struct {
	Step string
	// Cache is what the receipt would say: hit, miss or off. Reason is that of
	// a miss, as in [event.StepFinished].
	Cache  receipt.CacheUse
	Reason string
	Key    digest.Digest
	// Document is what the key is made of; package cachekey specifies it.
	Document []byte
	Inputs   tree.Tree
	Image    string // by digest; empty for a process
	// Last is the key that the step had when it last succeeded here with the
	// cache on, zero where there is none, and Changes what is different now.
	Last    digest.Digest
	Changes []cachekey.Change
}

// Explain computes the key of a step of the plan and compares it with that of
// the step's last run. Nothing is run, locked or written in the project, but
// for the digests of files and the key that secrets are hashed with. Outputs of steps that it needs are those that stand
// in the project now. A step that the plan does not have is an error that
// matches [plan.ErrNoStep].
func Explain(ctx context.Context, o Options, step string) (*Explanation, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(o.Plan.Steps, func(s plan.Step) bool { return s.Name == step })
	if i < 0 {
		return nil, fmt.Errorf("%w: %q", plan.ErrNoStep, step)
	}
	root, err := os.OpenRoot(o.Root)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	r := &run{Options: o, root: root, key: secretKey(root), events: event.NewRecorder(o.Sink, o.Now)}
	r.openCache()
	defer r.files.save(r.warn)
	if r.keeper.store != nil {
		defer r.keeper.store.Close()
	}
	return newWalk(r, i).explain(ctx)
}

func (w *walk) explain(ctx context.Context) (*Explanation, error) {
	var err error
	if err = w.lookAtInputs(ctx); err != nil {
		return nil, err
	}
	inputs, err := w.inputs.Tree(ctx)
	if err != nil {
		return nil, err
	}
	if err := w.resolveImage(ctx); err != nil {
		return nil, err
	}
	if err := w.readSecrets(ctx); err != nil {
		return nil, err
	}
	if err := w.computeKey(); err != nil {
		return nil, err
	}
	e := &Explanation{
		Step: w.step.Name, Cache: receipt.Off, Reason: cacheOff,
		Key: w.key.Digest, Document: w.key.Document, Inputs: inputs, Image: w.facts.Image,
	}
	keeper := w.run.keeper
	if keeper.store == nil || !w.step.Cache {
		return e, nil
	}
	e.Last = keeper.last()[w.step.Name]
	e.Changes, e.Reason = keeper.changes(ctx, w.step.Name, w.preimage())
	if e.Reason == "" {
		e.Reason = cachekey.Reason(e.Changes)
	}
	switch entry, err := keeper.store.Get(ctx, w.key.Digest); {
	case err == nil:
		e.Cache, e.Reason = receipt.Hit, ""
		if facts, err := parseFacts(entry.Facts); err == nil {
			e.Reason = w.misfit(ctx, facts)
		}
		if e.Reason != "" {
			e.Cache = receipt.Miss
		}
	case errors.Is(err, cache.ErrMiss):
		e.Cache = receipt.Miss
	default:
		return nil, err
	}
	return e, nil
}
