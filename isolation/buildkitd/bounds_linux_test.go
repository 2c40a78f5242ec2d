// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/moby/buildkit/executor"
	"github.com/moby/buildkit/solver/pb"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/attest-pipeline/attest/frontend/pipeline"
)

// write makes files, with the folders above them.
func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCgroupVersions: what each version of cgroups offers is told by its files;
// these are made up, since a machine has one version at a time.
func TestCgroupVersions(t *testing.T) {
	for _, test := range []struct {
		name   string
		files  map[string]string
		find   func(b *bounds, mount, parent string)
		want   []string
		swap   bool
		limits []string
	}{
		{
			"version 2", map[string]string{
				"cgroup.subtree_control": "", "parent/cgroup.controllers": "cpuset cpu io memory pids\n", "parent/memory.swap.max": "max\n",
			},
			(*bounds).unified, []string{"memory-limit", "pids-limit"}, true,
			[]string{"cpu-limit", "file-size-limit", "memory-limit", "pids-limit"},
		},
		{
			"version 2 in a container that hands nothing down",
			map[string]string{"cgroup.subtree_control": "", "parent/cgroup.controllers": "\n"},
			(*bounds).unified, nil, false, []string{"file-size-limit"},
		},
		{
			"version 1", map[string]string{"memory/cgroup.procs": "", "cpu/cgroup.procs": "", "pids/cgroup.procs": ""},
			(*bounds).separate, []string{"memory-limit", "pids-limit"}, false,
			[]string{"cpu-limit", "file-size-limit", "memory-limit", "pids-limit"},
		},
		{
			"version 1 with one controller", map[string]string{"pids/cgroup.procs": "", "memory/other": ""},
			(*bounds).separate, []string{"pids-limit"}, false, []string{"file-size-limit", "pids-limit"},
		},
		{"none", nil, (*bounds).separate, nil, false, []string{"file-size-limit"}},
		{"none of version 2", nil, (*bounds).unified, nil, false, []string{"file-size-limit"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			mount, b := t.TempDir(), bounds{}
			write(t, mount, test.files)
			test.find(&b, mount, "parent")
			if got := b.controls(); !slices.Equal(got, test.want) {
				t.Errorf("controls %q, want %q", got, test.want)
			}
			if got := b.limits(); !slices.Equal(got, test.limits) || b.swap != test.swap {
				t.Errorf("limits %q, want %q; swap %t", got, test.limits, b.swap)
			}
		})
	}
}

func TestBounds(t *testing.T) {
	all := []string{memoryBound, cpuBound, cpusetBound, pidsBound}
	asked := executor.Meta{
		LinuxResources: &pb.LinuxResources{Memory: 1 << 30, CpuQuota: 200_000, CpuPeriod: 100_000},
		Ulimit:         []*pb.Ulimit{{Name: "nproc", Soft: 99, Hard: 99}, {Name: "fsize", Soft: 5, Hard: 5}},
	}
	apply := func(b bounds, meta executor.Meta) (*specs.Spec, error) {
		b.next = new(atomic.Uint32)
		spec := &specs.Spec{Process: &specs.Process{}, Linux: &specs.Linux{}}
		return spec, b.apply(spec, meta)
	}
	t.Run("all", func(t *testing.T) {
		spec, err := apply(bounds{controllers: all, memory: 1 << 40, swap: true, cpus: []int{4, 5, 6, 7}}, asked)
		if err != nil {
			t.Fatal(err)
		}
		res := spec.Linux.Resources
		if *res.Memory.Limit != 1<<30 || *res.Memory.Swap != 1<<30 || *res.Pids.Limit != 99 ||
			*res.CPU.Quota != 200_000 || *res.CPU.Period != 100_000 || res.CPU.Cpus != "4,5" || *spec.Process.OOMScoreAdj != oomScore {
			t.Errorf("got %+v %+v %+v", res.Memory, res.Pids, res.CPU)
		}
		var files, processes bool
		for _, l := range spec.Process.Rlimits {
			files = files || l == specs.POSIXRlimit{Type: "RLIMIT_FSIZE", Soft: 5, Hard: 5}
			processes = processes || l.Type == "RLIMIT_NPROC"
		}
		if !files || processes || len(spec.Process.Rlimits) != len(limits()) {
			t.Errorf("resource limits %+v", spec.Process.Rlimits)
		}
	})
	t.Run("nothing asked", func(t *testing.T) {
		spec, err := apply(bounds{controllers: all, memory: 1000}, executor.Meta{})
		if err != nil {
			t.Fatal(err)
		}
		res := spec.Linux.Resources
		if *res.Memory.Limit != 900 || res.Memory.Swap != nil || *res.Pids.Limit != pipeline.DefaultPIDs || res.CPU != nil {
			t.Errorf("got %+v %+v %+v", res.Memory, res.Pids, res.CPU)
		}
	})
	// What cannot be enforced fails the step: it must never be left out.
	for name, meta := range map[string]executor.Meta{
		"memory": {LinuxResources: &pb.LinuxResources{Memory: 1}},
		"cpus":   {LinuxResources: &pb.LinuxResources{CpuQuota: 1}},
		"pids":   {Ulimit: []*pb.Ulimit{{Name: "nproc", Soft: 1, Hard: 1}}},
	} {
		if _, err := apply(bounds{}, meta); !errors.Is(err, errNoBound) {
			t.Errorf("%s without a cgroup: %v", name, err)
		}
	}
}

// TestPick: steps that run one after the other get other processors.
func TestPick(t *testing.T) {
	b := bounds{cpus: []int{0, 2, 4}, next: new(atomic.Uint32)}
	for _, want := range []string{"0,2", "4,0", "2,4"} {
		if got := b.pick(2); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
