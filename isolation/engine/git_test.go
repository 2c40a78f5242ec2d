// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/isolation/event"
)

// git runs git in the project, without the configuration of whoever tests.
func (p *project) git(args ...string) string {
	p.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestSource(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Fatal("these tests need git")
	}
	p := newProject(t, "steps: {s: {run: x, inputs: [], outputs: [out]}}\n", map[string]string{"a": "1"}, nil)
	p.options.Environ = os.Environ()
	state := func() receipt.Source {
		t.Helper()
		src := p.run().Receipt.Source
		if src == nil {
			t.Fatal("no source")
		}
		return *src
	}
	if src := p.run().Receipt.Source; src != nil {
		t.Fatalf("source without a repository: %+v", src)
	}
	p.git("init", "-q")
	p.write(".gitignore", "out\n")
	if got := state(); got != (receipt.Source{Dirty: true}) {
		t.Errorf("before the first commit: %+v", got)
	}
	p.git("add", "-A")
	p.git("commit", "-qm", "one")
	commit := p.git("rev-parse", "HEAD")
	if got := state(); got != (receipt.Source{Commit: commit}) {
		t.Errorf("clean: %+v, want commit %s", got, commit)
	}
	p.write("new\nfile", "")
	if got := state(); got != (receipt.Source{Commit: commit, Dirty: true}) {
		t.Errorf("with an untracked file: %+v", got)
	}
}

// TestSourceIsThatOfTheStart: a step may change what git would say.
func TestSourceIsThatOfTheStart(t *testing.T) {
	p := newProject(t, "steps: {s: {run: x, inputs: []}}\n", map[string]string{"a": "1"}, inMemory{
		"s": func(_ context.Context, j job) (int, error) { return 0, os.WriteFile(j.Root+"/a", []byte("2"), 0o644) },
	})
	p.options.Environ = os.Environ()
	p.git("init", "-q")
	p.git("add", "-A")
	p.git("commit", "-qm", "one")
	if src := p.run().Receipt.Source; src == nil || src.Dirty {
		t.Errorf("source is %+v, want a clean one", src)
	}
}

// TestRepositoryRunsNothing has a repository that would like git to run things.
func TestRepositoryRunsNothing(t *testing.T) {
	p := newProject(t, "steps: {s: {run: x, inputs: []}}\n", map[string]string{"a": "1", "ran": ""}, nil)
	p.options.Environ = append(os.Environ(), "GIT_DIR=/nowhere")
	p.git("init", "-q")
	p.git("add", "-A")
	p.git("commit", "-qm", "one")
	evil := "#!/bin/sh\necho run >>" + p.path("ran") + "\n"
	p.write("evil", evil)
	p.write(".git/hooks/post-index-change", evil)
	for _, name := range []string{"evil", ".git/hooks/post-index-change"} {
		if err := os.Chmod(p.path(name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p.git("config", "core.fsmonitor", p.path("evil"))
	p.write("a", "2")
	index := p.read(".git/index")
	if src := p.run().Receipt.Source; src == nil || !src.Dirty {
		t.Errorf("source is %+v", src)
	}
	if got := p.read("ran"); got != "" {
		t.Error("the repository ran a program")
	}
	if p.read(".git/index") != index {
		t.Error("git wrote to the repository")
	}
}

func TestDamagedRepositoryIsAWarning(t *testing.T) {
	p := newProject(t, "steps: {s: {run: x, inputs: []}}\n", map[string]string{".git/HEAD": "rubbish"}, nil)
	p.options.Environ = os.Environ()
	var warnings []string
	p.options.Sink = event.Tee(p.events, event.SinkFunc(func(e event.Event) {
		if w, ok := e.Body.(event.Warning); ok {
			warnings = append(warnings, w.Message)
		}
	}))
	if src := p.run().Receipt.Source; src != nil {
		t.Errorf("source is %+v", src)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "commit") {
		t.Errorf("warnings: %q", warnings)
	}
}
