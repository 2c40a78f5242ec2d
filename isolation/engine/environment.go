// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"runtime"
	"slices"
	"strings"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/cachekey"
)

// platformOf says what steps of a level run on: this machine's processor, and
// for containers and virtual machines Linux, whatever this program runs on.
func platformOf(level pipeline.Isolation) string {
	if level != pipeline.Process {
		return "linux/" + runtime.GOARCH
	}
	return runtime.GOOS + "/" + runtime.GOARCH
}

// environment is what a step's variables come from.
type environment struct {
	declared []pipeline.Var
	given    []pipeline.Var // declared ones, and those that are fixed
	passed   []cachekey.Passed
}

// newEnvironment looks up the names of pass_env in the caller's environment. No
// name is both declared and passed: package pipeline sees to that.
func newEnvironment(step *pipeline.Step, environ []string) environment {
	e := environment{declared: step.Env, given: step.Env}
	for _, name := range step.PassEnv {
		p := cachekey.Passed{Name: name}
		for _, v := range environ { // the last one counts, as for exec
			if n, value, ok := strings.Cut(v, "="); ok && n == name {
				p.Value, p.Set = value, true
			}
		}
		e.passed = append(e.passed, p)
	}
	return e
}

// effective returns all variables, ordered by name.
func (e environment) effective() []pipeline.Var {
	all := slices.Clone(e.given)
	for _, p := range e.passed {
		if p.Set {
			all = append(all, pipeline.Var{Name: p.Name, Value: p.Value})
		}
	}
	slices.SortFunc(all, func(a, b pipeline.Var) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// givenMap returns the variables that a receipt shows.
func (e environment) givenMap() map[string]string {
	if len(e.given) == 0 {
		return nil
	}
	m := make(map[string]string, len(e.given))
	for _, v := range e.given {
		m[v.Name] = v.Value
	}
	return m
}

// passesAny reports whether the caller has any of the variables let through.
func (e environment) passesAny() bool {
	return slices.ContainsFunc(e.passed, func(p cachekey.Passed) bool { return p.Set })
}

// passedValues returns what the caller's environment had, longest first, so that
// masking one does not spoil another that holds it.
func (e environment) passedValues() []string {
	var values []string
	for _, p := range e.passed {
		values = append(values, p.Value)
	}
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) })
	return values
}
