// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/moby/buildkit/executor"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
	"github.com/attest-pipeline/attest/isolation/dirorder"
	"github.com/attest-pipeline/attest/llb/compile"
)

// world is how what surrounds a step differs from the usual. A definition asks
// for it by the host name that the step is to have: LLB has no other field that
// reaches an executor and says something of this kind.
type world struct {
	hostname string
	umask    *uint32
	oneCPU   bool
	arrange  dirorder.Arrange // of folders in the workspace; nil leaves them alone
}

// worldOf returns what a host name asks for. Any but two ask for the usual.
func worldOf(name string) world {
	switch name {
	case launch.WorldFixed:
		return world{hostname: hostname, oneCPU: true, arrange: dirorder.Sorted}
	case launch.WorldVaried:
		other := uint32(launch.VariedUmask)
		return world{hostname: name, umask: &other, oneCPU: true, arrange: dirorder.Reversed}
	default:
		return world{hostname: hostname}
	}
}

// worldControls name what this engine fixes for a step that asks for it, as
// receipts do; worldVaries what differs in the other world.
func worldControls(b bounds, snapshotter string) (fixes, varies []string) {
	fixes = []string{launch.FixedHostname, launch.FixedInputTimes, launch.FixedPath, launch.FixedUmask}
	varies = []string{launch.VariesHostname, launch.VariesUmask}
	if b.has(cpusetBound) && len(b.cpus) > 1 {
		fixes, varies = append(fixes, launch.FixedCPUs), append(varies, launch.VariesCPUs)
	}
	if snapshotter == overlayName {
		fixes, varies = append(fixes, launch.FixedOrder), append(varies, launch.VariesOrder)
	}
	slices.Sort(fixes)
	slices.Sort(varies)
	return fixes, varies
}

// apply puts into a container's description what differs.
func (w world) apply(spec *specs.Spec, b bounds) {
	spec.Process.User.Umask = w.umask
	if !w.oneCPU || !b.has(cpusetBound) || len(b.cpus) < 2 {
		return
	}
	res := spec.Linux.Resources
	if res.CPU == nil {
		res.CPU = &specs.LinuxCPU{}
	}
	if res.CPU.Cpus == "" { // the step does not say itself how many it sees
		res.CPU.Cpus = b.pick(1)
	}
}

// order arranges the folders of the workspace, with what that takes in dir, which
// is in memory.
func (w world) order(mounts []executor.Mount, dir string) []executor.Mount {
	if w.arrange == nil {
		return mounts
	}
	mounts = slices.Clone(mounts)
	for i, m := range mounts {
		if m.Dest == compile.Workspace {
			mounts[i].Src = ordered{m.Src, dir, w.arrange}
		}
	}
	return mounts
}

// ordered is a file system whose folders list their files in a chosen order.
type ordered struct {
	executor.Mountable
	dir     string
	arrange dirorder.Arrange
}

// Mount implements [executor.Mountable].
func (o ordered) Mount(ctx context.Context, readonly bool) (executor.MountableRef, error) {
	ref, err := o.Mountable.Mount(ctx, readonly)
	if err != nil {
		return nil, err
	}
	return orderedRef{ref, o}, nil
}

type orderedRef struct {
	executor.MountableRef
	ordered ordered
}

// Mount implements [executor.MountableRef].
func (r orderedRef) Mount() ([]mount.Mount, func() error, error) {
	mounts, release, err := r.MountableRef.Mount()
	if err != nil {
		return nil, nil, err
	}
	if err := r.ordered.under(mounts); err != nil {
		if release != nil {
			err = errors.Join(err, release())
		}
		return nil, nil, err
	}
	return mounts, release, nil
}

// lowerOption is the mount option that lists the layers of an overlay, the
// uppermost first.
const lowerOption = "lowerdir="

// under puts a layer of names below an overlay. BuildKit has mounted it already,
// for the step alone, and hands it on by its path: it is mounted there anew, so
// that BuildKit can take it away as it does always. Where the file system is
// none, as on engines that do not claim an order, it is left alone.
func (o ordered) under(mounts []mount.Mount) error {
	if len(mounts) != 1 || !slices.Contains(mounts[0].Options, "rbind") {
		return nil
	}
	at := mounts[0].Source
	mounted, err := mount.Lookup(at)
	if err != nil {
		return fmt.Errorf("looking at the workspace: %w", err)
	}
	if mounted.Mountpoint != at || mounted.FSType != "overlay" {
		return nil
	}
	options := strings.Split(mounted.VFSOptions, ",")
	i := slices.IndexFunc(options, func(s string) bool { return strings.HasPrefix(s, lowerOption) })
	if i < 0 {
		return nil
	}
	dir := filepath.Join(o.dir, "order")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("arranging the workspace: %w", err)
	}
	layers := strings.Split(strings.TrimPrefix(options[i], lowerOption), ":")
	if _, err := dirorder.Skeleton(dir, layers, o.arrange); err != nil {
		return err
	}
	options[i] += ":" + dir
	if err := unix.Unmount(at, 0); err != nil {
		return fmt.Errorf("arranging the workspace: unmounting it: %w", err)
	}
	forgetVolatile(workOf(options))
	if err := unix.Mount("overlay", at, "overlay", 0, strings.Join(options, ",")); err != nil {
		return fmt.Errorf("arranging the workspace: mounting it again: %w", err)
	}
	return nil
}
