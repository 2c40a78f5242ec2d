// SPDX-License-Identifier: Apache-2.0

package container_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/container"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/image/imagetest"
)

// project is a folder with files in it, hashed.
func project(t testing.TB, files map[string]string) (string, tree.Tree) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		write(t, filepath.Join(dir, name), content)
	}
	return dir, scan(t, dir)
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func scan(t testing.TB, dir string) tree.Tree {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	files, err := tree.Hasher{}.Scan(t.Context(), root, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// run runs a job with a staging folder of its own, which it returns.
func run(t testing.TB, e *container.Executor, job executor.Job) (string, executor.Outcome) {
	t.Helper()
	job.Staging = t.TempDir()
	var log strings.Builder
	outcome, err := e.Run(t.Context(), job, executor.Streams{Stdout: &log, Stderr: &log})
	if err != nil || outcome.ExitCode != 0 {
		t.Fatalf("exit code %d, error %v\n%s", outcome.ExitCode, err, log.String())
	}
	return job.Staging, outcome
}

func job(image, dir string, files tree.Tree, script string, outputs ...string) executor.Job {
	j := executor.Job{
		Step: "step", Command: pipeline.Command{Shell: script}, WorkingDir: ".",
		Image: image, Network: pipeline.NetworkNone, Root: dir, Inputs: files,
	}
	for _, o := range outputs {
		j.Outputs = append(j.Outputs, pipeline.Pattern{Text: o, Glob: strings.Contains(o, "*")})
	}
	return j
}

// BenchmarkStep is what a step of a few small files costs beyond its command:
// one after the other, and eight at a time.
func BenchmarkStep(b *testing.B) {
	e, image := start(b, ""), imagetest.Busybox(b)
	dir, files := project(b, map[string]string{"a": "a", "b": "b", "c/d": "d"})
	j := job(image, dir, files, "cat a b c/d > out", "out")
	run(b, e, j)
	b.Run("serial", func(b *testing.B) {
		for b.Loop() {
			run(b, e, j)
		}
	})
	b.Run("parallel-8", func(b *testing.B) {
		b.SetParallelism((8 + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0))
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				run(b, e, j)
			}
		})
	})
}

// BenchmarkInputs is a step with 20,000 files: where the engine has none of
// them, where it has them all, and where one changed.
func BenchmarkInputs(b *testing.B) {
	e, image := start(b, ""), imagetest.Busybox(b)
	all := map[string]string{}
	for i := range 20_000 {
		all[fmt.Sprintf("dir%d/sub%d/file%d", i%20, i%200, i)] = strings.Repeat("x", i%4096)
	}
	dir, files := project(b, all)
	b.Run("cold", func(b *testing.B) {
		for n := 0; b.Loop(); n++ {
			j := job(image, dir, files, "true")
			j.Step = fmt.Sprintf("cold-%d-%d", b.N, n)
			run(b, e, j)
		}
	})
	j := job(image, dir, files, "true")
	run(b, e, j)
	b.Run("warm", func(b *testing.B) {
		for b.Loop() {
			run(b, e, j)
		}
	})
	b.Run("one-changed", func(b *testing.B) {
		for n := 0; b.Loop(); n++ {
			b.StopTimer()
			write(b, filepath.Join(dir, "changing"), fmt.Sprint(n))
			j := job(image, dir, scan(b, dir), "true")
			b.StartTimer()
			run(b, e, j)
		}
	})
}

func variable(name, value string) pipeline.Var { return pipeline.Var{Name: name, Value: value} }
