// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/attest-pipeline/attest/attestation/keys"
	"github.com/attest-pipeline/attest/cmd/attest/internal/config"
	"github.com/attest-pipeline/attest/frontend/lock"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/engine"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// The exit codes. They are an interface: a code never changes its meaning.
const (
	exitDone        = 0
	exitOther       = 1
	exitUsage       = 2
	exitStepFailed  = 3
	exitUnverified  = 4
	exitDenied      = 5
	exitNotCached   = 6
	exitInvalid     = 10
	exitUnavailable = 11
	exitKey         = 12
	exitInterrupted = 130
)

// exitCodes is what `attest help exit-codes` prints.
var exitCodes = [...]struct {
	code    int
	meaning string
}{
	{exitDone, "done: what was asked for is true now"},
	{exitOther, "something else went wrong: see the error"},
	{exitUsage, "the command line is wrong"},
	{exitStepFailed, "a step failed; the receipt says which"},
	{exitUnverified, "verification failed: do not believe the receipt; or it was not reproduced"},
	{exitDenied, "a policy says no"},
	{exitNotCached, "a step is not in the cache, and --expect-cached says that all are"},
	{exitInvalid, "attest.yaml, attest.lock or .attest/config.yaml is not valid, or attest.lock lacks what --locked wants"},
	{exitUnavailable, "what the isolation of a step takes is not to be had: an engine, a program, a protection by the kernel"},
	{exitKey, "a key is missing, unreadable or not to be trusted"},
	{exitInterrupted, "interrupted; a run's receipt says how far it came"},
}

// usageError is a wrong command line.
type usageError struct {
	err   error
	hints []string
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// usage turns what the parser complains about into a usageError.
func usage(err error) error {
	u := &usageError{err: err, hints: []string{"attest --help lists the commands"}}
	var p *kong.ParseError
	if !errors.As(err, &p) || p.Context == nil {
		return u
	}
	node := p.Context.Selected()
	if node == nil {
		node = p.Context.Model.Node
	}
	commands := commandNames(node)
	switch {
	case node.Type != kong.ApplicationNode && len(commands) == 0:
		u.hints = []string{node.FullPath() + " --help explains this command"}
	case node.Type != kong.ApplicationNode:
		u.hints = []string{node.FullPath() + " --help lists its commands"}
	}
	if name, ok := strings.CutPrefix(err.Error(), "unexpected argument "); ok && len(commands) > 0 {
		name, _, _ = strings.Cut(name, ", did you mean ") // the parser's, which says it of up to five at once
		u.err = fmt.Errorf("unknown command %q", name)
		if near, ok := source.Closest(name, commands); ok {
			u.hints = append([]string{"did you mean " + node.FullPath() + " " + near + "?"}, u.hints...)
		}
	}
	return u
}

// commandNames returns the names of the commands directly below a node.
func commandNames(node *kong.Node) []string {
	var names []string
	for _, n := range node.Children {
		if n.Type == kong.CommandNode && !n.Hidden {
			names = append(names, n.Name)
		}
	}
	return names
}

// exitCode is the one place where an error becomes an exit code.
func exitCode(ctx context.Context, err error) int {
	var usage *usageError
	var step *engine.StepError
	var unverified *unverifiedError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage), errors.Is(err, plan.ErrNoStep), errors.Is(err, config.ErrEnv):
		return exitUsage
	case ctx.Err() != nil:
		return exitInterrupted
	case errors.As(err, &unverified), errors.Is(err, engine.ErrNotReproduced):
		return exitUnverified
	case errors.Is(err, pipeline.ErrInvalid), errors.Is(err, config.ErrFile), errors.Is(err, lock.ErrInvalid):
		return exitInvalid
	case errors.Is(err, executor.ErrUnavailable):
		return exitUnavailable
	case errors.Is(err, keys.ErrKey):
		return exitKey
	case errors.Is(err, engine.ErrNotCached):
		return exitNotCached
	case errors.As(err, &step):
		return exitStepFailed
	case errors.Is(err, plan.ErrInput), errors.Is(err, engine.ErrNotLocked): // found without running anything
		return exitInvalid
	}
	return exitOther
}
