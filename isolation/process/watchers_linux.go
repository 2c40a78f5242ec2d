// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// watchers are fanotify groups that watch nothing at the moment. To close one
// just after it has watched takes ten milliseconds and more, until the kernel is
// sure that nobody looks at its marks; one that a step is done with therefore
// serves the next. The zero value has none. Safe for concurrent use.
type watchers struct {
	mu   sync.Mutex
	free []int
}

// take returns a group, a new one where none is free.
func (w *watchers) take() (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.free); n > 0 {
		fd := w.free[n-1]
		w.free = w.free[:n-1]
		return fd, nil
	}
	const how = unix.FAN_CLASS_NOTIF | unix.FAN_UNLIMITED_QUEUE | unix.FAN_CLOEXEC | unix.FAN_NONBLOCK
	// Nothing must wait for the other end of a FIFO.
	const files = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_CLOEXEC | unix.O_LARGEFILE
	return unix.FanotifyInit(how, files)
}

// give takes back a group, which from now on watches nothing. One that cannot be
// had without what it watched, or what it still has to tell, is closed.
func (w *watchers) give(fd int) {
	err := unix.FanotifyMark(fd, unix.FAN_MARK_FLUSH|unix.FAN_MARK_MOUNT, 0, unix.AT_FDCWD, "")
	if err == nil {
		err = unix.FanotifyMark(fd, unix.FAN_MARK_FLUSH|unix.FAN_MARK_FILESYSTEM, 0, unix.AT_FDCWD, "")
	}
	if err != nil || drain(fd) != nil {
		_ = unix.Close(fd)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.free = append(w.free, fd)
}

// close closes the groups that were given back.
func (w *watchers) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, fd := range w.free {
		_ = unix.Close(fd)
	}
	w.free = nil
}

// drain reads what a group has to tell, and forgets it.
func drain(fd int) error {
	buffer := make([]byte, 4<<10)
	for {
		n, err := unix.Read(fd, buffer)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.EAGAIN):
			return nil
		case err != nil:
			return err
		}
		const fixed = int(unsafe.Sizeof(unix.FanotifyEventMetadata{}))
		for b := buffer[:n]; len(b) >= fixed; {
			e := (*unix.FanotifyEventMetadata)(unsafe.Pointer(&b[0]))
			if e.Fd >= 0 {
				_ = unix.Close(int(e.Fd))
			}
			if int(e.Event_len) < fixed || int(e.Event_len) > len(b) {
				return unix.EBADMSG
			}
			b = b[e.Event_len:]
		}
	}
}
