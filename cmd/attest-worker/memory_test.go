// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"testing"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/isolation/executor"
)

type executorFunc func(context.Context, executor.Job) error

func (f executorFunc) Run(ctx context.Context, job executor.Job, _ executor.Streams) (executor.Outcome, error) {
	return executor.Outcome{}, f(ctx, job)
}

// The limit follows the jobs that run, and goes back when they are over.
func TestMemoryFollowsInputs(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	job := executor.Job{Inputs: files(t, 1000)}
	var m memory
	ended := errors.New("ended")
	inner := bounded{executorFunc(func(context.Context, executor.Job) error {
		if got := debug.SetMemoryLimit(-1); got != bytesAside+2*1000*bytesEach {
			t.Errorf("with two jobs: %d", got)
		}
		return ended
	}), &m}
	outer := bounded{executorFunc(func(ctx context.Context, job executor.Job) error {
		_, err := inner.Run(ctx, job, executor.Streams{})
		if got := debug.SetMemoryLimit(-1); got != bytesAside+1000*bytesEach {
			t.Errorf("with one job: %d", got)
		}
		return err
	}), &m}
	if _, err := outer.Run(t.Context(), job, executor.Streams{}); !errors.Is(err, ended) {
		t.Error(err)
	}
	if got := debug.SetMemoryLimit(-1); got != bytesAside {
		t.Errorf("afterwards: %d", got)
	}
}

func files(t *testing.T, count int) tree.Tree {
	t.Helper()
	entries := make([]tree.Entry, count)
	for i := range entries {
		entries[i] = tree.Entry{Path: fmt.Sprintf("f%04d", i), Kind: tree.File, Perm: 0o644, Digest: digest.Of(nil)}
	}
	all, err := tree.New(entries)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
