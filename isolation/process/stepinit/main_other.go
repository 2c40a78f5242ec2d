// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package stepinit

// Main is not called: steps have inits on Linux only.
func Main([]string) int { return 2 }
