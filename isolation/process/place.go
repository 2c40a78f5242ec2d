// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/attest-pipeline/attest/isolation/executor"
)

// place is where a step works: the project itself, or something in its stead.
type place interface {
	// prepare takes earlier outputs out of the step's sight. Where it fails,
	// undo is to be called all the same.
	prepare(ctx context.Context) error
	// collect moves the outputs of a command that succeeded to Job.Staging, and
	// notes in the outcome what else was written.
	collect(ctx context.Context, out *executor.Outcome) error
	// undo makes it as if the step had not run, as far as the place can.
	undo() error
	// script returns where a script is to be written, and the path at which the
	// step finds it; nothing where the place has no folder for it.
	script() (name, seen string, err error)
	// close gives back what the place itself needed.
	close()
}

// inPlace is the project itself. What a step writes to it stays, unless it is an
// output of a step that comes to nothing.
type inPlace struct {
	root  *os.Root
	job   executor.Job
	aside string
	begun bool // the step may have written
}

func newInPlace(root *os.Root, job executor.Job) *inPlace {
	return &inPlace{root: root, job: job, aside: job.Staging + ".aside"}
}

func (p *inPlace) prepare(ctx context.Context) error {
	if err := setAside(ctx, p.root, p.job, p.aside); err != nil {
		return err
	}
	p.begun = true
	return nil
}

func (p *inPlace) collect(ctx context.Context, _ *executor.Outcome) error {
	return collect(ctx, p.root, p.job, p.job.Root)
}

// undo removes what the command began, which is of no use, and puts back what
// was there before, which is the user's.
func (p *inPlace) undo() error {
	if p.begun {
		// The run's context may have ended; this must happen all the same.
		discard(context.Background(), p.root, p.job)
	}
	return PutBack(p.job.Root, p.aside)
}

func (p *inPlace) script() (name, seen string, err error) { return "", "", nil }

func (p *inPlace) close() {}

// finish collects what a command left that succeeded, and undoes the rest.
func finish(ctx context.Context, at place, out *executor.Outcome, err error) error {
	if err == nil && out.ExitCode == 0 {
		err = at.collect(ctx, out)
	}
	if err != nil || out.ExitCode != 0 {
		err = errors.Join(err, at.undo())
	}
	return err
}

// below reports whether path is dir or lies below it, and what follows dir.
func below(path, dir string) (rest string, ok bool) {
	if dir == "/" {
		return path, true
	}
	rest, ok = strings.CutPrefix(path, dir)
	return rest, ok && (rest == "" || rest[0] == '/')
}
