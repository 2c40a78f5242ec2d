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

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/cmd/attest/internal/config"
	"github.com/attest-pipeline/attest/frontend/lock"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
)

// lockPath is where the pipeline's lock stands, whether there is one or not.
func (f pipelineFlag) lockPath(env *Env) string { return lock.Name(env.path(f.File)) }

// loadLock reads the pipeline's lock; nil where there is none.
func (f pipelineFlag) loadLock(env *Env) (*lock.Lock, error) {
	return lock.Load(f.lockPath(env), lock.Name(f.File))
}

// writeLock puts the lock in place as a whole, and leaves one alone that is the
// same. It reports whether it wrote.
func (f pipelineFlag) writeLock(env *Env, l *lock.Lock) (bool, error) {
	text, err := l.Encode()
	if err != nil {
		return false, err
	}
	path := f.lockPath(env)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return false, nil
	}
	spare, err := os.CreateTemp(filepath.Dir(path), ".attest.lock-*")
	if err != nil {
		return false, fmt.Errorf("writing %s: %w", env.short(path), err)
	}
	defer os.Remove(spare.Name())
	_, err = spare.Write(text)
	if err := errors.Join(err, spare.Chmod(0o644), spare.Close()); err != nil {
		return false, fmt.Errorf("writing %s: %w", env.short(path), err)
	}
	return true, os.Rename(spare.Name(), path)
}

// lockedNames are the pipeline's images that have no digest, and its steps
// whose network is recorded: what a lock can hold something of.
func lockedNames(p *pipeline.Pipeline) (images, steps []string) {
	for _, s := range p.Steps {
		if s.Image != "" && !digested(s.Image) && !slices.Contains(images, s.Image) {
			images = append(images, s.Image)
		}
		if s.Network == pipeline.NetworkRecorded {
			steps = append(steps, s.Name)
		}
	}
	return images, steps
}

// digested reports whether an image is named by digest.
func digested(image string) bool {
	_, err := digestOf(image)
	return err == nil
}

// digestOf is the digest behind the @ of an image's name.
func digestOf(image string) (digest.Digest, error) {
	return digest.Parse(image[strings.LastIndexByte(image, '@')+1:])
}

// merged is what a lock comes to: what was found over what there was, without
// what the pipeline does not speak of any more.
func merged(p *pipeline.Pipeline, old, found *lock.Lock) *lock.Lock {
	l := old.With(found)
	images, steps := lockedNames(p)
	for name := range l.Images {
		if !slices.Contains(images, name) {
			delete(l.Images, name)
		}
	}
	for name := range l.Steps {
		if !slices.Contains(steps, name) {
			delete(l.Steps, name)
		}
	}
	return l
}

type pipelineLockCmd struct {
	Sign     *bool   `negatable:"" help:"Sign the receipt of the steps that run for it, as attest run does."`
	Engine   *string `placeholder:"ADDR" help:"The BuildKit for container steps (default: the embedded one)."`
	Progress *string `placeholder:"MODE" help:"auto, tty, plain, json or quiet, on stderr."`
	pipelineFlag
	jsonFlag
}

// Help says what is done for it.
func (pipelineLockCmd) Help() string {
	return `Writes attest.lock beside attest.yaml: the digests that the names of images stand for now, and those of what steps with network: recorded fetch. To find out the latter it runs these steps, and what they need, and leaves a receipt of it in .attest/receipts.

attest run then runs steps in the locked images, without asking a registry what their names stand for; attest run --locked also refuses to fetch what is not in the lock. attest run --update runs the pipeline and moves the lock to what it found.

Examples:

    attest pipeline lock
    attest pipeline lock && git add attest.lock
    attest run --locked`
}

// lockResult is what a lock holds, for --json.
type lockResult struct {
	Lock    string `json:"lock"`
	Written bool   `json:"written"` // false: it was the same before
	Images  int    `json:"images"`
	Steps   int    `json:"steps"`
	Fetches int    `json:"fetches"`
	Receipt string `json:"receipt,omitempty"` // of the steps that were run for it
}

// Run finds out what names stand for and writes it down.
func (c *pipelineLockCmd) Run(ctx context.Context, env *Env) error {
	p, err := c.load(env)
	if err != nil {
		return err
	}
	run := runCmd{Sign: c.Sign, Engine: c.Engine, Progress: c.Progress, Update: true, pipelineFlag: c.pipelineFlag}
	settings, err := run.settings(env, c.root(env))
	if err != nil {
		return err
	}
	if p, err = atLevel(p, settings.Get(config.Isolation).Value); err != nil {
		return err
	}
	found, err := c.images(ctx, env, settings, p)
	if err != nil {
		return err
	}
	fetched, receipt, err := c.fetches(ctx, env, settings, p, &run)
	if err != nil {
		return err
	}
	l := merged(p, found, fetched)
	written, err := c.writeLock(env, l)
	if err != nil {
		return err
	}
	return describeLock(env, c.lockPath(env), l, written, receipt)
}

// images asks what the names of images stand for.
func (c *pipelineLockCmd) images(ctx context.Context, env *Env, settings *config.Set, p *pipeline.Pipeline) (*lock.Lock, error) {
	levels, err := newLevels(env, settings, c.root(env))
	if err != nil {
		return nil, err
	}
	found := &lock.Lock{Images: map[string]digest.Digest{}}
	names, _ := lockedNames(p)
	for _, name := range names {
		pinned, err := levels.images.Pin(ctx, name)
		if err != nil {
			return nil, err
		}
		if found.Images[name], err = digestOf(pinned); err != nil {
			return nil, fmt.Errorf("image %s: %w", name, err)
		}
	}
	return found, nil
}

// fetches runs the recorded steps, and what they need, to see what they fetch.
// That is a run like any other, and leaves a receipt.
func (c *pipelineLockCmd) fetches(ctx context.Context, env *Env, settings *config.Set, p *pipeline.Pipeline, run *runCmd) (found *lock.Lock, receipt string, err error) {
	_, steps := lockedNames(p)
	if len(steps) == 0 {
		return nil, "", nil
	}
	planned, err := plan.New(p, steps...)
	if err != nil {
		return nil, "", err
	}
	w := &work{root: c.root(env), settings: settings, plan: planned}
	if err := w.prepare(env); err != nil {
		return nil, "", err
	}
	defer func() { w.levels.end()() }()
	rec, runErr := run.execute(ctx, env, w)
	if rec == nil {
		return nil, "", runErr
	}
	result, _, err := writeReceipt(context.WithoutCancel(ctx), env, w, rec)
	if runErr != nil && err == nil {
		env.note("receipt: %s", result.Receipt)
	}
	if err := errors.Join(runErr, err); err != nil {
		return nil, "", err
	}
	return rec.NewLock(p), result.Receipt, nil
}

func describeLock(env *Env, path string, l *lock.Lock, written bool, receipt string) error {
	result := lockResult{Lock: env.short(path), Written: written, Images: len(l.Images), Receipt: receipt}
	for _, fetches := range l.Steps {
		if len(fetches) > 0 {
			result.Steps++
			result.Fetches += len(fetches)
		}
	}
	if env.json {
		env.result = result
		return nil
	}
	state := "is as it was"
	if written {
		state = "is written"
	}
	err := env.print("[OK] %s %s: %s, %d fetched by %s", result.Lock, state,
		count(result.Images, "image"), result.Fetches, count(result.Steps, "step"))
	if err == nil && receipt != "" {
		err = env.print("[OK] the receipt of what ran for it: %s", receipt)
	}
	return err
}
