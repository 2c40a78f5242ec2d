// SPDX-License-Identifier: Apache-2.0

//go:build unix

package plan

import "syscall"

// nonBlocking keeps the opening of a FIFO from waiting for a writer.
const nonBlocking = syscall.O_NONBLOCK
