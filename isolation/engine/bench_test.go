// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/engine"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// benchmark runs a pipeline b.N times, with commands that cost nothing: every
// step anew, or none after the first time.
func benchmark(b *testing.B, steps string, files int, cached bool) {
	dir := b.TempDir()
	for i := range files {
		name := filepath.Join(dir, "src", fmt.Sprint(i/100), fmt.Sprintf("file%d.txt", i))
		if i%100 == 0 {
			if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
				b.Fatal(err)
			}
		}
		if err := os.WriteFile(name, []byte(strings.Repeat(fmt.Sprintln(i), 500)), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	read, err := pipeline.Parse(&source.File{Name: "attest.yaml", Data: []byte(head + steps)})
	if err != nil {
		b.Fatal(err)
	}
	planned, err := plan.New(read)
	if err != nil {
		b.Fatal(err)
	}
	o := engine.Options{
		Plan: planned, Root: dir,
		Executors: map[pipeline.Isolation]executor.Executor{pipeline.Process: inMemory{}},
		NoCache:   !cached,
	}
	if cached {
		for range 2 { // the second time, the files have settled
			if _, err := engine.Run(context.Background(), o); err != nil {
				b.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	b.ResetTimer()
	for range b.N {
		if _, err := engine.Run(context.Background(), o); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(planned.Steps)), "µs/step")
}

// thousandSteps read and leave nothing.
func thousandSteps() string {
	var y strings.Builder
	y.WriteString("steps:\n")
	for i := range 1000 {
		fmt.Fprintf(&y, "  s%d: {run: \"true %d\", inputs: []}\n", i, i)
	}
	return y.String()
}

// manyInputs are ten steps that see the same files.
func manyInputs() string {
	var y strings.Builder
	y.WriteString("steps:\n")
	for i := range 10 {
		fmt.Fprintf(&y, "  s%d: {run: \"true %d\", inputs: [src/], outputs: [out%d]}\n", i, i, i)
	}
	return y.String()
}

// BenchmarkThousandSteps is the overhead of a step.
func BenchmarkThousandSteps(b *testing.B) { benchmark(b, thousandSteps(), 0, false) }

// BenchmarkThousandCachedSteps is the cost of a step that is not run.
func BenchmarkThousandCachedSteps(b *testing.B) { benchmark(b, thousandSteps(), 0, true) }

// BenchmarkManyInputs sees 20,000 files of some 3 KB.
func BenchmarkManyInputs(b *testing.B) { benchmark(b, manyInputs(), 20000, false) }

// BenchmarkManyInputsCached sees the same when nothing has changed.
func BenchmarkManyInputsCached(b *testing.B) { benchmark(b, manyInputs(), 20000, true) }

// BenchmarkTenCachedSteps is the run of every day: few files, nothing to do.
func BenchmarkTenCachedSteps(b *testing.B) { benchmark(b, manyInputs(), 10, true) }
