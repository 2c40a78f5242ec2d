// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// Client runs jobs with the executor at the other end of a connection. It is
// an [executor.Executor] and safe for concurrent use.
type Client struct {
	// Version names this build; the other end must have the same.
	Version string
	// Level says with which of the server's executors jobs are run.
	Level pipeline.Isolation
	// Dial opens a connection to a [Serve] for one job. progress takes what
	// Dial does when it takes long, such as starting a daemon. Errors should
	// match [executor.ErrUnavailable].
	Dial func(ctx context.Context, progress func(executor.Progress)) (io.ReadWriteCloser, error)
}

// stopWithin is how long a cancelled job may take to end before its connection
// is cut: the executor's contract says a second.
const stopWithin = 1500 * time.Millisecond

// manyInputs is how many inputs leave so much behind when they were read and sent
// that it is worth giving back, before the other end needs as much.
const manyInputs = 20_000

// Run implements [executor.Executor].
func (c *Client) Run(ctx context.Context, job executor.Job, streams executor.Streams) (executor.Outcome, error) {
	progress := streams.Progress
	if progress == nil {
		progress = func(executor.Progress) {}
	}
	conn, err := c.Dial(ctx, progress)
	if err != nil {
		return executor.Outcome{}, err
	}
	defer conn.Close()
	s := newStream(conn)
	if err := s.enc.Encode(request{Version: c.Version, Level: c.Level, Job: job}); err != nil {
		return executor.Outcome{}, lost(ctx, err)
	}
	if job.Inputs.Len() >= manyInputs {
		debug.FreeOSMemory()
	}
	// From here on nobody else writes, so the cancel request has the encoder
	// to itself.
	done := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		_ = s.enc.Encode(request{Cancel: true})
		select {
		case <-done:
		case <-time.After(stopWithin):
			_ = conn.Close()
		}
	})()
	defer close(done)
	res, err := receive(s, streams, progress)
	if err != nil {
		return executor.Outcome{}, lost(ctx, err)
	}
	if ctx.Err() != nil && res.Failure != nil {
		return executor.Outcome{}, context.Cause(ctx)
	}
	return res.Outcome, res.Failure.err()
}

// receive hands on what the job prints until it ends.
func receive(s *stream, streams executor.Streams, progress func(executor.Progress)) (*result, error) {
	for {
		var m response
		if err := s.dec.Decode(&m); err != nil {
			return nil, err
		}
		switch {
		case m.Result != nil:
			return m.Result, nil
		case m.Progress != nil:
			progress(*m.Progress)
		default:
			if err := errors.Join(write(streams.Stdout, m.Stdout), write(streams.Stderr, m.Stderr)); err != nil {
				return nil, fmt.Errorf("writing what the step printed: %w", err)
			}
		}
	}
}

func write(w io.Writer, p []byte) error {
	if w == nil || len(p) == 0 {
		return nil
	}
	_, err := w.Write(p)
	return err
}

// lost says why a connection broke: because the run ended, or because the other
// end did.
func lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = errors.New("it ended while the step was running")
	}
	return &executor.HintedError{
		Err:   fmt.Errorf("%w: %w", executor.ErrUnavailable, err),
		Hints: []string{"attest engine status shows its state and where its log is"},
	}
}
