// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/diskspace"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process/stepinit"
)

// Main is the whole of a program for which [IsInit] is true: it looks after
// steps and returns the code to exit with. It must run before anything else that
// the program does.
func Main() int { return stepinit.Main(os.Args) }

// abilities are what a job may ask of this level.
func abilities() []executor.Ability {
	return []executor.Ability{
		executor.AbilityCaches, executor.AbilityDeterministic, executor.AbilityLimits, executor.AbilityNoNetwork,
		executor.AbilitySecrets, executor.AbilityStrict, executor.AbilityTrace, executor.AbilityVariation,
	}
}

// protection is one way to run a step.
type protection struct {
	spaces uintptr // namespaces, as flags of clone
	view   bool    // the step works in an overlay and sees a view; see stepinit.View
}

// protections are tried in turn until the kernel grants one.
func protections() []protection {
	const (
		least = unix.CLONE_NEWUSER | unix.CLONE_NEWNS
		quiet = unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
		pid   = unix.CLONE_NEWPID
	)
	return []protection{
		{least | quiet | pid, true},
		{least | quiet, true},
		{least | quiet | pid, false},
		{least | pid, false},
		{least, false},
		{},
	}
}

// controls returns what is in force with it, beside what the init says.
func (p protection) controls() []string {
	var all []string
	for _, c := range []struct {
		space   uintptr
		control string
	}{
		{unix.CLONE_NEWNS, ControlKeysHidden}, {unix.CLONE_NEWNS, ControlCredentialsHidden}, {unix.CLONE_NEWNS, ControlMountNamespace},
		{unix.CLONE_NEWIPC, ControlIPCNamespace}, {unix.CLONE_NEWPID, ControlPIDNamespace},
		{unix.CLONE_NEWUSER, ControlUserNamespace}, {unix.CLONE_NEWUTS, ControlUTSNamespace},
	} {
		if p.spaces&c.space != 0 {
			all = append(all, c.control)
		}
	}
	return all
}

// refusedError says that the kernel did not grant a protection.
type refusedError struct{ what string }

func (e *refusedError) Error() string { return e.what }

// start runs the command with the best protection to be had. What one step got,
// those after it get as well, or they do not run: what is left where a step used
// up what the kernel grants is not for them.
func (e *Executor) start(ctx context.Context, root *os.Root, job executor.Job, c *command, streams executor.Streams) (executor.Outcome, error) {
	var err error
	granted := e.keepers.granted.Load()
	for i, p := range protections() {
		if granted > 0 && i != int(granted-1) {
			continue
		}
		var outcome executor.Outcome
		outcome, err = e.startIn(ctx, p, root, job, c, streams)
		var refused *refusedError
		if errors.As(err, &refused) && job.Strict {
			return executor.Outcome{}, unavailable([]string{ControlProjectOverlay}, "the kernel refuses: "+refused.what)
		}
		if errors.As(err, &refused) && job.Trace {
			return executor.Outcome{}, &executor.HintedError{
				Err:   fmt.Errorf("%w: --trace needs namespaces and an overlay of the project, which are not to be had here", executor.ErrUnavailable),
				Hints: []string{"the kernel refuses: " + refused.what, "run without --trace"},
			}
		}
		if errors.As(err, &refused) && len(mounted(job)) > 0 && !viewAfter(i) {
			return executor.Outcome{}, errNoMounts(job, refused.what)
		}
		if !errors.As(err, &refused) {
			if err == nil {
				e.keepers.granted.CompareAndSwap(0, int32(i+1))
			}
			return outcome, err
		}
	}
	return executor.Outcome{}, fmt.Errorf("starting the command: %w", err)
}

// viewAfter reports whether a protection after the one with this index has a
// view.
func viewAfter(i int) bool {
	return slices.ContainsFunc(protections()[i+1:], func(p protection) bool { return p.view })
}

// startIn gives the command a place to work in, and takes from it what it left.
func (e *Executor) startIn(ctx context.Context, p protection, root *os.Root, job executor.Job, c *command, streams executor.Streams) (executor.Outcome, error) {
	var at place = newInPlace(root, job)
	if p.view {
		at = newOverlay(root, job)
	}
	defer at.close()
	var outcome executor.Outcome
	err := at.prepare(ctx)
	if err == nil {
		running(streams)
		outcome, err = e.startWith(ctx, p, at, job, c, streams)
	}
	if err := finish(ctx, at, &outcome, err); err != nil {
		return executor.Outcome{}, err
	}
	return outcome, nil
}

func (e *Executor) startWith(ctx context.Context, p protection, at place, job executor.Job, c *command, streams executor.Streams) (executor.Outcome, error) {
	limited, stop := diskspace.Guard(ctx, job.Root) // where all that it writes lies
	defer stop()
	if job.Timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeoutCause(limited, job.Timeout, errTimeout)
		defer cancel()
	}
	k, release, err := e.keeper(p)
	if err != nil {
		return executor.Outcome{}, err
	}
	defer release()
	l, err := e.limit(job)
	if err != nil {
		return executor.Outcome{}, err
	}
	defer l.close()
	o, err := e.order(p, at, job, c)
	if err != nil {
		return executor.Outcome{}, err
	}
	o.Limits = l.forInit(&e.keepers.cpus)
	w := e.arrange(job, at, &o)
	t := k.trace(&o)
	defer t.finish()
	if job.Strict && t == nil {
		return executor.Outcome{}, unavailable([]string{ControlReadsTraced}, "only root may watch what a step reads, on a machine that does not have too many mounts")
	}
	heard, err := listenFor(job, t, &o)
	if err != nil {
		return executor.Outcome{}, err
	}
	defer heard.finish()
	begun := time.Now()
	in, err := k.startInit(o, streams, l.files)
	l.started()
	if err != nil {
		return executor.Outcome{}, err
	}
	said, err := in.wait(limited, t, heard)
	outcome, err := c.outcome(ctx, said, err)
	if err != nil {
		return executor.Outcome{}, err
	}
	if outcome.TimedOut {
		outcome.Duration = time.Since(begun)
	}
	said.Controls, outcome.Varied = w.tell(said.Controls)
	outcome.Controls = slices.Concat([]string{ControlDiskReserve}, p.controls(), said.Controls, l.controls)
	if err := tellTraces(at, t, heard, &outcome); err != nil {
		return executor.Outcome{}, err
	}
	if job.Strict && !slices.Contains(outcome.Controls, ControlReadsTraced) {
		return executor.Outcome{}, errors.New("under --strict: the kernel could not tell everything that the step read")
	}
	slices.Sort(outcome.Controls)
	if outcome.ExitCode != 0 {
		outcome.Met = l.names()
		outcome.Concealed = e.concealed(p, job, c.env)
	}
	return outcome, nil
}

// listenFor prepares to hear what the step looks for, where the job asks for it,
// or what it opens, where t cannot tell; and has the init arrange for that.
func listenFor(job executor.Job, t *trace, o *stepinit.Order) (*lookups, error) {
	which := stepinit.LookupsNone
	switch {
	case job.Trace && o.View.Dir == "":
		return nil, &refusedError{"an overlay of the project"}
	case job.Trace:
		which = stepinit.LookupsAll
	case t == nil && o.View.Dir != "" && !job.Strict:
		which = stepinit.LookupsOpens
	default:
		return nil, nil //nolint:nilnil // nothing is to be heard
	}
	l, err := newLookups(o.View.Project, o.Env)
	o.Lookups = which
	return l, err
}

// tellTraces notes in the outcome what the traces have.
func tellTraces(at place, t *trace, heard *lookups, out *executor.Outcome) error {
	over, ok := at.(*overlay)
	if !ok {
		return nil
	}
	watched := t.finish()
	if watched {
		out.Controls = append(out.Controls, ControlReadsTraced)
		t.tell(over, out)
	}
	if !heard.finish() {
		return nil
	}
	control := ControlLookupsTraced
	if !over.job.Trace {
		control = ControlOpensTraced
	}
	if len(heard.unseen) == 0 {
		out.Controls = append(out.Controls, control)
	}
	if !watched {
		heard.tellReads(over, out)
	}
	heard.tellLinks(over, out)
	if !over.job.Trace {
		return nil
	}
	return heard.tell(over, t, out)
}

// outcome is what a command came to whose init said this, or was waited for in
// vain.
func (c *command) outcome(ctx context.Context, said stepinit.Report, err error) (executor.Outcome, error) {
	outcome := executor.Outcome{ExitCode: said.Code, Duration: said.Duration, Engine: engine}
	switch {
	case context.Cause(ctx) != nil && err != nil:
		return executor.Outcome{}, context.Cause(ctx)
	case errors.Is(err, errTimeout):
		outcome.ExitCode, outcome.TimedOut = executor.ExitTimeout, true
		return outcome, nil
	case err != nil:
		return executor.Outcome{}, err
	case said.Refused != "":
		return executor.Outcome{}, &refusedError{said.Refused}
	case said.NotRun != "":
		return executor.Outcome{}, fmt.Errorf("starting %s: %s", c.name, said.NotRun)
	}
	return outcome, nil
}

// writable returns the folders that a step which works in the project itself
// may write to.
func (e *Executor) writable(job executor.Job, env []string) []string {
	_, caches := e.home(env)
	all := append([]string{job.Root, "/tmp", "/var/tmp", "/dev", "/proc"}, caches...)
	for _, c := range job.Caches {
		all = append(all, c.Path)
	}
	return all
}

// order returns what the step's init is told.
func (e *Executor) order(p protection, at place, job executor.Job, c *command) (stepinit.Order, error) {
	argv, err := c.words(at)
	if err != nil {
		return stepinit.Order{}, err
	}
	if job.Network == pipeline.NetworkNone && p.spaces == 0 {
		return stepinit.Order{}, &refusedError{"network: none needs a network namespace, which the kernel does not grant"}
	}
	over, ok := at.(*overlay)
	if len(mounted(job)) > 0 && !ok {
		return stepinit.Order{}, errNoMounts(job, "no overlay of the project is to be had")
	}
	o := stepinit.Order{
		Argv: argv, Env: c.env, Dir: c.dir, Hide: slices.Concat(c.hide, doors(os.Getuid()), e.credentials(job.Root, c.env)),
		Spaces: uint64(p.spaces &^ unix.CLONE_NEWUSER), // the keeper is in that one
	}
	if job.Network == pipeline.NetworkNone {
		o.Spaces |= unix.CLONE_NEWNET
	}
	if ok {
		o.View = over.view()
		o.Hide = append(o.Hide, over.dir)
		o.View.HomeEmpty = job.Strict
		o.View.Home, o.View.Writable = e.home(c.env)
		if job.Strict {
			o.View.Writable = nil
		}
		for _, cache := range job.Caches {
			if err := os.MkdirAll(cache.Path, 0o755); err != nil {
				return stepinit.Order{}, fmt.Errorf("making the cache %s: %w", cache.Name, err)
			}
			o.View.Writable = append(o.View.Writable, cache.Path)
		}
		if o.Files, err = files(job, c.env, o.View); err != nil {
			return stepinit.Order{}, err
		}
	} else {
		o.Writable = e.writable(job, c.env)
	}
	return o, nil
}
