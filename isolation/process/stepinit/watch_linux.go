// SPDX-License-Identifier: Apache-2.0

package stepinit

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// showMounts lets the other end of the connection get hold of the step's mounts,
// and waits until it has done with them what it wants. Only it has the right to
// watch them.
func (o Order) showMounts() error {
	if len(o.Watch) == 0 {
		return nil
	}
	if len(o.Watch) > MostWatched {
		return fmt.Errorf("the step has %d mounts to be watched, more than %d", len(o.Watch), MostWatched)
	}
	var fds []int
	defer func() {
		for _, fd := range fds {
			_ = unix.Close(fd)
		}
	}()
	// While this is open, the mounts stay what they are after the step has ended,
	// and files that were opened keep their names.
	fd, err := unix.Open("/proc/self/ns/mnt", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening the step's mount namespace: %w", err)
	}
	fds = append(fds, fd)
	for _, path := range o.Watch {
		if fd, err := openFolder(path); err == nil {
			fds = append(fds, fd)
		}
	}
	if len(fds) == 1 {
		return errors.New("none of the step's mounts can be opened")
	}
	if err := unix.Sendmsg(connection, []byte{0}, unix.UnixRights(fds...), nil, 0); err != nil {
		return fmt.Errorf("showing the step's mounts: %w", err)
	}
	var answer [1]byte
	for {
		n, err := unix.Read(connection, answer[:])
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err == nil && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("waiting until the step's mounts are watched: %w", err)
		}
		return nil
	}
}
