// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"errors"
	"io"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// fd is a descriptor that is read and written without Go's poller, which would
// only be in the way.
type fd int

// Read reads what there is, at least one byte. The port gives none as long as
// it does not know that the host has the other end; the host always does, and
// the machine ends with it.
func (f fd) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(f), p)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, err
		case n > 0:
			return n, nil
		default:
			time.Sleep(time.Millisecond)
		}
	}
}

func (f fd) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Write(int(f), p[done:])
		if err != nil && !errors.Is(err, unix.EINTR) {
			return done, err
		}
		done += max(n, 0)
	}
	return done, nil
}

// conn is the control port with its lock: one frame at a time.
type conn struct {
	mu   sync.Mutex
	port fd
}

func (c *conn) send(kind Kind, payload []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return WriteFrame(c.port, kind, payload)
}

// copyOut sends all that comes out of r until nobody can write to it any more.
func (c *conn) copyOut(kind Kind, r io.Reader) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if err := c.send(kind, buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
