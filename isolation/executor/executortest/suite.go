// SPDX-License-Identifier: Apache-2.0

// Package executortest holds what every executor.Executor must do, as tests.
//
// Start with [Run]: an implementation's test is a call of it with a function
// that makes a [Fixture]. The jobs need nothing but the commands of busybox, so
// that the smallest image passes. Processes that outlive a job are looked for
// in /proc of this machine, by an environment variable and a word of their
// command line that no other process has; this sees into containers too.
package executortest

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// Fixture is an implementation, and what it promises beyond the contract.
type Fixture struct {
	// Executor is what is tested. One serves all jobs, some at once.
	Executor executor.Executor
	// Image is what jobs ask for; empty for a level that has no images. Its
	// /bin has busybox.
	Image string
	// Network is what jobs ask for; empty means NetworkNone with an image and
	// NetworkHost without.
	Network pipeline.Network
	// BaseEnv is the environment of a command that declares none.
	BaseEnv []pipeline.Var
	// Sealed says that a command sees the inputs of its job and no other file
	// of the project, that nothing but its outputs comes back, and that an
	// input which changed after it was hashed is an error.
	Sealed bool
	// Text says that words and variables which are no UTF-8 are refused, where
	// other levels hand them on as they are.
	Text bool
	// Exposed says that this machine lets the level hide nothing, so that what
	// is in .attest is within reach of a command.
	Exposed bool
	// NoFiles says that this machine lets the level mount nothing for a job
	// alone, so that it refuses secrets in files.
	NoFiles bool
	// Only names the tests to run, or groups of them ("command/script"), of a
	// level that is slow to start; nil means all.
	Only []string
	// Start is how long the level takes before a command begins.
	Start time.Duration
	// Controls are the protections that every outcome must name: these or
	// more, and exactly these of an Exposed level.
	Controls []string
}

// Run runs the suite. It calls make once.
func Run(t *testing.T, make func(t *testing.T) Fixture) {
	s := &suite{Fixture: make(t)}
	if s.Network == "" {
		s.Network = pipeline.NetworkHost
		if s.Image != "" {
			s.Network = pipeline.NetworkNone
		}
	}
	s.run(t, "command", s.testCommand)
	s.run(t, "environment", s.testEnvironment)
	s.run(t, "streams", s.testStreams)
	s.run(t, "outputs", s.testOutputs)
	s.run(t, "names", s.testNames)
	s.run(t, "ending", s.testEnding)
	s.run(t, "inputs", s.testInputs)
	s.run(t, "reach", s.testReach)
	s.run(t, "secrets", s.testSecrets)
	s.run(t, "outcome", s.testOutcome)
}

type suite struct {
	Fixture
}

// run runs a test, unless it is none of Fixture.Only.
func (s *suite) run(t *testing.T, name string, test func(*testing.T)) {
	t.Helper()
	_, group, _ := strings.Cut(t.Name()+"/", "/")
	path := strings.ReplaceAll(group+name, " ", "_") + "/"
	wanted := func(only string) bool {
		only = strings.ReplaceAll(only, " ", "_") + "/"
		return strings.HasPrefix(path, only) || strings.HasPrefix(only, path)
	}
	if s.Only == nil || slices.ContainsFunc(s.Only, wanted) {
		t.Run(name, test)
	}
}

func (s *suite) testOutcome(t *testing.T) {
	p := s.project(t)
	got := p.run(p.shell("sleep 0.3"))
	got.wantExit(t, 0)
	if got.Engine == "" {
		t.Error("the outcome does not say which engine ran the command")
	}
	if d := got.Duration.Seconds(); d < 0.3 || d > 5 {
		t.Errorf("a command of 0.3 s took %v by the outcome", got.Duration)
	}
	if (got.Image != "") != (s.Image != "") {
		t.Errorf("image %q for a job with image %q", got.Image, s.Image)
	}
	if !slices.IsSorted(got.Controls) {
		t.Errorf("controls are not ordered: %q", got.Controls)
	}
	if s.Exposed && !slices.Equal(got.Controls, s.Controls) {
		t.Errorf("controls %q, want %q and no other", got.Controls, s.Controls)
	}
	for _, want := range s.Controls {
		if !slices.Contains(got.Controls, want) {
			t.Errorf("controls %q lack %q", got.Controls, want)
		}
	}
}
