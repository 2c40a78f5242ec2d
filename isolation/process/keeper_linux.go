// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/process/stepinit"
)

// keepers are those of an [Executor], each started when the first step needs
// it: one in a user namespace whose steps see a view, one whose steps see what
// the machine has, and one outside of any for where the kernel grants none.
type keepers struct {
	mu     sync.Mutex
	closed attempt
	inside attempt
	plain  attempt

	// granted is one more than the index of the protection that a step got,
	// 0 before.
	granted atomic.Int32

	groups groupTree
	vault  vault
	cpus   atomic.Uint64 // how many processors were given out
}

// attempt is a keeper, or why there is none.
type attempt struct {
	made   bool
	keeper *keeper
	err    error
}

// keeper returns the keeper for a step in these namespaces, and what to do when
// the step is over.
func (e *Executor) keeper(p protection) (k *keeper, release func(), err error) {
	const own = unix.CLONE_NEWUSER | unix.CLONE_NEWNS
	if p.spaces&own == own && p.spaces&unix.CLONE_NEWPID == 0 {
		// Without PID namespaces steps see each other. That they are in
		// different user namespaces keeps them from looking into each other.
		k, err := startKeeper(e.options.Init, own, p.view)
		return k, func() { _ = k.close() }, err
	}
	ks := &e.keepers
	ks.mu.Lock()
	defer ks.mu.Unlock()
	a := &ks.plain
	switch {
	case p.view:
		a = &ks.closed
	case p.spaces&unix.CLONE_NEWUSER != 0:
		a = &ks.inside
	}
	if !a.made {
		a.made = true
		a.keeper, a.err = startKeeper(e.options.Init, p.spaces&own, p.view)
	}
	return a.keeper, func() {}, a.err
}

// Close ends what was started for steps. It must not be called while one runs,
// and none can run afterwards. It is no error that there was none.
func (e *Executor) Close() error {
	ks := &e.keepers
	ks.mu.Lock()
	defer ks.mu.Unlock()
	e.homes.removeUnused()
	var err error
	for _, a := range []*attempt{&ks.closed, &ks.inside, &ks.plain} {
		if a.keeper != nil {
			err = errors.Join(err, a.keeper.close())
		}
		*a = attempt{made: true, err: errors.New("the executor is closed")}
	}
	return err
}

// keeper is a running keeper, seen from outside. See package stepinit.
type keeper struct {
	cmd    *exec.Cmd
	mounts mounts // of all steps

	watchers watchers

	mu   sync.Mutex
	conn int    // -1 when closed
	last uint64 // ID of an init
}

// startKeeper starts program, or this one again where that is empty, as keeper
// in the namespaces, closed as [stepinit.Closed] says.
func startKeeper(program string, spaces uintptr, closed bool) (*keeper, error) {
	if program == "" {
		program = "/proc/self/exe"
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("making a socket pair: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "connection")
	args := []string{stepinit.KeeperName}
	if spaces != 0 {
		args = append(args, stepinit.InNamespaces)
	}
	if closed {
		args = append(args, stepinit.Closed)
	}
	cmd := &exec.Cmd{
		Path:        program,
		Args:        args,
		Env:         []string{"GOMAXPROCS=1"},
		Dir:         "/",
		ExtraFiles:  []*os.File{theirs},
		SysProcAttr: keeperAttributes(spaces),
	}
	err = patiently(cmd.Start)
	_ = theirs.Close()
	if err != nil {
		_ = unix.Close(pair[0])
		if spaces != 0 && stepinit.IsRefusal(err) {
			return nil, &refusedError{err.Error()}
		}
		return nil, fmt.Errorf("starting a keeper for steps: %w", err)
	}
	k := &keeper{cmd: cmd, conn: pair[0]}
	if err := k.greet(); err != nil {
		return nil, errors.Join(err, k.close())
	}
	return k, nil
}

// patiently calls start, which starts a process whose timers may be late, and
// those of all that it starts. Go's runtime looks every 20 microseconds whether
// there is something to do, in processes here that mostly wait; it took 14 % of
// the time of a run of many small steps. What a step runs has the usual timers.
func patiently(start func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err == nil {
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(lateness), 0, 0, 0)
		defer func() { _ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(slack), 0, 0, 0) }()
	}
	return start()
}

// lateness is how late timers may be that nobody waits for.
const lateness = 10 * time.Millisecond

// greet makes sure that the program at the other end is one for this one, and
// granted what it needs.
func (k *keeper) greet() error {
	packet, rights := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	n, m, _, _, err := unix.Recvmsg(k.conn, packet, rights, unix.MSG_CMSG_CLOEXEC)
	for errors.Is(err, unix.EINTR) {
		n, m, _, _, err = unix.Recvmsg(k.conn, packet, rights, unix.MSG_CMSG_CLOEXEC)
	}
	if err != nil || n == 0 {
		return fmt.Errorf("%s ended at once: does it call process.Main?", k.cmd.Path)
	}
	said, ok := stepinit.ParseGreeting(packet[:n])
	if !ok || said.Version != stepinit.Version {
		return fmt.Errorf("%s is of another build than this program: install both anew", k.cmd.Path)
	}
	if said.Refused != "" {
		return &refusedError{said.Refused}
	}
	files, err := stepinit.Descriptors(rights[:m])
	if err != nil || len(files) != 1 {
		return fmt.Errorf("%s told nothing about its mounts", k.cmd.Path)
	}
	mountinfo := os.NewFile(uintptr(files[0]), "mountinfo")
	defer mountinfo.Close()
	k.mounts, err = readMounts(mountinfo)
	return err
}

// ask sends a request, and the files of a [stepinit.Start].
func (k *keeper) ask(r stepinit.Request, files ...*os.File) (id uint64, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if r.Kind == stepinit.Start {
		k.last++
		r.ID = k.last
	}
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	if err := unix.Sendmsg(k.conn, r.Marshal(), unix.UnixRights(fds...), nil, unix.MSG_NOSIGNAL); err != nil {
		return 0, fmt.Errorf("asking the keeper of steps: %w", err)
	}
	return r.ID, nil
}

// close ends the keeper, which has nothing left to look after, and waits for it.
func (k *keeper) close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.conn >= 0 {
		_ = unix.Close(k.conn)
		k.conn = -1
	}
	k.watchers.close()
	var exit *exec.ExitError
	if err := k.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("ending the keeper of steps: %w", err)
	}
	return nil
}
