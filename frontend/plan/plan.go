// SPDX-License-Identifier: Apache-2.0

// Package plan turns a Pipeline into a Plan: the steps that will run, in an
// order that respects what they need, and the files that each of them sees.
//
// Start with [New]; [Plan.Inputs] resolves one step's inputs to files;
// [Plan.Analyse] says what the run's time hangs on.
//
// A Plan does not change after it was made and is safe for concurrent use.
package plan

import (
	"github.com/attest-pipeline/attest/frontend/pipeline"
)

// Plan is what will run.
type Plan struct {
	Pipeline *pipeline.Pipeline
	// Steps are ordered so that every step stands after what it needs; among
	// those that could stand next, the one declared first does.
	Steps []Step
}

// Step is one planned step.
type Step struct {
	*pipeline.Step
	Index      int   // its place in Plan.Steps
	Needs      []int // places of the steps that it needs, ascending
	Dependents []int // places of the steps that need it, ascending
	Depth      int   // 0 for a step that needs none, else one more than its deepest need
}
