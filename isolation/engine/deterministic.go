// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// What --deterministic fixes at every level is here: variables, and the times
// of outputs. The rest is the executors' business, who say what they fixed.
const (
	// ControlEnvironment says that the environment held what is below.
	ControlEnvironment = "fixed-environment"
	// ControlOutputTimes says that outputs have the time of the source.
	ControlOutputTimes = "fixed-output-times"

	epochVariable = "SOURCE_DATE_EPOCH"
	seed          = "0"
)

// noCommit is the time of a source that is in no repository: 1980-01-02, the
// first day that a ZIP archive can name in every time zone.
const noCommit = 315619200

// Deterministic returns what steps see in place of what differs from run to
// run. committed is the time of the source, zero where there is none.
func Deterministic(committed time.Time) *executor.Determinism {
	if committed.IsZero() {
		committed = time.Unix(noCommit, 0)
	}
	return &executor.Determinism{Epoch: committed.UTC().Truncate(time.Second), Seed: seed}
}

// deterministic returns what is fixed for the step; nil for nothing. A step that
// declares SOURCE_DATE_EPOCH has its own time, so that its key does not depend
// on the commit.
func deterministic(step *pipeline.Step, d *executor.Determinism) *executor.Determinism {
	if d == nil {
		return nil
	}
	for _, v := range step.Env {
		if seconds, err := strconv.ParseInt(v.Value, 10, 64); err == nil && v.Name == epochVariable {
			return &executor.Determinism{Epoch: time.Unix(seconds, 0).UTC(), Seed: d.Seed}
		}
	}
	return d
}

// fixedVariables are ordered by name. What a step declares or passes wins.
//
// C.UTF-8 sorts and compares as C does, byte by byte, and does not make programs
// take names and texts that are no ASCII for an error. The seeds are those that
// languages document: Go, Java and JavaScript have none that could be set.
func fixedVariables(d *executor.Determinism) []pipeline.Var {
	return []pipeline.Var{
		{Name: "LC_ALL", Value: "C.UTF-8"},
		{Name: "PERL_HASH_SEED", Value: d.Seed},
		{Name: "PERL_PERTURB_KEYS", Value: "0"},
		{Name: "PYTHONHASHSEED", Value: d.Seed},
		{Name: epochVariable, Value: strconv.FormatInt(d.Epoch.Unix(), 10)},
		{Name: "TZ", Value: "UTC"},
	}
}

// fix adds the variables that are fixed to those that a step declares.
func (e *environment) fix(d *executor.Determinism) {
	if d == nil {
		return
	}
	all := slices.Clone(e.declared)
	for _, v := range fixedVariables(d) {
		if !e.has(v.Name) {
			all = append(all, v)
		}
	}
	slices.SortFunc(all, func(a, b pipeline.Var) int { return strings.Compare(a.Name, b.Name) })
	e.given = all
}

func (e *environment) has(name string) bool {
	for _, p := range e.passed {
		if p.Name == name {
			return true
		}
	}
	return slices.ContainsFunc(e.declared, func(v pipeline.Var) bool { return v.Name == name })
}

// fixTimes gives what a step left the time of the source.
func fixTimes(dir string, d *executor.Determinism) error {
	if d == nil {
		return nil
	}
	var folders []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir():
			folders = append(folders, path)
			return nil
		}
		return setTime(path, d.Epoch)
	})
	for _, path := range slices.Backward(folders) {
		err = errors.Join(err, os.Chtimes(path, d.Epoch, d.Epoch))
	}
	return err
}
