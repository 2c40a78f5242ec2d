// SPDX-License-Identifier: Apache-2.0

// Command probe says which sockets it can make, and does nothing with them.
package main

import (
	"fmt"
	"syscall"
)

func main() {
	const vsock, ioUringSetup = 40, 425
	_, err := syscall.Socket(vsock, syscall.SOCK_STREAM, 0)
	fmt.Println("vsock:", err)
	_, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	fmt.Println("inet:", err)
	// Without a place for its parameters the kernel makes no ring.
	_, _, errno := syscall.Syscall(ioUringSetup, 1, 0, 0)
	fmt.Println("io_uring:", errno)
}
