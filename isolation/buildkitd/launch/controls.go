// SPDX-License-Identifier: Apache-2.0

package launch

// The limits that a step can be held to, as [Status] and receipts name them.
const (
	ControlCPULimit      = "cpu-limit"
	ControlFileSizeLimit = "file-size-limit"
	ControlMemoryLimit   = "memory-limit"
	ControlPIDsLimit     = "pids-limit"
)
