// SPDX-License-Identifier: Apache-2.0

package container

import (
	"slices"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/container/connect"
)

// controls names what is in force for a step, ordered: what the step's
// definition asks of every BuildKit, and what the embedded engine says that it
// does for every step. TestControls looks from inside a container whether it is
// true.
func controls(conn *connect.Conn, network pipeline.Network) []string {
	list := []string{"read-only-root"}
	switch network {
	case pipeline.NetworkNone:
		list = append(list, "network-none")
	case pipeline.NetworkRecorded: // an outcome has it only where all was recorded
		list = append(list, "network-recorded")
	}
	if conn.Embedded != nil {
		list = append(list, conn.Embedded.Controls...)
	}
	slices.Sort(list)
	return list
}
