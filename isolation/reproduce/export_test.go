// SPDX-License-Identifier: Apache-2.0

package reproduce

import (
	"context"
	"strings"
)

// CompareWithin is Compare with another bound on what comes out of archives.
func CompareWithin(ctx context.Context, first, second Side, most int64) ([]Difference, error) {
	c := &comparison{first: first, second: second, guess: newGuess(first.World, second.World), left: most}
	return c.compare(ctx)
}

// LargestDict is what an xz file's blocks want of memory.
func LargestDict(file string) (int64, error) {
	return largestDict(&content{strings.NewReader(file), int64(len(file)), func() {}})
}
