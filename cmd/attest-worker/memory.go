// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"runtime/debug"
	"sync/atomic"

	"github.com/attest-pipeline/attest/isolation/executor"
)

// Sending many small inputs, gRPC takes a large buffer for each small message, and
// keeps it for two collections more. Most of what is in use is soon to be garbage,
// so that memory is collected early: when this much of what is in use was added to it, in percent,
// and whenever there are more bytes than the inputs account for.
const (
	collectAt  = 40
	bytesAside = 48 << 20
	bytesEach  = 450 // of an input: its entry, as it came and as it is held, and what the sender notes of it
)

// memory bounds what this program holds, by the inputs of the jobs that run.
type memory struct{ inputs atomic.Int64 }

func (m *memory) add(inputs int) {
	debug.SetMemoryLimit(bytesAside + bytesEach*m.inputs.Add(int64(inputs)))
}

// bounded runs jobs within a memory that others have part in. The limit is a
// soft one: it costs time, not the job.
type bounded struct {
	executor.Executor
	memory *memory
}

// Run implements [executor.Executor].
func (b bounded) Run(ctx context.Context, job executor.Job, streams executor.Streams) (executor.Outcome, error) {
	b.memory.add(job.Inputs.Len())
	defer b.memory.add(-job.Inputs.Len())
	return b.Executor.Run(ctx, job, streams)
}
