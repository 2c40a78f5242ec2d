// SPDX-License-Identifier: Apache-2.0

// Package container runs steps in containers that BuildKit makes: it compiles
// the step, serves the planned files to the engine, and takes the outputs back.
//
// Start with [New]. What the command sees is exactly what was hashed: files are
// checked against their planned digests while the engine reads them. What comes
// back is written through a handle on the staging folder that no name can leave.
//
// A container is runc's, made by BuildKit: it has namespaces of its own for
// mounts, processes, IPC, host name and, unless its network is open, network.
// Outcome.Controls says what of it can be vouched for; see [Executor.Run].
package container

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/moby/buildkit/identity"
	// BuildKit's own codec: it carries file names of any bytes, and is faster.
	_ "github.com/moby/buildkit/util/grpcutil/encoding/proto"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
	"github.com/attest-pipeline/attest/isolation/container/connect"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/image"
	"github.com/attest-pipeline/attest/isolation/vm"
	"github.com/attest-pipeline/attest/llb/compile"
)

// Options are the settings of [New].
type Options struct {
	// Connect opens the engine; it is called when the first step runs, and
	// again after the engine went away. progress is never nil. Required.
	Connect func(ctx context.Context, progress func(executor.Progress)) (*connect.Conn, error)
	// Images resolves the images of the run's steps. Required.
	Images *image.Resolver
	// KeyFile is the path of a file that keeps a secret of this user between
	// runs, made where there is none. With it the engine receives no file twice
	// that it kept from an earlier run of the step; empty means that it
	// receives all files again in every run.
	KeyFile string
	// Machines has steps run in virtual machines, which the embedded engine
	// makes and no other; nil means containers.
	Machines *vm.Options
}

// Executor runs steps in containers. Safe for concurrent use.
type Executor struct {
	options Options
	key     func() []byte

	turn chan struct{} // holds a token while somebody connects
	mu   sync.Mutex
	conn *connect.Conn
}

var _ executor.Executor = (*Executor)(nil)

// New returns an Executor; nothing is connected or read yet. Close it.
func New(o Options) *Executor {
	return &Executor{
		options: o,
		key:     sync.OnceValue(func() []byte { return loadKey(o.KeyFile) }),
		turn:    make(chan struct{}, 1),
	}
}

// Close ends the connection to the engine, if there is one, and with it what
// still runs over it.
func (e *Executor) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conn == nil {
		return nil
	}
	conn := e.conn
	e.conn = nil
	return conn.Close()
}

// Run implements [executor.Executor].
//
// The controls of the outcome are those of the embedded engine, whose making
// is part of this program; of any other engine only what the step's definition
// asks of every BuildKit is named. Unexpected and Modified are known of steps
// that succeeded and have the control [launch.ControlWritesListed].
func (e *Executor) Run(ctx context.Context, job executor.Job, streams executor.Streams) (executor.Outcome, error) {
	if err := e.check(job); err != nil {
		return executor.Outcome{}, err
	}
	report := newReporter(streams.Progress)
	conn, err := e.connect(ctx, report.send)
	if err != nil {
		return executor.Outcome{}, err
	}
	if e.options.Machines != nil && (conn.Embedded == nil || !conn.Embedded.Machines) {
		return executor.Outcome{}, errOtherEngine(conn)
	}
	have, demanded := controls(conn, job), demanded(job)
	if e.options.Machines != nil {
		have, demanded = machineControls(conn, job), machineDemanded(job)
	}
	if err := refuse(conn, job, have, demanded); err != nil {
		return executor.Outcome{}, err
	}
	report.send(executor.Progress{Doing: "resolving " + job.Image})
	img, err := e.options.Images.Resolve(ctx, job.Image)
	if err != nil {
		return executor.Outcome{}, err
	}
	root, err := os.OpenRoot(job.Root)
	if err != nil {
		return executor.Outcome{}, err
	}
	defer root.Close()
	staging, err := os.OpenRoot(job.Staging)
	if err != nil {
		return executor.Outcome{}, err
	}
	defer staging.Close()

	recorder, err := newRecorder(job)
	if err != nil {
		return executor.Outcome{}, err
	}
	step := e.newStep(conn, job, img)
	s := &solve{
		job: job, image: img, conn: conn, recorder: recorder,
		step:    step,
		inputs:  newInputs(root, job.Inputs, e.key(), report),
		outputs: newOutputs(staging, job.Outputs, step.Report, recorder, report),
		watch:   newWatch(job, streams, report, e.options.Machines != nil),
		machine: e.options.Machines != nil,
	}
	outcome, err := s.run(ctx, e.options.Images.Platform())
	if errors.Is(err, executor.ErrUnavailable) {
		e.forget(conn)
	}
	return outcome, err
}

// connect returns the connection, which it opens where there is none. Callers
// that come at the same time wait for one.
func (e *Executor) connect(ctx context.Context, progress func(executor.Progress)) (*connect.Conn, error) {
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	e.mu.Lock()
	conn := e.conn
	e.mu.Unlock()
	if conn != nil {
		return conn, nil
	}
	conn, err := e.options.Connect(ctx, progress)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, err
	}
	e.mu.Lock()
	e.conn = conn
	e.mu.Unlock()
	return conn, nil
}

// forget closes a connection whose engine went away, so that the next step
// opens a new one.
func (e *Executor) forget(conn *connect.Conn) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.conn == conn {
		e.conn = nil
		_ = conn.Close()
	}
}

// abilities are what a step can ask for, in a container as in a machine.
func abilities() []executor.Ability {
	return []executor.Ability{
		executor.AbilityNoNetwork, executor.AbilityRecorded, executor.AbilityOpen, executor.AbilityLimits,
		executor.AbilitySecrets, executor.AbilityCaches, executor.AbilityStrict, executor.AbilityVariation,
		executor.AbilityDeterministic,
	}
}

func (e *Executor) newStep(conn *connect.Conn, job executor.Job, img image.Image) compile.Step {
	s := compile.Step{
		Name: job.Step, Command: job.Command, Env: job.Env, WorkingDir: job.WorkingDir,
		Network: job.Network, Outputs: job.Outputs, Pos: job.Pos, Run: identity.NewID(),
		Image: compile.Image{Ref: img.Pinned, Env: img.Env},
	}
	if img.Layout != "" {
		s.Image.Store = layoutStore
		s.Image.Ref = "attest/layout@" + img.Manifest.String()
	}
	for _, secret := range job.Secrets {
		s.Secrets = append(s.Secrets, compile.Secret{Name: secret.Name, Mount: secret.Mount})
	}
	for _, c := range job.Caches {
		name := c.Name
		if e.options.Machines != nil {
			name = "vm/" + name // which is no container's
		}
		s.Caches = append(s.Caches, compile.Cache{ID: cacheID(e.key(), job.Root, name), Path: c.Path})
	}
	s.Hostname = worldOf(job)
	// What is recorded of a network comes with BuildKit's own exporter.
	s.Unfiltered = conn.Embedded != nil && conn.Embedded.Filters && job.Network != pipeline.NetworkRecorded
	if conn.Embedded != nil && slices.Contains(conn.Embedded.Controls, launch.ControlWritesListed) {
		s.Report = ".attest-written-" + s.Run
	}
	if e.options.Machines != nil { // has limits of its own
		s.Machine = machineSettings(job, e.options.Machines.Kernel).String()
		return s
	}
	s.Limits = offered(conn, job.Limits)
	return s
}

// cacheID names a cache folder in the engine: the project's own, so that what one
// project leaves there is not in the way of another, and the user's, whose key
// nobody else has. Machines have others than containers: a machine is alone in a
// folder, for which a container that runs meanwhile would have to wait.
func cacheID(key []byte, root, name string) string {
	return "attest-" + digest.Of(fmt.Appendf(slices.Clip(key), "cache %d:%s%s", len(root), root, name)).Hex()
}

// snapshotHint names the snapshot of the inputs that the engine keeps for the
// next run of this step in this folder.
func snapshotHint(job executor.Job) string {
	return digest.Of([]byte(fmt.Sprintf("%d:%s%s", len(job.Root), job.Root, job.Step))).Hex()
}

var errTimedOut = errors.New("the step ran for longer than its timeout")
