// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package guest

import (
	"fmt"
	"os"
)

// Main is the whole program, on Linux.
func Main([]string) int {
	fmt.Fprintln(os.Stderr, "attest-guest: error: build this program with GOOS=linux")
	return 1
}
