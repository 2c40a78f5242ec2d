// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// nobody owns no file that a machine can get at.
const nobody = 65534

// machine is one running machine. Its methods, but for stop, are for one
// goroutine.
type machine struct {
	control *os.File    // our end of the control port
	serial  *transcript // what the kernel printed
	said    *transcript // what qemu and virtiofsd complained about
	logs    string      // the folder of what failed machines said; empty keeps nothing
	ended   []<-chan error
	kill    []func()
}

// boot starts qemu on the stage, and virtiofsd where the machine shares a
// folder. close ends both.
func boot(s *stage, h hardware, shared string) (m *machine, err error) {
	m = &machine{serial: &transcript{}, said: &transcript{}}
	defer func() {
		if err != nil {
			m.close()
		}
	}()
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	m.control = ours
	defer theirs.Close()
	files := []*os.File{theirs}
	if shared != "" {
		if strings.ContainsAny(shared, `,\`) { // virtiofsd's options are a list
			return nil, fmt.Errorf("sharing %s: virtiofsd takes no path with a comma or a backslash", shared)
		}
		listening, connected, err := listenOnce(filepath.Dir(s.dir))
		if err != nil {
			return nil, err
		}
		defer listening.Close()
		defer connected.Close()
		if err := m.start(virtiofsd(s.parts, shared, listening), ""); err != nil {
			return nil, err
		}
		files = append(files, connected)
	}
	h.shared = shared != ""
	return m, m.start(qemu(s, h, files), h.namespace)
}

// virtiofsd serves the folder over the connection that comes in. It must be
// root, to make files of any owner, and makes itself a root of the folder,
// namespaces, and a filter for its system calls. What is kept in the machine's
// memory of the folder is never stale: nobody else is in it.
func virtiofsd(parts Parts, folder string, listening *os.File) *exec.Cmd {
	cmd := exec.Command(parts.Virtiofsd, "--fd=3", "-o", "source="+folder, "-o", "sandbox=namespace",
		"-o", "cache=always", "-o", "xattr", "-o", "announce_submounts", "-o", "log_level=warn")
	cmd.Dir = "/"
	cmd.Env = []string{}
	cmd.ExtraFiles = []*os.File{listening}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		Setsid:    true,
		// Killing the first process of the namespace kills what it started.
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
	}
	return cmd
}

// qemu is the machine itself.
func qemu(s *stage, h hardware, files []*os.File) *exec.Cmd {
	cmd := exec.Command(s.parts.QEMU, h.arguments()...)
	cmd.Dir = "/"
	cmd.Env = []string{}
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Chroot:     s.dir,
		Credential: &syscall.Credential{Uid: nobody, Gid: nobody, Groups: kvmGroup(h)},
		Pdeathsig:  syscall.SIGKILL,
		Setsid:     true,
		Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS,
	}
	if !h.network {
		cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWNET
	}
	return cmd
}

// kvmGroup is the group that may use KVM, for a machine that does.
func kvmGroup(h hardware) []uint32 {
	var stat unix.Stat_t
	if h.accelerator != KVM || unix.Stat(kvmDevice, &stat) != nil {
		return nil
	}
	return []uint32{stat.Gid}
}

// start starts a program of the machine, which dies with this process. network is
// the path of the network namespace that it is born in, empty for this process's.
func (m *machine) start(cmd *exec.Cmd, network string) error {
	cmd.Stderr = m.said
	if cmd.SysProcAttr.Chroot != "" {
		cmd.Stdout = m.serial
	}
	started, ended := make(chan error), make(chan error, 1)
	go func() {
		// The kernel takes the death of this thread for that of the process. It
		// ends with this function, because it may be in another network.
		runtime.LockOSThread()
		err := enterNetwork(network)
		if err == nil {
			err = cmd.Start()
		}
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("starting %s: %w", filepath.Base(cmd.Path), err)
	}
	m.ended = append(m.ended, ended)
	m.kill = append(m.kill, func() { _ = cmd.Process.Kill() })
	return nil
}

// enterNetwork has this thread enter a network namespace.
func enterNetwork(path string) error {
	if path == "" {
		return nil
	}
	namespace, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		err = errors.Join(unix.Setns(namespace, unix.CLONE_NEWNET), unix.Close(namespace))
	}
	if err != nil {
		return fmt.Errorf("entering the network of the step: %w", err)
	}
	return nil
}

// stop kills what runs. It may be called while the control port is read, which
// then ends.
func (m *machine) stop() {
	for _, kill := range m.kill {
		kill()
	}
}

// close kills what runs and returns when it is gone.
func (m *machine) close() {
	m.stop()
	for _, ended := range m.ended {
		<-ended
	}
	m.ended = nil
	if m.control != nil {
		m.control.Close()
	}
}

// socketPair makes a connection without a name. Ours can be waited for by
// Go's poller, so that closing it ends a wait.
func socketPair() (ours, theirs *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("making the control port: %w", err)
	}
	if err := unix.SetNonblock(pair[0], true); err != nil {
		return nil, nil, errors.Join(err, unix.Close(pair[0]), unix.Close(pair[1]))
	}
	return os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control"), nil
}

// listenOnce makes a listening socket, which virtiofsd wants, and the one
// connection to it. Its name, in a folder that only this user can enter, is gone
// before virtiofsd is started.
func listenOnce(dir string) (listening, connected *os.File, err error) {
	dir, err = os.MkdirTemp(dir, "fs-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	folder, err := os.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	defer folder.Close()
	if listening, err = newSocket("listener"); err != nil {
		return nil, nil, err
	}
	if connected, err = newSocket("connection"); err != nil {
		return nil, nil, errors.Join(err, listening.Close())
	}
	// A socket's path must be short, however long that of the folder is.
	name := &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/s", folder.Fd())}
	err = unix.Bind(int(listening.Fd()), name)
	if err == nil {
		err = unix.Listen(int(listening.Fd()), 1)
	}
	if err == nil {
		err = unix.Connect(int(connected.Fd()), name)
	}
	if err != nil {
		err = fmt.Errorf("connecting qemu with virtiofsd: %w", err)
		return nil, nil, errors.Join(err, listening.Close(), connected.Close())
	}
	return listening, connected, nil
}

func newSocket(name string) (*os.File, error) {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("connecting qemu with virtiofsd: %w", err)
	}
	return os.NewFile(uintptr(s), name), nil
}

// explain says why a machine failed, with what was printed last.
func (m *machine) explain(ctx context.Context, err error) error {
	m.close() // so that all of it has been printed
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	lines := append(m.serial.lines(5), m.said.lines(5)...)
	failed := &Error{Err: err, Log: strings.Join(lines, "\n")}
	if m.logs != "" {
		path, logErr := keepLog(m.logs, m.serial, m.said)
		failed.Path, failed.Err = path, errors.Join(err, logErr)
	}
	return failed
}
