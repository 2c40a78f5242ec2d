// SPDX-License-Identifier: Apache-2.0

package launch

import "github.com/attest-pipeline/attest/isolation/executor"

// The limits that a step can be held to, as [Status] and receipts name them.
const (
	ControlCPULimit      = "cpu-limit"
	ControlFileSizeLimit = "file-size-limit"
	ControlMemoryLimit   = "memory-limit"
	ControlPIDsLimit     = "pids-limit"
)

// LimitMet begins the name of a piece of progress by which the engine tells which limit
// a step that failed has met; the rest is the limit's name, as attest.yaml has it. A
// step has no say in these; what it prints travels as a log.
const LimitMet = "attest-limit "

// The worlds that a step's definition asks for by the host name that it gives
// the step: one with as much fixed as the engine can, whose host name is the
// usual one, and one in which a second run is to leave the same as the first.
const (
	WorldFixed  = "deterministic"
	WorldVaried = "another-host"

	// VariedUmask is that of the other world; the usual one is 0022.
	VariedUmask = 0o027
)

// What is fixed in the first, as [Status] and receipts name it.
const (
	FixedCPUs       = executor.FixedCPUs
	FixedHostname   = executor.FixedHostname
	FixedInputTimes = executor.FixedInputTimes
	FixedOrder      = executor.FixedOrder
	FixedPath       = executor.FixedPath
	FixedUmask      = executor.FixedUmask
)

// What differs in the second.
const (
	VariesCPUs     = executor.VariedCPUs
	VariesHostname = executor.VariedHostname
	VariesOrder    = executor.VariedOrder
	VariesUmask    = executor.VariedUmask
)

// OutputsAttribute is the attribute of BuildKit's exporter of tar files by which the
// engine is told, as JSON, to send an [OutputFilter]'s files of a workspace and no
// other. It spares a step a copy of its outputs within the engine, and the digests
// that BuildKit makes of what it copies.
const OutputsAttribute = "attest-outputs"

// OutputFilter are patterns as BuildKit's file copies have them. Where both are empty,
// all is sent.
type OutputFilter struct {
	Include []string `json:"include,omitempty"`
	Exclude []string `json:"exclude,omitempty"`
}

// ControlWritesListed says that the engine reports what a step wrote in its
// workspace, where the step's definition asks for it.
const ControlWritesListed = "writes-listed"

// How something in a workspace was changed: the first byte of an entry of the
// engine's report, which goes on with the path and ends with a NUL.
const (
	Added       byte = '+' // it was not there, and is no folder
	AddedFolder byte = '/'
	Changed     byte = '~'
	Removed     byte = '-'
)
