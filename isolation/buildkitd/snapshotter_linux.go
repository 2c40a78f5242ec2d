// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"path/filepath"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/storage"
	"github.com/containerd/containerd/v2/plugins/snapshots/native"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay/overlayutils"
	bolt "go.etcd.io/bbolt"
)

// snapshotter is a way in which file systems are stacked.
type snapshotter struct {
	name string
	open func(root string) (snapshots.Snapshotter, error)
}

// overlayName is what the snapshotter is called that stacks file systems.
const overlayName = "overlayfs"

// chooseSnapshotter takes overlayfs, or copies where the file system of root
// does not allow that, as inside most containers.
func chooseSnapshotter(root string) snapshotter {
	if err := overlayutils.Supported(root); err != nil {
		return snapshotter{"native", native.NewSnapshotter}
	}
	return snapshotter{overlayName, openOverlay}
}

func openOverlay(root string) (snapshots.Snapshotter, error) {
	meta, err := storage.NewMetaStore(filepath.Join(root, "metadata.db"), func(o *bolt.Options) error {
		o.NoSync = true // see durable_linux.go
		return nil
	})
	if err != nil {
		return nil, err
	}
	s, err := overlay.NewSnapshotter(root, overlay.AsynchronousRemove, overlay.WithMetaStore(meta))
	if err != nil || !mountsVolatile(root) {
		return s, err
	}
	return volatile{s}, nil
}
