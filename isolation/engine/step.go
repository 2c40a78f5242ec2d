// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/isolation/cache"
	"github.com/attest-pipeline/attest/isolation/cachekey"
	"github.com/attest-pipeline/attest/isolation/event"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/landing"
	"github.com/attest-pipeline/attest/isolation/mask"
	"github.com/attest-pipeline/attest/isolation/process"
)

// walk is one step on its way from inputs to landed outputs. The fields below
// the first two fill up phase by phase; facts holds at every moment what is
// true so far.
type walk struct {
	run  *run
	step *plan.Step

	facts   receipt.Step
	inputs  *fileset // nil where the step was not reached
	outputs *fileset // as they were found in place; nil where they were not
	result  Result
	err     error // of a step that failed, a *StepError
	engine  string

	secrets []executor.Secret
	fixed   *executor.Determinism // nil where nothing is
	mask    *mask.Masker          // of the secrets; nil before they are read, and where there are none
	// stamp is when the step began, by the clock of the project's file system:
	// what was changed since may have been changed after it was read.
	stamp int64

	dir   string // the step's own folder in .attest/tmp, relative to the project; empty where there is none yet
	env   environment
	image digest.Digest
	key   cachekey.Key
	log   *stepLog

	began, ended time.Time // of the command, by the machine's clock

	why       string             // the result of an earlier run is not used
	unfit     string             // why a result that was found is not used
	reserved  *cache.Reservation // nil where there is none
	observed  *executor.Seen     // what it did in the project; nil where nobody watched
	unseen    []string           // why the findings of a trace may lack something
	libraries []receipt.File     // of the programs that it executed
	listed    []receipt.File     // folders that it listed and declares nothing of
	changed   bool               // the inputs did not stay as they were while the command ran
	kept      bool               // the result is in the cache
}

func newWalk(r *run, i int) *walk {
	step := &r.Plan.Steps[i]
	w := &walk{run: r, step: step, env: newEnvironment(step.Step, r.Environ), fixed: deterministic(step.Step, r.Deterministic)}
	w.env.fix(w.fixed)
	w.facts = receipt.Step{
		Name: step.Name, Command: step.Run.String(), Type: step.Attestation.Type,
		Cache: receipt.Off, Isolation: string(step.Isolation), Network: string(step.Network),
		Env: w.env.givenMap(), PassEnv: step.PassEnv,
	}
	for _, n := range step.Needs {
		w.facts.Needs = append(w.facts.Needs, r.Plan.Steps[n].Name)
	}
	return w
}

// walk goes through the phases and says how it ended.
func (w *walk) walk(ctx context.Context) {
	started := w.run.Now()
	w.run.events.Record(event.StepStarted{Step: w.step.Name, Isolation: string(w.step.Isolation)})
	err := w.phases(ctx)
	w.facts.Duration = since(started, w.run.Now()).Round(time.Millisecond)
	finished := event.StepFinished{
		Step: w.step.Name, Cache: string(w.facts.Cache),
		ExitCode: w.facts.ExitCode, Duration: w.facts.Duration,
	}
	switch {
	case err == nil:
		w.facts.Status = receipt.Succeeded
		finished.Reason = w.mask.String(w.why)
	case stopped(ctx, err):
		w.facts.Status, w.facts.Error = receipt.Interrupted, "stopped, because the run was interrupted"
		finished.Err = context.Cause(ctx)
	default:
		w.err = w.asStepError(err)
		w.facts.Status, w.facts.Error = receipt.Failed, w.oneLine(err)
		finished.Err = w.err
		w.keepTrace(true)
	}
	finished.Status, finished.Findings = string(w.facts.Status), w.told()
	w.run.events.Record(finished)
}

// stopped reports whether err is no more than the end of ctx.
func stopped(ctx context.Context, err error) bool {
	return ctx.Err() != nil && (errors.Is(err, context.Cause(ctx)) || errors.Is(err, ctx.Err()))
}

// phases is the walk: each phase takes what those before it found out.
func (w *walk) phases(ctx context.Context) error {
	defer w.release()
	if err := w.refuseUnderStrict(); err != nil {
		return err
	}
	if err := w.readInputs(ctx); err != nil {
		return err
	}
	if err := w.resolveImage(ctx); err != nil {
		return err
	}
	if err := w.readSecrets(ctx); err != nil {
		return err
	}
	if err := w.computeKey(); err != nil {
		return err
	}
	if err := w.sameWork(); err != nil {
		return err
	}
	if hit, err := w.recall(ctx); hit || err != nil {
		return err
	}
	if err := w.execute(ctx); err != nil {
		return err
	}
	var left tree.Found
	err := w.confirmInputs(ctx)
	if err == nil {
		left, err = w.collect(ctx, w.staging())
	}
	if err == nil {
		err = w.reproduce(ctx, left)
	}
	if err == nil {
		err = w.asRecorded(left)
	}
	if err == nil {
		err = w.land(left)
	}
	if err != nil {
		return errors.Join(err, process.PutBack(w.run.Root, w.run.space.abs(w.aside())))
	}
	w.keep(ctx)
	w.keepTrace(false)
	return nil
}

// release gives back what the step held.
func (w *walk) release() {
	if w.reserved != nil {
		w.reserved.Release()
	}
	w.removeDir()
}

// resolveImage finds the digest that the image's name stands for now.
func (w *walk) resolveImage(ctx context.Context) error {
	if w.step.Image == "" {
		return nil
	}
	pinned, locked := w.lockedImage()
	var err error
	if !locked {
		w.doing("resolving image " + w.step.Image)
		if pinned, err = w.run.Images(ctx, w.step.Image); err != nil {
			return err
		}
	}
	if w.image, err = imageDigest(pinned); err != nil {
		return &executor.ImageError{Image: w.step.Image, Err: err}
	}
	w.facts.Image = pinned
	return nil
}

// imageDigest returns what stands behind the @ of "name@sha256:...".
func imageDigest(pinned string) (digest.Digest, error) {
	_, hash, ok := cutLast(pinned, "@")
	if !ok {
		return digest.Digest{}, fmt.Errorf("%q does not name an image by digest", pinned)
	}
	return digest.Parse(hash)
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

func (w *walk) computeKey() error {
	key, err := w.keyFor(w.env.passed)
	if err != nil {
		return err
	}
	w.key, w.facts.Key = key, key.Digest
	return nil
}

// keyFor returns the key that the step has with these values of pass_env.
func (w *walk) keyFor(passed []cachekey.Passed) (cachekey.Key, error) {
	var secretKey []byte
	if len(w.secrets) > 0 || w.env.passesAny() {
		var err error
		if secretKey, err = w.run.key(); err != nil {
			return cachekey.Key{}, err
		}
	}
	return cachekey.New(cachekey.Facts{
		Command: w.step.Run, Env: w.env.declared, PassEnv: passed,
		Inputs: w.inputs, Outputs: w.step.Outputs, WorkingDir: w.step.WorkingDir,
		Image: w.image, Isolation: w.step.Isolation, Network: w.step.Network,
		NetworkAllow: w.step.NetworkAllow, Locked: w.lockedFetches(), CPUs: w.step.Limits.CPUs,
		Secrets: w.secrets, SecretKey: secretKey, Caches: w.cacheFolders(), Deterministic: w.fixed,
		Platform: platformOf(w.step.Isolation),
	})
}

// execute runs the command. The state of the repository is known before, since
// a command may change it.
func (w *walk) execute(ctx context.Context) error {
	w.run.source.before(ctx)
	w.run.files.begun.Store(true)
	if err := w.makeDir(); err != nil {
		return err
	}
	var err error
	if w.log, err = w.run.newStepLog(w.step, w.mask); err != nil {
		return err
	}
	w.result.Log = w.log.path
	w.prepareNames()
	w.began = time.Now()
	out, err := w.run.Executors[w.step.Isolation].Run(ctx, w.job(), executor.Streams{
		Stdout: w.log.stream("stdout"), Stderr: w.log.stream("stderr"), Progress: w.progress,
	})
	w.ended = time.Now()
	logErr := w.log.close()
	if err == nil || w.log.size > 0 {
		w.facts.Log = w.log.hash.Digest()
	}
	if err != nil {
		w.noteNetwork(out)
		return err
	}
	if err := w.discover(ctx, &out); err != nil {
		return err
	}
	w.note(out)
	if err := w.sameImage(out.Image); err != nil {
		return err
	}
	if err := w.compareLock(out); err != nil {
		return err
	}
	if out.ExitCode != 0 || out.TimedOut {
		return w.commandError(out)
	}
	for _, line := range refusals(out) {
		w.warn(line)
	}
	if w.run.Update {
		if err := w.computeKey(); err != nil { // as the next run will, by the lock that comes of this one
			return err
		}
	}
	return errors.Join(logErr, w.strictFindings())
}

// sameImage makes sure that what ran is what the key names.
func (w *walk) sameImage(ran string) error {
	if w.step.Image == "" {
		return nil
	}
	got, err := imageDigest(ran)
	if err == nil && got != w.image {
		err = fmt.Errorf("the step was to run in %v, and ran in %v", w.image, got)
	}
	if err != nil {
		return &executor.ImageError{Image: w.step.Image, Err: err}
	}
	w.facts.Image = ran
	return nil
}

func (w *walk) job() executor.Job {
	return executor.Job{
		Step: w.step.Name, Pos: w.step.RunPos,
		Command: w.step.Run, Env: w.env.effective(), WorkingDir: w.step.WorkingDir,
		Image: w.imageToRun(), Network: w.step.Network, Timeout: w.step.Timeout, Locked: w.lockedURLs(),
		Limits: w.step.Limits, NetworkAllow: w.step.NetworkAllow, Secrets: w.secrets, Caches: w.cacheFolders(),
		Strict: w.run.Strict, Trace: w.traces(), Deterministic: w.fixed,
		Root: w.run.Root, Inputs: w.inputs.tree, Outputs: w.step.Outputs,
		Staging: w.run.space.abs(w.staging()),
	}
}

func (w *walk) cacheFolders() []executor.CacheFolder {
	var all []executor.CacheFolder
	for _, c := range w.step.Caches {
		all = append(all, executor.CacheFolder{Name: c.Name, Path: c.Path})
	}
	return all
}

func (w *walk) progress(p executor.Progress) {
	w.run.events.Record(event.StepProgress{
		Step: w.step.Name, Doing: w.mask.String(p.Doing), Current: p.Current, Total: p.Total, Unit: p.Unit,
	})
}

func (w *walk) doing(what string) { w.progress(executor.Progress{Doing: what}) }

// makeDir makes the step's own folder.
func (w *walk) makeDir() (err error) {
	if w.dir, err = w.run.space.makeStepDir(w.step.Index); err != nil {
		return err
	}
	info, err := w.run.root.Lstat(filepath.FromSlash(w.staging()))
	if err != nil {
		return err
	}
	w.stamp = tree.StatOf(info).Ctime
	return nil
}

// removeDir gives the disk back. What resists is no harm to this run, and the
// next one tries again.
func (w *walk) removeDir() {
	if w.dir == "" {
		return
	}
	if err := landing.RemoveAll(w.run.root, w.dir); err != nil {
		w.warn("removing temporary files: " + err.Error())
	}
	w.dir = ""
}

func (w *walk) warn(text string) {
	w.run.events.Record(event.Warning{Step: w.step.Name, Message: w.mask.String(text)})
}
