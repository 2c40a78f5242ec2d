// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"context"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/plugins/snapshots/native"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay"
	"github.com/containerd/containerd/v2/plugins/snapshots/overlay/overlayutils"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/executor/oci"
	"github.com/moby/buildkit/util/network/netproviders"
	"github.com/moby/buildkit/util/resolver"
	"github.com/moby/buildkit/version"
	"github.com/moby/buildkit/worker/base"
	"github.com/moby/buildkit/worker/runc"

	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
)

// newWorker makes the one worker: it stores images and results below
// files.Root and runs steps by the host's OCI runtime.
func newWorker(ctx context.Context, o Options, files launch.Files) (*base.Worker, launch.Status, error) {
	about := launch.Status{Network: "host"}
	runtime, err := launch.FindRuntime(o.Environ)
	if err != nil {
		return nil, about, err
	}
	about.Runtime = runtime
	if err := os.MkdirAll(files.Root, 0o700); err != nil {
		return nil, about, err
	}
	factory := snapshotter(files.Root)
	about.Snapshotter = factory.Name

	opt, err := runc.NewWorkerOpt(files.Root, factory, false, oci.ProcessSandbox, nil, nil,
		netproviders.Opt{Mode: "host"}, nil, runtime, "", false, nil, "", cgroupParent(files), nil)
	if err != nil {
		return nil, about, err
	}
	opt.GCPolicy = gcPolicy(files.Root)
	opt.BuildkitVersion = client.BuildkitVersion{Package: version.Package, Version: version.Version}
	opt.RegistryHosts = resolver.NewRegistryConfig(nil)
	w, err := base.NewWorker(ctx, opt)
	if err != nil {
		return nil, about, fmt.Errorf("opening the stores: %w", err)
	}
	return w, about, nil
}

// snapshotter stacks file systems by overlayfs, or copies them where the file
// system of root does not allow that.
func snapshotter(root string) runc.SnapshotterFactory {
	if err := overlayutils.Supported(root); err != nil {
		return runc.SnapshotterFactory{Name: "native", New: native.NewSnapshotter}
	}
	return runc.SnapshotterFactory{Name: "overlayfs", New: func(root string) (snapshots.Snapshotter, error) {
		return overlay.NewSnapshotter(root, overlay.AsynchronousRemove)
	}}
}

// cgroupParent is below what every container of this engine has its cgroup,
// so that those of a killed engine can be told from other programs'.
func cgroupParent(files launch.Files) string { return "attest-" + files.Name() }
