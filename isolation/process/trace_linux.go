// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process/stepinit"
)

// trace is what a step opens in the project, and what it executes anywhere, as
// fanotify tells it. Every mount of a step is the step's own, so there is nothing
// of anybody else in it, and nothing that the step can do about it: the kernel
// tells which file was opened, not which name somebody said.
//
// Watching mounts is for root alone. ARCHITECTURE.md says what it costs, and why
// it is not done in another way.
type trace struct {
	project string // its path
	alias   string // another, or empty

	from *watchers
	fd   int // a group of theirs
	// namespace is the step's, held until all is read: in one that is gone, files
	// have no names. -1 where there is none.
	namespace int
	stop      [2]int        // a pipe; the reader ends when it is closed
	done      chan struct{} // closed when the reader has ended; nil where there is none

	opened, executed map[string]bool // by path in the step
	listed           map[string]bool // folders whose names were read
	lost             bool            // the kernel could not tell everything
	finished         bool
}

// newTrace returns nothing where nothing can be traced.
func newTrace(from *watchers) *trace {
	fd, err := from.take()
	if err != nil {
		return nil
	}
	t := &trace{from: from, fd: fd, namespace: -1, opened: map[string]bool{}, executed: map[string]bool{}, listed: map[string]bool{}}
	if err := unix.Pipe2(t.stop[:], unix.O_CLOEXEC); err != nil {
		from.give(fd)
		return nil
	}
	return t
}

// watched returns the folders whose mounts a step's init is to show: the
// project first, and everything from which a program could be executed. There is
// nothing where these are too many.
func (k *keeper) watched(v stepinit.View) []string {
	paths := append([]string{v.Home}, v.Writable...)
	for _, m := range k.mounts {
		// What is executed from there is the step's own.
		if !slices.ContainsFunc([]string{"/proc", "/sys", "/dev", "/tmp", "/var/tmp"}, func(dir string) bool {
			_, ok := below(m.path, dir)
			return ok
		}) {
			paths = append(paths, m.path)
		}
	}
	paths = slices.DeleteFunc(paths, func(p string) bool { return p == "" || p == v.Project })
	slices.Sort(paths)
	paths = append([]string{v.Project}, slices.Compact(paths)...)
	if len(paths) > stepinit.MostWatched {
		return nil
	}
	return paths
}

// trace prepares to trace what an init is going to start, and has it show its
// mounts. There is nothing where that cannot be.
func (k *keeper) trace(o *stepinit.Order) *trace {
	if o.View.Dir == "" {
		return nil
	}
	paths := k.watched(o.View)
	if paths == nil {
		return nil
	}
	t := newTrace(&k.watchers)
	if t != nil {
		t.project, t.alias, o.Watch = o.View.Project, o.View.Alias, paths
	}
	return t
}

// watch begins to watch the mounts, of which the first is the project's.
func (t *trace) watch(mounts []int) {
	for i, mount := range mounts {
		which, mask := uint(unix.FAN_MARK_MOUNT), uint64(unix.FAN_OPEN_EXEC)
		if i == 0 {
			// The overlay is this step's alone, wherever else the step mounts it.
			which, mask = unix.FAN_MARK_FILESYSTEM, mask|unix.FAN_OPEN
		}
		if err := unix.FanotifyMark(t.fd, unix.FAN_MARK_ADD|which, mask, mount, "."); err != nil {
			t.lost = true
			return
		}
	}
	if len(mounts) > 0 {
		watchLists(t.fd, mounts[0])
	}
	t.done = make(chan struct{})
	go t.read()
}

// watchLists has the group told of folders that are listed. To be told of a read of
// folders, and not of files, takes Linux 6.0; before, nothing is told.
func watchLists(fd, mount int) {
	const ignore = unix.FAN_MARK_ADD | unix.FAN_MARK_MOUNT | unix.FAN_MARK_IGNORE_SURV
	if err := unix.FanotifyMark(fd, ignore, unix.FAN_ACCESS, mount, "."); err == nil { // of files
		_ = unix.FanotifyMark(fd, unix.FAN_MARK_ADD|unix.FAN_MARK_MOUNT, unix.FAN_ACCESS|unix.FAN_ONDIR, mount, ".")
	}
}

// finish waits for the last event and gives everything back, once nothing of the
// step is alive any more. It reports whether everything is known; of no trace,
// nothing is.
func (t *trace) finish() bool {
	if t == nil || t.finished {
		return t != nil && t.done != nil && !t.lost
	}
	t.finished = true
	_ = unix.Close(t.stop[1])
	if t.done != nil {
		<-t.done
	}
	_ = unix.Close(t.stop[0])
	t.from.give(t.fd)
	if t.namespace >= 0 {
		_ = unix.Close(t.namespace)
	}
	return t.done != nil && !t.lost
}

// read takes events until it is told to stop and there are no more.
func (t *trace) read() {
	defer close(t.done)
	buffer := make([]byte, 32<<10)
	fds := []unix.PollFd{{Fd: int32(t.fd), Events: unix.POLLIN}, {Fd: int32(t.stop[0]), Events: unix.POLLIN}}
	for {
		_, _ = unix.Poll(fds, -1)
		last := fds[1].Revents != 0
		for {
			n, err := unix.Read(t.fd, buffer)
			if errors.Is(err, unix.EINTR) {
				continue
			}
			if errors.Is(err, unix.EAGAIN) {
				break
			}
			if err != nil {
				t.lost = true // a file that could not be opened to tell its name
				continue
			}
			t.events(buffer[:n])
		}
		if last {
			return
		}
	}
}

// events takes note of what is in the buffer.
func (t *trace) events(b []byte) {
	const fixed = int(unsafe.Sizeof(unix.FanotifyEventMetadata{}))
	name := make([]byte, unix.PathMax)
	for len(b) >= fixed {
		e := (*unix.FanotifyEventMetadata)(unsafe.Pointer(&b[0]))
		if int(e.Event_len) < fixed || int(e.Event_len) > len(b) {
			t.lost = true
			return
		}
		b = b[e.Event_len:]
		if e.Fd < 0 {
			t.lost = true // an overflow, or no name
			continue
		}
		n, err := unix.Readlink(fmt.Sprintf("/proc/self/fd/%d", e.Fd), name)
		_ = unix.Close(int(e.Fd))
		if err != nil || n == len(name) {
			t.lost = true
			continue
		}
		// So the kernel names what has been removed since.
		path := strings.TrimSuffix(string(name[:n]), " (deleted)")
		if rest, ok := below(path, t.alias); ok && t.alias != "" {
			path = join(t.project, rest)
		}
		if e.Mask&unix.FAN_ACCESS != 0 {
			t.listed[path] = true
			continue
		}
		if e.Mask&unix.FAN_OPEN_EXEC != 0 {
			t.executed[path] = true
		} else if _, ok := below(path, t.project); !ok {
			// The step gave it another path, or has made a namespace of its own,
			// which is gone: then this is where it lies in the project.
			path = join(t.project, path)
			if _, err := os.Lstat(path); err != nil {
				t.lost = true
			}
		}
		t.opened[path] = true
	}
}

// tell notes in the outcome what was read and executed that nobody declared. It
// is for the caller to find the digests, who knows those of files that stayed as
// they are.
func (t *trace) tell(at *overlay, out *executor.Outcome) {
	for path := range t.opened {
		rest, inside := below(path, at.job.Root)
		switch {
		case !inside && t.executed[path]:
			out.Programs = append(out.Programs, executor.File{Path: path})
		case inside && at.undeclared(strings.TrimPrefix(rest, "/")):
			out.Read = append(out.Read, executor.File{Path: strings.TrimPrefix(rest, "/")})
		}
	}
	for path := range t.listed {
		out.Listed = at.listed(path, out.Listed)
	}
	slices.SortFunc(out.Read, byPath)
	slices.SortFunc(out.Programs, byPath)
	slices.Sort(out.Listed)
}

// listed adds a folder that the step read to the list, as the project has it, if it
// stood there before the step, which saw it.
func (o *overlay) listed(path string, list []string) []string {
	if path == o.job.Root {
		return append(list, ".")
	}
	p, inside := o.inProject(path)
	if !inside || !o.saw(p) {
		return list
	}
	if info, err := o.root.Lstat(filepath.FromSlash(p)); err != nil || !info.IsDir() {
		return list
	}
	return append(list, p)
}

// undeclared reports whether p is a file that stood in the project before the
// step, which saw it and did not declare it.
func (o *overlay) undeclared(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	if _, declared := o.job.Inputs.Find(p); p == "" || declared || first == ".attest" || first == ".git" || !o.saw(p) {
		return false
	}
	info, err := o.root.Lstat(filepath.FromSlash(p))
	return err == nil && info.Mode().IsRegular()
}
