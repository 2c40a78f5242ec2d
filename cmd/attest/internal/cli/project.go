// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// stateDir is the folder of a project where attest keeps its own files.
const stateDir = ".attest"

// pipelineFlag chooses the pipeline's file. The folder that it stands in is
// the project.
type pipelineFlag struct {
	File string `short:"f" placeholder:"FILE" default:"attest.yaml" help:"The pipeline; its folder is the project (default: ${default})."`
}

// root is the project's folder.
func (f pipelineFlag) root(env *Env) string { return filepath.Dir(env.path(f.File)) }

// load reads and checks the pipeline.
func (f pipelineFlag) load(env *Env) (*pipeline.Pipeline, error) {
	env.project = f.root(env)
	p, err := pipeline.Load(env.path(f.File), f.File)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &executor.HintedError{
			Err:   fmt.Errorf("%w: there is no %s in %s", pipeline.ErrInvalid, filepath.Base(f.File), f.root(env)),
			Hints: []string{"attest init writes one; -f FILE names another", "attest -C DIR works in another folder"},
		}
	}
	return p, err
}

// jsonFlag asks for the result as one JSON object.
type jsonFlag struct {
	JSON bool `name:"json" help:"Print the result as one JSON object."`
}

// short is a path as it is shown: relative where it is below the folder that
// the user is in.
func (e *Env) short(p string) string {
	if e.moved {
		return p // relative paths would mislead whoever started us elsewhere
	}
	rel, err := filepath.Rel(e.Dir, p)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return p
	}
	return rel
}
