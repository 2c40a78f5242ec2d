// SPDX-License-Identifier: Apache-2.0

// Command attest-guest is the first process of a virtual machine that runs a
// step, and starts the step's command in it. It is of no use outside; see
// package guest.
package main

import (
	"os"

	"github.com/attest-pipeline/attest/isolation/vm/guest"
)

func main() { os.Exit(guest.Main(os.Args)) }
