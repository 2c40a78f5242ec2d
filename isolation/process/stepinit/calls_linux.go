// SPDX-License-Identifier: Apache-2.0

package stepinit

import (
	"fmt"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/notify"
)

// modern are the calls that every architecture has, by the numbers of this one.
func modern() map[uint32]Call {
	how := at(CallOpen, 0, 1, 2)
	how.How = true
	return map[uint32]Call{
		unix.SYS_OPENAT: at(CallOpen, 0, 1, 2), unix.SYS_OPENAT2: how,
		unix.SYS_FACCESSAT: at(CallLook, 0, 1, -1), unix.SYS_FACCESSAT2: empty(at(CallLook, 0, 1, 3)),
		unix.SYS_STATX: empty(at(CallLook, 0, 1, 2)), unix.SYS_READLINKAT: noFollow(at(CallLook, 0, 1, -1)),
		unix.SYS_EXECVE: plain(CallExec, 0), unix.SYS_EXECVEAT: at(CallExec, 0, 1, 4),
		unix.SYS_CHDIR: plain(CallEnter, 0), unix.SYS_CHROOT: plain(CallRoot, 0), unix.SYS_PIVOT_ROOT: plain(CallRoot, 0),
		unix.SYS_MKDIRAT: at(CallMake, 0, 1, -1), unix.SYS_MKNODAT: at(CallMake, 0, 1, -1), unix.SYS_SYMLINKAT: at(CallMake, 1, 2, -1),
		unix.SYS_LINKAT: at(CallMake, 2, 3, -1), unix.SYS_RENAMEAT2: at(CallMake, 2, 3, -1),
		unix.SYS_IO_URING_SETUP: {Kind: CallUnseen},
	}
}

// Calls returns the calls of which the other end is told where [Order.Lookups]
// asks for it: those that programs of this machine look for files with. There are
// none on architectures that nobody tried it on.
func Calls() map[CallKey]Call {
	all := map[CallKey]Call{}
	for arch, calls := range architectures() {
		for number, c := range calls {
			all[CallKey{arch, number}] = c
		}
	}
	return all
}

// filter is a program for seccomp(2) that has the kernel tell of the calls. All
// others go on at once, and those of architectures that are not known are told of.
func filter(which Lookups) []unix.SockFilter {
	const (
		number, arch, args = 0, 4, 16 // in struct seccomp_data
		tell, allow        = unix.SECCOMP_RET_USER_NOTIF, unix.SECCOMP_RET_ALLOW
	)
	load := func(at int) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: uint32(at)}
	}
	skipUnless := func(test uint16, k uint32, skip int) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_K | test, K: k, Jf: uint8(skip)}
	}
	answer := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }

	known := architectures()
	var program []unix.SockFilter
	for _, a := range ordered(known) {
		var block []unix.SockFilter
		block = append(block, load(number))
		if a == unix.AUDIT_ARCH_X86_64 {
			const x32 = 0x40000000
			block = append(block, skipUnless(unix.BPF_JGE, x32, 1), answer(tell))
		}
		for _, n := range ordered(known[a]) {
			c := known[a][n]
			// The lower half of an argument: these architectures are little-endian.
			flags := load(args + 8*c.Flags)
			if which == LookupsOpens {
				switch {
				case c.Kind == CallOpen && !c.How: // what is opened to be written, and no more, is none
					block = append(block, skipUnless(unix.BPF_JEQ, n, 4), flags,
						skipUnless(unix.BPF_JSET, unix.O_WRONLY|unix.O_PATH, 1), answer(allow), answer(tell))
				case c.Kind == CallOpen, c.Kind == CallExec, c.Kind == CallRoot, c.Kind == CallUnseen:
					block = append(block, skipUnless(unix.BPF_JEQ, n, 1), answer(tell))
				}
				continue
			}
			if !c.Empty {
				block = append(block, skipUnless(unix.BPF_JEQ, n, 1), answer(tell))
				continue
			}
			block = append(block, skipUnless(unix.BPF_JEQ, n, 4), flags,
				skipUnless(unix.BPF_JSET, unix.AT_EMPTY_PATH, 1), answer(allow), answer(tell))
		}
		block = append(block, answer(allow))
		program = append(program, load(arch), skipUnless(unix.BPF_JEQ, a, len(block)))
		program = append(program, block...)
	}
	return append(program, answer(tell))
}

// ordered returns the keys of a map in order.
func ordered[V any](m map[uint32]V) []uint32 {
	var keys []uint32
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// listen has the kernel tell of every file that this thread looks for from now
// on, and all that it starts, and sends the descriptor to listen on over the
// connection. Calls wait until they were told of.
func listen(which Lookups) error {
	if len(architectures()) == 0 {
		return fmt.Errorf("nobody tried it on %s", runtime.GOARCH)
	}
	listener, err := notify.Install(filter(which))
	if err != nil {
		return err
	}
	defer unix.Close(int(listener))
	return unix.Sendmsg(connection, []byte{0}, unix.UnixRights(int(listener)), nil, 0)
}
