// SPDX-License-Identifier: Apache-2.0

package buildkitd_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"

	"github.com/moby/buildkit/client/llb"
	gatewayapi "github.com/moby/buildkit/frontend/gateway/pb"

	"github.com/attest-pipeline/attest/isolation/buildkitd/buildkitdtest"
)

// TestMemoryThatIsFull: a step whose memory is full, and which the kernel leaves
// alone because it can go on reading the step's files, ends.
func TestMemoryThatIsFull(t *testing.T) {
	if _, err := os.Stat("/sys/fs/cgroup/unified/memory.pressure"); err != nil {
		if _, err := os.Stat("/sys/fs/cgroup/memory.pressure"); err != nil {
			t.Skip("the kernel does not count how long groups wait for memory")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 90*time.Second)
	defer cancel()
	opts := []llb.RunOption{llb.MemoryLimit(32 << 20)}
	out, err := solve(ctx, dial(t, buildkitdtest.Start(t)), stepWith(t, opts, "/bin/step", "thrash", "29360128"))
	var exit *gatewayapi.ExitError
	if !errors.As(err, &exit) || exit.ExitCode != 137 {
		t.Errorf("got %v, want exit code 137\n%s", err, out)
	}
}
