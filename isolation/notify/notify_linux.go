// SPDX-License-Identifier: Apache-2.0

package notify

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Listener is the descriptor on which the kernel tells of calls. It can be polled
// for reading, and handed to another process. Its methods may be used concurrently.
type Listener int

// Call is a system call that waits for its answer: struct seccomp_notif.
type Call struct {
	ID     uint64
	PID    uint32 // of the thread, as the reader's PID namespace has it; 0 where that has none
	Flags  uint32
	Number int32
	Arch   uint32 // AUDIT_ARCH_*
	IP     uint64
	Args   [6]uint64
}

// answer is struct seccomp_notif_resp.
type answer struct {
	id    uint64
	val   int64
	errno int32 // negative
	flags uint32
}

// Install puts a filter over this thread and all that it starts from now on, and
// returns who is told of the calls for which the filter returns
// SECCOMP_RET_USER_NOTIF. The thread must be locked, and must not be able to get new
// privileges or else have CAP_SYS_ADMIN. The error is the kernel's own: EBUSY says
// that the thread has a listener already, of whom there is one at most.
func Install(filter []unix.SockFilter) (Listener, error) {
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	install := func(flags uintptr) (uintptr, unix.Errno) {
		fd, _, errno := unix.RawSyscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, uintptr(unsafe.Pointer(&program)))
		return fd, errno
	}
	// A call that was heard is not made again because of a signal, where the kernel
	// can see to that (Linux 5.19).
	fd, errno := install(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER | unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
	if errno == unix.EINVAL {
		fd, errno = install(unix.SECCOMP_FILTER_FLAG_NEW_LISTENER)
	}
	if errno != 0 {
		return -1, errno
	}
	return Listener(fd), nil
}

// WakeAtOnce has who is answered go on at once, on the processor of who answered,
// where the kernel can do that (Linux 6.6).
func (l Listener) WakeAtOnce() {
	_ = unix.IoctlSetInt(int(l), unix.SECCOMP_IOCTL_NOTIF_SET_FLAGS, unix.SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)
}

// Next waits for a call. An error that [Gone] is true of is about that call alone.
func (l Listener) Next() (Call, error) {
	var c Call
	err := l.ioctl(unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&c))
	return c, err
}

// Gone reports whether an error says that who made the call ended meanwhile, or that
// a signal came before one was heard.
func Gone(err error) bool { return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINTR) }

// Waits returns an error where the call waits no longer: the number of its thread
// may be another's by now. What was found out by that number before it returned nil
// is of this call.
func (l Listener) Waits(c Call) error {
	return l.ioctl(unix.SECCOMP_IOCTL_NOTIF_ID_VALID, unsafe.Pointer(&c.ID))
}

// Continue has the kernel make the call. What its pointers lead to may have been
// changed since: nothing can be allowed on the strength of what was read there.
func (l Listener) Continue(c Call) error {
	a := answer{id: c.ID, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	return l.ioctl(unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&a))
}

// Answer has the call return val, or fail with errno where that is not 0.
func (l Listener) Answer(c Call, val int64, errno unix.Errno) error {
	a := answer{id: c.ID, val: val, errno: -int32(errno)}
	return l.ioctl(unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&a))
}

func (l Listener) ioctl(request uintptr, arg unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(l), request, uintptr(arg)); errno != 0 {
		return errno
	}
	return nil
}
