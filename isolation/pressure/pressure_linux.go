// SPDX-License-Identifier: Apache-2.0

package pressure

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// short is when a step waits for memory (PSI, Documentation/accounting/psi.rst in
// Linux): in four seconds nothing of it got on for one. It has lost its way when that
// was so several times in a row, while nearly all that it may have was taken, so
// that programs themselves had no place. Windows of two seconds, or multiples of it,
// need no CAP_SYS_RESOURCE.
const (
	short  = "full 1000000 4000000"
	window = 4 * time.Second
	inRow  = 4
)

// Group is the control group of a step whose memory is limited.
type Group struct {
	// Pressure is the folder of the group in the hierarchy of version 2, which
	// alone counts how long a group waits.
	Pressure string
	// Processes is the folder of the group whose processes are the step's: the
	// same one where memory is of version 2 too.
	Processes string
	// Full reports whether the step has so much memory of its own that its
	// programs have no place. It is called from another goroutine.
	Full func() bool
}

// Watcher watches one group.
type Watcher struct {
	group    Group
	pressure *os.File
	stop     int // an eventfd
	done     chan struct{}
	killed   atomic.Bool
}

// Watch begins to watch a group. It returns nil where the kernel does not count how
// long groups wait. Stop it.
func Watch(g Group) (*Watcher, error) {
	f, err := os.OpenFile(filepath.Join(g.Pressure, "memory.pressure"), os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil //nolint:nilnil // nothing is to be watched
	}
	if err != nil {
		return nil, err
	}
	if _, err := f.WriteString(short); err != nil {
		f.Close()
		return nil, fmt.Errorf("watching the memory of the step: %w", err)
	}
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		f.Close()
		return nil, err
	}
	w := &Watcher{group: g, pressure: f, stop: stop, done: make(chan struct{})}
	go w.watch()
	return w, nil
}

// Stop ends the watch, of nil too, and reports whether a process was killed. It may
// be called once.
func (w *Watcher) Stop() (killed bool) {
	if w == nil {
		return false
	}
	one := [8]byte{1} // not 0 in either byte order
	_, _ = unix.Write(w.stop, one[:])
	<-w.done
	unix.Close(w.stop)
	w.pressure.Close()
	return w.killed.Load()
}

func (w *Watcher) watch() {
	defer close(w.done)
	fds := []unix.PollFd{{Fd: int32(w.pressure.Fd()), Events: unix.POLLPRI}, {Fd: int32(w.stop), Events: unix.POLLIN}}
	var last time.Time
	for times := 0; ; {
		_, err := unix.Poll(fds, -1)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil, fds[0].Revents&unix.POLLERR != 0, fds[1].Revents != 0:
			return
		case time.Since(last) > 2*window:
			times = 0
		}
		last = time.Now()
		if times++; !w.group.Full() {
			times = 0
		}
		if times >= inRow {
			w.killLargest()
			times = 0
		}
	}
}

// killLargest kills the process of a group that has the most memory. One that has
// ended meanwhile is no error, and its number is not soon another's.
func (w *Watcher) killLargest() {
	text, err := os.ReadFile(filepath.Join(w.group.Processes, "cgroup.procs"))
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
	if largest > 0 && unix.Kill(largest, unix.SIGKILL) == nil {
		w.killed.Store(true)
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

// Stat returns a value of a group's memory.stat by its name, 0 where it is not
// there.
func Stat(group, name string) int64 {
	text, err := os.ReadFile(filepath.Join(group, "memory.stat"))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
			return n
		}
	}
	return 0
}

// Killed reads a group's count of kills, from memory.events or, of version 1,
// memory.oom_control, and reports whether there were any.
func Killed(path string) bool {
	text, err := os.ReadFile(path)
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		if count, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok {
			return count != "0"
		}
	}
	return false
}
