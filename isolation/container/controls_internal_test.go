// SPDX-License-Identifier: Apache-2.0

package container

import (
	"slices"
	"testing"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
	"github.com/attest-pipeline/attest/isolation/container/connect"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// TestLimitsThatAreNotOffered: a limit that the engine cannot hold a step to is
// neither asked of it nor named, and --strict refuses the step.
func TestLimitsThatAreNotOffered(t *testing.T) {
	conn := &connect.Conn{Name: "test", Embedded: &launch.Status{Limits: []string{launch.ControlPIDsLimit}}}
	asked := pipeline.Limits{Memory: 1 << 30, CPUs: 1, PIDs: 5, FileSize: 7}
	job := executor.Job{Limits: asked, Network: pipeline.NetworkNone, Strict: true}
	if got, want := offered(conn, asked), (pipeline.Limits{PIDs: 5}); got != want {
		t.Errorf("asked for %+v, want %+v", got, want)
	}
	named := controls(conn, job)
	for _, control := range []string{launch.ControlMemoryLimit, launch.ControlCPULimit, launch.ControlFileSizeLimit} {
		if slices.Contains(named, control) {
			t.Errorf("%s is named", control)
		}
		if !slices.Contains(demanded(job), control) {
			t.Errorf("--strict does not demand %s", control)
		}
	}
	if !slices.Contains(named, launch.ControlPIDsLimit) {
		t.Errorf("controls %q", named)
	}
	// Of another BuildKit it is known that it refuses what it does not know, but for
	// the limit that binds no root.
	if got, want := offered(&connect.Conn{}, asked), (pipeline.Limits{Memory: 1 << 30, CPUs: 1, FileSize: 7}); got != want {
		t.Errorf("asked another engine for %+v, want %+v", got, want)
	}
}
