// SPDX-License-Identifier: Apache-2.0

package process

import (
	"fmt"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// variables returns what a job declares and what it is handed as variables.
func variables(job executor.Job) []pipeline.Var {
	all := append([]pipeline.Var(nil), job.Env...)
	for _, s := range job.Secrets {
		if s.Mount == "" {
			all = append(all, pipeline.Var{Name: s.Name, Value: string(s.Value.Reveal())})
		}
	}
	return all
}

// mounted returns the secrets that are handed over as files.
func mounted(job executor.Job) (all []executor.Secret) {
	for _, s := range job.Secrets {
		if s.Mount != "" {
			all = append(all, s)
		}
	}
	return all
}

// errNoMounts is the error of a job with secrets in files where no file can be
// mounted for a step alone.
func errNoMounts(job executor.Job, why string) error {
	s := mounted(job)[0]
	return &executor.HintedError{
		Err:   fmt.Errorf("%w: secret %s cannot be mounted at %s: a process step has no mounts of its own here: %s", executor.ErrUnavailable, s.Name, s.Mount, why),
		Hints: []string{"leave out mount, and the step has it in the variable " + s.Name + "; or give the step an image"},
	}
}
