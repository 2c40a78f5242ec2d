// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"encoding/json"
	"strings"
)

// Facts say what a machine is, for a receipt.
type Facts struct {
	QEMU        string `json:"qemu"`        // its version
	Accelerator string `json:"accelerator"` // KVM or TCG
	Kernel      string `json:"kernel"`      // its version
	// Seeded says that random numbers, and the addresses of programs, follow from
	// Settings.Seed.
	Seeded bool `json:"seeded,omitempty"`
}

// Accelerators, as a receipt says them.
const (
	KVM = "kvm"
	TCG = "tcg" // qemu's emulation of a processor
)

const factsPrefix = "attest-vm "

// String returns the facts as the engine tells them its client, in the name of
// a piece of progress. A step has no say in these; what it prints travels as a
// log.
func (f Facts) String() string {
	text, err := json.Marshal(f)
	if err != nil {
		return factsPrefix // cannot be: they are three strings
	}
	return factsPrefix + string(text)
}

// ParseFacts reads what [Facts.String] returned; ok is false for anything else.
func ParseFacts(name string) (f Facts, ok bool) {
	text, ok := strings.CutPrefix(name, factsPrefix)
	if !ok || json.Unmarshal([]byte(text), &f) != nil || f.Accelerator == "" {
		return Facts{}, false
	}
	return f, true
}

// Controls name the protections that a step in a machine has, whatever its
// definition asks for, ordered.
func Controls() []string {
	return []string{
		"capabilities-dropped", "cgroup-namespace", "cpu-limit", "disk-reserve", "ipc-namespace", "memory-limit",
		"mount-namespace", "no-new-privileges", "pid-namespace", "read-only-root", "virtual-machine",
	}
}
