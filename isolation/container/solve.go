// SPDX-License-Identifier: Apache-2.0

package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/moby/buildkit/client"
	gateway "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/util/grpcerrors"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/tonistiigi/fsutil"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"

	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
	"github.com/attest-pipeline/attest/isolation/container/connect"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/image"
	"github.com/attest-pipeline/attest/llb/compile"
)

// solve is one run of one step.
type solve struct {
	job     executor.Job
	image   image.Image
	conn    *connect.Conn
	step    compile.Step
	inputs  *inputs
	outputs *outputs
	watch   *watch
	machine bool // in a virtual machine
	// recorder is nil where the network is not recorded.
	recorder *recorder
}

// run solves the step's definition and says what came of it.
func (s *solve) run(ctx context.Context, platform ocispecs.Platform) (executor.Outcome, error) {
	def, err := s.step.Definition(ctx, snapshotHint(s.job), platform)
	if err != nil {
		return executor.Outcome{}, err
	}
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.inputs.failed = cancel
	s.outputs.failed = cancel
	s.watch.told = s.recorder.hear
	s.watch.started = func() func() {
		if s.job.Timeout <= 0 {
			return func() {}
		}
		timer := time.AfterFunc(s.job.Timeout, func() { cancel(errTimedOut) })
		return func() { timer.Stop() }
	}

	var group errgroup.Group
	status := make(chan *client.SolveStatus)
	group.Go(func() error { s.watch.follow(status); return nil })
	group.Go(s.outputs.receive)
	err = s.solveWith(running, def, status)
	s.outputs.end(err == nil)
	receiveErr := group.Wait()
	if err == nil {
		err = receiveErr
	}
	return s.outcome(ctx, context.Cause(running), err)
}

// options say what the engine is to do with the definition, beside solving it.
func (s *solve) options() client.SolveOpt {
	o := client.SolveOpt{
		LocalMounts: map[string]fsutil.FS{compile.InputsName: s.inputs}, // which the client only looks up
		Exports:     []client.ExportEntry{{Type: client.ExporterTar}},
		Internal:    true, // no entry in the engine's history of builds
	}
	if s.step.Unfiltered {
		o.Exports[0].Attrs = map[string]string{launch.OutputsAttribute: s.filter()}
	}
	if s.recorder != nil {
		s.recorder.configure(&o)
	}
	return o
}

// filter says which files of the workspace the engine is to send.
func (s *solve) filter() string {
	var f launch.OutputFilter
	f.Include, f.Exclude = s.step.OutputFilter()
	text, err := json.Marshal(f)
	if err != nil {
		return "" // cannot be: they are texts; the engine would refuse it
	}
	return string(text)
}

// outcome turns what the solve returned into what the contract asks for. Of
// several things that went wrong the one that caused the others counts.
func (s *solve) outcome(ctx context.Context, cause, err error) (executor.Outcome, error) {
	o := executor.Outcome{
		Duration: s.watch.duration(),
		Engine:   s.conn.Name,
		Image:    s.image.Pinned,
		Controls: controls(s.conn, s.job),
		Varied:   varied(s.conn, s.job),
	}
	if facts, ok := s.watch.machineFacts(); ok {
		machineOutcome(&o, facts, s.conn, s.job)
	} else if s.machine && err == nil {
		err = errNoMachine
	}
	if err == nil {
		err = s.outputs.prune(ctx)
	}
	if wrong := s.takeRecord(&o, err == nil); wrong != nil {
		s.outputs.clear()
		return recordOf(o), wrong
	}
	if err == nil && s.step.Report != "" {
		if err = errNoReport; s.outputs.listed {
			err = written(s.outputs.written, s.job.Outputs, &o)
		}
	}
	if err == nil {
		return o, nil
	}
	s.outputs.clear()
	var exit *gateway.ExitError
	switch {
	case s.inputs.err() != nil:
		return recordOf(o), s.inputs.err()
	case ctx.Err() != nil:
		return recordOf(o), context.Cause(ctx)
	case errors.Is(cause, errTimedOut):
		o.ExitCode, o.TimedOut = executor.ExitTimeout, true
		return o, nil
	case s.outputs.err() != nil:
		return recordOf(o), s.outputs.err()
	case errors.As(err, &exit) && exit.ExitCode != 0:
		o.ExitCode, o.Met = int(exit.ExitCode), s.watch.met()
		if code := s.watch.notStarted(); o.ExitCode == 1 && code != 0 {
			o.ExitCode = code
		}
		return o, nil
	}
	return recordOf(o), s.explain(err)
}

// takeRecord puts what is known of a recorded network into the outcome. It is an
// error where the step succeeded and not all is known.
func (s *solve) takeRecord(o *executor.Outcome, succeeded bool) (err error) {
	if s.recorder == nil {
		return nil
	}
	o.Refused = s.recorder.refusals()
	if !succeeded {
		o.Fetched, o.Unrecorded = s.recorder.attempts()
		return nil
	}
	o.Fetched, o.Unrecorded, err = s.recorder.fetched(s.conn.Embedded != nil)
	return err
}

// recordOf is what an outcome has beside an error.
func recordOf(o executor.Outcome) executor.Outcome {
	return executor.Outcome{Fetched: o.Fetched, Unrecorded: o.Unrecorded, Refused: o.Refused}
}

var errNoReport = errors.New("the engine did not say what the step wrote")

// explain says what an error of the engine means.
func (s *solve) explain(err error) error {
	// The image is the one operation that BuildKit may put off until its
	// content is needed, and whose key it has to compute.
	pulling := s.watch.failedPart() == imagePart || strings.Contains(err.Error(), "compute cache key")
	err = &engineError{err}
	switch grpcerrors.Code(err) {
	case codes.Unavailable, codes.Canceled:
		// Nobody here canceled: the engine was told to stop, or killed.
		return &executor.HintedError{
			Err:   fmt.Errorf("%w: %s went away while the step ran: %w", executor.ErrUnavailable, s.conn.Name, err),
			Hints: []string{"see attest engine status", "run it again: the engine is started anew"},
		}
	}
	if s.recorder != nil && strings.Contains(err.Error(), string(compile.CapRecorded)) {
		return &executor.HintedError{
			Err:   fmt.Errorf("%w: %s is too old to record a network", executor.ErrUnavailable, s.conn.Name),
			Hints: []string{"BuildKit does it from v0.32 on", "leave out --engine to use the embedded engine"},
		}
	}
	if pulling {
		return &executor.ImageError{Image: s.job.Image, Err: err}
	}
	return err
}

// engineError is an error of the engine without the words of the transports
// that it came through.
type engineError struct{ err error }

func (e *engineError) Error() string {
	text := e.err.Error()
	// The client puts its own words in front, once.
	if _, after, ok := strings.Cut(text, " to solve: "); ok {
		text = after
	}
	if i := strings.LastIndex(text, " desc = "); i >= 0 {
		text = text[i+len(" desc = "):]
	}
	return text
}

func (e *engineError) Unwrap() error { return e.err }
