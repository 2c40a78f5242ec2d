// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process/stepinit"
)

// Main is the whole of a program for which [IsInit] is true: it looks after
// steps and returns the code to exit with. It must run before anything else that
// the program does.
func Main() int { return stepinit.Main(os.Args) }

// protection is one way to run a step.
type protection struct {
	spaces   uintptr // namespaces, as flags of clone
	controls []string
}

// protections are tried in turn until the kernel grants one.
func protections() []protection {
	return []protection{
		{unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID,
			[]string{ControlKeysHidden, ControlMountNamespace, ControlPIDNamespace, ControlUserNamespace}},
		{unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
			[]string{ControlKeysHidden, ControlMountNamespace, ControlUserNamespace}},
		{},
	}
}

// refusedError says that the kernel did not grant a protection.
type refusedError struct{ what string }

func (e *refusedError) Error() string { return e.what }

// start runs the command with the best protection to be had. What one step got,
// those after it get as well, or they do not run: what is left where a step used
// up what the kernel grants is not for them.
func (e *Executor) start(ctx context.Context, job executor.Job, c *command, streams executor.Streams) (executor.Outcome, error) {
	var err error
	granted := e.keepers.granted.Load()
	for i, p := range protections() {
		if granted > 0 && i != int(granted-1) {
			continue
		}
		var outcome executor.Outcome
		outcome, err = e.startWith(ctx, p, job, c, streams)
		var refused *refusedError
		if !errors.As(err, &refused) {
			if err == nil {
				e.keepers.granted.CompareAndSwap(0, int32(i+1))
			}
			return outcome, err
		}
	}
	return executor.Outcome{}, fmt.Errorf("starting the command: %w", err)
}

func (e *Executor) startWith(ctx context.Context, p protection, job executor.Job, c *command, streams executor.Streams) (executor.Outcome, error) {
	limited := ctx
	if job.Timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeoutCause(ctx, job.Timeout, errTimeout)
		defer cancel()
	}
	k, release, err := e.keeper(p.spaces)
	if err != nil {
		return executor.Outcome{}, err
	}
	defer release()
	begun := time.Now()
	in, err := k.startInit(p, c, streams)
	if err != nil {
		return executor.Outcome{}, err
	}
	said, err := in.wait(limited)
	outcome := executor.Outcome{ExitCode: said.Code, Duration: said.Duration, Engine: engine, Controls: p.controls}
	switch {
	case context.Cause(ctx) != nil && err != nil:
		return executor.Outcome{}, context.Cause(ctx)
	case errors.Is(err, errTimeout):
		outcome.ExitCode, outcome.TimedOut, outcome.Duration = executor.ExitTimeout, true, time.Since(begun)
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

// initProcess is a running init, seen from outside.
type initProcess struct {
	keeper *keeper
	id     uint64
	conn   *os.File // its other end is closed when nothing of the step is left
	fd     int      // of conn
	out    *output
}

// startInit has an init started and tells it what to run.
func (k *keeper) startInit(p protection, c *command, streams executor.Streams) (*initProcess, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("making a socket pair: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "connection")
	defer theirs.Close()
	if err := unix.SetNonblock(pair[0], true); err != nil {
		_ = unix.Close(pair[0])
		return nil, err
	}
	in := &initProcess{keeper: k, conn: os.NewFile(uintptr(pair[0]), "connection"), fd: pair[0]}
	if in.out, err = newOutput(streams); err != nil {
		_ = in.conn.Close()
		return nil, err
	}
	spaces := uint64(p.spaces &^ unix.CLONE_NEWUSER) // the keeper is in that one
	in.id, err = k.ask(stepinit.Request{Kind: stepinit.Start, Spaces: spaces}, in.out.files[0], in.out.files[1], theirs)
	in.out.started()
	if err != nil {
		_ = in.conn.Close()
		_ = in.out.wait(drainLimit)
		return nil, err
	}
	hide := k.mounts.reach(slices.Concat(c.hide, doors(os.Getuid())))
	order := stepinit.Order{Argv: c.argv, Env: c.env, Dir: c.dir, Hide: hide, Spaces: spaces}
	// An init that ended already says why, or that it says nothing does.
	_, _ = in.conn.Write(order.Marshal())
	return in, nil
}

// wait waits for the end of the init and of all that it looked after. When ctx
// ends first, the error is its cause.
func (in *initProcess) wait(ctx context.Context) (stepinit.Report, error) {
	defer in.conn.Close()
	ended := make(chan []byte, 1)
	go func() {
		// The connection may end with an error where the init left something
		// unread; what it said came before.
		text, _ := io.ReadAll(in.conn)
		ended <- text
	}()
	select {
	case text := <-ended:
		outErr := in.out.wait(heldOpenLimit)
		said, ok := stepinit.ParseReport(text)
		switch {
		case errors.Is(outErr, errHeldOpen):
			return stepinit.Report{}, outErr
		case !ok:
			return stepinit.Report{}, errors.New("a step's init ended without a report")
		case outErr != nil:
			return stepinit.Report{}, fmt.Errorf("passing on what the command printed: %w", outErr)
		}
		return said, nil
	case <-ctx.Done():
	}
	_ = unix.Shutdown(in.fd, unix.SHUT_WR) // which tells the init to stop
	select {
	case <-ended:
	case <-time.After(stopLimit):
		_, _ = in.keeper.ask(stepinit.Request{Kind: stepinit.Kill, ID: in.id})
		<-ended
	}
	_ = in.out.wait(drainLimit)
	return stepinit.Report{}, context.Cause(ctx)
}
