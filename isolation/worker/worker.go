// SPDX-License-Identifier: Apache-2.0

// Package worker lets one program run a step with an executor that lives in
// another: jobs go over a stream, what they print and how they ended comes back.
//
// Start with [Client], which is an [executor.Executor], and [Serve], which
// answers it. Linking BuildKit costs a program several milliseconds at every
// start; attest does not pay them, because the container executor lives in
// attest-buildkitd and is reached through this package.
//
// One connection carries one job. A connection that breaks ends its job: a
// client that was killed leaves nothing running. The two ends must be the same
// build; [Serve] refuses a client that is not. A connection is as powerful as
// the executor behind it, so the socket's permissions are the protection.
package worker

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// request opens a connection.
type request struct {
	Version string
	Level   pipeline.Isolation // which executor
	Job     executor.Job
	Cancel  bool // in a second request: stop the job
}

// response is one message to the client; exactly one field is set.
type response struct {
	Stdout, Stderr []byte
	Progress       *executor.Progress
	Result         *result
}

type result struct {
	Outcome executor.Outcome
	Failure *failure // nil for no error
}

// failure carries an error and what a caller may branch on.
type failure struct {
	Message     string
	Hints       []string
	Unavailable bool
	Canceled    bool
	Changed     string // path of an InputChangedError
	Image       string // image of an ImageError
	Cause       string // text of the wrapped error for those two
}

func failureOf(err error) *failure {
	if err == nil {
		return nil
	}
	f := &failure{
		Message:     err.Error(),
		Unavailable: errors.Is(err, executor.ErrUnavailable),
		Canceled:    errors.Is(err, context.Canceled),
	}
	var hinted *executor.HintedError
	if errors.As(err, &hinted) {
		f.Hints = hinted.Hints
	}
	var changed *executor.InputChangedError
	if errors.As(err, &changed) {
		f.Changed, f.Cause = changed.Path, fmt.Sprint(changed.Err)
	}
	var image *executor.ImageError
	if errors.As(err, &image) {
		f.Image, f.Cause = image.Image, fmt.Sprint(image.Err)
	}
	return f
}

// remote is an error that happened at the other end: its text, and what it was.
type remote struct {
	text string
	is   error
}

func (r *remote) Error() string { return r.text }
func (r *remote) Unwrap() error { return r.is }

func (f *failure) err() error {
	if f == nil {
		return nil
	}
	var err error
	switch {
	case f.Changed != "":
		err = &executor.InputChangedError{Path: f.Changed, Err: errors.New(f.Cause)}
	case f.Image != "":
		err = &executor.ImageError{Image: f.Image, Err: errors.New(f.Cause)}
	case f.Unavailable:
		err = &remote{f.Message, executor.ErrUnavailable}
	case f.Canceled:
		err = &remote{f.Message, context.Canceled}
	default:
		err = errors.New(f.Message)
	}
	if len(f.Hints) > 0 {
		err = &executor.HintedError{Err: err, Hints: f.Hints}
	}
	return err
}

// stream is one end of a connection: whole messages in, whole messages out.
type stream struct {
	io.Closer
	enc *gob.Encoder
	dec *gob.Decoder
}

func newStream(c io.ReadWriteCloser) *stream {
	return &stream{Closer: c, enc: gob.NewEncoder(c), dec: gob.NewDecoder(c)}
}
