// SPDX-License-Identifier: Apache-2.0

package stepinit

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// closeKeyrings has this thread, and all that it starts, find a kernel without
// keyrings. That of a user is one for all of the user's programs, the caller's
// included: a step could read what is in it, and leave something there. Where the
// kernel has no seccomp, or nobody tried it on the architecture, they stay open.
func closeKeyrings() {
	// The numbers of add_key, request_key and keyctl: include/uapi/asm-generic/unistd.h
	// and arch/*/tools/syscall.tbl in Linux.
	type table struct {
		arch uint32
		mask uint32 // what is part of a number
		from uint32 // the first of the three
	}
	const x32 = 0x40000000 // asks for the same calls with small pointers
	program := []unix.SockFilter{}
	for _, t := range []table{
		{unix.AUDIT_ARCH_X86_64, ^uint32(x32), 248}, {unix.AUDIT_ARCH_I386, ^uint32(0), 286},
		{unix.AUDIT_ARCH_AARCH64, ^uint32(0), 217}, {unix.AUDIT_ARCH_ARM, ^uint32(0), 309},
	} {
		const number, arch = 0, 4 // in struct seccomp_data
		program = append(program,
			unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: arch},
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: t.arch, Jf: 6},
			unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: number},
			unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: t.mask},
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: t.from, Jf: 2},
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, K: t.from + 2, Jt: 1},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	}
	program = append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	_, _, _ = unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&prog)))
}
