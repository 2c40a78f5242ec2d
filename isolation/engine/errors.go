// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// StepError says why a step did not succeed.
type StepError struct {
	Step string
	// Pos is the place in attest.yaml that the trouble belongs to: the step's
	// command or image, an input pattern, or the pattern of a missing output.
	Pos source.Pos
	// Snippet is the line there.
	Snippet string
	// ExitCode is the command's; 0 where the command was not what failed.
	ExitCode int
	TimedOut bool
	// Tail is the end of the step's log, at most 20 lines, raw.
	Tail []byte
	// Err is what happened. Where it belongs to a place in attest.yaml it
	// holds a [source.Error].
	Err error
}

// Error names the step and what happened to it.
func (e *StepError) Error() string { return fmt.Sprintf("step %s: %v", e.Step, e.Err) }

// Unwrap returns Err.
func (e *StepError) Unwrap() error { return e.Err }

// commandError says how a command that ran did not succeed, at its place in
// attest.yaml.
func (w *walk) commandError(out executor.Outcome) error {
	text, hints := w.limitError(out)
	switch {
	case text != "":
	case out.TimedOut:
		text = fmt.Sprintf("the command was stopped: it ran longer than its timeout of %v", w.step.Timeout)
	case out.ExitCode > 128 && out.ExitCode < 128+65:
		text = fmt.Sprintf("the command ended with exit code %d (signal %d)", out.ExitCode, out.ExitCode-128)
	default:
		text = fmt.Sprintf("the command ended with exit code %d", out.ExitCode)
	}
	return &StepError{ExitCode: out.ExitCode, TimedOut: out.TimedOut, Err: w.at(w.step.RunPos, text, slices.Concat(hints, w.networkHints(out), w.hiddenHints(), w.credentialHints(out))...)}
}

// hiddenHints say what of the project the step looked for and was not shown, or how
// to learn that.
func (w *walk) hiddenHints() []string {
	if w.step.Isolation != pipeline.Process {
		return nil
	}
	if !w.traces() {
		if !w.run.Strict {
			return nil
		}
		return []string{"attest run --strict --trace " + w.step.Name + " says what it looks for and does not declare"}
	}
	var hidden []string
	for _, p := range w.facts.Missing {
		if _, err := w.run.root.Lstat(filepath.FromSlash(p)); err == nil {
			hidden = append(hidden, p)
		}
	}
	if len(hidden) == 0 {
		return nil
	}
	return []string{"it looked for " + some(hidden) + ", there in the project and not declared: attest init --from-trace " + w.step.Name + " declares it"}
}

// credentialHints say that the step was not shown the credentials of this machine,
// where the end of its log sounds as if it had wanted some.
func (w *walk) credentialHints(out executor.Outcome) []string {
	if len(out.Concealed) == 0 || !lacksCredentials(w.log.lastLines(), out.Concealed) {
		return nil
	}
	return []string{"a step does not see the credentials of this machine (" + some(out.Concealed) +
		"): give it the one that it needs, secrets: {NAME: {file: PATH, mount: PATH}}"}
}

// lacksCredentials reports whether a log speaks of one of the paths, or of not
// being let in, in the words of git, ssh, curl, npm, pip, cargo, Maven, Go, Docker
// and the clouds' tools.
func lacksCredentials(log []byte, paths []string) bool {
	for _, path := range paths {
		if bytes.Contains(log, []byte(path)) {
			return true
		}
	}
	log = bytes.ToLower(log)
	for _, words := range []string{
		"authenticat", "unauthorized", "credential", "permission denied (publickey", "host key verification failed",
		"could not read username", "terminal prompts disabled", "access denied", "code e401", "code e403", " 401", "403 forbidden",
		"not logged in", "login required",
	} {
		if bytes.Contains(log, []byte(words)) {
			return true
		}
	}
	return false
}

// networkHints say what the step got nothing from on a recorded network, and how
// to let it reach the hosts that its allow-list lacks.
func (w *walk) networkHints(out executor.Outcome) []string {
	const most = 10
	hints := slices.Clone(w.facts.Unfetched[:min(most, len(w.facts.Unfetched))])
	if more := len(w.facts.Unfetched) - most; more > 0 {
		hints = append(hints, fmt.Sprintf("and %d more, which the receipt names", more))
	}
	allow := slices.Clone(w.step.NetworkAllow)
	for _, no := range out.Refused {
		if host := no.NotAllowed; host != "" && !strings.Contains(host, ":") && !slices.Contains(allow, host) {
			allow = append(allow, host)
		}
	}
	if len(allow) > len(w.step.NetworkAllow) {
		hints = append(hints, "to let the step reach it: network: {mode: recorded, allow: ["+strings.Join(quoted(allow), ", ")+"]}")
	}
	return hints
}

// quoted spells hosts for YAML.
func quoted(hosts []string) []string {
	for i, host := range hosts {
		if strings.HasPrefix(host, "*") {
			hosts[i] = strconv.Quote(host)
		}
	}
	return hosts
}

// at is a complaint about a place in attest.yaml.
func (w *walk) at(pos source.Pos, msg string, hints ...string) *source.Error {
	return &source.Error{Pos: pos, Snippet: w.run.Plan.Pipeline.File.Line(pos.Line), Msg: msg, Hints: hints}
}

// asStepError completes err for the caller.
func (w *walk) asStepError(err error) *StepError {
	var e *StepError
	if !errors.As(err, &e) {
		e = &StepError{Err: err}
	}
	e.Step, e.Pos = w.step.Name, w.step.RunPos
	var image *executor.ImageError
	switch all := source.All(e.Err); {
	case len(all) > 0:
		e.Pos = all[0].Pos
	case errors.As(err, &image):
		e.Pos = w.step.ImagePos
	}
	e.Snippet = w.run.Plan.Pipeline.File.Line(e.Pos.Line)
	if w.log != nil {
		e.Tail = w.log.lastLines()
	}
	e.Err = w.masked(e.Err)
	return e
}

// oneLine is an error's text as a receipt has it: one line, without secrets and
// without the values that came from the caller's environment.
func (w *walk) oneLine(err error) string {
	text := w.clean(err.Error())
	return strings.ToValidUTF8(strings.Join(strings.Fields(text), " "), "\uFFFD")
}
