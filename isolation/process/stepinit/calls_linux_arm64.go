// SPDX-License-Identifier: Apache-2.0

package stepinit

import "golang.org/x/sys/unix"

// architectures are those whose programs this machine runs, with the numbers of
// their calls (include/uapi/asm-generic/unistd.h in Linux).
func architectures() map[uint32]map[uint32]Call {
	calls := modern()
	calls[unix.SYS_FSTATAT] = empty(at(CallLook, 0, 1, 3))
	calls[unix.SYS_RENAMEAT] = at(CallMake, 2, 3, -1)
	return map[uint32]map[uint32]Call{unix.AUDIT_ARCH_AARCH64: calls}
}
