// SPDX-License-Identifier: Apache-2.0

//go:build unix

package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/executor"
)

// inheritedFD is where a worker program finds the socket on which its parent
// hands it connections.
const inheritedFD = 3

// Process is a worker program that is started when the first job needs it and
// ends with this one. It is reached through descriptors alone, so that there
// is no path by which a step could talk to it. Its zero value is of no use; its
// fields are not to be changed once Dial was called. Safe for concurrent use.
type Process struct {
	// Find names the program, by its absolute path, when it has to start.
	Find    func() (string, error)
	Args    []string // without the program
	Environ []string // the whole environment
	Stderr  io.Writer

	mu      sync.Mutex
	control *net.UnixConn // nil until started
	cmd     *exec.Cmd
}

// Dial is for [Client].Dial: a connection to the program, which it starts when
// it does not run yet.
func (p *Process) Dial(context.Context, func(executor.Progress)) (io.ReadWriteCloser, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.control == nil {
		if err := p.start(); err != nil {
			return nil, err
		}
	}
	ours, theirs, err := pair()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", executor.ErrUnavailable, err)
	}
	defer theirs.Close()
	if _, _, err := p.control.WriteMsgUnix([]byte{0}, unix.UnixRights(int(theirs.Fd())), nil); err != nil {
		_ = ours.Close()
		return nil, fmt.Errorf("%w: %s has ended: %w", executor.ErrUnavailable, p.cmd.Path, err)
	}
	return ours, nil
}

func (p *Process) start() error {
	program, err := p.Find()
	if err != nil {
		return err
	}
	ours, theirs, err := pair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	cmd := exec.Command(program, p.Args...)
	cmd.Env, cmd.Stderr = p.Environ, p.Stderr
	cmd.ExtraFiles = []*os.File{theirs} // becomes inheritedFD
	// Ctrl-C is for attest, which stops the jobs and then the program.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		_ = ours.Close()
		return fmt.Errorf("%w: starting %s: %w", executor.ErrUnavailable, program, err)
	}
	p.control, p.cmd = ours, cmd
	return nil
}

// Close ends the program and whatever jobs it still has, and waits for it. It
// is no error that it never started.
func (p *Process) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.control == nil {
		return nil
	}
	_ = p.control.Close() // which is how the program learns that it is to end
	p.control = nil
	return p.cmd.Wait()
}

// pair returns two connected sockets, ours ready for use and theirs to be given
// away.
func pair() (ours *net.UnixConn, theirs *os.File, err error) {
	// Not every system makes sockets that are closed on exec from the start: no
	// program may start in between.
	syscall.ForkLock.RLock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, fmt.Errorf("making a socket pair: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "worker")
	if ours, err = unixConn(fds[0]); err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// unixConn makes a connection of a descriptor, which it takes over.
func unixConn(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "worker")
	defer f.Close() // FileConn has its own copy
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("using a socket pair: %w", err)
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		_ = c.Close()
		return nil, errors.New("using a socket pair: not a unix socket")
	}
	return conn, nil
}

// Inherited returns the listener on which a worker program gets the
// connections that its parent's [Process] dials. Accept returns [io.EOF] when
// the parent has closed it or is gone. Call it once, and early: before the
// program opens files of its own.
func Inherited() (net.Listener, error) {
	unix.CloseOnExec(inheritedFD)
	control, err := unixConn(inheritedFD)
	if err != nil {
		return nil, fmt.Errorf("%w (attest starts this program, people do not)", err)
	}
	return handed{control}, nil
}

// handed is a listener whose connections arrive as descriptors.
type handed struct{ *net.UnixConn }

// Accept implements [net.Listener].
func (h handed) Accept() (net.Conn, error) {
	var one [1]byte
	oob := make([]byte, unix.CmsgSpace(4))
	n, oobn, _, _, err := h.ReadMsgUnix(one[:], oob)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, io.EOF
	}
	messages, err := unix.ParseSocketControlMessage(oob[:oobn])
	if err != nil {
		return nil, err
	}
	if len(messages) != 1 {
		return nil, errors.New("a connection came without its descriptor")
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return nil, err
	}
	return unixConn(fds[0])
}

// Addr implements [net.Listener].
func (h handed) Addr() net.Addr { return h.LocalAddr() }
