// SPDX-License-Identifier: Apache-2.0

package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// Server answers clients with executors. Its fields are not to be changed
// once it serves.
type Server struct {
	// Version names this build; a client of another is refused.
	Version   string
	Executors map[pipeline.Isolation]executor.Executor
}

// errGone is why a job is stopped whose client went away or asked for it.
var errGone = fmt.Errorf("the client stopped the job: %w", context.Canceled)

// Serve accepts connections from l until ctx ends or l is at its end (io.EOF),
// then closes l, stops the jobs that run and waits for them. Neither is an
// error.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	var jobs sync.WaitGroup
	defer jobs.Wait()
	defer stop(errGone)
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("accepting a client: %w", err)
		}
		jobs.Go(func() { s.Answer(ctx, conn) })
	}
}

// Answer runs the one job that comes over conn and closes conn. Errors are the
// client's to hear; one that cannot be told to it has nobody else to go to.
func (s *Server) Answer(ctx context.Context, conn io.ReadWriteCloser) {
	defer conn.Close()
	st := newStream(conn)
	var req request
	if err := st.dec.Decode(&req); err != nil {
		return
	}
	out := &sender{stream: st}
	outcome, err := s.run(ctx, st, out, req)
	out.send(response{Result: &result{outcome, failureOf(err)}})
}

func (s *Server) run(ctx context.Context, st *stream, out *sender, req request) (executor.Outcome, error) {
	if req.Version != s.Version {
		return executor.Outcome{}, &executor.HintedError{
			Err:   fmt.Errorf("%w: it is version %q and this is %q", executor.ErrUnavailable, s.Version, req.Version),
			Hints: []string{"attest engine stop ends it; the next run starts the right one"},
		}
	}
	e := s.Executors[req.Level]
	if e == nil {
		return executor.Outcome{}, fmt.Errorf("%w: it does not run steps with isolation: %s", executor.ErrUnavailable, req.Level)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// Whatever comes next, a cancel request or the end of the connection, stops
	// the job. The reader ends when Answer closes the connection.
	go func() {
		var next request
		_ = st.dec.Decode(&next)
		cancel(errGone)
	}()
	return e.Run(ctx, req.Job, executor.Streams{
		Stdout:   writerFunc(func(p []byte) error { return out.send(response{Stdout: p}) }),
		Stderr:   writerFunc(func(p []byte) error { return out.send(response{Stderr: p}) }),
		Progress: func(p executor.Progress) { _ = out.send(response{Progress: &p}) },
	})
}

// sender lets the job's streams share one connection.
type sender struct {
	mu     sync.Mutex
	stream *stream
	err    error
}

func (s *sender) send(r response) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = s.stream.enc.Encode(r)
	}
	return s.err
}

type writerFunc func([]byte) error

func (f writerFunc) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil // an empty message would say nothing
	}
	if err := f(p); err != nil {
		return 0, errors.Join(errGone, err)
	}
	return len(p), nil
}
