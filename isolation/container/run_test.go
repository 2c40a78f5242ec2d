// SPDX-License-Identifier: Apache-2.0

package container_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/buildkitd/buildkitdtest"
	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
	"github.com/attest-pipeline/attest/isolation/container"
	"github.com/attest-pipeline/attest/isolation/container/connect"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/image"
	"github.com/attest-pipeline/attest/isolation/image/imagetest"
)

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestControls looks from inside a container whether what the outcome names is
// in force, and that what it does not name is not.
func TestControls(t *testing.T) {
	e := start(t, "")
	img := imagetest.Busybox(t)
	staging, outcome := run(t, e, job(img, t.TempDir(), tree.Tree{}, `
		mkdir out; cat /proc/self/status > out/status
		for n in mnt pid ipc uts net cgroup; do readlink /proc/self/ns/$n > out/$n; done
		touch beside
		for d in / /etc /usr /bin /var /run; do [ ! -d $d ] || ! touch $d/probe || echo $d; done 2>/dev/null > out/written
		ls /sys/class/net > out/interfaces
		ip route > out/routes`, "out"))
	see := func(name string) string { return strings.TrimSpace(read(t, filepath.Join(staging, "out", name))) }
	engine, err := buildkitdtest.Shared(t).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	own := func(name string) bool {
		is := true
		for _, of := range []string{"self", strconv.Itoa(engine.PID)} { // the engine has some of its own
			other, err := os.Readlink("/proc/" + of + "/ns/" + name)
			if err != nil {
				t.Fatal(err)
			}
			is = is && see(name) != other
		}
		return is
	}
	status := map[string]string{}
	for line := range strings.Lines(see("status")) {
		if key, value, ok := strings.Cut(line, ":"); ok {
			status[key] = strings.TrimSpace(value)
		}
	}
	const capabilities = "00000000000000fb" // the bits of those that package buildkitd names
	held := heldTo(t, e, img)
	inForce := map[string]bool{
		"read-only-root":   see("written") == "",
		"cgroup-namespace": own("cgroup"),
		"pids-limit":       held["pids.max"] == "8192",
		"memory-limit":     held["memory.limit_in_bytes"] != "" && len(held["memory.limit_in_bytes"]) < 19 || held["memory.max"] != "" && held["memory.max"] != "max",
		"writes-listed":    slices.Equal(outcome.Unexpected, []string{"beside"}),
		// What it does is tested where it is made, since it takes a full disk.
		"disk-reserve":         true,
		"mount-namespace":      own("mnt"),
		"pid-namespace":        own("pid"),
		"ipc-namespace":        own("ipc"),
		"uts-namespace":        own("uts"),
		"network-none":         own("net") && see("interfaces") == "lo" && see("routes") == "",
		"seccomp":              status["Seccomp"] == "2",
		"capabilities-dropped": status["CapEff"] == capabilities && status["CapBnd"] == capabilities,
		"no-new-privileges":    status["NoNewPrivs"] == "1",
	}
	for control, is := range inForce {
		if named := slices.Contains(outcome.Controls, control); named != is {
			t.Errorf("%s: in force %t, named %t\n%s", control, is, named, see("status"))
		}
	}
	for _, control := range outcome.Controls {
		if _, known := inForce[control]; !known {
			t.Errorf("the outcome names %s, which nobody checked", control)
		}
	}
	open := job(img, t.TempDir(), tree.Tree{}, "true")
	open.Network = pipeline.NetworkOpen
	if _, outcome := run(t, e, open); slices.Contains(outcome.Controls, "network-none") {
		t.Error("an open network is named as none")
	}
}

// heldTo returns what the cgroups of a running step say, as this host sees it,
// by the names of their files.
func heldTo(t *testing.T, e *container.Executor, img string) map[string]string {
	t.Helper()
	files, err := launch.FilesIn(buildkitdtest.Shared(t).StateDir)
	if err != nil {
		t.Fatal(err)
	}
	held := map[string]string{}
	j := job(img, t.TempDir(), tree.Tree{}, "echo runs; sleep 1")
	j.Staging = t.TempDir()
	_, err = e.Run(t.Context(), j, executor.Streams{Stdout: writerFunc(func() {
		parent := "attest-" + files.Name() + "/buildkit/*/*"
		for _, pattern := range []string{"/sys/fs/cgroup/" + parent, "/sys/fs/cgroup/*/" + parent} {
			names, _ := filepath.Glob(pattern)
			for _, name := range names {
				if text, err := os.ReadFile(name); err == nil {
					held[filepath.Base(name)] = strings.TrimSpace(string(text))
				}
			}
		}
	})})
	if err != nil {
		t.Fatal(err)
	}
	return held
}

// TestOtherEngine: of an engine that somebody else set up, nothing is claimed
// but what every BuildKit does when it is asked.
func TestOtherEngine(t *testing.T) {
	address := buildkitdtest.Start(t)
	e := container.New(container.Options{
		Connect: func(ctx context.Context, progress func(executor.Progress)) (*connect.Conn, error) {
			return connect.Open(ctx, connect.Options{Address: address, Progress: progress})
		},
		Images: image.NewResolver("/", image.Local()),
	})
	defer e.Close()
	_, outcome := run(t, e, job(imagetest.Busybox(t), t.TempDir(), tree.Tree{}, "true"))
	if want := []string{"network-none", "read-only-root"}; !slices.Equal(outcome.Controls, want) {
		t.Errorf("controls %q, want %q", outcome.Controls, want)
	}
	if strings.Contains(outcome.Engine, "embedded") {
		t.Errorf("engine %q", outcome.Engine)
	}
}

// TestExecutedEveryTime: a run's outputs are its own, whatever the engine has
// of an equal run before or at the same time.
func TestExecutedEveryTime(t *testing.T) {
	e := start(t, filepath.Join(t.TempDir(), "key"))
	dir, files := project(t, map[string]string{"in": "same"})
	j := job(imagetest.Busybox(t), dir, files, "cat /proc/sys/kernel/random/uuid | tee out; sleep 0.3", "out")

	var mu sync.Mutex
	seen := map[string]bool{}
	once := func() {
		j := j
		j.Staging = t.TempDir()
		var printed strings.Builder
		outcome, err := e.Run(t.Context(), j, executor.Streams{Stdout: &printed})
		if err != nil || outcome.ExitCode != 0 {
			t.Errorf("exit code %d, error %v", outcome.ExitCode, err)
			return
		}
		data, err := os.ReadFile(filepath.Join(j.Staging, "out"))
		if err != nil || string(data) != printed.String() {
			t.Errorf("the output is %q, the log of the same run %q, error %v", data, printed.String(), err)
		}
		mu.Lock()
		defer mu.Unlock()
		seen[string(data)] = true
	}
	once()
	once()
	var group sync.WaitGroup
	for range 6 {
		group.Go(once)
	}
	group.Wait()
	if len(seen) != 8 {
		t.Fatalf("8 runs left %d different outputs", len(seen))
	}
}

// TestContentDecides: two contents of one size, at one time, under one name.
func TestContentDecides(t *testing.T) {
	e := start(t, filepath.Join(t.TempDir(), "key"))
	img := imagetest.Busybox(t)
	dir, _ := project(t, map[string]string{"in": "A", "dir/in": "A"})
	for _, content := range []string{"A", "B", "A", "C"} {
		for _, name := range []string{"in", "dir/in"} {
			write(t, filepath.Join(dir, name), content)
			if err := os.Chtimes(filepath.Join(dir, name), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
		}
		staging, _ := run(t, e, job(img, dir, scan(t, dir), "cat in dir/in > out", "out"))
		if got := read(t, filepath.Join(staging, "out")); got != content+content {
			t.Fatalf("the step saw %q, want %q twice", got, content)
		}
	}
}

// TestKept: what the engine kept is what was hashed; with another key it is
// not used.
func TestKept(t *testing.T) {
	key := filepath.Join(t.TempDir(), "state", "key")
	img := imagetest.Busybox(t)
	dir, files := project(t, map[string]string{"in": "planned"})
	j := job(img, dir, files, "cat in > out", "out")
	run(t, start(t, key), j)

	write(t, filepath.Join(dir, "in"), "changed")
	staging, _ := run(t, start(t, key), j)
	if got := read(t, filepath.Join(staging, "out")); got != "planned" {
		t.Errorf("the step saw %q", got)
	}
	j.Staging = t.TempDir()
	var changed *executor.InputChangedError
	if _, err := start(t, "").Run(t.Context(), j, executor.Streams{}); !errors.As(err, &changed) || changed.Path != "in" {
		t.Errorf("with another key: %v", err)
	}
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 || info.Size() != 32 {
		t.Errorf("the key's file: %v, %v", info, err)
	}
}

// TestTimes: the times of a workspace say nothing of this machine or this run,
// and nothing of the key.
func TestTimes(t *testing.T) {
	dir, files := project(t, map[string]string{"in": "x", "dir/in": "y"})
	staging, _ := run(t, start(t, ""), job(imagetest.Busybox(t), dir, files, "stat -c %Y in dir dir/in > out", "out"))
	const day = 24 * 60 * 60
	want := strings.Repeat(strconv.Itoa(3653*day)+"\n", 3) // 1980-01-02
	if got := read(t, filepath.Join(staging, "out")); got != want {
		t.Errorf("times %q, want %q", got, want)
	}
}

func TestRegistry(t *testing.T) {
	e := start(t, "")
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	ref := strings.TrimPrefix(server.URL, "http://") + "/team/busybox:1"
	tag, err := name.ParseReference(ref)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, imagetest.BusyboxImage(t)); err != nil {
		t.Fatal(err)
	}
	staging, outcome := run(t, e, job(ref, t.TempDir(), tree.Tree{}, "echo $IMAGE > out", "out"))
	if got := read(t, filepath.Join(staging, "out")); got != "busybox\n" {
		t.Errorf("the image's environment: %q", got)
	}
	if !strings.HasPrefix(outcome.Image, ref+"@sha256:") {
		t.Errorf("the outcome names image %q", outcome.Image)
	}
}

// TestDamagedImage: an image whose layer is not there, and that the engine has
// not seen before.
func TestDamagedImage(t *testing.T) {
	e := start(t, "")
	layer, err := random.Layer(1000, types.OCILayer)
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(imagetest.BusyboxImage(t), layer)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := layout.Write(dir, mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: img})); err != nil {
		t.Fatal(err)
	}
	hash, err := layer.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "blobs", "sha256", hash.Hex)); err != nil {
		t.Fatal(err)
	}
	j := job("oci-layout://"+dir, t.TempDir(), tree.Tree{}, "true")
	j.Staging = t.TempDir()
	_, err = e.Run(t.Context(), j, executor.Streams{})
	var bad *executor.ImageError
	if !errors.As(err, &bad) || bad.Image != j.Image || !strings.Contains(err.Error(), hash.Hex) {
		t.Errorf("a layout without a layer: %v", err)
	}
}

// TestEngineKilled: the engine dies while a step runs, and is there again for
// the next one.
func TestEngineKilled(t *testing.T) {
	daemon := buildkitdtest.New(t)
	e := container.New(container.Options{
		Connect: func(ctx context.Context, progress func(executor.Progress)) (*connect.Conn, error) {
			return connect.Open(ctx, connect.Options{Daemon: daemon, Progress: progress})
		},
		Images: image.NewResolver("/", image.Local()),
	})
	defer e.Close()
	img := imagetest.Busybox(t)
	run(t, e, job(img, t.TempDir(), tree.Tree{}, "true"))
	status, err := daemon.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	j := job(img, t.TempDir(), tree.Tree{}, "echo begun; sleep 60")
	j.Staging = t.TempDir()
	began := time.Now()
	_, err = e.Run(t.Context(), j, executor.Streams{Stdout: writerFunc(func() {
		if err := syscall.Kill(status.PID, syscall.SIGKILL); err != nil {
			t.Error(err)
		}
	})})
	var hinted *executor.HintedError
	if !errors.Is(err, executor.ErrUnavailable) || !errors.As(err, &hinted) || len(hinted.Hints) == 0 {
		t.Errorf("the engine was killed: %v", err)
	}
	if d := time.Since(began); d > 20*time.Second {
		t.Errorf("that was noticed after %v", d)
	}
	run(t, e, job(img, t.TempDir(), tree.Tree{}, "true"))
}

type writerFunc func()

func (f writerFunc) Write(p []byte) (int, error) { f(); return len(p), nil }

// TestProgress: reports come one at a time and say what is done.
func TestProgress(t *testing.T) {
	e := start(t, "")
	dir, files := project(t, map[string]string{"a": "1", "b": "2"})
	j := job(imagetest.Busybox(t), dir, files, "cp a out", "out")
	j.Staging = t.TempDir()
	var mu sync.Mutex
	var doing []string
	_, err := e.Run(t.Context(), j, executor.Streams{Progress: func(p executor.Progress) {
		if !mu.TryLock() {
			t.Error("two reports at once")
			return
		}
		defer mu.Unlock()
		doing = append(doing, p.Doing)
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"sending inputs", "collecting outputs"} {
		if !slices.Contains(doing, want) {
			t.Errorf("nothing said %q: %q", want, doing)
		}
	}
}
