// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/core/snapshots"
	"golang.org/x/sys/unix"
)

// An overlay that is unmounted has the kernel write to the disk whatever the file
// system below it has not written yet, files of other programs included, and a step
// has four. One that is mounted as volatile does not, nor does it when programs in
// it call fsync. What that is worth after a crash of the machine is said in
// durable_linux.go: all of it is thrown away.

// volatileOption is the option of overlayfs, since Linux 5.10.
const volatileOption = "volatile"

// volatile is a snapshotter whose overlays are mounted as volatile.
type volatile struct{ snapshots.Snapshotter }

// Prepare implements [snapshots.Snapshotter].
func (v volatile) Prepare(ctx context.Context, key, parent string, opts ...snapshots.Opt) ([]mount.Mount, error) {
	mounts, err := v.Snapshotter.Prepare(ctx, key, parent, opts...)
	return makeVolatile(mounts), err
}

// Mounts implements [snapshots.Snapshotter].
func (v volatile) Mounts(ctx context.Context, key string) ([]mount.Mount, error) {
	mounts, err := v.Snapshotter.Mounts(ctx, key)
	return makeVolatile(mounts), err
}

// Cleanup implements [snapshots.Cleaner], by which folders that are not needed any
// more are removed.
func (v volatile) Cleanup(ctx context.Context) error {
	if c, ok := v.Snapshotter.(snapshots.Cleaner); ok {
		return c.Cleanup(ctx)
	}
	return nil
}

func makeVolatile(mounts []mount.Mount) []mount.Mount {
	for i, m := range mounts {
		work := workOf(m.Options)
		if m.Type != "overlay" || work == "" {
			continue // one that is read only keeps nothing
		}
		forgetVolatile(work)
		mounts[i].Options = append(slices.Clip(m.Options), volatileOption)
	}
	return mounts
}

// workOf returns the overlay's working folder, empty for one without.
func workOf(options []string) string {
	for _, o := range options {
		if dir, ok := strings.CutPrefix(o, "workdir="); ok {
			return dir
		}
	}
	return ""
}

// forgetVolatile removes the mark by which the kernel refuses to mount a volatile
// overlay a second time, lest the machine had crashed in between. That is found out
// otherwise here.
func forgetVolatile(work string) {
	_ = os.RemoveAll(filepath.Join(work, "work", "incompat")) // where it stays, the mount fails
}

// mountsVolatile tries whether the kernel knows the option on the file system of
// root.
func mountsVolatile(root string) bool {
	dir, err := os.MkdirTemp(root, "volatile-")
	if err != nil {
		return false
	}
	defer os.RemoveAll(dir)
	var options []string
	for _, name := range []string{"lowerdir", "upperdir", "workdir"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			return false
		}
		options = append(options, name+"="+filepath.Join(dir, name))
	}
	at := filepath.Join(dir, "lowerdir")
	if unix.Mount("overlay", at, "overlay", 0, strings.Join(append(options, volatileOption), ",")) != nil {
		return false
	}
	return unix.Unmount(at, unix.MNT_DETACH) == nil
}
