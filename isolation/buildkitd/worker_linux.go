// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/diff/apply"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/containerd/v2/plugins/diff/walking"
	"github.com/containerd/platforms"
	cachemeta "github.com/moby/buildkit/cache/metadata"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/executor"
	"github.com/moby/buildkit/executor/resources"
	"github.com/moby/buildkit/executor/runcexecutor"
	"github.com/moby/buildkit/snapshot/containerd"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/leaseutil"
	"github.com/moby/buildkit/util/network"
	"github.com/moby/buildkit/util/resolver"
	"github.com/moby/buildkit/version"
	"github.com/moby/buildkit/worker/base"
	"github.com/moby/buildkit/worker/label"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
	"github.com/attest-pipeline/attest/isolation/vm"
)

// namespace keeps BuildKit's things apart in containerd's stores.
const namespace = "buildkit"

// openNetwork is what a step gets whose network is open: this host's own.
// Anything narrower takes programs and privileges that a host may not have,
// and would not be a protection: an open network reaches everything anyway.
const openNetwork = "host"

// newWorker makes the one worker: it stores images and results below
// files.Root and runs steps by the host's OCI runtime.
func newWorker(ctx context.Context, o Options, files launch.Files) (*base.Worker, launch.Status, error) {
	runtime, err := launch.FindRuntime(o.Environ)
	if err != nil {
		return nil, launch.Status{}, err
	}
	stacking := chooseSnapshotter(files.Root)
	about := launch.Status{Runtime: runtime, Snapshotter: stacking.name, Network: openNetwork, Machines: true, Filters: true}

	opt, err := openStores(filepath.Join(files.Root, stacking.name), stacking)
	if err != nil {
		return nil, about, err
	}
	opt.NetworkProviders = map[pb.NetMode]network.Provider{
		pb.NetMode_UNSET: network.NewHostProvider(),
		pb.NetMode_HOST:  network.NewHostProvider(),
		pb.NetMode_NONE:  network.NewNoneProvider(),
	}
	opt.ProxyProvider = &recordedNetworks{root: opt.Root}
	bounds := newBounds(cgroupParent(files))
	about.Controls, about.Limits = controls(bounds, stacking), bounds.limits()
	about.Fixes, about.Varies = worldControls(bounds, stacking.name)
	machines := vm.NewHost(filepath.Join(files.Root, "machines"), files.MachineLogs, vm.Options{Environ: o.Environ}, o.Log)
	opt.Executor, err = newExecutor(opt, runtime, files, bounds, machines)
	if err != nil {
		return nil, about, err
	}
	opt.Labels = map[string]string{
		label.Executor: "oci", label.Snapshotter: stacking.name, label.Network: openNetwork,
		label.OCIProcessMode: "sandbox", label.Hostname: hostname,
	}
	opt.Platforms = []ocispecs.Platform{platforms.Normalize(platforms.DefaultSpec())}
	opt.GCPolicy = gcPolicy(files.Root)
	opt.BuildkitVersion = client.BuildkitVersion{Package: version.Package, Version: version.Version}
	opt.RegistryHosts = resolver.NewRegistryConfig(nil) // https, but for registries of this host
	w, err := base.NewWorker(ctx, opt)                  // which also drops the leases of a killed engine
	if err != nil {
		return nil, about, fmt.Errorf("opening the stores: %w", err)
	}
	return w, about, nil
}

// newExecutor makes what runs processes, for the worker to be.
func newExecutor(opt base.WorkerOpt, runtime string, files launch.Files, bounds bounds, machines *vm.Host) (executor.Executor, error) {
	cgroup := cgroupParent(files)
	monitor, err := resources.NewMonitor()
	if err != nil {
		return nil, err
	}
	containers, err := runcexecutor.New(runcexecutor.Opt{
		Root:                filepath.Join(opt.Root, "containers"),
		CommandCandidates:   []string{runtime},
		DefaultCgroupParent: cgroup,
		ResourceMonitor:     monitor,
		ProxyProvider:       opt.ProxyProvider,
	}, opt.NetworkProviders)
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(opt.Root, "steps")
	// What is there was left by a killed engine, whose mounts are gone.
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o711)); err != nil {
		return nil, err
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0711"); err != nil {
		return nil, fmt.Errorf("mounting %s: %w", dir, err)
	}
	return &steps{
		containers: containers, runtime: runtime, dir: dir, cgroup: cgroup, networks: opt.NetworkProviders,
		recorded: opt.ProxyProvider, bounds: bounds,
		machines: machines,
	}, nil
}

// openStores opens everything that is kept, below root.
func openStores(root string, stacking snapshotter) (opt base.WorkerOpt, err error) {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return opt, err
	}
	layers, err := stacking.open(filepath.Join(root, "snapshots"))
	if err != nil {
		return opt, fmt.Errorf("opening the snapshots: %w", err)
	}
	blobs, err := local.NewStore(filepath.Join(root, "content"))
	if err != nil {
		return opt, fmt.Errorf("opening the content: %w", err)
	}
	db, err := openBolt(filepath.Join(root, "containerdmeta.db"))
	if err != nil {
		return opt, fmt.Errorf("opening the content's names: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	meta := metadata.NewDB(db, blobs, map[string]snapshots.Snapshotter{stacking.name: layers})
	if err := meta.Init(context.Background()); err != nil {
		return opt, fmt.Errorf("opening the content's names: %w", err)
	}
	records, err := cachemeta.NewStore(filepath.Join(root, "metadata_v2.db"))
	if err != nil {
		return opt, fmt.Errorf("opening the cache's records: %w", err)
	}
	if err := noSync(records.DB()); err != nil {
		return opt, errors.Join(err, records.Close())
	}
	id, err := base.ID(root)
	if err != nil {
		return opt, errors.Join(err, records.Close())
	}
	content := containerd.NewContentStore(meta.ContentStore(), namespace)
	return base.WorkerOpt{
		ID:              id,
		Root:            root,
		MetadataStore:   records,
		ContentMetadata: db,
		Snapshotter:     containerd.NewSnapshotter(stacking.name, meta.Snapshotter(stacking.name), namespace, nil),
		ContentStore:    content,
		Applier:         apply.NewFileSystemApplier(content),
		Differ:          walking.NewWalkingDiff(content),
		LeaseManager:    leaseutil.WithNamespace(metadata.NewLeaseManager(meta), namespace),
		GarbageCollect:  meta.GarbageCollect,
		MountPoolRoot:   filepath.Join(root, "mounts"),
	}, nil
}
