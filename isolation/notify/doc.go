// SPDX-License-Identifier: Apache-2.0

// Package notify has the kernel ask one process about the system calls of another,
// and answer them (Linux, seccomp_unotify(2)).
package notify
