// SPDX-License-Identifier: Apache-2.0

//go:build !amd64

package vm

// tscKHz is 0 where machines cannot be made, see [Find].
func tscKHz() uint64 { return 0 }
