// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
)

// Settings are what is to be known about the machine of a step besides what
// a container would have. The zero value is a machine as usual.
type Settings struct {
	// Kernel is the path of a kernel on the engine's host; empty is the
	// distribution's.
	Kernel string `json:"kernel,omitempty"`
	// Memory is how many bytes the step may use; 0 means DefaultMemory.
	Memory int64 `json:"memory,omitempty"`
	// CPUs is how many processors the machine has; 0 means DefaultCPUs.
	CPUs int `json:"cpus,omitempty"`
	// PIDs is how many processes and threads the step may have, FileSize how
	// many bytes a file may get; 0 does not limit them.
	PIDs     int   `json:"pids,omitempty"`
	FileSize int64 `json:"file_size,omitempty"`
	// Clock is the time in the machine when the command starts, in seconds
	// since 1970; 0 is the host's.
	Clock int64 `json:"clock,omitempty"`
	// Seed is what random numbers follow from where the kernel has what that takes,
	// see [Facts]; empty leaves them to the kernel.
	Seed string `json:"seed,omitempty"`
}

// What a machine has where the step's limits say nothing.
const (
	DefaultMemory = 2 << 30
	DefaultCPUs   = 1
)

// ahead of the settings stands what no cgroup is called.
const settingsPrefix = "attest-vm:"

// String returns the settings as they are put in the place of an exec's
// parent cgroup, a field of its definition that is neither part of what the
// command is given nor in its reach.
func (s Settings) String() string {
	text, err := json.Marshal(s)
	if err != nil {
		return settingsPrefix // cannot be: there is nothing in it that JSON has not
	}
	return settingsPrefix + base64.RawURLEncoding.EncodeToString(text)
}

// ParseSettings reads what [Settings.String] returned. ok is false for the
// definition of a container.
func ParseSettings(cgroupParent string) (s Settings, ok bool, err error) {
	encoded, ok := strings.CutPrefix(cgroupParent, settingsPrefix)
	if !ok {
		return Settings{}, false, nil
	}
	text, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil {
		return Settings{}, true, fmt.Errorf("reading the settings of a virtual machine: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil {
		return Settings{}, true, fmt.Errorf("reading the settings of a virtual machine: %w", err)
	}
	if s.Memory < 0 || s.CPUs < 0 || s.PIDs < 0 || s.FileSize < 0 || s.Clock < 0 {
		return Settings{}, true, fmt.Errorf("reading the settings of a virtual machine: %s has a negative number", text)
	}
	return s, true, nil
}

// withDefaults fills in what was left out.
func (s Settings) withDefaults() Settings {
	if s.Memory == 0 {
		s.Memory = DefaultMemory
	}
	if s.CPUs == 0 {
		s.CPUs = DefaultCPUs
	}
	return s
}
