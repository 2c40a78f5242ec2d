// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"os"
)

// stepArg is the argument that tells the second call from the first.
const stepArg = "step"

// Main is the whole program.
func Main(args []string) int {
	if len(args) == 2 && args[1] == stepArg {
		return becomeStep()
	}
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "attest-guest: error: this is the first process of a virtual machine, people do not start it")
		return 2
	}
	boot()
	return 0
}
