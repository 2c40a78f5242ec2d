// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bufio"
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/executor"
)

// order is what an init is told, on the pipe that is its descriptor 3. The pipe
// stays open for as long as the command may run: its end means stop.
type order struct {
	Argv, Env []string
	Dir       string
	Hide      []string
	// Spaces are the namespaces that the init is in.
	Spaces uintptr
}

// report is what an init says in the end, on its descriptor 4.
type report struct {
	// Refused says which protection the kernel did not grant; nothing ran.
	Refused string
	// NotRun says why the command could not be started.
	NotRun   string
	Code     int
	Duration time.Duration
}

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

// start runs the command with the best protection to be had. Each is asked for
// anew: a step must not be able to weaken those after it.
func (e *Executor) start(ctx context.Context, job executor.Job, c *command, streams executor.Streams) (executor.Outcome, error) {
	var err error
	for _, p := range protections() {
		var outcome executor.Outcome
		outcome, err = start(ctx, p, job, c, streams)
		var refused *refusedError
		if !errors.As(err, &refused) {
			return outcome, err
		}
	}
	return executor.Outcome{}, fmt.Errorf("starting the command: %w", err)
}

func start(ctx context.Context, p protection, job executor.Job, c *command, streams executor.Streams) (executor.Outcome, error) {
	limited := ctx
	if job.Timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeoutCause(ctx, job.Timeout, errTimeout)
		defer cancel()
	}
	begun := time.Now()
	in, err := startInit(p, c, streams)
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
	cmd     *exec.Cmd
	control *os.File // closing it stops the command
	reports *os.File
}

func startInit(p protection, c *command, streams executor.Streams) (_ *initProcess, err error) {
	var files [4]*os.File // control: its end, ours; reports: ours, its end
	defer func() {
		closeAll(files[0], files[3])
		if err != nil {
			closeAll(files[1], files[2])
		}
	}()
	if files[0], files[1], err = os.Pipe(); err != nil {
		return nil, err
	}
	if files[2], files[3], err = os.Pipe(); err != nil {
		return nil, err
	}
	cmd := &exec.Cmd{
		Path:        "/proc/self/exe",
		Args:        []string{initName},
		Env:         []string{"GOMAXPROCS=2"},
		Dir:         "/",
		Stdout:      streams.Stdout,
		Stderr:      streams.Stderr,
		ExtraFiles:  []*os.File{files[0], files[3]},
		SysProcAttr: initAttributes(p.spaces),
		WaitDelay:   heldOpenLimit,
	}
	if err := cmd.Start(); err != nil {
		if isRefusal(err) {
			return nil, &refusedError{err.Error()}
		}
		return nil, fmt.Errorf("starting a step's init: %w", err)
	}
	in := &initProcess{cmd, files[1], files[2]}
	// An init that ended already says why, or its exit status does.
	_ = gob.NewEncoder(in.control).Encode(order{c.argv, c.env, c.dir, c.hide, p.spaces})
	return in, nil
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}

// wait waits for the end of the init and of all that it looked after. When ctx
// ends first, the error is its cause.
func (in *initProcess) wait(ctx context.Context) (report, error) {
	defer closeAll(in.reports)
	ended := make(chan error, 1)
	go func() { ended <- in.cmd.Wait() }()
	var err, cause error
	select {
	case err = <-ended:
	case <-ctx.Done():
		cause = context.Cause(ctx)
	}
	closeAll(in.control)
	if cause != nil {
		select {
		case <-ended:
		case <-time.After(stopLimit):
			_ = in.cmd.Process.Kill()
			<-ended
		}
		return report{}, cause
	}
	if errors.Is(err, exec.ErrWaitDelay) {
		return report{}, errors.New("the command's output is held open by a process outside of the step")
	}
	var said report
	if gob.NewDecoder(bufio.NewReader(in.reports)).Decode(&said) != nil {
		return report{}, fmt.Errorf("a step's init ended without a report (%v): does this program call process.Main?", in.cmd.ProcessState)
	}
	if err != nil {
		return report{}, fmt.Errorf("passing on what the command printed: %w", err)
	}
	return said, nil
}

// isRefusal tells a namespace that is not granted from other trouble.
func isRefusal(err error) bool {
	for _, refusal := range []error{unix.EPERM, unix.EACCES, unix.ENOSPC, unix.EUSERS, unix.EINVAL, unix.ENOSYS} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}

// initAttributes are those of a process in new namespaces in which every user
// and group is called what it is called outside.
func initAttributes(spaces uintptr) *syscall.SysProcAttr {
	sys := &syscall.SysProcAttr{Setsid: true, Cloneflags: spaces}
	if spaces&unix.CLONE_NEWUSER == 0 {
		return sys
	}
	mapUsers(sys)
	if os.Geteuid() != 0 {
		// Root keeps its capabilities when it executes a program; another
		// user's are lost unless they are ambient. The init needs one, to mount.
		sys.AmbientCaps = []uintptr{unix.CAP_SYS_ADMIN}
	}
	return sys
}

// mapUsers maps users and groups to themselves: all that are known here for
// root, else only the one that a user may map.
func mapUsers(sys *syscall.SysProcAttr) {
	sys.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
	sys.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
	if os.Geteuid() != 0 {
		return
	}
	users, errUsers := knownIDs("/proc/self/uid_map")
	groups, errGroups := knownIDs("/proc/self/gid_map")
	if errUsers == nil && errGroups == nil {
		sys.UidMappings, sys.GidMappings = users, groups
		// What is denied to this process cannot be allowed to its children.
		allowed, err := os.ReadFile("/proc/self/setgroups")
		sys.GidMappingsEnableSetgroups = err == nil && strings.TrimSpace(string(allowed)) == "allow"
	}
}

func knownIDs(file string) ([]syscall.SysProcIDMap, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var ids []syscall.SysProcIDMap
	lines := strings.NewReader(string(text))
	for {
		var here, outside, size int
		if _, err := fmt.Fscanln(lines, &here, &outside, &size); errors.Is(err, io.EOF) {
			return ids, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		ids = append(ids, syscall.SysProcIDMap{ContainerID: here, HostID: here, Size: size})
	}
}
