// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	fscopy "github.com/tonistiigi/fsutil/copy"
	"golang.org/x/sys/unix"
)

// runcState is where OCI runtimes keep what they know of running containers.
const runcState = "/run"

// maxStepLog is how many bytes of a step's log are handed on, per stream. They
// are in memory until the step has ended, and so many that only a step that
// has lost its way prints more; its log then says that it was cut.
const maxStepLog = "1073741824"

// orphanAge is how long a process that ended stays before it is reaped on
// behalf of a parent that is gone. Our own children are waited for at once.
const orphanAge = 30 * time.Second

// Contained reports whether this process is the first of its PID namespace, as
// package launch starts it. Nothing that such a process starts outlives it.
func Contained() bool { return os.Getpid() == 1 }

// Contain runs this program again, contained, and returns its exit code when
// it ended. Signals that ask for an end are handed on; if this process is
// killed, so is the other one.
func Contain() (int, error) {
	runtime.LockOSThread() // the death of the thread, not of the process, is what the other one notices
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true, // a terminal's Ctrl-C comes once, from here
	}
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(ends)
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("making namespaces for the engine: %w", err)
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case <-ends:
				_ = cmd.Process.Signal(syscall.SIGTERM)
			case <-done:
				return
			}
		}
	}()
	err := cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return 0, err
	}
	return cmd.ProcessState.ExitCode(), nil
}

// Settle makes a contained process at home in its namespaces: its mounts stay
// its own, /proc shows its own processes, and what the OCI runtime notes about
// containers is forgotten with it. It returns the process's number outside.
func Settle() (hostPID int, err error) {
	// BuildKit sets the modes that it is told, whatever the caller's mask was.
	unix.Umask(0)
	fscopy.UmaskIsZero = true
	raiseLimits()
	if err := errors.Join(os.Setenv("BUILDKIT_STEP_LOG_MAX_SIZE", maxStepLog), os.Setenv("BUILDKIT_STEP_LOG_MAX_SPEED", "-1")); err != nil {
		return 0, err
	}
	// The /proc that is still mounted here is the one outside.
	self, err := os.Readlink("/proc/self")
	if err != nil {
		return 0, err
	}
	hostPID, err = strconv.Atoi(self)
	if err != nil {
		return 0, fmt.Errorf("reading /proc/self: %w", err)
	}
	// Slave, not private: what is unmounted outside must not be kept busy here.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return 0, fmt.Errorf("keeping mounts apart: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NOEXEC|unix.MS_NODEV, ""); err != nil {
		return 0, fmt.Errorf("mounting /proc: %w", err)
	}
	for _, dir := range []string{runcState + "/runc", runcState + "/crun"} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return 0, err
		}
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0700"); err != nil {
			return 0, fmt.Errorf("mounting %s: %w", dir, err)
		}
	}
	go reapOrphans()
	return hostPID, nil
}

// reapOrphans waits for processes whose parent is gone, which is the duty of
// the first process of a namespace. It must not take a child from the part of
// this program that waits for it, so it takes only those that nobody wanted
// for a while.
func reapOrphans() {
	seen := map[int]bool{}
	for range time.Tick(orphanAge) {
		now := map[int]bool{}
		for _, pid := range zombies() {
			if !seen[pid] {
				now[pid] = true
				continue
			}
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
		}
		seen = now
	}
}

// zombies lists this process's children that ended and were not waited for.
func zombies() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	self := strconv.Itoa(os.Getpid())
	var found []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		// The name, in brackets, may hold anything: state and parent follow it.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) > 1 && fields[0] == "Z" && fields[1] == self {
			found = append(found, pid)
		}
	}
	return found
}
