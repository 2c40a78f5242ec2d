// SPDX-License-Identifier: Apache-2.0

package sockets

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// abi is one way into the kernel, with the numbers of its calls.
type abi struct {
	arch   uint32   // AUDIT_ARCH_*
	socket []uint32 // socket(2)
	// call is socketcall(2), 0 where there is none. Its first argument says which
	// call is meant, and those of that call are behind a pointer.
	call uint32
}

// ioUringSetup is the number of io_uring_setup(2) everywhere: sockets that are made
// by way of it pass no filter.
const ioUringSetup = 425

// Confine takes AF_VSOCK from the calling thread and all that it starts, for good:
// socket(2) says that the kernel does not know it. io_uring, and sockets by way of
// socketcall(2), whose kind no filter can see, are refused as calls that are not
// there. The latter is what 32-bit programs of Go use; C libraries have not for long.
//
// The caller has locked the goroutine to its thread, which never serves another one,
// and has CAP_SYS_ADMIN or no_new_privs. On architectures other than amd64 and arm64
// it does nothing.
func Confine() error {
	program := filter(abis())
	if program == nil {
		return nil
	}
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
	if errno != 0 {
		return fmt.Errorf("refusing sockets that reach beyond a network: %w", errno)
	}
	return nil
}

// filter is a program for seccomp(2). Ways into the kernel that are not known are
// left alone: none of them makes sockets on a kernel of these architectures.
func filter(known []abi) []unix.SockFilter {
	const (
		number, arch, first = 0, 4, 16 // in struct seccomp_data; the last is the lower half of the first argument
		makeSocket          = 1        // of socketcall(2): SYS_SOCKET in linux/net.h
	)
	load := func(at uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: at}
	}
	skipUnless := func(equal uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | unix.BPF_JEQ, K: equal, Jf: skip}
	}
	answer := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	allow := answer(unix.SECCOMP_RET_ALLOW)
	refuse := func(errno unix.Errno) unix.SockFilter { return answer(unix.SECCOMP_RET_ERRNO | uint32(errno)) }

	var program []unix.SockFilter
	for _, a := range known {
		block := []unix.SockFilter{load(number), skipUnless(ioUringSetup, 1), refuse(unix.ENOSYS)}
		for _, n := range a.socket {
			block = append(block, skipUnless(n, 4), load(first), skipUnless(unix.AF_VSOCK, 1), refuse(unix.EAFNOSUPPORT), allow)
		}
		if a.call != 0 {
			block = append(block, skipUnless(a.call, 4), load(first), skipUnless(makeSocket, 1), refuse(unix.ENOSYS), allow)
		}
		block = append(block, allow)
		program = append(program, load(arch), skipUnless(a.arch, uint8(len(block))))
		program = append(program, block...)
	}
	if program == nil {
		return nil
	}
	return append(program, allow)
}
