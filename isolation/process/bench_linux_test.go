// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process"
)

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
