// SPDX-License-Identifier: Apache-2.0

package buildkitd_test

import (
	"context"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/llb"

	"github.com/attest-pipeline/attest/isolation/buildkitd/buildkitdtest"
	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
)

func ensure(t *testing.T, d launch.Daemon) launch.Status {
	t.Helper()
	s, err := d.Ensure(t.Context(), nil)
	if err != nil {
		t.Fatalf("starting the engine: %v", err)
	}
	return s
}

// A killed engine takes its steps with it, and the next one works.
func TestKilledEngine(t *testing.T) {
	d := buildkitdtest.New(t)
	s := ensure(t, d)
	mark := "mark-" + t.Name()
	done := make(chan error, 1)
	go func() {
		folder := []llb.RunOption{llb.AddMount("/folder", rootfs(t), llb.SourcePath("/bin"))} // of a mount in the temporary folder
		_, err := solve(context.Background(), dial(t, s.Address), stepWith(t, folder, "/bin/step", "fork", "1000", mark))
		done <- err
	}()
	eventually(t, 20*time.Second, "the step runs", func() bool { return processes(mark) == 2 })

	mounted := temporary(t, d.StateDir)
	if len(mounted) == 0 {
		t.Error("the engine uses the temporary folder of others")
	}
	if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Second, "every process of the step is gone", func() bool { return processes(mark) == 0 })
	if err := <-done; err == nil {
		t.Error("the solve succeeded, and the engine is dead")
	}
	again := ensure(t, d)
	if again.PID == s.PID {
		t.Fatal("the same process again")
	}
	if out, err := solve(t.Context(), dial(t, again.Address), step(t, "exit", "0")); err != nil {
		t.Errorf("after the kill: %v\n%s", err, out)
	}
	left := leftovers(t, d.StateDir)
	for _, name := range temporary(t, d.StateDir) {
		if slices.Contains(mounted, name) {
			left = append(left, name)
		}
	}
	if len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// temporary lists the engine's temporary folder, which nobody else may list.
func temporary(t *testing.T, stateDir string) (names []string) {
	t.Helper()
	dir := filepath.Join(stateDir, "tmp")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode() != fs.ModeDir|0o700 {
		t.Errorf("the temporary folder: %v, %v", info.Mode(), err)
	}
	for _, e := range entries {
		names = append(names, filepath.Join(dir, e.Name()))
	}
	return names
}

// leftovers lists what a running, idle engine must not have: bundles of
// containers, their cgroups, and mounts that this host can see.
func leftovers(t *testing.T, stateDir string) []string {
	t.Helper()
	bundles, _ := filepath.Glob(filepath.Join(stateDir, "buildkit", "*", "steps", "*"))
	files, err := launch.FilesIn(stateDir)
	if err != nil {
		t.Fatal(err)
	}
	v1, _ := filepath.Glob("/sys/fs/cgroup/*/attest-" + files.Name() + "/buildkit/*/cgroup.procs")
	v2, _ := filepath.Glob("/sys/fs/cgroup/attest-" + files.Name() + "/buildkit/*/cgroup.procs")
	left := append(append(bundles, v1...), v2...)
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, stateDir) {
			left = append(left, line)
		}
	}
	return left
}

// A client that is killed takes its steps with it.
func TestKilledClient(t *testing.T) {
	if address := os.Getenv("ATTEST_TEST_CLIENT"); address != "" {
		c, err := client.New(context.Background(), address)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = solve(context.Background(), c, step(t, "sleep", "1000", os.Getenv("ATTEST_TEST_MARK")))
		return
	}
	d := buildkitdtest.New(t)
	s := ensure(t, d)
	mark := "mark-" + t.Name()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilledClient$")
	cmd.Env = append(os.Environ(), "ATTEST_TEST_CLIENT="+s.Address, "ATTEST_TEST_MARK="+mark)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the step runs", func() bool { return processes(mark) == 1 })
	if now, err := d.Status(t.Context()); err != nil || now.Connections == 0 || now.Solves != 1 {
		t.Errorf("while a step runs: %+v, %v", now, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	eventually(t, 3*time.Second, "the step is gone", func() bool { return processes(mark) == 0 })
	eventually(t, 3*time.Second, "nothing is left", func() bool { return len(leftovers(t, d.StateDir)) == 0 })
	eventually(t, 3*time.Second, "nobody is connected", func() bool {
		now, err := d.Status(t.Context())
		return err == nil && now.Connections == 0 && now.Solves == 0
	})
}

func TestStopEndsSteps(t *testing.T) {
	d := buildkitdtest.New(t)
	s := ensure(t, d)
	mark := "mark-" + t.Name()
	go solve(context.Background(), dial(t, s.Address), step(t, "sleep", "1000", mark))
	eventually(t, 20*time.Second, "the step runs", func() bool { return processes(mark) == 1 })
	start := time.Now()
	if err := syscall.Kill(s.PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, 2*time.Second, "the engine is gone", func() bool {
		now, err := d.Status(t.Context())
		return err == nil && !now.Running
	})
	t.Logf("stopped after %s", time.Since(start))
	if processes(mark) != 0 {
		t.Error("a step outlived the engine")
	}
	if left := leftovers(t, d.StateDir); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if _, err := os.Stat(filepath.Join(d.StateDir, "engine.boot")); err == nil {
		t.Error("the mark of a running engine is still there")
	}
}

func TestIdleEngineEnds(t *testing.T) {
	d := buildkitdtest.New(t)
	d.IdleTimeout = time.Second
	s := ensure(t, d)
	c := dial(t, s.Address)
	if _, err := c.Info(t.Context()); err != nil {
		t.Fatal(err)
	}
	time.Sleep(2 * time.Second)
	if _, err := c.Info(t.Context()); err != nil {
		t.Errorf("an engine ended while a client was connected: %v", err)
	}
	c.Close()
	// Asking keeps it alive, so look at the process.
	eventually(t, 4*time.Second, "the engine is gone", func() bool { return syscall.Kill(s.PID, 0) != nil })
}

// The databases do not wait for the disk: what was not closed before the
// machine went down is not believed.
func TestCrashOfTheMachineEmptiesStores(t *testing.T) {
	d := buildkitdtest.New(t)
	first := ensure(t, d)
	kept := filepath.Join(d.StateDir, "buildkit", "kept")
	if err := os.WriteFile(kept, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	kill := func(s launch.Status) {
		t.Helper()
		if err := syscall.Kill(s.PID, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, 2*time.Second, "the engine is gone", func() bool { return syscall.Kill(s.PID, 0) != nil })
	}
	kill(first)
	second := ensure(t, d)
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("the death of the engine alone emptied its stores: %v", err)
	}
	kill(second)
	if err := os.WriteFile(filepath.Join(d.StateDir, "engine.boot"), []byte("another boot"), 0o600); err != nil {
		t.Fatal(err)
	}
	ensure(t, d)
	if _, err := os.Stat(kept); err == nil {
		t.Error("stores of an engine that went down with the machine were believed")
	}
}

func TestOnlyThisUserMayConnect(t *testing.T) {
	d := buildkitdtest.New(t)
	if err := os.Chmod(d.StateDir, 0o755); err != nil {
		t.Fatal(err)
	}
	ensure(t, d)
	for path, want := range map[string]os.FileMode{
		"": 0o700, "engine.sock": 0o600, "control.sock": 0o600, "engine.log": 0o600, "engine.lock": 0o600,
	} {
		info, err := os.Stat(filepath.Join(d.StateDir, path))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != want {
			t.Errorf("%q has mode %o, want %o", path, info.Mode().Perm(), want)
		}
	}
}

func TestOneEngineForAStateFolder(t *testing.T) {
	d := buildkitdtest.New(t)
	s := ensure(t, d)
	out, err := exec.Command(d.Binary, "--state-dir", d.StateDir).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "another engine runs in this state folder") {
		t.Errorf("a second engine: %v\n%s", err, out)
	}
	if _, err := dial(t, s.Address).Info(t.Context()); err != nil {
		t.Errorf("the first engine suffered: %v", err)
	}
}

// Started by hand, the program makes its own namespaces; killing it must kill
// the engine inside.
func TestStartedByHand(t *testing.T) {
	d := buildkitdtest.New(t)
	cmd := exec.Command(d.Binary, "--state-dir", d.StateDir, "--idle-timeout", "1m")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var s launch.Status
	eventually(t, 20*time.Second, "the engine answers", func() bool {
		s, _ = d.Status(t.Context())
		return s.Running
	})
	if s.PID == cmd.Process.Pid {
		t.Error("the engine runs in the namespaces of its caller")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	eventually(t, 2*time.Second, "the engine is gone", func() bool { return syscall.Kill(s.PID, 0) != nil })
}

// Where overlayfs cannot be used, as inside most containers, files are copied.
func TestStateOnOverlay(t *testing.T) {
	d := buildkitdtest.New(t)
	base := t.TempDir()
	for _, dir := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(base, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	d.StateDir = filepath.Join(base, "merged")
	err := syscall.Mount("overlay", d.StateDir, "overlay", 0,
		"lowerdir="+base+"/lower,upperdir="+base+"/upper,workdir="+base+"/work")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(context.Background()); err != nil {
			t.Error(err)
		}
		// The engine lets go of its lock a moment before the last of its files,
		// the log that it was started with, is closed.
		eventually(t, 20*time.Second, "the state folder is unmounted", func() bool {
			return syscall.Unmount(d.StateDir, 0) == nil
		})
	})
	s := ensure(t, d)
	if s.Snapshotter != "native" {
		t.Errorf("snapshotter %q", s.Snapshotter)
	}
	if out, err := solve(t.Context(), dial(t, s.Address), step(t, "exit", "0")); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
