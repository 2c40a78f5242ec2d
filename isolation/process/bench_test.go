// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"os/exec"
	"testing"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process"
)

// BenchmarkBare is what BenchmarkStep is to be compared with.
func BenchmarkBare(b *testing.B) {
	for b.Loop() {
		if err := exec.Command("true").Run(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStep(b *testing.B) {
	e := process.New(process.Options{})
	job := newJob(b, pipeline.Command{Argv: []string{"true"}})
	for b.Loop() {
		if outcome, err := e.Run(b.Context(), job, executor.Streams{}); err != nil || outcome.ExitCode != 0 {
			b.Fatal(outcome, err)
		}
	}
}
