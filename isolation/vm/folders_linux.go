// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// folders keeps every machine alone in what it may write to. A machine remembers
// what it has read of a shared folder, and its locks on files are known to nobody
// outside: two that write to one folder at a time, such as a cache of a package
// manager, would each work on what is no longer there. Safe for concurrent use.
type folders struct {
	mu    sync.Mutex
	taken map[folderID]bool
	left  chan struct{} // closed when somebody leaves; nil while nobody waits
}

// folderID is a folder of this host, by whatever path.
type folderID struct{ device, inode uint64 }

// enter waits until nobody is in any of the folders that the mounts let a step
// write to, or ctx ends. It takes all at once, so that nobody who waits is in the
// way of another.
func (f *folders) enter(ctx context.Context, mounts []specs.Mount) (leave func(), err error) {
	ids, err := writable(mounts)
	if err != nil {
		return nil, err
	}
	for {
		wait := f.take(ids)
		if wait == nil {
			return func() { f.leave(ids) }, nil
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// take takes the folders and returns nil, or returns what ends when it is worth
// while to try again.
func (f *folders) take(ids []folderID) (wait <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if slices.ContainsFunc(ids, func(id folderID) bool { return f.taken[id] }) {
		if f.left == nil {
			f.left = make(chan struct{})
		}
		return f.left
	}
	if f.taken == nil {
		f.taken = map[folderID]bool{}
	}
	for _, id := range ids {
		f.taken[id] = true
	}
	return nil
}

func (f *folders) leave(ids []folderID) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		delete(f.taken, id)
	}
	if f.left != nil {
		close(f.left)
		f.left = nil
	}
}

// writable returns the folders among the mounts of this host's files that are not
// read-only.
func writable(mounts []specs.Mount) (ids []folderID, err error) {
	for _, m := range mounts {
		if m.Type != "bind" || slices.Contains(m.Options, "ro") {
			continue
		}
		info, err := os.Stat(m.Source)
		if err != nil {
			return nil, fmt.Errorf("looking at what is mounted at %s: %w", m.Destination, err)
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && info.IsDir() {
			ids = append(ids, folderID{uint64(stat.Dev), stat.Ino})
		}
	}
	return ids, nil
}
