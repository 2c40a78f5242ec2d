// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process"
)

// buildInit builds the program that attest has beside it.
func buildInit(t testing.TB) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "attest-init")
	cmd := exec.Command("go", "build", "-trimpath", "-o", program, "github.com/attest-pipeline/attest/cmd/attest-init")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building attest-init: %v\n%s", err, out)
	}
	return program
}

// BenchmarkStep runs the same command as a step and bare, in turn, and reports
// the medians: what a step costs is their difference.
func BenchmarkStep(b *testing.B) {
	e := process.New(process.Options{Init: buildInit(b)})
	defer e.Close()
	job := newJob(b, pipeline.Command{Argv: []string{"true"}})
	var bare, step []time.Duration
	for b.Loop() {
		begun := time.Now()
		if err := exec.Command("true").Run(); err != nil {
			b.Fatal(err)
		}
		bare, begun = append(bare, time.Since(begun)), time.Now()
		if outcome, err := e.Run(b.Context(), job, executor.Streams{}); err != nil || outcome.ExitCode != 0 {
			b.Fatal(outcome, err)
		}
		step = append(step, time.Since(begun))
	}
	slices.Sort(bare)
	slices.Sort(step)
	for name, at := range map[string]int{"lowest": 0, "median": len(step) / 2} {
		b.ReportMetric(float64(bare[at].Microseconds()), name+"-bare-us")
		b.ReportMetric(float64(step[at].Microseconds()), name+"-step-us")
	}
	b.ReportMetric(0, "ns/op") // both together say nothing
}
