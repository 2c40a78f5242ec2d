// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/attest-pipeline/attest/isolation/executor"
)

// Main is not called: a step has an init of its own on Linux only.
func Main() int { return 2 }

// abilities are what a job may ask of this level: on Linux it may ask for more.
func abilities() []executor.Ability {
	return []executor.Ability{executor.AbilityDeterministic, executor.AbilitySecrets, executor.AbilityVariation}
}

// keepers are there on Linux only.
type keepers struct{}

// Close ends what was started for steps: nothing.
func (e *Executor) Close() error { return nil }

// start runs the command without any protection, and says so by naming no
// controls. What it leaves in the background stays there.
func (e *Executor) start(ctx context.Context, root *os.Root, job executor.Job, c *command, streams executor.Streams) (executor.Outcome, error) {
	if len(mounted(job)) > 0 {
		return executor.Outcome{}, errNoMounts(job, "only Linux has such")
	}
	at := newInPlace(root, job)
	defer at.close()
	var outcome executor.Outcome
	err := at.prepare(ctx)
	if err == nil {
		running(streams)
		outcome, err = e.startWith(ctx, at, job, c, streams)
	}
	if err := finish(ctx, at, &outcome, err); err != nil {
		return executor.Outcome{}, err
	}
	return outcome, nil
}

func (e *Executor) startWith(ctx context.Context, at place, job executor.Job, c *command, streams executor.Streams) (executor.Outcome, error) {
	argv, err := c.words(at)
	if err != nil {
		return executor.Outcome{}, err
	}
	limited := ctx
	if job.Timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeoutCause(ctx, job.Timeout, errTimeout)
		defer cancel()
	}
	cmd := exec.CommandContext(limited, argv[0], argv[1:]...)
	cmd.Env, cmd.Dir = c.env, c.dir
	cmd.Stdout, cmd.Stderr = streams.Stdout, streams.Stderr
	cmd.WaitDelay = stopLimit
	begun := time.Now()
	err = cmd.Run()
	outcome := executor.Outcome{Duration: time.Since(begun), Engine: engine}
	var exit *exec.ExitError
	switch {
	case err == nil || errors.Is(err, exec.ErrWaitDelay) && context.Cause(limited) == nil:
		return outcome, nil
	case context.Cause(ctx) != nil:
		return executor.Outcome{}, context.Cause(ctx)
	case errors.Is(context.Cause(limited), errTimeout):
		outcome.ExitCode, outcome.TimedOut = executor.ExitTimeout, true
		return outcome, nil
	case errors.As(err, &exit):
		outcome.ExitCode = max(exit.ExitCode(), 1)
		return outcome, nil
	default:
		return executor.Outcome{}, fmt.Errorf("starting the command: %w", err)
	}
}
