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
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/source"
)

// ErrNoStep is matched by the errors of [New] about steps that the pipeline
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

	// writers knows the outputs of all steps of the pipeline, planned or not.
	writers pipeline.Writers
	holders func() map[string]bool // see holdersOf
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
// where none is named. A name that is no step's is a [source.Error] without a
// line that matches [ErrNoStep]; all of them are returned at once.
func New(p *pipeline.Pipeline, only ...string) (*Plan, error) {
	index := make(map[string]int, len(p.Steps))
	for i := range p.Steps {
		index[p.Steps[i].Name] = i
	}
	wanted, err := choose(p, index, only)
	if err != nil {
		return nil, err
	}
	plan := &Plan{Pipeline: p, writers: p.Writers()}
	plan.holders = sync.OnceValue(func() map[string]bool { return holdersOf(p) })
	plan.order(index, wanted)
	return plan, nil
}

// choose returns, by place in the pipeline, whether a step will run.
func choose(p *pipeline.Pipeline, index map[string]int, only []string) ([]bool, error) {
	wanted := make([]bool, len(p.Steps))
	var errs []*source.Error
	var todo []int
	for _, name := range only {
		i, ok := index[name]
		if !ok {
			errs = append(errs, noStep(p, name))
			continue
		}
		todo = append(todo, i)
	}
	if len(only) == 0 {
		for i := range p.Steps {
			todo = append(todo, i)
		}
	}
	for len(todo) > 0 {
		i := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if wanted[i] {
			continue
		}
		wanted[i] = true
		for _, n := range p.Steps[i].Needs {
			todo = append(todo, index[n.Name])
		}
	}
	return wanted, source.Join(errs)
}

func noStep(p *pipeline.Pipeline, name string) *source.Error {
	e := &source.Error{Msg: fmt.Sprintf("no step is called %q", name), Err: ErrNoStep}
	if p.File != nil {
		e.Pos.File = p.File.Name
	}
	names := make([]string, len(p.Steps))
	for i := range p.Steps {
		names[i] = p.Steps[i].Name
	}
	if meant, ok := source.Closest(name, names); ok {
		e.Hints = []string{"did you mean `" + meant + "`?"}
	} else if len(names) <= 20 {
		e.Hints = []string{"the steps are: " + strings.Join(names, ", ")}
	}
	return e
}

// order fills Steps: of those whose needs have all been placed, the one
// declared first comes next.
func (plan *Plan) order(index map[string]int, wanted []bool) {
	steps := plan.Pipeline.Steps
	waiting := make([]int, len(steps))
	dependents := make([][]int, len(steps)) // by place in the pipeline
	var ready heap
	total := 0
	for i := range steps {
		if !wanted[i] {
			continue
		}
		total++
		for _, n := range steps[i].Needs {
			j := index[n.Name]
			dependents[j] = append(dependents[j], i)
		}
		if waiting[i] = len(steps[i].Needs); waiting[i] == 0 {
			ready.push(i)
		}
	}
	place := make([]int, len(steps))
	plan.Steps = make([]Step, 0, total)
	for len(ready) > 0 {
		i := ready.pop()
		place[i] = len(plan.Steps)
		s := Step{Step: &steps[i], Index: place[i]}
		for _, n := range steps[i].Needs {
			j := place[index[n.Name]]
			s.Needs = append(s.Needs, j)
			s.Depth = max(s.Depth, plan.Steps[j].Depth+1)
			plan.Steps[j].Dependents = append(plan.Steps[j].Dependents, s.Index)
		}
		slices.Sort(s.Needs)
		plan.Steps = append(plan.Steps, s)
		for _, d := range dependents[i] {
			if waiting[d]--; waiting[d] == 0 {
				ready.push(d)
			}
		}
	}
}
