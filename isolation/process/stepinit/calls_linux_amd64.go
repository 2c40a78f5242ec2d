// SPDX-License-Identifier: Apache-2.0

package stepinit

import "golang.org/x/sys/unix"

// architectures are those whose programs this machine runs, with the numbers of
// their calls (arch/x86/entry/syscalls in Linux).
func architectures() map[uint32]map[uint32]Call {
	calls := modern()
	for number, c := range map[uint32]Call{
		unix.SYS_OPEN: {Kind: CallOpen, Dir: workingDir, Path: 0, Flags: 1}, unix.SYS_CREAT: plain(CallCreate, 0),
		unix.SYS_STAT: plain(CallLook, 0), unix.SYS_LSTAT: noFollow(plain(CallLook, 0)), unix.SYS_ACCESS: plain(CallLook, 0),
		unix.SYS_READLINK: noFollow(plain(CallLook, 0)), unix.SYS_NEWFSTATAT: empty(at(CallLook, 0, 1, 3)),
		unix.SYS_MKDIR: plain(CallMake, 0), unix.SYS_MKNOD: plain(CallMake, 0), unix.SYS_SYMLINK: plain(CallMake, 1),
		unix.SYS_LINK: plain(CallMake, 1), unix.SYS_RENAME: plain(CallMake, 1), unix.SYS_RENAMEAT: at(CallMake, 2, 3, -1),
	} {
		calls[number] = c
	}
	how := at(CallOpen, 0, 1, 2)
	how.How = true
	return map[uint32]map[uint32]Call{unix.AUDIT_ARCH_X86_64: calls, unix.AUDIT_ARCH_I386: {
		5: {Kind: CallOpen, Dir: workingDir, Path: 0, Flags: 1}, 8: plain(CallCreate, 0), 9: plain(CallMake, 1),
		11: plain(CallExec, 0), 12: plain(CallEnter, 0), 14: plain(CallMake, 0), 33: plain(CallLook, 0),
		38: plain(CallMake, 1), 39: plain(CallMake, 0), 61: plain(CallRoot, 0), 83: plain(CallMake, 1),
		85: noFollow(plain(CallLook, 0)), 106: plain(CallLook, 0), 107: noFollow(plain(CallLook, 0)),
		195: plain(CallLook, 0), 196: noFollow(plain(CallLook, 0)), 217: plain(CallRoot, 0),
		295: at(CallOpen, 0, 1, 2), 296: at(CallMake, 0, 1, -1), 297: at(CallMake, 0, 1, -1),
		300: empty(at(CallLook, 0, 1, 3)), 302: at(CallMake, 2, 3, -1), 303: at(CallMake, 2, 3, -1),
		304: at(CallMake, 1, 2, -1), 305: noFollow(at(CallLook, 0, 1, -1)), 307: at(CallLook, 0, 1, -1),
		353: at(CallMake, 2, 3, -1), 358: at(CallExec, 0, 1, 4), 383: empty(at(CallLook, 0, 1, 2)),
		425: {Kind: CallUnseen}, 437: how, 439: empty(at(CallLook, 0, 1, 3)),
	}}
}
