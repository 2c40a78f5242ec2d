// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/engine"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// benchmark runs a pipeline b.N times, with commands that cost nothing.
func benchmark(b *testing.B, steps string, files int) {
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
	}
	b.ResetTimer()
	for range b.N {
		if _, err := engine.Run(context.Background(), o); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(planned.Steps)), "µs/step")
}

// BenchmarkThousandSteps is the overhead of a step that reads and leaves nothing.
func BenchmarkThousandSteps(b *testing.B) {
	var y strings.Builder
	y.WriteString("steps:\n")
	for i := range 1000 {
		fmt.Fprintf(&y, "  s%d: {run: \"true\", inputs: []}\n", i)
	}
	benchmark(b, y.String(), 0)
}

// BenchmarkManyInputs is ten steps that see the same 20,000 files of some 3 KB.
func BenchmarkManyInputs(b *testing.B) {
	var y strings.Builder
	y.WriteString("steps:\n")
	for i := range 10 {
		fmt.Fprintf(&y, "  s%d: {run: \"true\", inputs: [src/]}\n", i)
	}
	benchmark(b, y.String(), 20000)
}
