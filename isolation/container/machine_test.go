// SPDX-License-Identifier: Apache-2.0

package container_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/buildkitd/buildkitdtest"
	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
	"github.com/attest-pipeline/attest/isolation/container"
	"github.com/attest-pipeline/attest/isolation/container/connect"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/executor/executortest"
	"github.com/attest-pipeline/attest/isolation/image"
	"github.com/attest-pipeline/attest/isolation/image/imagetest"
	"github.com/attest-pipeline/attest/isolation/vm"
)

// startMachines returns an executor that runs steps in virtual machines.
func startMachines(t testing.TB) *container.Executor {
	t.Helper()
	machines := buildkitdtest.Machines(t)
	e := container.New(machineOptions(t, buildkitdtest.Shared(t), machines))
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return e
}

func machineOptions(t testing.TB, daemon launch.Daemon, machines vm.Options) container.Options {
	return container.Options{
		Connect: func(ctx context.Context, progress func(executor.Progress)) (*connect.Conn, error) {
			return connect.Open(ctx, connect.Options{Daemon: daemon, Progress: progress})
		},
		Images:   image.NewResolver(t.TempDir(), image.Local()),
		Machines: &machines,
	}
}

// TestMachineConformance runs of the suite what a machine could do otherwise
// than a container, because a boot takes seconds. ATTEST_VM_ALL=1 runs all.
func TestMachineConformance(t *testing.T) {
	only := []string{
		"command/exit code/exit 42", "command/not there/in PATH",
		"streams/apart and in order", "streams/binary", "streams/while it runs",
		"outputs/folders' modes", "inputs/as they are", "outcome", "secrets/file", "secrets/for one job", "secrets/in errors",
		"ending/takes too long and ignores signals", "ending/is cancelled and ignores signals",
	}
	if os.Getenv("ATTEST_VM_ALL") != "" {
		only = nil
	}
	executortest.Run(t, func(t *testing.T) executortest.Fixture {
		return executortest.Fixture{
			Executor: startMachines(t),
			Image:    imagetest.Busybox(t),
			BaseEnv: []pipeline.Var{
				{Name: "HOME", Value: "/root"},
				{Name: "IMAGE", Value: "busybox"},
				{Name: "LANG", Value: "C.UTF-8"},
				{Name: "PATH", Value: "/bin"},
				{Name: "TERM", Value: "dumb"},
				{Name: "USER", Value: "root"},
			},
			Sealed:   true,
			Text:     true,
			Only:     only,
			Start:    time.Minute,
			Controls: []string{"mount-namespace", "network-none", "pid-namespace", "virtual-machine"},
		}
	})
}

// TestMachineWritten: what a step in a machine wrote beside its outputs is told as
// that of a container is. It is strict, so that what such a step needs is there.
func TestMachineWritten(t *testing.T) {
	wantWritten(t, startMachines(t), func(j *executor.Job) { j.Strict = true })
}

// TestMachineSecrets: what is handed to a step in a machine lies in no file that the
// machine shares.
func TestMachineSecrets(t *testing.T) {
	machines, daemon := buildkitdtest.Machines(t), buildkitdtest.New(t)
	e := container.New(machineOptions(t, daemon, machines))
	defer e.Close()
	wantSecrets(t, e, daemon)
}

// TestMachineCaches: a folder is there again for the next step that names it, and
// one that comes while another counts in it does not miss the count.
func TestMachineCaches(t *testing.T) {
	e, project := startMachines(t), t.TempDir()
	use := func() executor.Job {
		j := job(imagetest.Busybox(t), project, tree.Tree{},
			"n=$(cat /root/.npm/n || echo 0); echo counting; [ $n = 1 ] || sleep 8; echo $((n+1)) > /root/.npm/n; cp /root/.npm/n out", "out")
		j.Caches = []executor.CacheFolder{{Name: "npm", Path: "/root/.npm"}}
		j.Staging = t.TempDir()
		return j
	}
	want := func(j executor.Job, streams executor.Streams, count string) {
		outcome, err := e.Run(t.Context(), j, streams)
		if err != nil || outcome.ExitCode != 0 {
			t.Errorf("%+v, %v", outcome, err)
			return
		}
		if got := read(t, filepath.Join(j.Staging, "out")); got != count {
			t.Errorf("counted %q, want %q", got, count)
		}
	}
	var all sync.WaitGroup
	second := use()
	begin := sync.OnceFunc(func() {
		all.Go(func() { want(second, executor.Streams{}, "2\n") })
	})
	want(use(), executor.Streams{Stdout: writerFunc(begin)}, "1\n")
	all.Wait()
	strict := use()
	strict.Strict = true
	if _, err := e.Run(t.Context(), strict, executor.Streams{}); !errors.Is(err, executor.ErrUnavailable) || !strings.Contains(err.Error(), "no-caches") {
		t.Errorf("a cache under --strict: %v", err)
	}
}

// TestMachineRandom: what a deterministic step gets as random is the same in another
// machine, and nowhere the same twice.
func TestMachineRandom(t *testing.T) {
	e := startMachines(t)
	j := job(imagetest.Busybox(t), t.TempDir(), tree.Tree{}, `
		{ for i in 1 2; do
			head -c 16 /dev/urandom | md5sum
			head -c 300000 /dev/random | md5sum
			cat /proc/sys/kernel/random/uuid
			mktemp -u /tmp/x.XXXXXXXXXX
		done; } >out/values
		cat /proc/sys/kernel/random/boot_id >out/boot
		dd if=/dev/urandom bs=200000 count=1 2>/dev/null | wc -c >out/size
		echo x >/dev/urandom
		grep stack /proc/self/maps >out/stack
		grep -c -w -e rdrand -e rdseed /proc/cpuinfo >out/instructions || true`, "out")
	j.Command.Shell = "mkdir out\n" + j.Command.Shell
	j.Deterministic = &executor.Determinism{Epoch: time.Unix(1e9, 0), Seed: "0"}
	one, outcome := run(t, e, j)
	two, _ := run(t, e, j)
	for _, name := range []string{"values", "boot", "stack"} {
		if first, second := read(t, filepath.Join(one, "out", name)), read(t, filepath.Join(two, "out", name)); first != second {
			t.Errorf("%s: %s, and then %s", name, first, second)
		}
	}
	values := strings.Fields(strings.ReplaceAll(read(t, filepath.Join(one, "out/values")), "  -", ""))
	distinct := map[string]bool{}
	for _, v := range values {
		distinct[v] = true
	}
	if len(values) != 8 || len(distinct) != 8 {
		t.Errorf("random values: %q", values)
	}
	if got := read(t, filepath.Join(one, "out/size")); got != "200000\n" {
		t.Errorf("of 200000 bytes that were asked for came %s", got)
	}
	if got := read(t, filepath.Join(one, "out/instructions")); got != "0\n" {
		t.Error("the processor has instructions that give random numbers")
	}
	for _, control := range []string{executor.FixedAddresses, executor.FixedRandom} {
		if !slices.Contains(outcome.Controls, control) {
			t.Errorf("controls %q lack %q", outcome.Controls, control)
		}
	}
}

// exits is a program that does nothing but exit with 7: an ELF header, a program
// header, and mov eax,60; mov edi,7; syscall.
const exits = "\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x02\x00\x3e\x00\x01\x00\x00\x00\x78\x00\x40\x00\x00\x00\x00\x00" +
	"\x40\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x00\x00\x00\x00\x40\x00\x38\x00\x01\x00\x00\x00\x00\x00\x00\x00" +
	"\x01\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
	"\x00\x00\x40\x00\x00\x00\x00\x00\x00\x00\x40\x00\x00\x00\x00\x00" +
	"\x84\x00\x00\x00\x00\x00\x00\x00\x84\x00\x00\x00\x00\x00\x00\x00" +
	"\x00\x10\x00\x00\x00\x00\x00\x00" +
	"\xb8\x3c\x00\x00\x00\xbf\x07\x00\x00\x00\x0f\x05"

// TestMachineDoesNotBoot: of a machine whose first process ends, the error says the
// last words, and where all of them are.
func TestMachineDoesNotBoot(t *testing.T) {
	machines, daemon := buildkitdtest.Machines(t), buildkitdtest.New(t)
	// The engine takes the guest that lies beside it.
	dir := t.TempDir()
	if err := os.Link(daemon.Binary, filepath.Join(dir, "attest-buildkitd")); err != nil {
		t.Fatal(err)
	}
	daemon.Binary = filepath.Join(dir, "attest-buildkitd")
	if err := os.WriteFile(filepath.Join(dir, "attest-guest"), []byte(exits), 0o755); err != nil {
		t.Fatal(err)
	}
	e := container.New(machineOptions(t, daemon, machines))
	defer e.Close()
	j := job(imagetest.Busybox(t), t.TempDir(), tree.Tree{}, "true")
	j.Staging = t.TempDir()
	_, err := e.Run(t.Context(), j, executor.Streams{})
	const words = "exitcode=0x00000700"
	if err == nil || !strings.Contains(err.Error(), words) {
		t.Fatalf("the error does not have the kernel's words: %v", err)
	}
	_, path, _ := strings.Cut(err.Error(), "all of it is in ")
	if !strings.HasPrefix(path, daemon.StateDir) || !strings.Contains(read(t, path), words) {
		t.Errorf("%s does not have the kernel's words", path)
	}
}
