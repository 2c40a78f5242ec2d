// SPDX-License-Identifier: Apache-2.0

package stepinit

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// connection is the descriptor on which a keeper gets requests, and an init its
// order.
const connection = 3

// endWithin is how long the inits of a keeper whose owner is gone may take to
// end by themselves.
const endWithin = time.Second

// oomScore has the kernel end what a step started before other programs of this
// machine, when there is no memory left: it counts as a half of all memory more.
const oomScore = "500"

// Main is the whole of a program for which [Is] is true: it plays the part that
// args name and returns the code to exit with. It must run before anything else
// that the program does.
func Main(args []string) int {
	err := errors.New("this is not a command; it is started for the steps of a run")
	if isSocket(connection) {
		switch args[0] {
		case KeeperName:
			err = keep(slices.Contains(args, InNamespaces), slices.Contains(args, Closed))
		case InitName:
			err = serveStep()
		}
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "attest-init: %v\n", err)
		return 2
	}
	return 0
}

func isSocket(fd int) bool {
	_, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	return err == nil
}

// closeOnExec keeps everything that this process has open from what it starts.
func closeOnExec() {
	if err := unix.CloseRange(3, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		syscall.CloseOnExec(connection)
	}
}

// keeper is a running keeper. It has one thread that waits for everything at
// once, so that nothing in it waits for the Go scheduler.
type keeper struct {
	inits []child
}

// child is an init that was not waited for yet.
type child struct {
	id         uint64
	pid, pidfd int
	// held is a copy of its connection, closed when nothing of the step is left:
	// this is how the other end knows.
	held int
}

// keep serves requests until their sender is gone.
func keep(inNamespaces, closed bool) error {
	closeOnExec()
	// What a step starts has it too. Anybody may raise one's own.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte(oomScore), 0)
	if granted, err := greet(inNamespaces, closed); err != nil || !granted {
		return err
	}
	k := &keeper{}
	for k.request(k.poll(connection, -1)) {
	}
	// The connections of all inits are closed as well.
	for late := time.Now().Add(endWithin); len(k.inits) > 0 && time.Now().Before(late); {
		k.poll(-1, time.Until(late))
	}
	for _, c := range k.inits {
		_ = unix.Kill(c.pid, unix.SIGKILL)
	}
	for len(k.inits) > 0 {
		k.poll(-1, -1)
	}
	return nil
}

// poll waits until there is something to read from fd, which is what it returns,
// or an init has ended, or the time is over, if it is not negative.
func (k *keeper) poll(fd int, limit time.Duration) (readable bool) {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for _, c := range k.inits {
		fds = append(fds, unix.PollFd{Fd: int32(c.pidfd), Events: unix.POLLIN})
	}
	n, err := unix.Poll(fds, milliseconds(limit))
	// Where the kernel has no pidfds, the signal for a child ends the poll.
	k.inits = slices.DeleteFunc(k.inits, child.reap)
	return err == nil && n > 0 && fds[0].Revents != 0
}

// milliseconds is a time as poll takes it.
func milliseconds(d time.Duration) int {
	if d < 0 {
		return -1
	}
	return int(d.Milliseconds()) + 1
}

// reap reports whether an init has ended, and then takes leave of it.
func (c child) reap() bool {
	if pid, err := unix.Wait4(c.pid, nil, unix.WNOHANG, nil); pid == 0 || errors.Is(err, unix.EINTR) {
		return false
	}
	_ = unix.Close(c.pidfd)
	_ = unix.Close(c.held)
	return true
}

// greet prepares what steps have in common, and says how that went.
func greet(inNamespaces, closed bool) (granted bool, err error) {
	g := Greeting{Version: Version}
	if inNamespaces {
		if err := prepare(closed); err != nil {
			g.Refused = err.Error()
		}
	}
	if g.Refused != "" {
		return false, unix.Send(connection, g.marshal(), 0)
	}
	mounts, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return false, err
	}
	defer mounts.Close()
	return true, unix.Sendmsg(connection, g.marshal(), unix.UnixRights(int(mounts.Fd())), nil, 0)
}

// Descriptors returns the files that came with a packet.
func Descriptors(rights []byte) ([]int, error) {
	messages, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(messages) == 0 {
		return nil, err
	}
	return unix.ParseUnixRights(&messages[0])
}

// request answers a request, when there is one, and reports whether there may
// be more.
func (k *keeper) request(readable bool) bool {
	if !readable {
		return true
	}
	packet, rights := make([]byte, requestSize+1), make([]byte, unix.CmsgSpace(4*(Files+MoreFiles)))
	n, m, _, _, err := unix.Recvmsg(connection, packet, rights, unix.MSG_CMSG_CLOEXEC)
	if errors.Is(err, unix.EINTR) {
		return true
	}
	if n == 0 || err != nil {
		return false
	}
	files, err := Descriptors(rights[:m])
	if r, ok := parseRequest(packet[:n]); ok && err == nil {
		switch {
		case r.Kind == Kill:
			k.kill(r.ID)
		case r.Kind == Start && len(files) >= Files:
			k.start(r, files)
		}
	}
	for _, fd := range files {
		_ = unix.Close(fd)
	}
	return true
}

// kill ends an init that did not end in time, and first what it looks after: where
// it is not the first process of a namespace, that would outlive it.
func (k *keeper) kill(id uint64) {
	for _, c := range k.inits {
		if c.id != id {
			continue
		}
		for late := time.Now().Add(endWithin); time.Now().Before(late); time.Sleep(time.Millisecond) {
			below := descendants(c.pid)
			if len(below) == 0 {
				break
			}
			for _, pid := range below {
				_ = unix.Kill(pid, unix.SIGKILL)
			}
		}
		_ = unix.Kill(c.pid, unix.SIGKILL)
	}
}

// start starts an init.
func (k *keeper) start(r Request, files []int) {
	c := child{id: r.ID}
	var err error
	if c.held, err = unix.FcntlInt(uintptr(files[2]), unix.F_DUPFD_CLOEXEC, 0); err == nil {
		given := []uintptr{0}
		for _, fd := range files {
			given = append(given, uintptr(fd))
		}
		// As the user namespace is no other, this process is not copied.
		c.pid, err = syscall.ForkExec("/proc/self/exe", []string{InitName}, &syscall.ProcAttr{
			Dir:   "/",
			Env:   []string{"GOMAXPROCS=1"}, // it mostly waits, and starts sooner
			Files: given,
			Sys:   &syscall.SysProcAttr{Setsid: true, Cloneflags: uintptr(r.Spaces), PidFD: &c.pidfd},
		})
	}
	if err == nil {
		k.inits = append(k.inits, c)
		return
	}
	if c.held >= 0 {
		_ = unix.Close(c.held)
	}
	said := Report{NotRun: "starting its init: " + err.Error()}
	if IsRefusal(err) {
		said = Report{Refused: err.Error()}
	}
	_, _ = unix.Write(files[2], said.Marshal()) // who would read it may be gone
}

// IsRefusal tells a namespace that is not granted from other trouble.
func IsRefusal(err error) bool {
	for _, refusal := range []error{unix.EPERM, unix.EACCES, unix.ENOSPC, unix.EUSERS, unix.EINVAL, unix.ENOSYS} {
		if errors.Is(err, refusal) {
			return true
		}
	}
	return false
}
