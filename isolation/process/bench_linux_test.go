// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"os/exec"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process"
)

// BenchmarkProcessor reports the processor time of a step that runs true, with
// all that is started for it; that of true itself, started here, is beside it.
func BenchmarkProcessor(b *testing.B) {
	const steps = 200
	program := buildInit(b)
	job := newJob(b, pipeline.Command{Argv: []string{"true"}})
	spent := func(run func()) float64 {
		before := processorTime(b)
		run()
		return float64((processorTime(b) - before).Microseconds()) / steps
	}
	for b.Loop() {
		b.ReportMetric(spent(func() {
			for range steps {
				if err := exec.Command("true").Run(); err != nil {
					b.Fatal(err)
				}
			}
		}), "bare-us")
		b.ReportMetric(spent(func() {
			e := process.New(process.Options{Init: program})
			for range steps {
				if outcome, err := e.Run(b.Context(), job, executor.Streams{}); err != nil || outcome.ExitCode != 0 {
					b.Fatal(outcome, err)
				}
			}
			if err := e.Close(); err != nil { // it has waited for its children
				b.Fatal(err)
			}
		}), "step-us")
	}
	b.ReportMetric(0, "ns/op")
}

func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var sum time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var usage unix.Rusage
		if err := unix.Getrusage(who, &usage); err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	return sum
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
