// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/isolation/engine"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/image"
	"github.com/attest-pipeline/attest/isolation/image/imagetest"
)

// ranElsewhere is an executor that claims to have run a container.
type ranElsewhere struct{ image string }

// Run implements executor.Executor.
func (r ranElsewhere) Run(_ context.Context, job executor.Job, _ executor.Streams) (executor.Outcome, error) {
	err := os.WriteFile(filepath.Join(job.Staging, "out"), []byte("made in a container\n"), 0o640)
	return executor.Outcome{Engine: "an engine", Image: r.image, Controls: []string{"seccomp"}}, err
}

// TestCachedContainerNeedsNoEngine fills a cache, and then runs attest where
// neither the worker nor an engine can be started.
func TestCachedContainerNeedsNoEngine(t *testing.T) {
	ref := imagetest.Busybox(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "attest.yaml")
	text := "version: \"0.1\"\nname: cached\nimage: " + ref + "\nsteps: {s: {run: touch out, inputs: [], outputs: [out]}}\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	fillCache(t, dir, file)
	if err := os.Remove(filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}

	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	attest := func() (string, error) {
		cmd := exec.Command(program, "run", "--engine", "unix:///nowhere/at/all", "--progress", "plain")
		cmd.Args[0] = "attest"
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "ATTEST_WORKER=/bin/false", "ATTEST_STATE_DIR="+filepath.Join(dir, ".attest", "state"))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := attest()
	if err != nil || !strings.Contains(out, "[OK] s") || !strings.Contains(out, "cache hit") {
		t.Errorf("got %v\n%s", err, out)
	}
	info, err := os.Stat(filepath.Join(dir, "out"))
	if err != nil || info.Mode() != 0o640 {
		t.Errorf("out is %v, %v", info, err)
	}
	// The same command line cannot run anything: the hit was one.
	if err := os.WriteFile(file, []byte(strings.Replace(text, "touch out", "touch ./out", 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := attest(); err == nil {
		t.Errorf("a step ran without a worker:\n%s", out)
	}
}

func fillCache(t *testing.T, dir, file string) {
	t.Helper()
	p, err := pipeline.Load(file, "attest.yaml")
	if err != nil {
		t.Fatal(err)
	}
	planned, err := plan.New(p)
	if err != nil {
		t.Fatal(err)
	}
	img, err := image.NewResolver(dir, ocispecs.Platform{}).Resolve(t.Context(), p.Image)
	if err != nil {
		t.Fatal(err)
	}
	_, err = engine.Run(t.Context(), engine.Options{
		Plan: planned, Root: dir,
		Executors: map[pipeline.Isolation]executor.Executor{pipeline.Container: ranElsewhere{img.Pinned}},
		Images:    func(context.Context, string) (string, error) { return img.Pinned, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
}
