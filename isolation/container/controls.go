// SPDX-License-Identifier: Apache-2.0

package container

import (
	"slices"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
	"github.com/attest-pipeline/attest/isolation/container/connect"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// controls names what is in force for a step, ordered: what the step's
// definition asks of every BuildKit, and what the embedded engine says that it
// does for every step. TestControls looks from inside a container whether it is
// true.
func controls(conn *connect.Conn, job executor.Job) []string {
	list := []string{"read-only-root"}
	switch job.Network {
	case pipeline.NetworkNone:
		list = append(list, "network-none")
	case pipeline.NetworkRecorded: // an outcome has it only where all was recorded
		list = append(list, "network-recorded")
	}
	if conn.Embedded != nil {
		list = append(list, conn.Embedded.Controls...)
	}
	if worldOf(job) == launch.WorldFixed {
		list = append(list, fixed(conn)...)
	}
	slices.Sort(list)
	return list
}

// worldOf returns the host name by which a job asks for another world than the
// usual; empty for none.
func worldOf(job executor.Job) string {
	switch {
	case job.Deterministic != nil:
		return launch.WorldFixed
	case job.Variation != nil:
		return launch.WorldVaried
	default:
		return ""
	}
}

// fixed names what is fixed for a deterministic step. Where the workspace lies,
// what times its files have and the umask are the same for every step.
func fixed(conn *connect.Conn) []string {
	if conn.Embedded != nil {
		return conn.Embedded.Fixes
	}
	return []string{launch.FixedHostname, launch.FixedInputTimes, launch.FixedPath, launch.FixedUmask}
}

// varied names what differed for the second run of a step.
func varied(conn *connect.Conn, job executor.Job) []string {
	switch {
	case worldOf(job) != launch.WorldVaried:
		return nil
	case conn.Embedded != nil:
		return conn.Embedded.Varies
	default: // a host name is asked of every BuildKit
		return []string{launch.VariesHostname}
	}
}
