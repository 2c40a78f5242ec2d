// SPDX-License-Identifier: Apache-2.0

package notify_test

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/notify"
)

// A call of one thread is answered by another: with a value, with an error, and by
// the kernel.
func TestAnswers(t *testing.T) {
	// getppid is what nothing else calls. The filter looks at its number alone: this
	// program is of one architecture.
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_GETPPID, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	type result struct {
		val   uintptr
		errno unix.Errno
	}
	installed, results := make(chan error, 1), make(chan result)
	var listener notify.Listener
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its filter
		err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		if err == nil {
			listener, err = notify.Install(filter)
		}
		installed <- err
		if err != nil {
			return
		}
		for range 3 {
			val, _, errno := unix.Syscall(unix.SYS_GETPPID, 11, 0, 13)
			results <- result{val, errno}
		}
	}()
	if err := <-installed; errors.Is(err, unix.EBUSY) || errors.Is(err, unix.ENOSYS) {
		t.Skipf("who started the test listens already, or the kernel cannot: %v", err)
	} else if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(int(listener))
	listener.WakeAtOnce()
	for i, want := range []result{{7, 0}, {^uintptr(0), unix.EILSEQ}, {uintptr(os.Getppid()), 0}} {
		c, err := listener.Next()
		if err != nil {
			t.Fatal(err)
		}
		if c.Number != unix.SYS_GETPPID || c.Args[0] != 11 || c.Args[2] != 13 || c.PID == 0 || c.Arch == 0 {
			t.Errorf("heard %+v", c)
		}
		if err := listener.Waits(c); err != nil {
			t.Errorf("it waits, and is said not to: %v", err)
		}
		switch i {
		case 0:
			err = listener.Answer(c, 7, 0)
		case 1:
			err = listener.Answer(c, 0, unix.EILSEQ)
		default:
			err = listener.Continue(c)
		}
		if err != nil {
			t.Fatal(err)
		}
		if got := <-results; got != want {
			t.Errorf("answer %d: got %v, want %v", i, got, want)
		}
		if err := listener.Waits(c); !notify.Gone(err) {
			t.Errorf("it was answered, and is said to wait: %v", err)
		}
	}
}
