// SPDX-License-Identifier: Apache-2.0

// Package plan turns a Pipeline into a Plan: the steps that will run, in an
// order that respects what they need, and the files that each of them sees.
//
// Start with [New]; [Plan.Inputs] resolves one step's inputs to files,
// [MatchOutputs] finds what a step left, and [Plan.Analyse] says what the
// run's time hangs on.
//
// A Plan does not change after it was made and is safe for concurrent use.
package plan

import (
	"errors"

	"github.com/attest-pipeline/attest/frontend/pipeline"
)

// ErrNoStep is matched by the error of [New] about a step that the pipeline
// does not have.
var ErrNoStep = errors.New("no such step")

// ErrInput is matched by every error of [Plan.Inputs] and [MatchOutputs] about
// what stands on disk, as against errors of reading it.
var ErrInput = errors.New("files do not fit their declaration")

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

// New plans the named steps and what they need, directly or not; all steps
// where none is named. A name that is no step's is a [source.Error] that
// matches [ErrNoStep], without a place, one for each such name.
func New(p *pipeline.Pipeline, only ...string) (*Plan, error) {
	return nil, errors.New("not yet")
}
