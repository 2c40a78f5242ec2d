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
	"unsafe"

	"golang.org/x/sys/unix"
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
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	install := func(flags uintptr) (int, unix.Errno) {
		fd, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&program)))
		return int(fd), errno
	}
	// A signal must not have a call made twice, where the kernel can help it (5.19).
	const waitKillable = 1 << 5
	listener, errno := install(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | waitKillable)
	if errno == unix.EINVAL {
		listener, errno = install(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)
	}
	if errno != 0 {
		return fmt.Errorf("taking over random numbers: %w", errno)
	}
	defer unix.Close(listener)
	if err := unix.Sendmsg(socket, []byte{0}, unix.UnixRights(listener), nil, 0); err != nil {
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
func receive(socket int) (listener int, err error) {
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
	return fds[0], nil
}

// notification and answer are struct seccomp_notif and seccomp_notif_resp.
type notification struct {
	id         uint64
	pid, flags uint32
	number     int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

type answer struct {
	id    uint64
	val   int64
	errno int32
	flags uint32
}

// answer answers every call that the listener tells of, one after the other, for
// as long as the machine lasts.
func (s *stream) answer(listener int) {
	// Whoever asked goes on at once, where the kernel has that (6.6).
	_ = unix.IoctlSetInt(listener, unix.SECCOMP_IOCTL_NOTIF_SET_FLAGS, unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
	for {
		var n notification
		switch errno := ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&n)); errno {
		case 0:
		case unix.EINTR, unix.ENOENT: // whoever asked has ended meanwhile
			continue
		default:
			return
		}
		val, errno := s.getrandom(listener, n)
		a := answer{id: n.id, val: val, errno: -int32(errno)}
		_ = ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&a))
	}
}

// getrandom does what the system call does (getrandom(2)).
func (s *stream) getrandom(listener int, n notification) (int64, unix.Errno) {
	const known = unix.GRND_NONBLOCK | unix.GRND_RANDOM | unix.GRND_INSECURE
	flags := uint32(n.args[2])
	if flags&^known != 0 || flags&unix.GRND_RANDOM != 0 && flags&unix.GRND_INSECURE != 0 {
		return 0, unix.EINVAL
	}
	const piece = 64 << 10
	total := min(n.args[1], math.MaxInt32)
	buf := make([]byte, min(total, piece))
	var done uint64
	for done < total {
		part := buf[:min(total-done, piece)]
		_, _ = s.Read(part)
		// The process could have ended, and its number be another's.
		if errno := ioctl(listener, unix.SECCOMP_IOCTL_NOTIF_ID_VALID, unsafe.Pointer(&n.id)); errno != 0 {
			return 0, errno
		}
		local := []unix.Iovec{{Base: &part[0], Len: uint64(len(part))}}
		remote := []unix.RemoteIovec{{Base: uintptr(n.args[0] + done), Len: len(part)}}
		m, err := unix.ProcessVMWritev(int(n.pid), local, remote, 0)
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

func ioctl(fd int, request uintptr, arg unsafe.Pointer) unix.Errno {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(arg))
	return errno
}
