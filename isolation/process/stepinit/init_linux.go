// SPDX-License-Identifier: Apache-2.0

package stepinit

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/sockets"
)

// stopGrace is how long a command that is stopped may tidy up.
const stopGrace = 250 * time.Millisecond

// serveStep is an init: it does what it is told on its connection.
func serveStep() error {
	// Nothing that this process has open may reach the command.
	closeOnExec()
	conn := os.NewFile(connection, "connection")
	o, err := ReadOrder(conn)
	if err != nil {
		return err
	}
	o.keepAlive()
	// Whoever would read the report may be gone.
	_, _ = conn.Write(o.run().Marshal())
	return nil
}

// keepAlive sees to it that no signal from the step ends this process.
func (o Order) keepAlive() {
	fatal := []syscall.Signal{unix.SIGHUP, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT, unix.SIGABRT, unix.SIGILL,
		unix.SIGTRAP, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV, unix.SIGSYS, unix.SIGSTKFLT}
	if o.Spaces&unix.CLONE_NEWPID == 0 {
		// Handlers, unlike ignored signals, do not pass to the command.
		for _, s := range fatal {
			signal.Notify(make(chan os.Signal, 1), s)
		}
		return
	}
	// The first process of a PID namespace gets no signals from inside but
	// those that it has handlers for, and Go has handlers for these. Taking
	// them away is quicker than os/signal, by a quarter of what an init costs.
	for _, s := range fatal {
		var byDefault [64]byte // a struct sigaction is smaller, and all zero means this
		const sizeOfMask = 8
		_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(s), uintptr(unsafe.Pointer(&byDefault)), 0, sizeOfMask, 0, 0)
		if errno != 0 {
			signal.Notify(make(chan os.Signal, 1), s)
		}
	}
}

// run runs the command and returns when nothing that it started is alive, or is
// about to end with this process.
func (o *Order) run() Report {
	// What prepare sets holds for one thread and for what it starts.
	runtime.LockOSThread()
	controls, err := o.prepare()
	if err != nil {
		return Report{Refused: err.Error()}
	}
	begun := time.Now()
	pid, pidfd, err := o.exec()
	if err != nil {
		return Report{NotRun: err.Error()}
	}
	said := Report{Controls: controls}
	if status, ended := wait(pid, pidfd); ended {
		said.Code, said.Duration = exitCode(status), time.Since(begun)
	} else {
		_ = unix.Kill(-pid, unix.SIGTERM)
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, milliseconds(stopGrace))
	}
	if o.Spaces&unix.CLONE_NEWPID == 0 {
		sweep()
	}
	return said
}

// wait waits until the command has ended, or the connection is at its end.
// Whatever else has ended is reaped then, or after a second.
func wait(pid, pidfd int) (status unix.WaitStatus, ended bool) {
	fds := []unix.PollFd{{Fd: connection, Events: unix.POLLIN}, {Fd: int32(pidfd), Events: unix.POLLIN}}
	for {
		n, err := unix.Poll(fds, 1000)
		if status, ended := reap(pid); ended {
			return status, true
		}
		if err == nil && n > 0 && fds[0].Revents != 0 {
			return 0, false
		}
	}
}

// prepare arranges what the step is in, and returns which protections that is.
func (o *Order) prepare() (controls []string, err error) {
	const usualMask = 0o022
	unix.Umask(usualMask)
	if o.Spaces&unix.CLONE_NEWPID == 0 {
		// What the step leaves behind becomes a child of this process.
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
			return nil, fmt.Errorf("becoming subreaper: %w", err)
		}
	}
	// Timers of this program may be late, which it does not need; see where it
	// is started. The command's are as usual.
	const usual = 50 * time.Microsecond
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(usual), 0, 0, 0); err != nil {
		return nil, fmt.Errorf("setting timers: %w", err)
	}
	if o.Spaces&unix.CLONE_NEWNET != 0 {
		if err := raiseLoopback(); err != nil {
			return nil, fmt.Errorf("making a network of its own: %w", err)
		}
		controls = append(controls, ControlNoNetwork)
	}
	if o.World.Hostname != "" && o.Spaces&unix.CLONE_NEWUTS != 0 && unix.Sethostname([]byte(o.World.Hostname)) == nil {
		controls = append(controls, DidHostname)
	}
	if o.Spaces&unix.CLONE_NEWNS != 0 {
		inForce, err := o.mount()
		if err != nil {
			return nil, err
		}
		controls = append(controls, inForce...)
		if o.lastPID > 0 {
			controls = append(controls, DidPIDs)
		}
		if o.AliasDir != "" && slices.Contains(inForce, DidAlias) {
			o.Dir = o.AliasDir
		}
		if err := o.placeFiles(); err != nil {
			return nil, err
		}
		if err := o.showMounts(); err != nil {
			return nil, err
		}
		if err := giveUp(); err != nil {
			return nil, err
		}
		controls = append(controls, ControlNoNewPrivs)
	} else if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("giving up new privileges: %w", err)
	} else {
		controls = append(controls, ControlNoNewPrivs)
	}
	fences, err := o.landlock()
	if err != nil {
		return nil, err
	}
	controls = append(controls, fences...)
	if o.Spaces&unix.CLONE_NEWNET != 0 {
		if err := sockets.Confine(); err != nil {
			return nil, err
		}
	}
	if o.World.Umask != 0 {
		unix.Umask(int(o.World.Umask))
	}
	return controls, o.Limits.set()
}

// giveUp takes from this thread, for all that it starts, what could undo the
// mounts or look into this process. A step may make a user namespace of its own
// and be powerful there; the kernel locks the mounts that it inherits.
func giveUp() error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up ambient capabilities: %w", err)
	}
	// Files with set-user-ID or capabilities of their own must not give one back.
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("giving up new privileges: %w", err)
	}
	// What the user's session keeps in the kernel is not the step's. Where the
	// kernel keeps nothing, or for nobody here, there is nothing to leave.
	_, _ = unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0)
	if os.Geteuid() != 0 {
		return nil // that leaves this user's programs without any
	}
	for _, capability := range []uintptr{unix.CAP_SYS_ADMIN, unix.CAP_SYS_PTRACE} {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil {
			return fmt.Errorf("giving up a capability: %w", err)
		}
	}
	return nil
}

// exec starts the command in a session of its own.
func (o *Order) exec() (pid, pidfd int, err error) {
	if err := os.Chdir(o.Dir); err != nil {
		return 0, 0, err
	}
	path, err := o.look()
	if err != nil {
		return 0, 0, err
	}
	closeKeyrings()
	if o.Lookups != LookupsNone { // as late as can be, since this thread's own count too
		if err := listen(o.Lookups); err != nil && o.Lookups == LookupsAll {
			return 0, 0, fmt.Errorf("tracing what it looks for: %w", err)
		}
	}
	sys := &syscall.SysProcAttr{Setsid: true, PidFD: &pidfd}
	if fd, ok := o.Limits.folder(); ok {
		sys.UseCgroupFD, sys.CgroupFD = true, fd
	}
	if o.lastPID > 0 { // threads of this program take numbers too, but not later
		if err := o.setLastPID(); err != nil {
			return 0, 0, fmt.Errorf("setting the first number of a process: %w", err)
		}
	}
	pid, err = syscall.ForkExec(path, o.Argv, &syscall.ProcAttr{
		Env:   o.Env,
		Files: []uintptr{0, 1, 2},
		Sys:   sys,
	})
	if err != nil {
		return 0, 0, &os.PathError{Op: "executing", Path: path, Err: err}
	}
	return pid, pidfd, nil
}

// look finds the program as a shell would, by the PATH of the step.
func (o Order) look() (string, error) {
	var name string
	if len(o.Argv) > 0 {
		name = o.Argv[0]
	}
	for _, entry := range o.Env {
		if value, ok := strings.CutPrefix(entry, "PATH="); ok {
			if err := os.Setenv("PATH", value); err != nil {
				return "", err
			}
		}
	}
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrDot) {
		return path, nil // the step's PATH says so
	}
	return path, err
}

// reap takes leave of all processes that have ended, and reports whether pid is
// one of them.
func reap(pid int) (status unix.WaitStatus, ended bool) {
	for {
		var s unix.WaitStatus
		got, err := unix.Wait4(-1, &s, unix.WALL|unix.WNOHANG, nil)
		switch {
		case got == pid:
			status, ended = s, true
		case errors.Is(err, unix.EINTR):
		case got <= 0:
			return status, ended
		}
	}
}

func exitCode(status unix.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}
