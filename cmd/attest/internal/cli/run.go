// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/attest-pipeline/attest/attestation/keys"
	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/cmd/attest/internal/config"
	"github.com/attest-pipeline/attest/cmd/attest/internal/display"
	"github.com/attest-pipeline/attest/cmd/internal/version"
	"github.com/attest-pipeline/attest/frontend/lock"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/isolation/engine"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/gitstate"
)

type runCmd struct {
	Steps     []string `arg:"" optional:"" name:"step" help:"Steps to run, with what they need (default: all)."`
	Sign      *bool    `negatable:"" help:"Sign the receipt and leave signed statements. Makes the project's keys at the first use."`
	Verify    *bool    `negatable:"" help:"Verify the receipt after the run."`
	NoCache   bool     `help:"Run every step, and keep no result."`
	Expect    bool     `name:"expect-cached" help:"Fail where a step would have to run, and run none."`
	Strict    bool     `help:"Hide from steps what they do not declare, the network included, and fail where they do what they did not declare."`
	Trace     bool     `help:"Say which files and programs steps looked for and did not find, and which inputs they did not read; attest init --from-trace declares what they used."`
	Determ    *bool    `name:"deterministic" negatable:"" help:"Fix what steps would take from the world: the time of the source, host name, environment. The receipt's controls say what is fixed."`
	Replay    bool     `name:"replay-logs" help:"Show what a step printed when its cached result was made."`
	Jobs      *string  `short:"j" placeholder:"N" help:"Run N steps at once (default: one more than processors)."`
	KeepGoing *bool    `negatable:"" help:"After a failure, go on with steps that do not need what failed."`
	Locked    bool     `help:"Fail where an image, or what a step fetches, is not as attest.lock has it."`
	Update    bool     `help:"Ask anew what images and fetches are, and move attest.lock to it."`
	DryRun    bool     `help:"Say what would run, and run nothing."`
	Isolation *string  `placeholder:"LEVEL" help:"Run every step at this level: process, container or vm."`
	Engine    *string  `placeholder:"ADDR" help:"The BuildKit for container steps (default: the embedded one)."`
	Progress  *string  `placeholder:"MODE" help:"auto, tty, plain, json or quiet, on stderr."`
	Output    string   `short:"o" placeholder:"FILE" help:"Write a copy of the receipt there."`
	pipelineFlag
	jsonFlag
}

// Help shows how.
func (runCmd) Help() string {
	return `Runs the steps of attest.yaml, each as soon as what it needs has succeeded, and writes a receipt into .attest/receipts. Progress and logs go to stderr; stdout gets the receipt's path, last.

A step whose result is in the cache is not run: its outputs are put back, or left alone where they are in place. The line of a step that was run says why it had to be; attest cache explain STEP says more.

After a failure no further step starts, unless --keep-going. The first Ctrl-C stops the steps that run and writes the receipt; a second one ends attest at once.

Examples:

    attest run
    attest run build test --keep-going
    attest run --sign --verify
    attest run --expect-cached
    attest run --locked
    attest run --trace && attest init --from-trace build
    receipt=$(attest run --sign --progress quiet) && attest verify "$receipt"`
}

// Run runs the pipeline and records what happened.
func (c *runCmd) Run(ctx context.Context, env *Env) error {
	p, err := c.load(env)
	if err != nil {
		return err
	}
	root := c.root(env)
	settings, err := c.settings(env, root)
	if err != nil {
		return err
	}
	if p, err = atLevel(p, settings.Get(config.Isolation).Value); err != nil {
		return err
	}
	if c.Strict {
		p = withoutHostNetwork(p)
	}
	planned, err := plan.New(p, c.Steps...)
	if err != nil {
		return err
	}
	if err := errors.Join(c.compatible(), c.traceable(env, planned), c.copiable(env)); err != nil {
		return err
	}
	locked, err := c.currentLock(env)
	if err != nil {
		return err
	}
	if c.DryRun {
		return errors.Join(c.checkLocked(planned, locked), dryRun(ctx, env, root, planned))
	}
	w := &work{root: root, settings: settings, plan: planned, lock: locked}
	if err := w.prepare(env); err != nil {
		return err
	}
	rec, runErr := c.execute(ctx, env, w)
	defer w.levels.end()() // while the receipt is written
	if rec == nil {
		return runErr
	}
	// What happened is recorded even when the user wants to leave.
	ctx = context.WithoutCancel(ctx)
	return errors.Join(runErr, c.moveLock(env, p, rec), c.finish(ctx, env, w, rec))
}

// work is a run of which nothing has run yet.
type work struct {
	root     string // the project's folder
	settings *config.Set
	plan     *plan.Plan
	lock     *lock.Lock // nil for none

	signer keys.Signer // of the receipt; nil where it is not signed
	levels *levels     // whoever prepared it ends them
}

// prepare makes what has to be there before the first step. A key that cannot be
// used is found out here.
func (w *work) prepare(env *Env) (err error) {
	if err := engine.MakeStateDir(w.root); err != nil {
		return err
	}
	if w.settings.Bool(config.Sign) {
		if w.signer, err = signer(env, w.root); err != nil {
			return err
		}
	}
	w.levels, err = newLevels(env, w.settings, w.root)
	return err
}

// compatible refuses flags that exclude each other.
func (c *runCmd) compatible() error {
	for _, f := range []struct {
		both  bool
		names string
	}{
		{c.NoCache && c.Expect, "--no-cache and --expect-cached"},
		{c.Locked && c.Update, "--locked and --update"},
		{c.DryRun && c.Update, "--dry-run and --update"},
		{c.Expect && c.Update, "--expect-cached and --update"},
	} {
		if f.both {
			return &usageError{err: errors.New(f.names + " exclude each other")}
		}
	}
	return nil
}

// currentLock reads the lock that the run is to use; nil for none.
func (c *runCmd) currentLock(env *Env) (*lock.Lock, error) {
	if c.Update {
		return nil, nil //nolint:nilnil // it is what the run will find out
	}
	return c.loadLock(env)
}

func (c *runCmd) checkLocked(planned *plan.Plan, l *lock.Lock) error {
	if !c.Locked {
		return nil
	}
	return engine.CheckLocked(planned, l)
}

// moveLock writes what a run with --update found, if it succeeded. What was not
// run stays as it was locked.
func (c *runCmd) moveLock(env *Env, p *pipeline.Pipeline, rec *engine.Record) error {
	if !c.Update || rec.Receipt.Status != receipt.Succeeded {
		return nil
	}
	var old *lock.Lock
	if len(c.Steps) > 0 {
		var err error
		if old, err = c.loadLock(env); err != nil {
			return err
		}
	}
	written, err := c.writeLock(env, merged(p, old, rec.NewLock(p)))
	if written {
		env.note("moved %s", env.short(c.lockPath(env)))
	}
	return err
}

// settings are what flags, environment, file and defaults come to.
func (c *runCmd) settings(env *Env, root string) (*config.Set, error) {
	set, err := config.Load(root, env.Getenv)
	if err != nil {
		return nil, err
	}
	for _, f := range []struct {
		key   string
		value *string
	}{
		{config.Sign, text(c.Sign)}, {config.Verify, text(c.Verify)}, {config.KeepGoing, text(c.KeepGoing)},
		{config.Deterministic, text(c.Determ)}, {config.Jobs, c.Jobs}, {config.Isolation, c.Isolation}, {config.Engine, c.Engine}, {config.Progress, c.Progress},
	} {
		if err := set.Flag(f.key, f.value); err != nil {
			return nil, &usageError{err: err, hints: []string{"attest help settings lists what is accepted"}}
		}
	}
	return set, nil
}

func text(b *bool) *string {
	if b == nil {
		return nil
	}
	s := fmt.Sprint(*b)
	return &s
}

// signer returns the project's key. It makes one where there is none.
func signer(env *Env, root string) (keys.Signer, error) {
	store := keyStore(root)
	key, created, err := store.Ensure()
	if err != nil {
		return nil, keyError{err}
	}
	if created {
		env.note("made a key pair to sign with: %s (%s)", env.short(filepath.Join(store.Dir, keys.PublicFile)), key.Public().Fingerprint())
	}
	return key, nil
}

// execute runs the plan, drawing it meanwhile.
func (c *runCmd) execute(ctx context.Context, env *Env, w *work) (*engine.Record, error) {
	fixed, err := determinism(ctx, env, w.settings, w.root)
	if err != nil {
		return nil, err
	}
	screen := display.New(ctx, display.Options{
		Mode: display.Mode(w.settings.Get(config.Progress).Value), Out: env.Stderr, Getenv: env.Getenv, Environ: env.Environ, Now: env.Now,
	})
	defer screen.Close()
	return engine.Run(ctx, engine.Options{
		Plan: w.plan, Root: w.root, Executors: w.levels.executors(), Images: w.levels.images.Pin,
		Jobs: w.settings.Jobs(), KeepGoing: w.settings.Bool(config.KeepGoing),
		Environ: env.Environ, Sink: screen, Now: env.Now, Version: version.Version,
		CacheDir: w.levels.cacheDir, NoCache: c.NoCache, ExpectCached: c.Expect, ReplayLogs: c.Replay,
		Strict: c.Strict, Trace: c.Trace, Diffoscope: findTool(env, "diffoscope"),
		Lock: w.lock, Locked: c.Locked, Update: c.Update,
		Deterministic: fixed,
	})
}

// determinism is what steps see in place of what differs from run to run; nil
// where nobody asked for it.
func determinism(ctx context.Context, env *Env, settings *config.Set, root string) (*executor.Determinism, error) {
	if !settings.Bool(config.Deterministic) {
		return nil, nil
	}
	committed, err := gitstate.CommitTime(ctx, gitstate.Options{Dir: root, Environ: env.Environ})
	if err != nil {
		return nil, fmt.Errorf("--deterministic takes the time from the commit: %w", err)
	}
	return engine.Deterministic(committed), nil
}

// traceable makes sure that --trace comes to something, and says where it does
// not.
func (c *runCmd) traceable(env *Env, planned *plan.Plan) error {
	if !c.Trace {
		return nil
	}
	var others []string
	for _, s := range planned.Steps {
		if s.Isolation != pipeline.Process {
			others = append(others, s.Name)
		}
	}
	const why = "what is looked for in a container or a virtual machine cannot be seen from outside"
	const way = "--isolation process traces every step, with the tools of this machine"
	if len(others) == len(planned.Steps) {
		return &usageError{err: errors.New("--trace: " + why + ", and no step runs as a process"), hints: []string{way}}
	}
	if len(others) > 0 {
		env.note("--trace: %s: not traced, since %s; %s", strings.Join(others, ", "), why, way)
	}
	return nil
}

// atLevel returns the pipeline with every step at one level of isolation, or
// as it is for "auto".
func atLevel(p *pipeline.Pipeline, level string) (*pipeline.Pipeline, error) {
	if level == "auto" {
		return p, nil
	}
	moved := *p
	moved.Steps = make([]pipeline.Step, len(p.Steps))
	var errs []error
	for i, s := range p.Steps {
		want := pipeline.Isolation(level)
		switch {
		case s.Isolation == want:
		case want == pipeline.Process && (s.Network == pipeline.NetworkRecorded || len(s.Caches) > 0),
			want != pipeline.Process && slices.ContainsFunc(s.Secrets, pipeline.Secret.InHome):
			errs = append(errs, fmt.Errorf("--isolation %s: step %s asks for what it does not have there", level, s.Name))
		case want == pipeline.Process:
			s.Isolation, s.Image = want, ""
			if s.NetworkPos.IsZero() || s.Network == pipeline.NetworkOpen {
				s.Network = pipeline.NetworkHost
			}
		case s.Image == "" && p.Image == "":
			errs = append(errs, fmt.Errorf("--isolation %s: step %s names no image to run in", level, s.Name))
		default:
			if s.Image == "" {
				s.Image = p.Image
			}
			switch {
			case s.Network != pipeline.NetworkHost:
			case s.NetworkPos.IsZero():
				s.Network = pipeline.NetworkNone
			default:
				s.Network = pipeline.NetworkOpen
			}
			s.Isolation = want
		}
		moved.Steps[i] = s
	}
	if err := errors.Join(errs...); err != nil {
		return nil, &usageError{err: err, hints: []string{"choose a level that every step can have; those other than process need an image"}}
	}
	return &moved, nil
}

// withoutHostNetwork returns the pipeline with no network for process steps that
// do not say which they want.
func withoutHostNetwork(p *pipeline.Pipeline) *pipeline.Pipeline {
	strict := *p
	strict.Steps = slices.Clone(p.Steps)
	for i := range strict.Steps {
		if s := &strict.Steps[i]; s.Network == pipeline.NetworkHost && s.NetworkPos.IsZero() {
			s.Network = pipeline.NetworkNone
		}
	}
	return &strict
}
