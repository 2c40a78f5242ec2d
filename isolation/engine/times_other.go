// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package engine

import (
	"os"
	"time"
)

// setTime sets the times of a file. Where it is a link, of what it leads to.
func setTime(path string, t time.Time) error { return os.Chtimes(path, t, t) }
