// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// short is when a step waits for memory (PSI, Documentation/accounting/psi.rst in
// Linux): in five seconds nothing of it got on for one and a half. It has lost its
// way when that was so several times in a row, while nearly all that it may have
// was memory of its processes, so that programs themselves had no place.
const (
	short      = "full 1500000 5000000"
	window     = 5 * time.Second
	inRow      = 3
	ownPercent = 90
)

// relieve kills the largest process of a step that has lost its way, as the kernel
// does when memory is at an end. The kernel does not where it can still take away
// pages of programs, which are read again at once: then a step that fills its
// memory would go on for ever without getting anywhere. It ends with the machine.
func (o Order) relieve(group string) error {
	if o.Memory == 0 {
		return nil
	}
	pressure, err := os.OpenFile(group+"/memory.pressure", os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil // a kernel that does not count it
	}
	if err != nil {
		return err
	}
	if _, err := pressure.WriteString(short); err != nil {
		return fmt.Errorf("watching the memory of the step: %w", errors.Join(err, pressure.Close()))
	}
	go func() {
		fds := []unix.PollFd{{Fd: int32(pressure.Fd()), Events: unix.POLLPRI}}
		var last time.Time
		for times := 0; ; {
			_, err := unix.Poll(fds, -1)
			switch {
			case errors.Is(err, unix.EINTR):
				continue
			case err != nil, fds[0].Revents&unix.POLLERR != 0:
				return
			case time.Since(last) > 2*window:
				times = 0
			}
			last = time.Now()
			if times++; own(group)*100 < o.Memory*ownPercent {
				times = 0
			}
			if times >= inRow {
				killLargest(group)
				times = 0
			}
		}
	}()
	return nil
}

// own returns how many bytes the processes of a cgroup have that are not of files.
func own(group string) int64 {
	text, err := os.ReadFile(group + "/memory.stat")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "anon "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return n
		}
	}
	return 0
}

// killLargest kills the process of a cgroup that has the most memory. One that has
// ended meanwhile is no error, and its number is not soon another's.
func killLargest(group string) {
	text, err := os.ReadFile(group + "/cgroup.procs")
	if err != nil {
		return
	}
	largest, most := 0, int64(0)
	for _, line := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(line)
		if err != nil {
			continue
		}
		if pages := resident(pid); pages > most {
			largest, most = pid, pages
		}
	}
	if largest > 0 {
		_ = unix.Kill(largest, unix.SIGKILL)
	}
}

// resident returns how many pages of a process are in memory (proc_pid_statm(5)).
func resident(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	const field = 1
	if len(fields) <= field {
		return 0
	}
	pages, _ := strconv.ParseInt(fields[field], 10, 64)
	return pages
}
