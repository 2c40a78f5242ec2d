// SPDX-License-Identifier: Apache-2.0

package container_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

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

// TestLimits: what a step may have is what it gets, and the outcome says so.
func TestLimits(t *testing.T) {
	e, img := start(t, ""), imagetest.Busybox(t)
	for _, test := range []struct {
		name, script string
		limits       pipeline.Limits
		control      string
		code         int
		want         string
		met          []string
	}{
		{"processes",
			// Each waits, so that they are there at one time; no more than 60 are tried.
			`i=0; while [ $i -lt 60 ]; do { sleep 2 & } 2>/dev/null || break; i=$((i+1)); done; echo $i > out`,
			pipeline.Limits{PIDs: 20}, "pids-limit", 2, "", []string{"pids"}},
		{"processes that are enough", `sh -c 'exit 3' || exit $?`, pipeline.Limits{PIDs: 40}, "pids-limit", 3, "", nil},
		{"memory", `head -c 200m /dev/zero | tail -c 200m | wc -c > out`, pipeline.Limits{Memory: 64 << 20}, "memory-limit", -1, "", []string{"memory"}},
		{"memory that is enough", `head -c 20m /dev/zero | tail -c 20m | wc -c > out`, pipeline.Limits{Memory: 128 << 20}, "memory-limit", 0, "20971520\n", nil},
		// What ends by a signal of its own, below its limit, is not blamed on it.
		{"a signal", `sh -c 'kill -9 $$'; exit $?`, pipeline.Limits{Memory: 64 << 20}, "memory-limit", 128 + 9, "", nil},
		{"file size", `head -c 3m /dev/zero > large; ls -l large`, pipeline.Limits{FileSize: 1 << 20}, "file-size-limit", 128 + 25, "", nil},
		{"processors", `nproc > out`, pipeline.Limits{CPUs: 1}, "cpu-limit", 0, "1\n", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			j := job(img, t.TempDir(), tree.Tree{}, "set -e; set -o pipefail\n"+test.script)
			j.Outputs = []pipeline.Pattern{{Text: "out", Optional: true}}
			j.Limits, j.Staging = test.limits, t.TempDir()
			var log bytes.Buffer
			outcome, err := e.Run(t.Context(), j, executor.Streams{Stdout: &log, Stderr: &log})
			if err != nil {
				t.Fatal(err)
			}
			if test.code < 0 && outcome.ExitCode == 0 || test.code >= 0 && outcome.ExitCode != test.code {
				t.Errorf("exit code %d, want %d\n%s", outcome.ExitCode, test.code, log.String())
			}
			if !slices.Contains(outcome.Controls, test.control) {
				t.Errorf("controls %q do not name %s", outcome.Controls, test.control)
			}
			if !slices.Equal(outcome.Met, test.met) {
				t.Errorf("ran into limits %q, want %q", outcome.Met, test.met)
			}
			if test.want != "" {
				if got := read(t, filepath.Join(j.Staging, "out")); got != test.want {
					t.Errorf("got %q, want %q", got, test.want)
				}
			}
		})
	}
}

// TestSecrets: a step finds what it is handed, nobody else may read a file of
// it, and nothing of it stays in the engine.
func TestSecrets(t *testing.T) {
	daemon := buildkitdtest.New(t)
	e := container.New(container.Options{
		Connect: func(ctx context.Context, progress func(executor.Progress)) (*connect.Conn, error) {
			return connect.Open(ctx, connect.Options{Daemon: daemon, Progress: progress})
		},
		Images: image.NewResolver("/", image.Local()),
	})
	defer e.Close()
	wantSecrets(t, e, daemon)
}

// wantSecrets hands a step two secrets, looks at what it finds, and for what the
// engine keeps of them, and shows in its programs' arguments.
func wantSecrets(t *testing.T, e *container.Executor, daemon launch.Daemon) {
	t.Helper()
	const inVariable, inFile = "variable-hunter2\n with 'quotes'", "file-hunter2\x00\xff"
	j := job(imagetest.Busybox(t), t.TempDir(), tree.Tree{}, `
		printf %s "$TOKEN" | md5sum > out/variable
		md5sum < /run/secrets/deep/key > out/file
		stat -c '%a %u:%g' /run/secrets/deep/key > out/mode
		grep ' /run/secrets/deep/key ' /proc/self/mounts | cut -d' ' -f3 > out/kind
		for i in $(seq 20); do cat /run/secrets/deep/key >&2; done`, "out")
	secrets := []string{"variable-hunter2", "file-hunter2"}
	j.Command.Shell = "mkdir out\n" + j.Command.Shell
	j.Secrets = []executor.Secret{
		{Name: "TOKEN", Value: executor.NewSecretValue([]byte(inVariable))},
		{Name: "KEY", Mount: "/run/secrets/deep/key", Value: executor.NewSecretValue([]byte(inFile))},
	}
	j.Staging = t.TempDir()
	staging := j.Staging
	shown := sync.OnceFunc(func() {
		for _, secret := range secrets {
			if lines := commandsWith(secret); len(lines) > 0 {
				t.Errorf("the arguments of a program show %q: %q", secret, lines)
			}
		}
	})
	outcome, err := e.Run(t.Context(), j, executor.Streams{Stderr: writerFunc(shown)})
	if err != nil || outcome.ExitCode != 0 {
		t.Fatalf("%+v, %v", outcome, err)
	}
	for name, want := range map[string]string{
		"variable": sum(inVariable), "mode": "400 0:0\n", "kind": "tmpfs\n",
		"file": sum(inFile),
	} {
		if got := read(t, filepath.Join(staging, "out", name)); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	for _, secret := range secrets {
		if at := holds(t, daemon.StateDir, secret); len(at) > 0 {
			t.Errorf("the engine keeps %q in %q", secret, at)
		}
	}
}

// sum is what md5sum(1) prints.
func sum(s string) string { return fmt.Sprintf("%x  -\n", md5.Sum([]byte(s))) }

// holds returns the files below dir that hold text.
func holds(t *testing.T, dir, text string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && !d.Type().IsRegular() {
			return nil
		}
		if err != nil {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(text)) {
			names = append(names, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestCaches: a folder is there again for the next step that names it, in this
// project and in no other.
func TestCaches(t *testing.T) {
	key := filepath.Join(t.TempDir(), "key")
	img, here, there := imagetest.Busybox(t), t.TempDir(), t.TempDir()
	use := func(root, name, path string) string {
		t.Helper()
		j := job(img, root, tree.Tree{}, "cat "+path+"/* > out 2>/dev/null || true; echo "+name+" >> "+path+"/file", "out")
		j.Caches = []executor.CacheFolder{{Name: name, Path: path}}
		staging, _ := run(t, start(t, key), j)
		return read(t, filepath.Join(staging, "out"))
	}
	for _, step := range []struct{ root, name, path, want string }{
		{here, "npm", "/root/.npm", ""},
		{here, "npm", "/elsewhere/deep", "npm\n"},
		{here, "pip", "/root/.npm", ""},
		{there, "npm", "/root/.npm", ""},
		{here, "npm", "/root/.npm", "npm\nnpm\n"},
		// Equal to one before, and executed all the same.
		{here, "npm", "/root/.npm", "npm\nnpm\nnpm\n"},
	} {
		if got := use(step.root, step.name, step.path); got != step.want {
			t.Errorf("%s at %s: found %q, want %q", step.name, step.path, got, step.want)
		}
	}
}

func TestStrict(t *testing.T) {
	e, img := start(t, ""), imagetest.Busybox(t)
	good := job(img, t.TempDir(), tree.Tree{}, "echo > out", "out")
	good.Strict = true
	run(t, e, good)

	address := buildkitdtest.Start(t)
	other := container.New(container.Options{
		Connect: func(ctx context.Context, progress func(executor.Progress)) (*connect.Conn, error) {
			return connect.Open(ctx, connect.Options{Address: address, Progress: progress})
		},
		Images: image.NewResolver("/", image.Local()),
	})
	defer other.Close()
	for name, test := range map[string]struct {
		e      *container.Executor
		change func(*executor.Job)
		says   string
	}{
		"an open network":            {e, func(j *executor.Job) { j.Network = pipeline.NetworkOpen }, "network-none"},
		"a cache":                    {e, func(j *executor.Job) { j.Caches = []executor.CacheFolder{{Name: "c", Path: "/c"}} }, "no-caches"},
		"an engine of somebody else": {other, func(*executor.Job) {}, "seccomp"},
	} {
		t.Run(name, func(t *testing.T) {
			j := good
			j.Staging = t.TempDir()
			test.change(&j)
			_, err := test.e.Run(t.Context(), j, executor.Streams{})
			var hinted *executor.HintedError
			if !errors.Is(err, executor.ErrUnavailable) || !errors.As(err, &hinted) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("error %v does not name %s", err, test.says)
			}
		})
	}
}

// TestWritten: what a step did to its workspace, beside its outputs.
func TestWritten(t *testing.T) {
	e, img := start(t, ""), imagetest.Busybox(t)
	dir, files := wantWritten(t, e, func(*executor.Job) {})
	// A step that tries to write the report itself, and one that does nothing.
	j := job(img, dir, files, "env; ls -a", "none")
	j.Outputs[0].Optional = true
	j.Staging = t.TempDir()
	var log strings.Builder
	outcome, err := e.Run(t.Context(), j, executor.Streams{Stdout: &log})
	if err != nil || len(outcome.Unexpected)+len(outcome.Modified) > 0 {
		t.Errorf("a step that writes nothing: %q, %q, %v", outcome.Unexpected, outcome.Modified, err)
	}
	if strings.Contains(strings.ToLower(log.String()), "attest") {
		t.Errorf("the step learns of the report:\n%s", log.String())
	}
}

// wantWritten runs a step that writes in many ways, and looks at what is said of it.
func wantWritten(t *testing.T, e *container.Executor, change func(*executor.Job)) (dir string, files tree.Tree) {
	t.Helper()
	dir, files = project(t, map[string]string{
		"kept": "k", "changed": "c", "removed": "r", "rewritten": "w", "touched": "t", "chmod": "m", "opened": "o",
		"dir/a": "a", "dir/b": "b", "remade/a": "a", "remade/b": "b", "declared/in": "d", "turned/a": "a",
	})
	j := job(imagetest.Busybox(t), dir, files, `
		echo new > changed; rm removed; cat rewritten > x; cat x > rewritten; rm x; touch touched; chmod +x chmod
		: >> opened
		rm -r remade; mkdir remade; printf a > remade/a; mv dir/a dir/c
		rm -r turned; echo > turned
		mkdir -p out/deep tmp/one/two empty; echo > out/deep/file; echo > out.log; echo > declared/in; echo > declared/more
		echo > tmp/one/file; echo > tmp/one/two/file; ln -s nowhere link; mkfifo fifo
		mkdir partly; echo > partly/o.wanted; echo > partly/junk
		echo > "$(printf 'line\nend')"; ln kept hard`,
		"out", "declared", "*.log", "partly/*.wanted")
	change(&j)
	staging, outcome := run(t, e, j)
	want := []string{"dir/c", "empty", "fifo", "hard", "line\nend", "link", "partly/junk", "tmp"}
	if diff := cmp.Diff(want, outcome.Unexpected); diff != "" {
		t.Errorf("unexpected (-want +got):\n%s", diff)
	}
	want = []string{"changed", "chmod", "dir/a", "remade/b", "removed", "turned"}
	// rewritten is not "w" any more, since cat appends nothing: it is as it was.
	if diff := cmp.Diff(want, outcome.Modified); diff != "" {
		t.Errorf("modified (-want +got):\n%s", diff)
	}
	for _, name := range []string{"out/deep/file", "out.log", "declared/more", "partly/o.wanted"} {
		if _, err := os.Stat(filepath.Join(staging, name)); err != nil {
			t.Error(err)
		}
	}
	if left, err := os.ReadDir(staging); err != nil || len(left) != 4 {
		t.Errorf("the staging folder holds %v, %v", left, err)
	}
	return dir, files
}
