// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/pressure"
)

// Whether the kernel killed something at a limit of memory stands in the cgroup,
// which the OCI runtime removes as soon as the container has ended. So its cgroup is
// made beforehand, and watched from outside: in version 2 from the folder above it,
// whose counters go with it; in version 1, where each folder counts for itself, by
// an eventfd.

// memoryWatch watches the memory of one container.
type memoryWatch struct {
	group    string // the folder that the limit is written to, or in version 2 the one above
	unified  bool
	events   int // an eventfd, -1 for none: kills at the limit, and one for the end of the group
	made     []string
	pressure *pressure.Watcher
}

// goneTime is how long the kernel may take to tell of the end of a group.
const goneTime = 100 * time.Millisecond

// watchMemory begins to watch what a container's memory comes to, and ends what
// fills it and gets nowhere. It is nil where there is no cgroup for memory. Call
// end.
func (b bounds) watchMemory(spec *specs.Spec) (*memoryWatch, error) {
	if !b.has(memoryBound) {
		return nil, nil //nolint:nilnil // nothing is to be watched
	}
	path, limit := spec.Linux.CgroupsPath, *spec.Linux.Resources.Memory.Limit
	w := &memoryWatch{unified: b.unifiedTree, events: -1}
	watched := pressure.Group{}
	if w.unified {
		w.group = filepath.Join(cgroupMount, path)
		spec.Linux.CgroupsPath = filepath.Join(path, "step")
		watched.Pressure, watched.Processes = w.group, filepath.Join(w.group, "step")
	} else {
		w.group = filepath.Join(cgroupMount, memoryBound, path)
		watched.Pressure, watched.Processes = filepath.Join(cgroupMount, "unified", path), w.group
	}
	group, names := w.group, [2]string{"memory.usage_in_bytes", "cache"}
	if w.unified {
		names = [2]string{"memory.current", "file"}
	}
	watched.Full = func() bool { return isFull(group, names[0], names[1], limit) }
	if err := w.begin(watched); err != nil {
		w.end(false)
		return nil, fmt.Errorf("watching the step's memory: %w", err)
	}
	return w, nil
}

// isFull reports whether files have less than a fifth of a group's memory: what is
// left for the programs of a step that are read from them.
func isFull(group, usage, files string, limit int64) bool {
	text, err := os.ReadFile(filepath.Join(group, usage))
	if err != nil {
		return false
	}
	used, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	const own = 80 // percent
	return err == nil && (used-pressure.Stat(group, files))*100 >= limit*own
}

func (w *memoryWatch) begin(watched pressure.Group) (err error) {
	for _, dir := range []string{w.group, watched.Pressure} {
		// Version 1 has no folder for pressure where nobody mounted version 2.
		if _, err := os.Stat(filepath.Dir(filepath.Dir(filepath.Dir(dir)))); err != nil {
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		w.made = append(w.made, dir)
	}
	if !w.unified {
		if w.events, err = killsOf(w.group); err != nil {
			return err
		}
	}
	w.pressure, err = pressure.Watch(watched)
	return err
}

// killsOf returns an eventfd that counts the kills at the limit of a group of
// version 1 (Documentation/admin-guide/cgroup-v1/memory.rst in Linux, 10).
func killsOf(group string) (int, error) {
	control, err := os.Open(filepath.Join(group, "memory.oom_control"))
	if err != nil {
		return -1, err
	}
	defer control.Close()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return -1, err
	}
	text := fmt.Sprintf("%d %d", fd, control.Fd())
	if err := os.WriteFile(filepath.Join(group, "cgroup.event_control"), []byte(text), 0); err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// end ends the watch of a container that has ended, of nil too, and removes what the
// runtime did not. It reports whether a container that failed had something of it
// killed for want of memory.
func (w *memoryWatch) end(failed bool) (met bool) {
	if w == nil {
		return false
	}
	met = w.pressure.Stop() && failed
	if failed && !met {
		met = w.killed()
	}
	if w.events >= 0 {
		unix.Close(w.events)
	}
	for _, dir := range w.made {
		removeIdle(dir)
	}
	return met
}

func (w *memoryWatch) killed() bool {
	switch {
	case w.unified:
		return pressure.Killed(filepath.Join(w.group, "memory.events"))
	case w.events < 0:
		return false
	}
	return pressure.Killed(filepath.Join(w.group, "memory.oom_control")) || w.killedBeforeEnd()
}

// killedBeforeEnd reads what the eventfd counts: at the end of the group, of which
// the kernel tells a moment later, one more than kills. Where the group was not
// removed, it can be read instead.
func (w *memoryWatch) killedBeforeEnd() bool {
	const endAlone = 1
	fds := []unix.PollFd{{Fd: int32(w.events), Events: unix.POLLIN}}
	var count uint64
	for end := time.Now().Add(goneTime); count <= endAlone; {
		left := time.Until(end)
		if left < 0 {
			return false
		}
		if n, err := unix.Poll(fds, int(left.Milliseconds())+1); n <= 0 && !errors.Is(err, unix.EINTR) {
			return false
		}
		var text [8]byte
		if _, err := unix.Read(w.events, text[:]); err == nil {
			count += binary.NativeEndian.Uint64(text[:])
		}
	}
	return true
}
