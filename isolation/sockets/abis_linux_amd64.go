// SPDX-License-Identifier: Apache-2.0

package sockets

import "golang.org/x/sys/unix"

// abis are the ways into this kernel (arch/x86/entry/syscalls in Linux).
func abis() []abi {
	const x32 = 0x40000000
	return []abi{
		{arch: unix.AUDIT_ARCH_X86_64, socket: []uint32{unix.SYS_SOCKET, x32 | unix.SYS_SOCKET}},
		{arch: unix.AUDIT_ARCH_I386, socket: []uint32{359}, call: 102},
	}
}
