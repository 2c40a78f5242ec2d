// SPDX-License-Identifier: Apache-2.0

//go:build !linux

// Command attest-buildkitd is the embedded engine, which needs Linux.
package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "attest-buildkitd: error: the embedded engine runs on Linux only; use another one: attest run --engine ADDRESS")
	os.Exit(1)
}
