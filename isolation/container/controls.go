// SPDX-License-Identifier: Apache-2.0

package container

import (
	"fmt"
	"slices"
	"strings"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
	"github.com/attest-pipeline/attest/isolation/container/connect"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// ControlReadOnlyRoot says that the image could not be written to.
const ControlReadOnlyRoot = "read-only-root"

// controls names what is in force for a step, ordered: what the step's
// definition asks of every BuildKit, and what the embedded engine says that it
// does for every step. TestControls looks from inside a container whether it is
// true.
func controls(conn *connect.Conn, job executor.Job) []string {
	list := append([]string{ControlReadOnlyRoot}, networkControls(job)...)
	for _, limit := range limits(job.Limits) {
		if limit.asked && offers(conn, limit.control) {
			list = append(list, limit.control)
		}
	}
	if conn.Embedded != nil {
		list = append(list, conn.Embedded.Controls...)
	}
	if worldOf(job) == launch.WorldFixed {
		list = append(list, fixed(conn)...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// networkControls names what is in force of a step's network.
func networkControls(job executor.Job) []string {
	switch job.Network {
	case pipeline.NetworkNone:
		return []string{"network-none"}
	case pipeline.NetworkRecorded: // an outcome has it only where all was recorded
		return []string{"network-recorded"}
	default:
		return nil
	}
}

type limit struct {
	control string
	asked   bool
	drop    func(*pipeline.Limits)
}

func limits(l pipeline.Limits) []limit {
	return []limit{
		{launch.ControlCPULimit, l.CPUs > 0, func(l *pipeline.Limits) { l.CPUs = 0 }},
		{launch.ControlFileSizeLimit, l.FileSize > 0, func(l *pipeline.Limits) { l.FileSize = 0 }},
		{launch.ControlMemoryLimit, l.Memory > 0, func(l *pipeline.Limits) { l.Memory = 0 }},
		{launch.ControlPIDsLimit, l.PIDs > 0, func(l *pipeline.Limits) { l.PIDs = 0 }},
	}
}

// offers reports whether the engine holds a step to a limit that its definition
// asks for. Every BuildKit that does not know a field refuses the definition;
// the one for processes they all take, and bind no root by it.
func offers(conn *connect.Conn, control string) bool {
	if conn.Embedded == nil {
		return control != launch.ControlPIDsLimit
	}
	return slices.Contains(conn.Embedded.Limits, control)
}

// offered are the limits less those that the engine does not offer.
func offered(conn *connect.Conn, asked pipeline.Limits) pipeline.Limits {
	kept := asked
	for _, limit := range limits(asked) {
		if !offers(conn, limit.control) {
			limit.drop(&kept)
		}
	}
	return kept
}

// demanded are the controls without which no step runs under --strict.
func demanded(job executor.Job) []string {
	list := []string{
		"capabilities-dropped", "ipc-namespace", "mount-namespace", "no-new-privileges", "pid-namespace",
		"seccomp", "uts-namespace", ControlReadOnlyRoot,
		launch.ControlMemoryLimit, launch.ControlPIDsLimit, launch.ControlWritesListed,
	}
	if job.Network == pipeline.NetworkNone {
		list = append(list, "network-none")
	}
	for _, limit := range limits(job.Limits) {
		if limit.asked {
			list = append(list, limit.control)
		}
	}
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

// refuse says which of the demanded controls are missing for a job that is strict.
// What the job asks for and is never strict is refused here too, should nobody have
// before.
func refuse(conn *connect.Conn, job executor.Job, have, demanded []string) error {
	if !job.Strict {
		return nil
	}
	var missing []string
	if job.Network == pipeline.NetworkOpen {
		missing = append(missing, "network-none")
	}
	if len(job.Caches) > 0 {
		missing = append(missing, "no-caches")
	}
	for _, control := range demanded {
		if !slices.Contains(have, control) {
			missing = append(missing, control)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	hint := "run it on a machine that has them, or without --strict"
	if conn.Embedded == nil {
		hint = "only of the embedded engine it is known that it has them: leave out --engine"
	}
	return &executor.HintedError{
		Err: fmt.Errorf("%w: under --strict the step needs controls that %s does not give it: %s",
			executor.ErrUnavailable, conn.Name, strings.Join(slices.Compact(missing), ", ")),
		Hints: []string{hint},
	}
}
