// SPDX-License-Identifier: Apache-2.0

package container

import (
	"testing"
	"time"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// TestSeedIsNotForTalkingToOthers: whoever knows the seed, which is everybody, could
// read what a step with an open network says by TLS.
func TestSeedIsNotForTalkingToOthers(t *testing.T) {
	for network, want := range map[pipeline.Network]string{
		pipeline.NetworkNone: "0", pipeline.NetworkRecorded: "0", pipeline.NetworkOpen: "",
	} {
		job := executor.Job{Network: network, Deterministic: &executor.Determinism{Epoch: time.Unix(1e9, 0), Seed: "0"}}
		if s := machineSettings(job, ""); s.Seed != want || s.Clock != 1e9 {
			t.Errorf("network: %s: seed %q, clock %d", network, s.Seed, s.Clock)
		}
		job.Deterministic = nil
		if s := machineSettings(job, ""); s.Seed != "" {
			t.Errorf("network: %s: a step that is not deterministic has the seed %q", network, s.Seed)
		}
	}
}
