// SPDX-License-Identifier: Apache-2.0

package launch

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// detach makes a daemon of a command that has not been started: a session of
// its own, and process and mount namespaces of its own. The latter are the
// guarantee that nothing outlives it: when the daemon dies, however it dies,
// the kernel kills every process that it started and drops every mount.
func detach(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS,
	}
	// Files that attest itself was started with, such as a pipe of a CI
	// system: a daemon that held them would keep their reader waiting.
	err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	if err != nil && !errors.Is(err, unix.ENOSYS) {
		return fmt.Errorf("keeping files from the engine: %w", err)
	}
	return nil
}

// Identify is the text by which a lock file names the calling process, whose
// number on this host is pid.
func Identify(pid int) (string, error) {
	started, err := startTime("self")
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d %s\n", pid, started), nil
}

// kill ends the daemon that holds the lock, if it still is the process that
// wrote its name there.
func (f Files) kill() error {
	text, err := os.ReadFile(f.Lock)
	if err != nil {
		return err
	}
	first, started, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	pid, err := strconv.Atoi(first)
	if err != nil {
		return fmt.Errorf("reading %s: %w", f.Lock, err)
	}
	// The descriptor goes on meaning the process that was looked at, even if
	// its number is given to another one meanwhile.
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if now, err := startTime(first); err != nil || now != started {
		return nil // the number was given to another process
	}
	return unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
}

// startTime is when a process was started, in the kernel's own count.
func startTime(pid string) (string, error) {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return "", err
	}
	// The second field is a name in brackets that may hold anything.
	_, rest, ok := strings.Cut(string(stat[max(0, strings.LastIndexByte(string(stat), ')')):]), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 20 {
		return "", fmt.Errorf("reading the start time of process %s", pid)
	}
	return fields[19], nil
}
