// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package worker

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/attest-pipeline/attest/isolation/executor"
)

// Process is a worker program, which this system cannot hand connections to: it is
// never started. Its fields are those of other systems.
type Process struct {
	Find    func() (string, error)
	Args    []string
	Environ []string
	Stderr  io.Writer
}

// Dial returns an error that matches [executor.ErrUnavailable].
func (p *Process) Dial(context.Context, func(executor.Progress)) (io.ReadWriteCloser, error) {
	return nil, &executor.HintedError{
		Err:   fmt.Errorf("%w: %s cannot run container steps", executor.ErrUnavailable, runtime.GOOS),
		Hints: []string{"run attest on Linux; receipts can be verified anywhere"},
	}
}

// Close has nothing to end.
func (p *Process) Close() error { return nil }
