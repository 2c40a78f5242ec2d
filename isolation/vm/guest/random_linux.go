// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/notify"
)

// With a seed, what a step gets as random bytes is the same in every machine. The
// kernel's own numbers cannot be fixed: they are made of when interrupts come, and
// those of disks and clocks come as this host has time. So the step is not given
// them. getrandom(2) is answered by this program (seccomp_unotify(2)), and
// /dev/random, /dev/urandom and /proc/sys/kernel/random are files of its own, see
// device. What a program takes without asking for it, the 16 bytes that the kernel
// lays beside its arguments (AT_RANDOM, getauxval(3)), stays as it is.

// stream gives bytes that follow from a seed. Safe for concurrent use: who asks
// first gets the first.
type stream struct {
	mu     sync.Mutex
	source *rand.ChaCha8
}

// newStream returns the stream of a seed for one use; those for others have nothing
// to do with it.
func newStream(seed, use string) *stream {
	return &stream{source: rand.NewChaCha8(sha256.Sum256([]byte(use + "\x00" + seed)))}
}

// Read fills p. It never fails.
func (s *stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.source.Read(p)
}

// uuid returns a random UUID (RFC 9562, version 4) and a line's end, as the kernel
// prints one.
func (s *stream) uuid() []byte {
	var b [16]byte
	_, _ = s.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Appendf(nil, "%x-%x-%x-%x-%x\n", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// randomCall is getrandom's number in each way to make system calls that a kernel
// for x86-64 has.
func randomCalls() []struct{ arch, number uint32 } {
	const x32 = 0x40000000
	return []struct{ arch, number uint32 }{
		{unix.AUDIT_ARCH_X86_64, 318}, {unix.AUDIT_ARCH_X86_64, 318 | x32}, {unix.AUDIT_ARCH_I386, 355},
	}
}

// handOver has the kernel ask whoever is at the other end of the socket about every
// getrandom of this thread and what it becomes. It must not get new privileges.
func handOver(socket int) error {
	const archAt, numberAt = 4, 0 // in struct seccomp_data
	var filter []unix.SockFilter
	for _, call := range randomCalls() {
		filter = append(filter,
			unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: archAt},
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call.arch, Jf: 3},
			unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: numberAt},
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call.number, Jf: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF})
	}
	filter = append(filter, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	listener, err := notify.Install(filter)
	if err != nil {
		return fmt.Errorf("taking over random numbers: %w", err)
	}
	defer unix.Close(int(listener))
	if err := unix.Sendmsg(socket, []byte{0}, unix.UnixRights(int(listener)), nil, 0); err != nil {
		return fmt.Errorf("handing on who asks for random numbers: %w", err)
	}
	return nil
}

// answerRandom answers every getrandom that the process which gets the socket has
// handed over, see handOver, until the machine ends.
func answerRandom(seed string) (socket *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("taking over random numbers: %w", err)
	}
	go func() {
		listener, err := receive(pair[0])
		_ = unix.Close(pair[0])
		if err == nil { // else the command was not started, which it says itself
			newStream(seed, "getrandom").answer(listener)
		}
	}()
	return os.NewFile(uintptr(pair[1]), "seed"), nil
}

// receive returns the listener that handOver sent.
func receive(socket int) (notify.Listener, error) {
	var b [1]byte
	control := make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := unix.Recvmsg(socket, b[:], control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		return -1, errors.Join(errors.New("no listener came"), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, errors.Join(errors.New("no listener came"), err)
	}
	return notify.Listener(fds[0]), nil
}

// answer answers every call that the listener tells of, one after the other, for
// as long as the machine lasts.
func (s *stream) answer(listener notify.Listener) {
	listener.WakeAtOnce()
	for {
		call, err := listener.Next()
		switch {
		case err == nil:
			val, errno := s.getrandom(listener, call)
			_ = listener.Answer(call, val, errno)
		case !notify.Gone(err):
			return
		}
	}
}

// getrandom does what the system call does (getrandom(2)).
func (s *stream) getrandom(listener notify.Listener, n notify.Call) (int64, unix.Errno) {
	const known = unix.GRND_NONBLOCK | unix.GRND_RANDOM | unix.GRND_INSECURE
	flags := uint32(n.Args[2])
	if flags&^known != 0 || flags&unix.GRND_RANDOM != 0 && flags&unix.GRND_INSECURE != 0 {
		return 0, unix.EINVAL
	}
	const piece = 64 << 10
	total := min(n.Args[1], math.MaxInt32)
	buf := make([]byte, min(total, piece))
	var done uint64
	for done < total {
		part := buf[:min(total-done, piece)]
		_, _ = s.Read(part)
		// The process could have ended, and its number be another's.
		if err := listener.Waits(n); err != nil {
			return 0, unix.ESRCH // which nobody hears
		}
		local := []unix.Iovec{{Base: &part[0], Len: uint64(len(part))}}
		remote := []unix.RemoteIovec{{Base: uintptr(n.Args[0] + done), Len: len(part)}}
		m, err := unix.ProcessVMWritev(int(n.PID), local, remote, 0)
		done += uint64(max(m, 0))
		if err != nil || m < len(part) {
			break
		}
	}
	if done == 0 && total > 0 {
		return 0, unix.EFAULT
	}
	return int64(done), 0
}
