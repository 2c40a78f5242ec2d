// SPDX-License-Identifier: Apache-2.0

package launch_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/isolation/buildkitd/buildkitdtest"
	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
	"github.com/attest-pipeline/attest/isolation/executor"
)

func TestStartStatusStop(t *testing.T) {
	d := buildkitdtest.New(t)
	s, err := d.Status(t.Context())
	if err != nil || s.Running || s.StateDir != d.StateDir {
		t.Fatalf("before: %+v, %v", s, err)
	}
	if err := d.Stop(t.Context()); err != nil {
		t.Errorf("stopping what does not run: %v", err)
	}
	var said []string
	started, err := d.Ensure(t.Context(), func(doing string) { said = append(said, doing) })
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(said, []string{"starting the embedded engine"}) {
		t.Errorf("progress: %q", said)
	}
	s, err = d.Status(t.Context())
	if err != nil || !s.Running || s.PID != started.PID || s.Address != "unix://"+filepath.Join(d.StateDir, "engine.sock") ||
		!strings.HasPrefix(s.BuildKit, "v0.") || s.Runtime == "" || s.Snapshotter == "" || s.Since.IsZero() || s.IdleSecs != 120 {
		t.Errorf("running: %+v, %v", s, err)
	}
	again, err := d.Ensure(t.Context(), func(doing string) { t.Errorf("a second start: %s", doing) })
	if err != nil || again.PID != s.PID {
		t.Errorf("a second Ensure: %+v, %v", again, err)
	}
	if err := d.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s, err := d.Status(t.Context()); err != nil || s.Running {
		t.Errorf("after Stop: %+v, %v", s, err)
	}
	waitFor(t, "the process is gone", func() bool { return syscall.Kill(s.PID, 0) != nil })
}

func TestManyAtOnceShareOneEngine(t *testing.T) {
	d := buildkitdtest.New(t)
	pids := make([]int, 20)
	var wait sync.WaitGroup
	for i := range pids {
		wait.Go(func() {
			s, err := d.Ensure(t.Context(), nil)
			if err != nil {
				t.Error(err)
			}
			pids[i] = s.PID
		})
	}
	wait.Wait()
	if slices.Sort(pids); pids[0] == 0 || pids[0] != pids[len(pids)-1] {
		t.Errorf("engines: %v", pids)
	}
}

func TestLongStateDir(t *testing.T) {
	d := buildkitdtest.New(t)
	d.StateDir = filepath.Join(d.StateDir, strings.Repeat("long-", 30))
	t.Cleanup(func() {
		if err := d.Stop(t.Context()); err != nil {
			t.Log(err)
		}
	})
	s, err := d.Ensure(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	socket := strings.TrimPrefix(s.Address, "unix://")
	t.Cleanup(func() { os.RemoveAll(filepath.Dir(socket)) })
	if len(socket) > 107 {
		t.Errorf("the socket's path has %d bytes", len(socket))
	}
	info, err := os.Stat(filepath.Dir(socket))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the socket's folder: %v, %v", info.Mode(), err)
	}
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if err := d.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// A folder for sockets lies where others can write, so it must be our own.
func TestForeignSocketDirIsRefused(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("long-", 30))
	files, err := launch.FilesIn(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(files.SocketDir) })
	if err := os.Symlink(t.TempDir(), files.SocketDir); err != nil {
		t.Fatal(err)
	}
	if err := files.Make(); err == nil {
		t.Error("a symbolic link was taken for the folder of the sockets")
	}
}

func TestHungEngine(t *testing.T) {
	d := buildkitdtest.New(t)
	s, err := d.Ensure(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(s.PID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the process has stopped", func() bool {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.PID))
		return err == nil && strings.Contains(string(text), ") T ")
	})
	_, err = d.Status(t.Context())
	if !errors.Is(err, executor.ErrUnavailable) {
		t.Errorf("the status of an engine that hangs: %v", err)
	}
	if err := d.Stop(t.Context()); err != nil {
		t.Fatalf("stopping an engine that hangs: %v", err)
	}
	again, err := d.Ensure(t.Context(), nil)
	if err != nil || again.PID == s.PID {
		t.Errorf("after it was stopped: %+v, %v", again, err)
	}
}

// An engine of another build is replaced, unless somebody uses it.
func TestOtherBuild(t *testing.T) {
	d := buildkitdtest.New(t)
	first, err := d.Ensure(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	other := d
	other.Binary = otherBuild(t, d.Binary)

	conn, err := net.Dial("unix", strings.TrimPrefix(first.Address, "unix://"))
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the connection counts", func() bool {
		s, err := d.Status(t.Context())
		return err == nil && s.Connections == 1
	})
	if s, err := other.Ensure(t.Context(), nil); err != nil || s.PID != first.PID {
		t.Errorf("a busy engine was not used: %+v, %v", s, err)
	}
	conn.Close()
	waitFor(t, "nobody is connected", func() bool {
		s, err := d.Status(t.Context())
		return err == nil && s.Connections == 0
	})
	s, err := other.Ensure(t.Context(), nil)
	if err != nil || s.PID == first.PID {
		t.Errorf("an idle engine of another build was used: %+v, %v", s, err)
	}
	if s.Build == first.Build {
		t.Error("two builds, one identity")
	}
}

// otherBuild is a copy of the program with another build ID.
func otherBuild(t *testing.T, binary string) string {
	t.Helper()
	id, err := exec.Command("go", "tool", "buildid", binary).Output()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	old := strings.TrimSpace(string(id))
	changed := strings.Repeat("x", len(old))
	path := filepath.Join(t.TempDir(), "attest-buildkitd")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(text), old, changed)), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !cond(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestNoRuntime(t *testing.T) {
	buildkitdtest.Require(t)
	d := launch.Daemon{StateDir: t.TempDir(), Binary: "/nonexistent", Environ: []string{"PATH=" + t.TempDir(), "HOME=/root"}}
	_, err := d.Ensure(t.Context(), nil)
	var hinted *executor.HintedError
	if !errors.Is(err, executor.ErrUnavailable) || !errors.As(err, &hinted) {
		t.Fatalf("got %v, want an error that matches ErrUnavailable, with hints", err)
	}
	if !strings.Contains(err.Error(), "runc or crun") || !strings.Contains(fmt.Sprint(hinted.Hints), "apt install runc") {
		t.Errorf("got %v\nhints %q", err, hinted.Hints)
	}
}

func TestNotRoot(t *testing.T) {
	if os.Getenv("ATTEST_TEST_NOT_ROOT") != "" {
		err := launch.CheckHost(os.Environ())
		if !errors.Is(err, executor.ErrUnavailable) || !strings.Contains(err.Error(), "needs root") {
			t.Errorf("got %v", err)
		}
		return
	}
	if os.Geteuid() != 0 {
		t.Skip("needs root, to be somebody else")
	}
	dir, err := os.MkdirTemp("", "attest-not-root-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	self := filepath.Join(dir, "self.test")
	text, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(self, text, 0o755)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestNotRoot$")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "ATTEST_TEST_NOT_ROOT=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// An engine that dies at once says why, without anybody opening its log.
func TestDyingEngineIsQuoted(t *testing.T) {
	buildkitdtest.Require(t)
	binary := filepath.Join(t.TempDir(), "attest-buildkitd")
	if err := os.WriteFile(binary, []byte("#!/bin/sh\necho the reason >&2\nexit 1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	d := launch.Daemon{StateDir: t.TempDir(), Binary: binary}
	start := time.Now()
	_, err := d.Ensure(t.Context(), nil)
	var hinted *executor.HintedError
	if !errors.Is(err, executor.ErrUnavailable) || !errors.As(err, &hinted) || !strings.Contains(strings.Join(hinted.Hints, "\n"), "the reason") {
		t.Errorf("got %v", err)
	}
	if time.Since(start) > 5*time.Second {
		t.Errorf("it took %s to say so", time.Since(start))
	}
}

// Files that attest was started with must not be held open by the engine.
func TestEngineInheritsNoFiles(t *testing.T) {
	d := buildkitdtest.New(t)
	var pipe [2]int
	if err := syscall.Pipe(pipe[:]); err != nil { // not close-on-exec
		t.Fatal(err)
	}
	defer syscall.Close(pipe[0])
	if _, err := d.Ensure(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Close(pipe[1]); err != nil {
		t.Fatal(err)
	}
	if err := syscall.SetNonblock(pipe[0], true); err != nil {
		t.Fatal(err)
	}
	var b [1]byte
	if n, err := syscall.Read(pipe[0], b[:]); n != 0 || err != nil {
		t.Errorf("somebody still holds the pipe: %d, %v", n, err)
	}
}

// A folder has one set of files, by whatever name, made or not.
func TestFilesOfOneFolder(t *testing.T) {
	base := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(base, "real"), 0o700), os.Symlink("real", filepath.Join(base, "link"))); err != nil {
		t.Fatal(err)
	}
	name := strings.Repeat("long-", 30)
	before, err := launch.FilesIn(filepath.Join(base, "link", name, "state"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(before.SocketDir) })
	if err := before.Make(); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"link", "real"} {
		if after, err := launch.FilesIn(filepath.Join(base, dir, name, "state")); err != nil || after != before {
			t.Errorf("%s: got %+v, %v, want %+v", dir, after, err, before)
		}
	}
}

func TestDefaultStateDir(t *testing.T) {
	for _, test := range []struct {
		environ []string
		want    string
	}{
		{[]string{"HOME=/h", "XDG_STATE_HOME=/x", "ATTEST_STATE_DIR=/a"}, "/a"},
		{[]string{"HOME=/h", "XDG_STATE_HOME=/x"}, "/x/attest"},
		{[]string{"HOME=/h", "XDG_STATE_HOME=relative"}, "/h/.local/state/attest"},
		{[]string{"HOME=/h"}, "/h/.local/state/attest"},
		{nil, ""},
	} {
		got, err := launch.DefaultStateDir(test.environ)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%q: got %q, %v, want %q", test.environ, got, err, test.want)
		}
	}
}
