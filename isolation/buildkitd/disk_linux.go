// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// No quota holds a step to an amount of disk on every file system. So the engine
// looks, while a step runs, at what the file system that its files lie on has
// left, and ends the step before that is nothing: others on this machine, the
// engine among them, need some.
const (
	diskCheck = 200 * time.Millisecond
	// diskReserve is what has to stay free, or half of what is free when the
	// step starts where that is less.
	diskReserve = 512 << 20
)

// diskError says that a step was ended because it left too little.
type diskError struct {
	dir  string
	free uint64
}

func (e *diskError) Error() string {
	return fmt.Sprintf("the step was stopped because it filled the disk: %d MB are left where %s lies", e.free>>20, e.dir)
}

// guardDisk returns a context that ends with a diskError when less is left of
// the file system of dir than has to stay. Call stop when the step has ended.
func guardDisk(ctx context.Context, dir string) (guarded context.Context, stop func()) {
	guarded, cancel := context.WithCancelCause(ctx)
	least := min(diskReserve, diskFree(dir)/2)
	go func() {
		tick := time.NewTicker(diskCheck)
		defer tick.Stop()
		for {
			select {
			case <-guarded.Done():
				return
			case <-tick.C:
			}
			if free := diskFree(dir); free < least {
				cancel(&diskError{dir, free})
			}
		}
	}()
	return guarded, func() { cancel(nil) }
}

// diskFree is how many bytes a user who is not root could still write; where
// nothing can be found out, as many as never end a step.
func diskFree(dir string) uint64 {
	var fs unix.Statfs_t
	if unix.Statfs(dir, &fs) != nil {
		return 1 << 62
	}
	return fs.Bavail * uint64(fs.Bsize)
}
