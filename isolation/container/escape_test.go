// SPDX-License-Identifier: Apache-2.0

package container_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/isolation/buildkitd/buildkitdtest"
	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/image/imagetest"
)

// TestHostFiles: a step finds nothing of this host, by whatever path. What is
// looked for lies in the project, in the engine's folder and where every user's
// files are; package buildkitd's TestEscape has the ways around paths.
func TestHostFiles(t *testing.T) {
	e := start(t, "")
	files, err := launch.FilesIn(buildkitdtest.Shared(t).StateDir)
	if err != nil {
		t.Fatal(err)
	}
	dir, _ := project(t, map[string]string{
		".attest/keys/private.key": "host-mark", ".attest/cache/entry": "host-mark", "undeclared": "host-mark", "../beside": "host-mark",
	})
	j := job(imagetest.Busybox(t), dir, tree.Tree{}, `
		set +e
		for f in "$PROJECT/.attest/keys/private.key" "$PROJECT/undeclared" "$PROJECT/../beside" "$SOCKET" "$STATE" \
			/workspace/undeclared /workspace/../workspace/.attest /etc/shadow /proc/1/root/etc/shadow /proc/1/cwd/undeclared /root/.ssh; do
			[ -e "$f" ] && echo "there is $f"
		done
		ls /proc | grep -c '^[0-9]'
		echo planted > "$PROJECT/planted"; echo planted > /proc/1/root/planted
		true`)
	j.Env = append(j.Env, variable("PROJECT", dir), variable("SOCKET", files.Socket), variable("STATE", files.StateDir))
	j.Staging = t.TempDir()
	var out bytes.Buffer
	outcome, err := e.Run(t.Context(), j, executor.Streams{Stdout: &out})
	if err != nil || outcome.ExitCode != 0 {
		t.Fatal(outcome.ExitCode, err)
	}
	if lines := strings.Fields(out.String()); len(lines) != 1 || len(lines[0]) != 1 {
		t.Errorf("the step sees more than its own few processes:\n%s", out.String())
	}
	if _, err := os.Stat(filepath.Join(dir, "planted")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the step wrote to the project: %v", err)
	}
}

// TestNeighbours: two steps that run at one time share nothing, neither folders
// nor memory nor sockets.
func TestNeighbours(t *testing.T) {
	e, img := start(t, ""), imagetest.Busybox(t)
	const leave = `for d in /workspace /tmp /root /dev/shm; do echo neighbour-mark > $d/mark; done
		nc -l -p 4567 -s 127.0.0.1 < /workspace/mark & sleep 4`
	const find = `set +e; sleep 2; cat /workspace/mark /tmp/mark /root/mark /dev/shm/mark 2>/dev/null > out
		nc -w 1 127.0.0.1 4567 >> out 2>/dev/null; ps | grep neighbour | grep -v grep >> out; true`
	var group sync.WaitGroup
	group.Go(func() {
		j := job(img, t.TempDir(), tree.Tree{}, leave)
		j.Step, j.Staging = "neighbour", t.TempDir()
		if outcome, err := e.Run(t.Context(), j, executor.Streams{}); err != nil || outcome.ExitCode != 0 {
			t.Error(outcome.ExitCode, err)
		}
	})
	staging, _ := run(t, e, job(img, t.TempDir(), tree.Tree{}, find, "out"))
	group.Wait()
	if got := read(t, filepath.Join(staging, "out")); got != "" {
		t.Errorf("a step found what another one left:\n%s", got)
	}
	// Nor does the next one find anything.
	staging, _ = run(t, e, job(img, t.TempDir(), tree.Tree{}, find, "out"))
	if got := read(t, filepath.Join(staging, "out")); got != "" {
		t.Errorf("a step found what an earlier one left:\n%s", got)
	}
}

// TestHostileOutputs: what comes back is what the step made and no more: links
// are links, bits that change users are gone, names are what they are.
func TestHostileOutputs(t *testing.T) {
	e := start(t, "")
	staging, _ := run(t, e, job(imagetest.Busybox(t), t.TempDir(), tree.Tree{}, `
		mkdir -p out/deep; ln -s /etc/passwd out/absolute; ln -s ../../../../../../etc/passwd out/relative
		ln -s / out/root; echo tool > out/tool; chmod 6755 out/tool; ln out/tool out/hard
		echo linked > beside; ln beside out/linked
		echo > "out/$(printf 'line\nend')"; echo > "out/-n"; chmod 1777 out/deep`, "out"))
	for name, want := range map[string]string{"absolute": "/etc/passwd", "relative": "../../../../../../etc/passwd", "root": "/"} {
		if got, err := os.Readlink(filepath.Join(staging, "out", name)); err != nil || got != want {
			t.Errorf("%s leads to %q, %v", name, got, err)
		}
	}
	for _, name := range []string{"tool", "hard", "deep", "line\nend", "-n"} {
		info, err := os.Lstat(filepath.Join(staging, "out", name))
		if err != nil {
			t.Error(err)
		} else if bits := info.Mode() & (os.ModeSetuid | os.ModeSetgid | os.ModeSticky); bits != 0 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	// Its other name is no output, and does not come.
	if got := read(t, filepath.Join(staging, "out/linked")); got != "linked\n" {
		t.Errorf("a hard link has %q", got)
	}
	for name, script := range map[string]string{
		"a pipe": "mkdir out; mkfifo out/pipe", "a socket": "mkdir out; nc -l local:out/socket & sleep 1; test -S out/socket || mkfifo out/socket",
	} {
		j := job(imagetest.Busybox(t), t.TempDir(), tree.Tree{}, script, "out")
		j.Staging = t.TempDir()
		_, err := e.Run(t.Context(), j, executor.Streams{})
		var special *tree.SpecialFileError
		if !errors.As(err, &special) {
			t.Errorf("%s among the outputs: %v", name, err)
		}
		if left, err := os.ReadDir(j.Staging); err != nil || len(left) != 0 {
			t.Errorf("%s among the outputs left %v, %v", name, left, err)
		}
	}
}
