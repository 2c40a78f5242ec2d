// SPDX-License-Identifier: Apache-2.0

// Package executor is the contract between the run engine and whatever runs a
// step: a process of this host, a container, a virtual machine.
//
// Start with [Executor]. What a job may ask for beyond running a command, and how
// an executor refuses what it cannot do, is in ability.go. executortest, below, is the suite that every
// implementation passes.
package executor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/source"
)

// Executor runs one step at a time per call; calls may be concurrent.
type Executor interface {
	// Run runs the job and waits for it. When it returns, nothing that the
	// job started is alive any more, whatever ended it.
	//
	// A command that ran and failed is no error: the Outcome has its exit
	// code. A command that ran for longer than Job.Timeout is stopped, and the
	// Outcome says so with exit code 124. When ctx ends, the job is stopped
	// within a second and the error is [context.Cause] of ctx. Every other
	// error means that the command could not be run, or that what ran could
	// not be vouched for; see [ErrUnavailable], [InputChangedError] and
	// [ImageError]. With it, the Outcome may have Fetched, Unrecorded and Refused,
	// and nothing else.
	//
	// On exit code 0, and only then, Job.Staging holds whatever the job left
	// that matches Job.Outputs, at paths relative to the project, with
	// permission bits and symbolic links as they were made, and nothing else.
	// That an output is missing is for the caller to see.
	Run(ctx context.Context, job Job, streams Streams) (Outcome, error)
}

// Job is one step, ready to run. It is plain data: an implementation could send
// it to another process.
type Job struct {
	Step string
	// Pos is the place of the step's command in attest.yaml.
	Pos source.Pos

	Command pipeline.Command
	// Env is the whole environment of the command, but for what the level
	// itself must set (an image's own variables stay below it).
	Env        []pipeline.Var
	WorkingDir string // slash-separated, relative to the project; "." is the project
	Image      string // as in attest.yaml; empty for a process
	Network    pipeline.Network
	Timeout    time.Duration // 0 means none

	Limits       pipeline.Limits // zero fields: as the level has it
	NetworkAllow []string        // hosts that a recorded network reaches; empty means any
	// Locked has a recorded network refuse every URL but these; nil does not.
	Locked  *Locked
	Secrets []Secret      // ordered by name
	Caches  []CacheFolder // ordered by name
	// Strict hides what the step did not declare, and makes a protection that
	// cannot be had an error.
	Strict bool
	// Trace asks for what the step looks for: Outcome.Missing and what stands
	// with it.
	Trace bool
	// Deterministic fixes what the step could take from the world; nil does not.
	Deterministic *Determinism
	// Variation makes this the second run of a check: see there. nil is none.
	Variation *Variation

	// Root is the absolute path of the project on this machine.
	Root string
	// Inputs are the files of the project that the step was planned with,
	// digests filled in. What the step gets must be exactly these.
	Inputs tree.Tree
	// Outputs are the declared patterns.
	Outputs []pipeline.Pattern
	// Staging is the absolute path of an empty folder on the file system of
	// Root, made by the caller, who also removes it.
	Staging string
}

// Streams take what happens while a job runs. Calls on one stream are not
// concurrent; a nil writer discards, a nil Progress is not called.
type Streams struct {
	Stdout, Stderr io.Writer
	// Progress says what the executor is doing before and after the command.
	Progress func(Progress)
}

// Running is the Doing of a Progress that says that the command itself begins.
const Running = "running"

// Progress is what an executor is doing besides running the command, or
// [Running].
type Progress struct {
	Doing          string // "pulling golang:1.26"
	Current, Total int64  // Total is 0 where it is not known
	Unit           string // "files" or "bytes"; empty where nothing is counted
}

// Outcome is what a run command did, as facts for a receipt.
type Outcome struct {
	// ExitCode is the command's own; 128 plus the signal's number for one that
	// a signal ended; 124 for one that ran too long.
	ExitCode int
	TimedOut bool
	// Duration is how long the command ran, without what came before and after.
	Duration time.Duration
	// Engine says what ran it: "embedded buildkit v0.34.2", "host".
	Engine string
	// Image is the image by digest, "name@sha256:...": empty for a process.
	Image string
	// Controls names every protection that was really in force, ordered.
	Controls []string

	// Fetched is what came over a recorded network, ordered by URL: all of it
	// where the step succeeded, else what is known.
	Fetched []Fetch
	// Unrecorded are requests over a recorded network whose answer no record has,
	// and why, in words and ordered. A step that could have succeeded but for one
	// is an error.
	Unrecorded []string
	// Read are files of the project that the step read without declaring them,
	// by paths relative to the project; Programs are those of the host that it
	// executed, by absolute paths. A symbolic link among the former was followed,
	// and its digest is that of its target. Both ordered by path, each once. A digest
	// that is zero is for the caller to find, which remembers digests.
	Read, Programs []File
	// Listed are folders of the project whose names the step read, where somebody
	// could tell; they were there before it. "." is the project. Ordered.
	Listed []string
	// Missing are paths of the project that the step looked for and that were
	// not there, MissingPrograms are names that it looked for in every folder of
	// its PATH, Unread are declared inputs that it never opened. These and Seen
	// are there only where Job.Trace asked for them; they are ordered, and they
	// are what a watcher saw and nothing that could be vouched for.
	Missing, MissingPrograms, Unread []string
	// Seen is nil where Job.Trace did not ask for it.
	Seen *Seen
	// Unexpected are paths of the project that the step wrote outside its
	// outputs, Modified are inputs that it changed: ordered.
	Unexpected, Modified []string
	// Met are the limits that a command which failed ran into, by their names in
	// attest.yaml, ordered, as far as the level is told: something of the step was
	// killed for "memory", or could not start for "pids".
	Met []string
	// Concealed are files and folders with credentials of the user that a command
	// which failed was not shown, by absolute paths, ordered.
	Concealed []string
	// Varied names what a Variation really changed, ordered.
	Varied []string
	// Refused is what a recorded network did not let the step ask for, in the
	// order of the first time. It never left.
	Refused []Refused
}

// Locked are the only URLs that a step may fetch. What stands behind a question
// mark does not matter.
type Locked struct {
	// URLs are spelled as records have them: by egress.Plain, and by [mask.Record]
	// of Job.Secrets and Passed.
	URLs   []string
	Passed []string
}

// Refused is a request that a recorded network did not let through.
type Refused struct {
	URL       string
	Why       string
	NotLocked bool // Job.Locked is the reason
	// NotAllowed is the host where Job.NetworkAllow is the reason.
	NotAllowed string
}

// Fetch is one thing that a step got over a recorded network.
type Fetch struct {
	URL    string
	SHA256 digest.Digest // of the body
}

// File is a file and what it held.
type File struct {
	Path   string
	Digest digest.Digest // BLAKE3
}

// Seen is what a step was seen to do in the project, declared or not: paths that,
// but for those of Wrote, were there before it, ordered.
type Seen struct {
	// Opened are files that were opened for reading or executed.
	Opened []string
	// Looked are files that were asked after and not opened, and symbolic links
	// that were followed.
	Looked []string
	Listed []string // folders that were opened
	// Wrote is Outcome.Unexpected; a new folder's path ends with a slash.
	Wrote []string
	// Unseen says, in words, why something may have escaped.
	Unseen []string
}

// ExitTimeout is the exit code of a command that ran too long.
const ExitTimeout = 124

// ErrUnavailable is matched by errors that mean that the level cannot run a step
// here as it was promised: no engine, no runc, a protection that the kernel
// refuses. Such errors say how to get it.
var ErrUnavailable = errors.New("unavailable")

// HintedError is an error with ways out, each a line that the user can act on.
type HintedError struct {
	Err   error
	Hints []string
}

// Error returns the complaint, without hints.
func (e *HintedError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *HintedError) Unwrap() error { return e.Err }

// InputChangedError says that a file changed after it was hashed, so that what
// would run is not what was planned.
type InputChangedError struct {
	Path string // relative to the project
	Err  error  // what was seen
}

// Error names the file.
func (e *InputChangedError) Error() string {
	return fmt.Sprintf("input %s changed while the step was being prepared: %v", e.Path, e.Err)
}

// Unwrap returns Err.
func (e *InputChangedError) Unwrap() error { return e.Err }

// ImageError says that an image could not be had.
type ImageError struct {
	Image string // as in attest.yaml
	Err   error
}

// Error names the image.
func (e *ImageError) Error() string { return fmt.Sprintf("image %s: %v", e.Image, e.Err) }

// Unwrap returns Err.
func (e *ImageError) Unwrap() error { return e.Err }
