// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/core/mount"
	containerdoci "github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/continuity/fs"
	"github.com/moby/buildkit/executor"
	"github.com/moby/buildkit/executor/oci"
	resourcestypes "github.com/moby/buildkit/executor/resources/types"
	"github.com/moby/buildkit/identity"
	"github.com/moby/buildkit/solver/pb"
	"github.com/moby/buildkit/util/network"
	"github.com/moby/buildkit/util/progress"
	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
	"github.com/attest-pipeline/attest/isolation/diskspace"
	"github.com/attest-pipeline/attest/isolation/vm"
)

// steps is what BuildKit runs processes by. It runs steps itself, so that what
// a step sees depends on nothing but the step, and leaves containers that
// somebody talks to (debugging shells, containers of a gateway frontend) to
// BuildKit's own executor. It is safe for concurrent use.
//
// A step whose definition says so runs in a virtual machine, see runMachine.
type steps struct {
	containers executor.Executor // BuildKit's own
	runtime    string            // path of runc or crun
	dir        string            // of the bundles of running containers, in memory: they may hold secrets
	cgroup     string            // the parent of their cgroups
	bounds     bounds
	networks   map[pb.NetMode]network.Provider
	recorded   network.ProxyProvider
	machines   *vm.Host
}

// step is a process of a step, as BuildKit asks for it.
type step struct {
	root    executor.Mount
	mounts  []executor.Mount
	process executor.ProcessInfo
	machine *vm.Settings    // what it runs in; nil for a container
	started chan<- struct{} // closed when its command runs; nil where nobody waits for that
}

// confined reports whether nothing of this host may be reached but by the proxy.
func (st step) confined() bool {
	return st.process.Meta.NetMode == pb.NetMode_NONE || st.process.Meta.Proxy != nil
}

// begun says that the command runs.
func (st step) begun() {
	if st.started != nil {
		close(st.started)
	}
}

// bundle is the folder of one running container.
type bundle struct{ id, dir string }

func (b bundle) rootfs() string { return filepath.Join(b.dir, "rootfs") }

// Run runs one process in a container and waits for it.
func (s *steps) Run(ctx context.Context, id string, root executor.Mount, mounts []executor.Mount,
	process executor.ProcessInfo, started chan<- struct{},
) (resourcestypes.Recorder, error) {
	machine, err := takeSettings(&process.Meta)
	if err != nil {
		return nil, err
	}
	talks := id != "" || process.Stdin != nil || process.Meta.Tty
	switch {
	case machine != nil && talks:
		return nil, errMachineTalk
	case talks:
		process.Meta.Hostname = hostname
		return s.containers.Run(ctx, id, root, mounts, process, started)
	}
	st := step{root: root, mounts: mounts, process: process, machine: machine, started: started}
	if process.Meta.Proxy != nil {
		return nil, s.runRecorded(ctx, st)
	}
	return nil, s.run(ctx, st)
}

// Exec runs another process in a container that is not a step's.
func (s *steps) Exec(ctx context.Context, id string, process executor.ProcessInfo) error {
	return s.containers.Exec(ctx, id, process)
}

// run runs a step in a container, or in its machine.
func (s *steps) run(ctx context.Context, st step) (err error) {
	meta := &st.process.Meta
	world := worldOf(meta.Hostname)
	meta.Hostname = world.hostname
	id := identity.NewID()
	b := bundle{id: id, dir: filepath.Join(s.dir, id)}
	if err := os.MkdirAll(b.rootfs(), 0o711); err != nil {
		return err
	}
	defer func() {
		// Never through a mount that could not be undone.
		if os.Remove(b.rootfs()) == nil {
			os.RemoveAll(b.dir)
		}
	}()

	release, err := mountRoot(ctx, st.root, b.rootfs())
	if err != nil {
		return err
	}
	// The mount points that the runtime makes are no part of the result.
	clean := executor.MountStubsCleaner(context.WithoutCancel(ctx), b.rootfs(), st.mounts, meta.RemoveMountStubsRecursive)
	defer func() {
		clean()
		err = errors.Join(err, release())
	}()

	var report string
	meta.Env, report = takeReport(meta.Env)
	st.mounts = world.order(st.mounts, b.dir)
	spec, done, err := s.spec(ctx, b, st)
	if err != nil {
		return err
	}
	defer done()
	guarded, stop := diskspace.Guard(ctx, filepath.Dir(s.dir))
	defer stop()
	world.apply(spec, s.bounds)
	if st.machine != nil {
		err = s.runMachine(guarded, spec, st)
	} else {
		err = s.runContainer(guarded, container{runtime: s.runtime, bundle: b, confined: st.confined()}, spec, st)
	}
	if err == nil && report != "" {
		err = writeReport(spec, report)
	}
	return err
}

// runContainer runs a container of the runtime. The client learns from the progress
// which limits one that failed has met.
func (s *steps) runContainer(ctx context.Context, c container, spec *specs.Spec, st step) error {
	memory, err := s.bounds.watchMemory(spec)
	if err != nil {
		return err
	}
	forks := s.bounds.watchForks(spec)
	if err = c.write(spec); err == nil {
		err = c.run(ctx, st)
	}
	if memory.end(err != nil) {
		tellLimit(ctx, pipeline.LimitMemory)
	}
	if forks.end() && err != nil {
		tellLimit(ctx, pipeline.LimitPIDs)
	}
	return err
}

// tellLimit tells the client of a limit that a step has met.
func tellLimit(ctx context.Context, name string) {
	_ = progress.OneOff(ctx, launch.LimitMet+name)(nil) // nobody listens any more
}

// mountRoot mounts a step's root file system at path. release undoes it.
func mountRoot(ctx context.Context, root executor.Mount, path string) (release func() error, err error) {
	mountable, err := root.Src.Mount(ctx, false)
	if err != nil {
		return nil, fmt.Errorf("preparing the root file system: %w", err)
	}
	mounts, unmount, err := mountable.Mount()
	if err != nil {
		return nil, fmt.Errorf("preparing the root file system: %w", err)
	}
	if unmount == nil {
		unmount = func() error { return nil }
	}
	if err := mount.All(mounts, path); err != nil {
		return nil, errors.Join(fmt.Errorf("mounting the root file system: %w", err), unmount())
	}
	return func() error { return errors.Join(mount.Unmount(path, 0), unmount()) }, nil
}

// spec says what the container is like. done releases its mounts.
func (s *steps) spec(ctx context.Context, b bundle, st step) (spec *specs.Spec, done func(), err error) {
	meta := st.process.Meta
	namespace, err := s.network(ctx, meta)
	if err != nil {
		return nil, nil, err
	}
	files, err := writeNetworkFiles(b.dir, meta)
	if err != nil {
		return nil, nil, errors.Join(err, namespace.Close())
	}
	uid, gid, groups, err := oci.GetUser(b.rootfs(), meta.User)
	if err != nil {
		return nil, nil, errors.Join(err, namespace.Close())
	}
	if err := makeWorkingDir(b.rootfs(), meta.Cwd, int(uid), int(gid)); err != nil {
		return nil, nil, errors.Join(err, namespace.Close())
	}
	spec, unmount, err := oci.GenerateSpec(ctx, meta, st.mounts, b.id, files.resolvConf, files.hosts, namespace,
		s.cgroup, oci.ProcessSandbox, nil, "", false, "", nil,
		oci.WithUIDGID(uid, gid, groups), containerdoci.WithCapabilities(capabilities()))
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("describing the container: %w", err), namespace.Close())
	}
	spec.Root.Path = b.rootfs()
	spec.Root.Readonly = st.root.Readonly || meta.ReadonlyRootFS
	harden(spec)
	if err := errors.Join(s.bounds.apply(spec, meta), furnish(spec, namespace, b)); err != nil {
		unmount()
		return nil, nil, errors.Join(err, namespace.Close())
	}
	return spec, func() { unmount(); namespace.Close() }, nil
}

// makeWorkingDir makes the working directory, if it is missing, without
// leaving the root file system.
func makeWorkingDir(rootfs, dir string, uid, gid int) error {
	path, err := fs.RootPath(rootfs, dir)
	if err != nil {
		return fmt.Errorf("finding the working directory %s: %w", dir, err)
	}
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := user.MkdirAllAndChown(path, 0o755, uid, gid); err != nil {
		return fmt.Errorf("making the working directory %s: %w", dir, err)
	}
	return nil
}
