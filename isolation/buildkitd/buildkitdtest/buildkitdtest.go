// SPDX-License-Identifier: Apache-2.0

// Package buildkitdtest gives tests a real embedded engine, apart from the
// user's own.
//
// Start with [Start]. A test that uses it is skipped under -short, and where
// the engine cannot run (no root, no runc), unless ATTEST_REQUIRE_BUILDKIT is
// set, when it fails.
package buildkitdtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
)

const (
	idleTimeout  = 2 * time.Minute
	buildTimeout = 10 * time.Minute
)

var errBuild = errors.New("building attest-buildkitd took too long")

// Start returns the address of an engine that all tests of this test binary
// share. It ends, and its state is removed, when the binary ends.
func Start(t testing.TB) string {
	t.Helper()
	s, err := Shared(t).Ensure(t.Context(), nil)
	if err != nil {
		t.Fatalf("starting the embedded engine: %v", err)
	}
	return s.Address
}

// Shared returns the engine behind [Start], which need not run yet: for
// connect.Options, whose empty address then means this engine.
func Shared(t testing.TB) launch.Daemon {
	t.Helper()
	Require(t)
	d, err := shared()
	if err != nil {
		t.Fatalf("preparing the embedded engine: %v", err)
	}
	return d
}

// New returns an engine for this test alone, which is not yet running. It is
// stopped and its state removed when the test ends.
func New(t testing.TB) launch.Daemon {
	t.Helper()
	Require(t)
	d := launch.Daemon{StateDir: t.TempDir(), Binary: Binary(t), IdleTimeout: idleTimeout}
	t.Cleanup(func() {
		if err := d.Stop(context.Background()); err != nil {
			t.Errorf("stopping the embedded engine: %v", err)
		}
	})
	return d
}

// Require skips or fails the test where no embedded engine can run.
func Require(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("needs the embedded engine")
	}
	if err := launch.CheckHost(os.Environ()); err != nil {
		if os.Getenv("ATTEST_REQUIRE_BUILDKIT") != "" {
			t.Fatalf("ATTEST_REQUIRE_BUILDKIT is set: %v", err)
		}
		t.Skip(err)
	}
}

// Binary returns the path of attest-buildkitd: ATTEST_BUILDKITD_BIN, or one
// that is built from the tree that the test belongs to.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatalf("building attest-buildkitd: %v", err)
	}
	return path
}

// Test binaries are several, and linking takes seconds: they share one folder,
// in which go build finds its earlier result.
var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv("ATTEST_BUILDKITD_BIN"); path != "" {
		return filepath.Abs(path)
	}
	dir := filepath.Join(os.TempDir(), "attest-buildkitdtest-"+strconv.Itoa(os.Getuid()))
	files := launch.Files{StateDir: dir, SocketDir: dir}
	if err := files.Make(); err != nil { // 0700 and ours
		return "", err
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), buildTimeout, errBuild)
	defer cancel()
	lock, err := launch.WaitLock(ctx, filepath.Join(dir, "build.lock"))
	if err != nil {
		return "", err
	}
	defer lock.Close()
	const programs = "github.com/attest-pipeline/attest/cmd/"
	// The engine looks for attest-guest beside itself.
	out, err := exec.CommandContext(ctx, "go", "build", "-o", dir, programs+"attest-buildkitd", programs+"attest-guest").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return filepath.Join(dir, "attest-buildkitd"), nil
})

var shared = sync.OnceValues(func() (launch.Daemon, error) {
	program, err := binary()
	if err != nil {
		return launch.Daemon{}, err
	}
	dir, err := os.MkdirTemp("", "attest-buildkitdtest-state-")
	if err != nil {
		return launch.Daemon{}, err
	}
	return launch.Daemon{StateDir: dir, Binary: program, IdleTimeout: idleTimeout}, removeAfter(dir)
})

// removeAfter has a shell wait for the end of this process, which closes its
// input, then kill the engine of the state folder and remove the folder. No
// function of package testing runs that late.
func removeAfter(dir string) error {
	const script = `cat >/dev/null
read -r pid rest <"$1/engine.lock" || exit
kill "$pid"
flock -w 5 "$1/engine.lock" true || kill -9 "$pid"
rm -rf "$1"`
	// A plain descriptor for our end: a file would be closed when collected.
	var pipe [2]int
	if err := syscall.Pipe(pipe[:]); err != nil {
		return err
	}
	syscall.CloseOnExec(pipe[0])
	syscall.CloseOnExec(pipe[1])
	stdin := os.NewFile(uintptr(pipe[0]), "pipe")
	defer stdin.Close()
	cmd := exec.Command("/bin/sh", "-c", script, "sh", dir)
	cmd.Stdin = stdin
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // a Ctrl-C for the tests is not for it
	return cmd.Start()
}
