// SPDX-License-Identifier: Apache-2.0

package sockets

import "golang.org/x/sys/unix"

// abis are the ways into this kernel (arch/arm/tools/syscall.tbl in Linux).
func abis() []abi {
	return []abi{
		{arch: unix.AUDIT_ARCH_AARCH64, socket: []uint32{unix.SYS_SOCKET}},
		{arch: unix.AUDIT_ARCH_ARM, socket: []uint32{281}},
	}
}
