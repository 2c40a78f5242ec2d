// SPDX-License-Identifier: Apache-2.0

package stepinit

import (
	"errors"
	"fmt"
	"os"
	"sync"
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

// Main is the whole of a program for which [Is] is true: it plays the part that
// args name and returns the code to exit with. It must run before anything else
// that the program does.
func Main(args []string) int {
	var err error
	switch {
	case !isSocket(connection) || len(args) == 0:
		err = errors.New("it is started for the steps of a run")
	case args[0] == KeeperName:
		err = keep(len(args) > 1)
	case args[0] == InitName:
		err = serveStep()
	default:
		err = errors.New("it is started for the steps of a run")
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "attest-init: this is not a command: %v\n", err)
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

// keeper is a running keeper.
type keeper struct {
	mu    sync.Mutex
	inits map[uint64]int // process IDs, of those that were not waited for yet
	all   sync.WaitGroup
}

// keep serves requests until their sender is gone.
func keep(inNamespaces bool) error {
	closeOnExec()
	if granted, err := greet(inNamespaces); err != nil || !granted {
		return err
	}
	k := &keeper{inits: map[uint64]int{}}
	packet, rights := make([]byte, requestSize+1), make([]byte, unix.CmsgSpace(4*Files))
	for {
		n, m, _, _, err := unix.Recvmsg(connection, packet, rights, unix.MSG_CMSG_CLOEXEC)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if n == 0 || err != nil {
			break
		}
		files, err := Descriptors(rights[:m])
		if r, ok := parseRequest(packet[:n]); ok && err == nil {
			k.answer(r, files)
		}
		for _, fd := range files {
			_ = unix.Close(fd)
		}
	}
	k.end()
	return nil
}

// greet prepares what steps have in common, and says how that went.
func greet(inNamespaces bool) (granted bool, err error) {
	g := Greeting{Version: Version}
	if inNamespaces {
		if err := prepare(); err != nil {
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

func (k *keeper) answer(r Request, files []int) {
	switch {
	case r.Kind == Kill:
		k.kill(r.ID)
	case r.Kind == Start && len(files) == Files:
		k.start(r, files)
	}
}

// start starts an init and waits for it in the background.
func (k *keeper) start(r Request, files []int) {
	// Everything but the exec runs in the memory of this process, which is
	// why the init is not a mere copy of it.
	pid, err := syscall.ForkExec("/proc/self/exe", []string{InitName}, &syscall.ProcAttr{
		Dir:   "/",
		Env:   []string{"GOMAXPROCS=1"}, // it mostly waits, and starts sooner
		Files: []uintptr{0, uintptr(files[0]), uintptr(files[1]), uintptr(files[2])},
		Sys:   &syscall.SysProcAttr{Setsid: true, Cloneflags: uintptr(r.Spaces)},
	})
	if err != nil {
		said := Report{NotRun: "starting its init: " + err.Error()}
		if IsRefusal(err) {
			said = Report{Refused: err.Error()}
		}
		_, _ = unix.Write(files[2], said.Marshal())
		return
	}
	// The copy is closed when nothing of the step is left, which is how the
	// other end knows.
	held, err := unix.FcntlInt(uintptr(files[2]), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		held = -1
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	k.mu.Lock()
	k.inits[r.ID] = pid
	k.mu.Unlock()
	k.all.Go(func() {
		k.wait(r.ID, pid)
		_ = unix.Close(held)
	})
}

// wait waits for an init. Its process ID means nothing else as long as it is
// among the inits.
func (k *keeper) wait(id uint64, pid int) {
	for errors.Is(unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
	k.mu.Lock()
	delete(k.inits, id)
	k.mu.Unlock()
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func (k *keeper) kill(id uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if pid, ok := k.inits[id]; ok {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
}

// end waits for the inits, whose connections are closed by now, and ends those
// that do not end.
func (k *keeper) end() {
	late := time.AfterFunc(endWithin, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		for _, pid := range k.inits {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
	})
	defer late.Stop()
	k.all.Wait()
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
