// SPDX-License-Identifier: Apache-2.0

package container_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/engine"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/image"
	"github.com/attest-pipeline/attest/isolation/image/imagetest"
)

// TestSourcesOfNondeterminism runs steps that take something from the world
// twice. The second run finds it out, with its cause; or the level fixes it for
// every step; or a deterministic run does.
func TestSourcesOfNondeterminism(t *testing.T) {
	const always = "" // fixed by the level
	sources := []struct {
		name, script, cause string
		fixed               bool // by a deterministic run
	}{
		{"date", "date >o", "timestamp", false},
		{"seconds", "date +%s >o", "timestamp", false},
		{"uname", "uname -n >o", "hostname", true},
		{"hostname", "hostname >o", "hostname", true},
		{"random", "echo $RANDOM$RANDOM >o", "random", false},
		{"urandom", "head -c 64 /dev/urandom >o", "random", false},
		{"uuid", "cat /proc/sys/kernel/random/uuid >o", "random", false},
		{"mktemp", "mktemp >o", "random", false},
		{"readdir", "find d -type f >o", "order", true},
		{"archive-order", "tar -cf o d", "order", true},
		{"archive-mtime", "echo x >n; touch n; tar -cf o n", "timestamp umask", false},
		{"archive-mode", "echo x >n; touch -d @0 n; tar -cf o n", "umask", true},
		{"nproc", "echo jobs: $(nproc) >o", "cpu-count", true},
		{"file-time", "echo x >n; stat -c %Y n >o", "timestamp", false},
		{"build-path", "pwd >o", always, true},
		{"uid", "id >o", always, true},
		{"locale", "printf 'a\\nB\\n' | sort >o", always, true},
		{"input-time", "stat -c %Y d/a >o", always, true},
		{"gzip", "gzip -c d/a >o", always, true},
		{"pid", "echo $$ >o", always, true},
		{"env", "env | sort >o", always, true},
		{"hosts", "cat /etc/hosts /etc/resolv.conf >o", "hostname", true},
	}
	dir := t.TempDir()
	yaml := "version: \"0.1\"\nname: x\nimage: " + imagetest.Busybox(t) + "\nattestation: {require_reproducible: true}\nsteps:\n"
	for _, s := range sources {
		yaml += "  " + s.name + ": {run: " + strconv.Quote(strings.ReplaceAll(s.script, ">o", ">out/"+s.name)) + ", inputs: [d/], outputs: [out/" + s.name + "]}\n"
		yaml = strings.ReplaceAll(yaml, "tar -cf o ", "tar -cf out/"+s.name+" ")
	}
	yaml = strings.ReplaceAll(yaml, "{run: \"", "{run: \"mkdir -p out; ")
	for _, name := range strings.Split("hgfedcbaijklmnopq", "") {
		if err := os.MkdirAll(filepath.Join(dir, "d"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "d", name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p, err := pipeline.Parse(&source.File{Name: "attest.yaml", Data: []byte(yaml)})
	if err != nil {
		t.Fatal(err, yaml)
	}
	planned, err := plan.New(p)
	if err != nil {
		t.Fatal(err)
	}
	e, images := start(t, ""), image.NewResolver(dir, image.Local())
	run := func(fixed *executor.Determinism) map[string]receipt.Step {
		rec, err := engine.Run(t.Context(), engine.Options{
			Plan: planned, Root: dir, NoCache: true, KeepGoing: true, Version: "test", Deterministic: fixed, Jobs: len(sources),
			Executors: map[pipeline.Isolation]executor.Executor{pipeline.Container: e},
			Images: func(_ context.Context, ref string) (string, error) {
				img, err := images.Resolve(t.Context(), ref)
				return img.Pinned, err
			},
		})
		if rec == nil {
			t.Fatal(err)
		}
		steps := map[string]receipt.Step{}
		for _, s := range rec.Receipt.Steps {
			steps[s.Name] = s
		}
		return steps
	}
	usual, fixed := run(nil), run(engine.Deterministic(time.Unix(1e9, 0)))
	for _, s := range sources {
		if got := causes(usual[s.name]); got != s.cause {
			t.Errorf("%s: cause %q, want %q: %s", s.name, got, s.cause, usual[s.name].Error)
		}
		if got := causes(fixed[s.name]); (got == "") != s.fixed {
			t.Errorf("%s: fixed %t in a deterministic run, want %t: %s", s.name, got == "", s.fixed, fixed[s.name].Error)
		}
	}
}

// causes are those that a step's second run found; empty where both were alike.
func causes(s receipt.Step) string {
	switch {
	case s.Reproduction == nil:
		return "did not run: " + s.Error
	case s.Reproduction.Verdict == receipt.Identical:
		return ""
	}
	var all []string
	for _, d := range s.Reproduction.Differences {
		all = append(all, d.Cause)
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " ")
}
