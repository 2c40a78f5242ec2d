// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/moby/buildkit/executor"
	"github.com/moby/buildkit/solver/pb"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
)

// What a step may take that says nothing of limits: enough for every build, and
// so little that the machine survives a step that has lost its way.
const (
	memoryPercent = 90  // of this machine's memory
	oomScore      = 500 // of a step, so that the kernel ends it before others
)

// cpuPeriod is the one that the kernel starts with, in microseconds.
const cpuPeriod = 100_000

// Controllers of cgroups, by the names that the kernel gives them.
const (
	memoryBound = "memory"
	cpuBound    = "cpu"
	cpusetBound = "cpuset"
	pidsBound   = "pids"
)

// bounds are what the cgroups of this host can hold a step to. Where the host
// has no cgroups that this engine may use, they are empty.
type bounds struct {
	controllers []string
	unifiedTree bool // they are of version 2
	swap        bool // swapped memory can be counted
	memory      int64
	cpus        []int // that this engine may use
	next        *atomic.Uint32
}

// newBounds makes the cgroup below which all steps of this engine have theirs,
// and finds out what it can be used for.
func newBounds(parent string) bounds {
	b := bounds{next: new(atomic.Uint32), cpus: usableCPUs(), memory: totalMemory()}
	if b.unifiedTree = isUnified(cgroupMount); b.unifiedTree {
		b.unified(cgroupMount, parent)
	} else {
		b.separate(cgroupMount, parent)
	}
	return b
}

func isUnified(mount string) bool {
	var fs unix.Statfs_t
	return unix.Statfs(mount, &fs) == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC
}

// unified is cgroup version 2: a controller can be used where every folder above
// hands it down. Inside a container the uppermost may hold processes, and then
// hands down nothing.
func (b *bounds) unified(mount, parent string) {
	for _, c := range []string{memoryBound, cpuBound, cpusetBound, pidsBound} {
		// Each alone: one that is refused must not take the others with it.
		_ = os.WriteFile(filepath.Join(mount, "cgroup.subtree_control"), []byte("+"+c), 0)
	}
	dir := filepath.Join(mount, parent)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return
	}
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return
	}
	b.controllers = strings.Fields(string(text))
	_, err = os.Stat(filepath.Join(dir, "memory.swap.max"))
	b.swap = err == nil
}

// separate is cgroup version 1: a tree for each controller.
func (b *bounds) separate(mount, parent string) {
	for _, c := range []string{memoryBound, cpuBound, cpusetBound, pidsBound} {
		// Without it in place a folder below would be one of a tmpfs.
		if _, err := os.Stat(filepath.Join(mount, c, "cgroup.procs")); err != nil {
			continue
		}
		dir := filepath.Join(mount, c, parent)
		if err := os.Mkdir(dir, 0o755); err == nil || errors.Is(err, os.ErrExist) {
			b.controllers = append(b.controllers, c)
		}
	}
	_, err := os.Stat(filepath.Join(mount, memoryBound, parent, "memory.memsw.limit_in_bytes"))
	b.swap = err == nil
}

func (b bounds) has(controller string) bool { return slices.Contains(b.controllers, controller) }

// controls name what every step is held to, and limits what one can be that
// asks for it.
func (b bounds) controls() []string {
	var list []string
	for _, c := range []struct{ controller, control string }{
		{memoryBound, launch.ControlMemoryLimit}, {pidsBound, launch.ControlPIDsLimit},
	} {
		if b.has(c.controller) {
			list = append(list, c.control)
		}
	}
	return list
}

func (b bounds) limits() []string {
	list := append(b.controls(), launch.ControlFileSizeLimit)
	if b.has(cpuBound) {
		list = append(list, launch.ControlCPULimit)
	}
	slices.Sort(list)
	return list
}

// errNoBound says that a step asks to be held to what this host cannot hold it
// to. Clients know beforehand, from [launch.Status].
var errNoBound = errors.New("this host has no cgroup for it that the engine may use")

// apply holds a container to what the step's definition says, or to what every
// step is held to. The definition's field for processes, "nproc", is the user's
// limit elsewhere, which binds nobody who is root.
func (b bounds) apply(spec *specs.Spec, meta executor.Meta) error {
	if spec.Linux.Resources == nil {
		spec.Linux.Resources = &specs.LinuxResources{}
	}
	res := spec.Linux.Resources
	asked := meta.LinuxResources
	if asked == nil {
		asked = &pb.LinuxResources{}
	}
	spec.Process.OOMScoreAdj = new(int(oomScore))
	if err := b.applyMemory(res, asked.Memory); err != nil {
		return err
	}
	if err := b.applyCPUs(res, asked); err != nil {
		return err
	}
	processes := int64(pipeline.DefaultPIDs)
	i := slices.IndexFunc(meta.Ulimit, func(l *pb.Ulimit) bool { return l.Name == "nproc" })
	if i >= 0 {
		processes = meta.Ulimit[i].Hard
	}
	if b.has(pidsBound) {
		res.Pids = &specs.LinuxPids{Limit: &processes}
	} else if i >= 0 {
		return fmt.Errorf("limiting processes to %d: %w", processes, errNoBound)
	}
	spec.Process.Rlimits = stepLimits(meta.Ulimit)
	return nil
}

func (b bounds) applyMemory(res *specs.LinuxResources, asked int64) error {
	if !b.has(memoryBound) {
		if asked > 0 {
			return fmt.Errorf("limiting memory to %d bytes: %w", asked, errNoBound)
		}
		return nil
	}
	if asked <= 0 {
		asked = b.memory / 100 * memoryPercent
	}
	res.Memory = &specs.LinuxMemory{Limit: &asked}
	if b.swap {
		res.Memory.Swap = &asked // both together: none of it is swap
	}
	return nil
}

// applyCPUs bounds the time, and where it can the processors that a step sees:
// programs start as many threads as there are.
func (b bounds) applyCPUs(res *specs.LinuxResources, asked *pb.LinuxResources) error {
	if asked.CpuQuota <= 0 {
		return nil
	}
	if !b.has(cpuBound) {
		return fmt.Errorf("limiting processors: %w", errNoBound)
	}
	period := asked.CpuPeriod
	if period == 0 {
		period = cpuPeriod
	}
	res.CPU = &specs.LinuxCPU{Period: &period, Quota: &asked.CpuQuota}
	n := int((uint64(asked.CpuQuota) + period - 1) / period)
	if b.has(cpusetBound) && n < len(b.cpus) {
		res.CPU.Cpus = b.pick(n)
	}
	return nil
}

// pick returns n processors: the next ones after those of the step before, so
// that two steps have not the same while others are idle.
func (b bounds) pick(n int) string {
	first := int(b.next.Add(uint32(n))) - n
	var names []string
	for i := range n {
		names = append(names, strconv.Itoa(b.cpus[(first+i)%len(b.cpus)]))
	}
	return strings.Join(names, ",")
}

func usableCPUs() []int {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return nil
	}
	var list []int
	for cpu := 0; len(list) < min(set.Count(), runtime.NumCPU()); cpu++ {
		if set.IsSet(cpu) {
			list = append(list, cpu)
		}
	}
	return list
}

func totalMemory() int64 {
	var info unix.Sysinfo_t
	if unix.Sysinfo(&info) != nil {
		return 1 << 62
	}
	return int64(info.Totalram) * int64(info.Unit)
}
