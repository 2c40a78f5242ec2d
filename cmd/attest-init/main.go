// SPDX-License-Identifier: Apache-2.0

// Command attest-init looks after the process steps of a run. attest starts it
// for that; see package stepinit.
package main

import (
	"os"

	"github.com/attest-pipeline/attest/isolation/process/stepinit"
)

func main() { os.Exit(stepinit.Main(os.Args)) }
