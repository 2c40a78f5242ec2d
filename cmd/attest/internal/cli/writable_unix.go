// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cli

import "golang.org/x/sys/unix"

// writable says what keeps this program from making files in a folder; nil for nothing.
func writable(dir string) error { return unix.Access(dir, unix.W_OK|unix.X_OK) }
