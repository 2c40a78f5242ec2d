// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process/stepinit"
)

// initProcess is a running init, seen from outside.
type initProcess struct {
	keeper *keeper
	id     uint64
	conn   *os.File // its other end is closed when nothing of the step is left
	fd     int      // of conn
	out    *output
}

// startInit has an init started and tells it what to run.
func (k *keeper) startInit(o stepinit.Order, streams executor.Streams, more []*os.File) (*initProcess, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("making a socket pair: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "connection")
	defer theirs.Close()
	if err := unix.SetNonblock(pair[0], true); err != nil {
		_ = unix.Close(pair[0])
		return nil, err
	}
	in := &initProcess{keeper: k, conn: os.NewFile(uintptr(pair[0]), "connection"), fd: pair[0]}
	if in.out, err = newOutput(streams); err != nil {
		_ = in.conn.Close()
		return nil, err
	}
	in.id, err = k.ask(stepinit.Request{Kind: stepinit.Start, Spaces: o.Spaces}, append([]*os.File{in.out.files[0], in.out.files[1], theirs}, more...)...)
	in.out.started()
	if err != nil {
		_ = in.conn.Close()
		_ = in.out.wait(drainLimit)
		return nil, err
	}
	o.Hide = k.mounts.reach(o.Hide)
	// An init that ended already says why, or that it says nothing does.
	_, _ = in.conn.Write(o.Marshal())
	return in, nil
}

// wait waits for the end of the init and of all that it looked after. When ctx
// ends first, the error is its cause.
func (in *initProcess) wait(ctx context.Context, t *trace, l *lookups) (stepinit.Report, error) {
	defer in.conn.Close()
	ended := make(chan []byte, 1)
	go func() {
		// The connection may end with an error where the init left something
		// unread; what it said came before.
		begin := in.showTo(t)
		if begin == nil {
			begin = in.listenBy(l)
		}
		text, _ := io.ReadAll(in.conn)
		ended <- append(begin, text...)
	}()
	select {
	case text := <-ended:
		outErr := in.out.wait(heldOpenLimit)
		said, ok := stepinit.ParseReport(text)
		switch {
		case errors.Is(outErr, errHeldOpen):
			return stepinit.Report{}, outErr
		case !ok:
			return stepinit.Report{}, errors.New("a step's init ended without a report")
		case outErr != nil:
			return stepinit.Report{}, fmt.Errorf("passing on what the command printed: %w", outErr)
		}
		return said, nil
	case <-ctx.Done():
	}
	_ = unix.Shutdown(in.fd, unix.SHUT_WR) // which tells the init to stop
	select {
	case <-ended:
	case <-time.After(stopLimit):
		_, _ = in.keeper.ask(stepinit.Request{Kind: stepinit.Kill, ID: in.id})
		<-ended
	}
	_ = in.out.wait(drainLimit)
	return stepinit.Report{}, context.Cause(ctx)
}

// showTo lets the trace begin once the init shows the step's mounts. What came
// instead is returned.
func (in *initProcess) showTo(t *trace) []byte {
	if t == nil {
		return nil
	}
	text, mounts := in.take(1 + stepinit.MostWatched)
	if len(mounts) < 2 {
		return text // the beginning of a report
	}
	t.namespace = mounts[0]
	t.watch(mounts[1:])
	for _, fd := range mounts[1:] {
		_ = unix.Close(fd)
	}
	_, _ = in.conn.Write([]byte{0}) // an init that has ended does not wait for it
	return nil
}

// listenBy lets l hear what the step looks for. What came instead is returned.
func (in *initProcess) listenBy(l *lookups) []byte {
	if l == nil {
		return nil
	}
	text, listener := in.take(1)
	if len(listener) != 1 {
		return text
	}
	l.listen(listener[0])
	return nil
}

// take takes one byte from the init, and the files that come with it.
func (in *initProcess) take(most int) (text []byte, files []int) {
	text, rights := make([]byte, 1), make([]byte, unix.CmsgSpace(4*most))
	raw, err := in.conn.SyscallConn()
	if err != nil {
		return nil, nil
	}
	var n, m int
	err = raw.Read(func(fd uintptr) bool {
		var failed error
		n, m, _, _, failed = unix.Recvmsg(int(fd), text, rights, unix.MSG_CMSG_CLOEXEC)
		return !errors.Is(failed, unix.EAGAIN) && !errors.Is(failed, unix.EINTR)
	})
	if err != nil || n <= 0 {
		return nil, nil
	}
	files, _ = stepinit.Descriptors(rights[:m]) // none came where this is an error
	return text[:n], files
}
