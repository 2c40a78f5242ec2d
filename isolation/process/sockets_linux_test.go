// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/process"
	"github.com/attest-pipeline/attest/isolation/sockets/socketstest"
)

// TestSocketsBeyond: without a network there are no sockets either that a network
// namespace does not hold, for programs of every architecture.
func TestSocketsBeyond(t *testing.T) {
	needNamespaces(t)
	e := process.New(process.Options{})
	defer e.Close()
	for _, p := range socketstest.Programs(t) {
		program, err := os.ReadFile(p.Path)
		if err != nil {
			t.Fatal(err)
		}
		job := newJob(t, shell("./probe"))
		if err := os.WriteFile(filepath.Join(job.Root, "probe"), program, 0o755); err != nil {
			t.Fatal(err)
		}
		job.Network = pipeline.NetworkNone
		if out, _ := printed(t, e, job); out != p.Confined {
			t.Errorf("%s without a network:\n%s", p.Arch, out)
		}
		job.Network = pipeline.NetworkHost
		if out, _ := printed(t, e, job); out == p.Confined {
			t.Errorf("%s with a network:\n%s", p.Arch, out)
		}
	}
}
