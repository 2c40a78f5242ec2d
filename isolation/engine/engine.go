// SPDX-License-Identifier: Apache-2.0

// Package engine runs a Plan: each step as soon as what it needs has
// succeeded, from its inputs to its landed outputs, and yields the facts of
// the run's receipt.
//
// Start with [Run]; step.go is the walk of one step, phase by phase.
//
// # What is promised
//
// One run at a time is at work in a project: a second one waits. Steps never
// start before everything that they need has landed. After a step failed no
// further step starts, and those that run are waited for, as make does; with
// KeepGoing every step starts whose needs succeeded. When the context ends,
// running steps are stopped, and the record says truthfully how far each came.
// Outputs appear in the project complete or not at all; what a kill left
// behind in .attest/tmp, the next run removes.
package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/event"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// Options say what to run and with what.
type Options struct {
	// Plan is what to run. Required.
	Plan *plan.Plan
	// Root is the absolute path of the project's folder. Required.
	Root string
	// PipelineFile is the path of the pipeline's file relative to Root,
	// slash-separated; empty means the file's base name.
	PipelineFile string
	// Executors run the steps; every level that the plan asks for must be there.
	Executors map[pipeline.Isolation]executor.Executor
	// Images resolves an image as attest.yaml names it to the same image by
	// digest, "name@sha256:...". It is asked once for each name in a run.
	// Required when a step has an image.
	Images func(ctx context.Context, ref string) (string, error)
	// Jobs is how many steps run at once; 0 means one per CPU.
	Jobs int
	// KeepGoing goes on, after a step failed, with those that do not need it.
	KeepGoing bool
	// Environ is the caller's environment, as os.Environ has it: where
	// pass_env values come from. Nothing else of it reaches a step from here.
	Environ []string
	// Sink receives the run's events; nil discards them.
	Sink event.Sink
	// Now is the clock; nil means the system's.
	Now func() time.Time
	// Version is attest's own, for the receipt.
	Version string
	// LogDir is the absolute path of the folder under which every run makes
	// one for the logs of its steps; empty means .attest/logs in Root.
	LogDir string
}

// Record is what a run came to.
type Record struct {
	Receipt *receipt.Receipt // unsigned
	// Results are what the steps saw and left, in planned order: one for each
	// of Receipt.Steps.
	Results []Result
	// LogDir is the absolute path of the folder with this run's logs.
	LogDir string
}

// Result is what one step saw and left.
type Result struct {
	// Inputs are the files that the step was run with; empty where it was not
	// reached.
	Inputs tree.Tree
	// Outputs are the files that it left in the project, with both digests;
	// empty where it did not succeed.
	Outputs tree.Tree
	// Log is the absolute path of its log; empty where nothing ran.
	Log string
}

// StepError says why a step did not succeed.
type StepError struct {
	Step string
	// Pos is the place in attest.yaml that the trouble belongs to: the step's
	// command, or the pattern of a missing output.
	Pos source.Pos
	// ExitCode is the command's; 0 where the command was not what failed.
	ExitCode int
	TimedOut bool
	// Tail is the end of the step's log, at most 20 lines, raw.
	Tail []byte
	// Err is what happened: for a place in attest.yaml a [source.Error],
	// otherwise what the executor said.
	Err error
}

// Error names the step and what happened to it.
func (e *StepError) Error() string { return fmt.Sprintf("step %s: %v", e.Step, e.Err) }

// Unwrap returns Err.
func (e *StepError) Unwrap() error { return e.Err }

// Run runs the plan and waits for it. The Record is nil only when the run
// could not begin at all: the project is out of reach, options are missing, or
// ctx ended while another run in the project was waited for.
//
// The error joins one [StepError] for each step that failed, in planned order
// (skipped steps have none), and, when ctx ended the run, context.Cause(ctx).
// It is nil exactly when the receipt's status is succeeded.
func Run(ctx context.Context, o Options) (*Record, error) {
	return nil, fmt.Errorf("not yet")
}
