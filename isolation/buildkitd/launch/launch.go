// SPDX-License-Identifier: Apache-2.0

// Package launch starts, finds and stops the embedded engine, the
// attest-buildkitd process, on behalf of attest.
//
// Start with [Daemon]. The package knows nothing of BuildKit, so that asking
// whether an engine runs costs one question over a unix socket and no more.
// What the two processes share (the files of the state folder, the question
// and its answer) is defined here and used by package buildkitd as well.
package launch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/attest-pipeline/attest/isolation/executor"
)

// How long the parts of starting and stopping may take.
const (
	startTimeout = 30 * time.Second // until a new daemon answers
	askTimeout   = 3 * time.Second  // until a living daemon answers
	stopTimeout  = 5 * time.Second  // until a daemon that was told to stop is gone
	poll         = 5 * time.Millisecond
)

// DefaultIdleTimeout is how long an engine that nobody is connected to stays.
const DefaultIdleTimeout = 10 * time.Minute

var (
	errStartTimeout = errors.New("the embedded engine did not answer in time")
	errAskTimeout   = errors.New("the embedded engine does not answer")
	errStopTimeout  = errors.New("the embedded engine did not stop in time")
)

// Daemon names one embedded engine: there is at most one for a state folder.
// It holds no state; copies are equal, and all methods may be called
// concurrently, from any number of processes.
type Daemon struct {
	// StateDir is the engine's folder; empty means [DefaultStateDir].
	StateDir string
	// Binary is the path of attest-buildkitd; empty means ATTEST_BUILDKITD,
	// else the one beside this executable, else the one on PATH.
	Binary string
	// IdleTimeout is how long a started engine stays when nobody is connected;
	// 0 means [DefaultIdleTimeout], less than 0 means for ever.
	IdleTimeout time.Duration
	// Environ is the caller's environment; nil means os.Environ.
	Environ []string
}

// Status says what is known of the engine.
type Status struct {
	Running bool `json:"running"`
	// PID is the daemon's, as this host counts.
	PID int `json:"pid,omitempty"`
	// Version is the version of attest that the daemon belongs to, Build the
	// identity of its program file, and BuildKit the version linked into it.
	Version  string `json:"version,omitempty"`
	Build    string `json:"build,omitempty"`
	BuildKit string `json:"buildkit,omitempty"`
	// Runtime is the path of the OCI runtime, Snapshotter the way in which
	// file systems are stacked, and Network what a step with an open network
	// gets: "host".
	Runtime     string `json:"runtime,omitempty"`
	Snapshotter string `json:"snapshotter,omitempty"`
	Network     string `json:"network,omitempty"`
	// Controls name the protections that every step of this engine has,
	// sorted. Those that a step's definition asks for are not among them.
	Controls []string `json:"controls,omitempty"`
	// Limits name the limits that the engine can hold a step to, as controls
	// do, sorted. It fails a step that asks for another one.
	Limits []string `json:"limits,omitempty"`
	// Machines says that the engine understands definitions of steps in virtual
	// machines. What the host has for making them is another question.
	Machines bool `json:"machines,omitempty"`
	// Filters says that the engine's exporter of tar files understands
	// [OutputsAttribute].
	Filters bool `json:"filters,omitempty"`
	// Fixes and Varies name what is fixed in [WorldFixed], and what differs in
	// [WorldVaried], sorted.
	Fixes  []string `json:"fixes,omitempty"`
	Varies []string `json:"varies,omitempty"`

	Address  string    `json:"address"` // unix://...
	StateDir string    `json:"state_dir"`
	Since    time.Time `json:"since,omitzero"`
	// Connections counts clients, Solves what they have the engine do now.
	Connections int `json:"connections"`
	Solves      int `json:"solves"`
	// IdleSecs is after how many seconds without a connection the daemon ends;
	// 0 means never.
	IdleSecs int `json:"idle_secs"`

	// Protocol is the version of this document and of the questions.
	Protocol int `json:"protocol"`
}

// Ensure returns the status of the running engine, which it starts if there
// is none. An idle engine of another build than Daemon.Binary is replaced by
// it, a busy one is used. progress, which may be nil, is told in a few words
// about what takes time. An engine that cannot run here is an error that
// matches [executor.ErrUnavailable] and has hints.
func (d Daemon) Ensure(ctx context.Context, progress func(string)) (Status, error) {
	if progress == nil {
		progress = func(string) {}
	}
	d, files, err := d.resolve()
	if err != nil {
		return Status{}, err
	}
	s, err := ask(ctx, files.Control, askStatus)
	if err == nil && d.suits(s) {
		return s, nil
	}
	return d.start(ctx, files, progress)
}

// start is the slow half of Ensure: one caller at a time does it, the others
// wait and find the engine running.
func (d Daemon) start(ctx context.Context, files Files, progress func(string)) (Status, error) {
	if err := CheckHost(d.Environ); err != nil {
		return Status{}, err
	}
	if err := files.Make(); err != nil {
		return Status{}, unavailable(err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errStartTimeout)
	defer cancel()
	lock, err := WaitLock(ctx, files.StartLock)
	if err != nil {
		return Status{}, unavailable(fmt.Errorf("waiting for another attest to start the engine: %w", err))
	}
	defer lock.Close()

	s, err := ask(ctx, files.Control, askStatus)
	if err == nil && d.suits(s) {
		return s, nil
	}
	if err == nil {
		progress("replacing the engine of another build")
		if err := stop(ctx, files); err != nil {
			return Status{}, unavailable(err)
		}
	}
	// A daemon that answers no more is about to end, or hangs. Its lock tells.
	free, err := WaitLock(ctx, files.Lock)
	if err != nil {
		return Status{}, &executor.HintedError{
			Err:   fmt.Errorf("%w: %w", executor.ErrUnavailable, errAskTimeout),
			Hints: []string{"stop it with: attest engine stop", "its log is " + files.Log},
		}
	}
	free.Close()
	progress("starting the embedded engine")
	return d.spawn(ctx, files)
}

// suits reports whether a running engine will do: one of the same build, or
// one that cannot be replaced because others use it.
func (d Daemon) suits(s Status) bool {
	if s.Protocol != Protocol {
		return false
	}
	if s.Connections > 0 || s.Solves > 0 {
		return true
	}
	program, err := d.program()
	if err != nil {
		return true // nothing to replace it with
	}
	build, err := BuildID(program)
	return err != nil || build == s.Build
}

// Status asks the engine; one that does not run is no error.
func (d Daemon) Status(ctx context.Context) (Status, error) {
	_, files, err := d.resolve()
	if err != nil {
		return Status{}, err
	}
	s, err := ask(ctx, files.Control, askStatus)
	if err == nil {
		return s, nil
	}
	s = Status{Address: files.Address(), StateDir: files.StateDir, Protocol: Protocol}
	held, lockErr := locked(files.Lock)
	if lockErr != nil || !held {
		return s, lockErr
	}
	return s, &executor.HintedError{
		Err:   fmt.Errorf("%w: %w: %w", executor.ErrUnavailable, errAskTimeout, err),
		Hints: []string{"stop it with: attest engine stop", "its log is " + files.Log},
	}
}

// Stop ends the engine and everything that it runs, gently where it answers,
// by force where it does not within a few seconds. It returns when the engine
// is gone; one that does not run is no error.
func (d Daemon) Stop(ctx context.Context) error {
	_, files, err := d.resolve()
	if err != nil {
		return err
	}
	return stop(ctx, files)
}

func stop(ctx context.Context, files Files) error {
	held, err := locked(files.Lock)
	if err != nil || !held {
		return err
	}
	gentle, cancel := context.WithTimeoutCause(ctx, stopTimeout, errStopTimeout)
	defer cancel()
	if _, err := ask(gentle, files.Control, askStop); err == nil {
		if free, err := WaitLock(gentle, files.Lock); err == nil {
			return free.Close()
		}
	}
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	if err := files.kill(); err != nil {
		return fmt.Errorf("killing the embedded engine: %w", err)
	}
	forced, cancel := context.WithTimeoutCause(ctx, stopTimeout, errStopTimeout)
	defer cancel()
	free, err := WaitLock(forced, files.Lock)
	if err != nil {
		return err
	}
	return free.Close()
}

// resolve fills in what was left empty.
func (d Daemon) resolve() (Daemon, Files, error) {
	if d.Environ == nil {
		d.Environ = os.Environ()
	}
	if d.IdleTimeout == 0 {
		d.IdleTimeout = DefaultIdleTimeout
	}
	if d.StateDir == "" {
		dir, err := DefaultStateDir(d.Environ)
		if err != nil {
			return d, Files{}, err
		}
		d.StateDir = dir
	}
	files, err := FilesIn(d.StateDir)
	d.StateDir = files.StateDir
	return d, files, err
}

func unavailable(err error, hints ...string) error {
	return &executor.HintedError{Err: fmt.Errorf("%w: %w", executor.ErrUnavailable, err), Hints: hints}
}
