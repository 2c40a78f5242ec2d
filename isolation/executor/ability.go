// SPDX-License-Identifier: Apache-2.0

package executor

import (
	"fmt"
	"slices"
	"time"

	"github.com/attest-pipeline/attest/frontend/pipeline"
)

// CacheFolder is a folder that steps share between runs.
type CacheFolder struct {
	Name string // steps that use one name get one folder
	Path string // absolute, in the step
}

// Determinism is what a step sees in place of what differs from run to run.
type Determinism struct {
	// Epoch is the time of the source: whole seconds, UTC.
	Epoch time.Time
	// Seed is what random numbers come from where a level can fix them.
	Seed string
}

// Variation is how the world of a second run differs from that of the first.
// Zero fields leave it as it was. An executor that varies at all varies
// everything that is set here, and says so in Outcome.Varied; what it cannot it
// leaves out there.
type Variation struct {
	ClockOffset time.Duration
	Hostname    string
	Umask       int  // 0 means the usual one
	CPUs        int  // how many processors the step sees
	ReverseDirs bool // folders list their files in another order
	// Project is the absolute path at which a process step finds the project.
	Project string
}

// What Outcome.Varied and a receipt's reproduction name.
const (
	VariedClock    = "clock" // by Variation.ClockOffset
	VariedCPUs     = "cpus"
	VariedHostname = "hostname"
	VariedOrder    = "file-order"
	VariedPath     = "path"
	VariedTime     = "time" // the second run is later, by its own clock
	VariedUmask    = "umask"

	VariedInputTimes = "input-times"
	VariedPIDs       = "process-numbers"
)

// What the controls of a deterministic step name as fixed.
const (
	FixedAddresses  = "fixed-addresses" // of programs and what they have in memory
	FixedCPUs       = "fixed-cpus"      // one, as programs count them
	FixedHostname   = "fixed-hostname"
	FixedInputTimes = "fixed-input-times"
	FixedOrder      = "fixed-file-order"
	FixedPath       = "fixed-path"
	FixedPIDs       = "fixed-process-numbers" // those of a step begin with the same
	FixedRandom     = "fixed-random"          // what programs ask the kernel for
	FixedUmask      = "fixed-umask"
)

// FixedHost is the host name of deterministic steps.
const FixedHost = "attest"

// Ability is something that a job can ask for and not every executor has.
type Ability string

// The abilities. VM is that of running steps in a virtual machine: jobs do not
// ask for it, they are given to the executor that has it.
const (
	AbilityNoNetwork     Ability = "network: none"
	AbilityRecorded      Ability = "network: recorded"
	AbilityOpen          Ability = "network: open"
	AbilityLimits        Ability = "limits"
	AbilitySecrets       Ability = "secrets"
	AbilityCaches        Ability = "caches"
	AbilityStrict        Ability = "--strict"
	AbilityTrace         Ability = "--trace"
	AbilityDeterministic Ability = "--deterministic"
	AbilityVariation     Ability = "reproducible"
)

// asks returns the abilities that the job needs.
func (j Job) asks() []Ability {
	var all []Ability
	for _, a := range []struct {
		ability Ability
		asked   bool
	}{
		{AbilityNoNetwork, j.Network == pipeline.NetworkNone},
		{AbilityRecorded, j.Network == pipeline.NetworkRecorded || len(j.NetworkAllow) > 0},
		{AbilityOpen, j.Network == pipeline.NetworkOpen},
		{AbilityLimits, j.Limits != pipeline.Limits{}},
		{AbilitySecrets, len(j.Secrets) > 0},
		{AbilityCaches, len(j.Caches) > 0},
		{AbilityStrict, j.Strict},
		{AbilityTrace, j.Trace},
		{AbilityDeterministic, j.Deterministic != nil},
		{AbilityVariation, j.Variation != nil},
	} {
		if a.asked {
			all = append(all, a.ability)
		}
	}
	return all
}

// RefuseBeyond returns an error, a [HintedError] that matches [ErrUnavailable],
// for a job that asks for more than the abilities that its executor has. Every
// executor calls it first: what it cannot do must not be left out silently.
func (j Job) RefuseBeyond(level pipeline.Isolation, has ...Ability) error {
	for _, a := range j.asks() {
		if !slices.Contains(has, a) {
			return &HintedError{
				Err:   fmt.Errorf("%w: isolation: %s does not have %s here", ErrUnavailable, level, a),
				Hints: []string{"leave it out, or choose another level of isolation for this step"},
			}
		}
	}
	return nil
}
