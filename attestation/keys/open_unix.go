// SPDX-License-Identifier: Apache-2.0

//go:build unix

package keys

import "syscall"

// noFollow has the opening of a symbolic link fail.
const noFollow = syscall.O_NOFOLLOW
