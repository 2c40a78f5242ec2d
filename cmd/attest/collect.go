// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"runtime"
	"runtime/debug"
)

// collectLater puts off the first garbage collection until the heap has 64 MB
// instead of 4: most runs end before, and need none. What comes after that
// happens as always.
func collectLater() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return // the user has decided
	}
	const factor = 16
	usual := debug.SetGCPercent(factor * 100)
	runtime.AddCleanup(new([16]byte), func(percent int) { debug.SetGCPercent(percent) }, usual)
}
