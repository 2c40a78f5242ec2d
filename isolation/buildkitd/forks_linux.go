// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"bytes"
	"errors"
	"path"

	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// Whether a container was to have more processes than its limit is counted in its
// cgroup, which the OCI runtime removes as soon as the container has ended, and whose
// version 1 tells nobody of what it counts. But the first time is also in the
// kernel's log, with the name of the cgroup, which no other container has.

const kernelLog = "/dev/kmsg"

// forkWatch listens to the kernel's log while a container runs.
type forkWatch struct {
	log   int    // a descriptor that is read from where the log ended
	group string // the last part of the cgroup's path that is the container's own
}

// watchForks begins to listen. It is nil where there is no cgroup for processes, or
// where the kernel's log is not this engine's to read. Call end.
func (b bounds) watchForks(spec *specs.Spec) *forkWatch {
	if !b.has(pidsBound) {
		return nil
	}
	fd, err := unix.Open(kernelLog, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	if _, err := unix.Seek(fd, 0, unix.SEEK_END); err != nil {
		unix.Close(fd)
		return nil
	}
	return &forkWatch{log: fd, group: spec.Linux.CgroupsPath}
}

// end ends the watch of a container that has ended, of nil too, and reports whether
// the kernel kept it from having more processes.
func (w *forkWatch) end() (met bool) {
	if w == nil {
		return false
	}
	defer unix.Close(w.log)
	record := make([]byte, 8<<10) // the kernel gives no longer one (Documentation/ABI/testing/dev-kmsg)
	for {
		n, err := unix.Read(w.log, record)
		switch {
		case errors.Is(err, unix.EPIPE), errors.Is(err, unix.EINTR): // the oldest were overwritten
		case err != nil || n <= 0: // EAGAIN at the end
			return false
		case rejects(record[:n], w.group):
			return true
		}
	}
}

// rejects reports whether a record of the kernel's log says that a process was
// refused in the group. What others write to the log comes with another facility
// than the kernel's, which is 0: their records begin with a number above 7.
func rejects(record []byte, group string) bool {
	head, text, _ := bytes.Cut(record, []byte(";"))
	level, _, _ := bytes.Cut(head, []byte(","))
	line, _, _ := bytes.Cut(text, []byte("\n"))
	rest, ok := bytes.CutPrefix(line, []byte("cgroup: fork rejected by pids controller in "))
	// The engine may be in a container whose own groups stand in front.
	return ok && len(level) == 1 && level[0] < '8' && bytes.HasSuffix(rest, []byte(path.Clean("/"+group)))
}
