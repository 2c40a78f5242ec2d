// SPDX-License-Identifier: Apache-2.0

package stepinit

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// firstGroup is the descriptor of the first control group.
const firstGroup = connection + 1

// set keeps this thread, and all that it starts from now on, to the limits.
func (l Limits) set() error {
	for _, limit := range []struct {
		what  string
		which int
		value uint64
	}{
		{"memory", unix.RLIMIT_DATA, l.Memory},
		{"processes", unix.RLIMIT_NPROC, l.PIDs},
		{"file sizes", unix.RLIMIT_FSIZE, l.FileSize},
	} {
		if limit.value == 0 {
			continue
		}
		if err := unix.Setrlimit(limit.which, &unix.Rlimit{Cur: limit.value, Max: limit.value}); err != nil {
			return fmt.Errorf("limiting %s: %w", limit.what, err)
		}
	}
	if len(l.CPUs) > 0 {
		var set unix.CPUSet
		for _, cpu := range l.CPUs {
			set.Set(cpu)
		}
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			return fmt.Errorf("limiting processors: %w", err)
		}
	}
	for i, kind := range l.Groups {
		if kind != GroupTasks {
			continue
		}
		// This is for one thread, and 0 for the one that writes.
		if _, err := unix.Write(firstGroup+i, []byte("0")); err != nil {
			return fmt.Errorf("joining a control group: %w", err)
		}
	}
	return nil
}

// folder returns the control group of version 2 that the command starts in.
func (l Limits) folder() (fd int, ok bool) {
	for i, kind := range l.Groups {
		if kind == GroupFolder {
			return firstGroup + i, true
		}
	}
	return 0, false
}

// raiseLoopback makes 127.0.0.1 and ::1 work in a network namespace that has
// nothing else.
func raiseLoopback() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}
