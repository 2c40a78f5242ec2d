// SPDX-License-Identifier: Apache-2.0

package container

import (
	"slices"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/container/connect"
)

// controls names what is in force for a step, ordered. TestControls looks from
// inside a container whether it is true.
func controls(conn *connect.Conn, network pipeline.Network) []string {
	var list []string
	if network != pipeline.NetworkOpen {
		list = append(list, "network-none")
	}
	if conn.Embedded != nil {
		list = append(list, "mount-namespace", "pid-namespace", "ipc-namespace", "uts-namespace",
			"seccomp", "capabilities-dropped")
	}
	slices.Sort(list)
	return list
}
