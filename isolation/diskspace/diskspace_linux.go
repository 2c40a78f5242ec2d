// SPDX-License-Identifier: Apache-2.0

package diskspace

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Interval is how often a [Guard] looks.
const Interval = 200 * time.Millisecond

// reserve is what has to stay free, in bytes, or half of what is free when the
// step starts where that is less.
const reserve = 512 << 20

// FullError says that a step was ended because it left too little.
type FullError struct {
	Dir  string // what lies on the file system
	Free uint64 // bytes that were left
}

// Error says how much is left, and where.
func (e *FullError) Error() string {
	return fmt.Sprintf("the step was stopped because it filled the disk: %d MB are left where %s lies", e.Free>>20, e.Dir)
}

// Guard returns a context that ends, with a [FullError] for its cause, when less
// is left of the file system of dir than has to stay. Call stop when the step has
// ended. Several may look at one file system.
func Guard(ctx context.Context, dir string) (guarded context.Context, stop func()) {
	guarded, cancel := context.WithCancelCause(ctx)
	least := min(reserve, free(dir)/2)
	go func() {
		tick := time.NewTicker(Interval)
		defer tick.Stop()
		for {
			select {
			case <-guarded.Done():
				return
			case <-tick.C:
			}
			if left := free(dir); left < least {
				cancel(&FullError{dir, left})
			}
		}
	}()
	return guarded, func() { cancel(nil) }
}

// free is how many bytes a user who is not root could still write; where nothing
// can be found out, as many as never end a step.
func free(dir string) uint64 {
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) != nil {
		return 1 << 62
	}
	return fs.Bavail * uint64(fs.Bsize)
}
