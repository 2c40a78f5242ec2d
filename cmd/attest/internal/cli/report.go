// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"

	"github.com/attest-pipeline/attest/cmd/attest/internal/display"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/engine"
	"github.com/attest-pipeline/attest/isolation/event"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// problem is one error as it is shown.
type problem struct {
	Message string   `json:"message"`
	Step    string   `json:"step,omitempty"`
	File    string   `json:"file,omitempty"`
	Line    int      `json:"line,omitempty"`
	Column  int      `json:"column,omitempty"`
	Snippet string   `json:"snippet,omitempty"`
	Hints   []string `json:"hints,omitempty"`

	caret string
}

// problems takes an error apart: one problem for each of those it joins, with
// the place and the ways out that its chain holds.
func problems(err error) []problem {
	if err == nil {
		return nil
	}
	if parts := joined(err); parts != nil {
		var all []problem
		for _, e := range parts {
			all = append(all, problems(e)...)
		}
		return all
	}
	if all := source.All(err); len(all) > 1 && len(all) == 1+strings.Count(err.Error(), "\n") {
		list := make([]problem, len(all))
		for i, e := range all {
			list[i] = describe(e)
		}
		return list
	}
	return []problem{describe(err)}
}

// joined returns the errors that err joins, nil where it says something of its
// own about them.
func joined(err error) []error {
	tree, ok := err.(interface{ Unwrap() []error }) //nolint:errorlint // a tree is walked by hand
	if !ok {
		return nil
	}
	parts := tree.Unwrap()
	texts := make([]string, len(parts))
	for i, e := range parts {
		texts[i] = e.Error()
	}
	if err.Error() != strings.Join(texts, "\n") {
		return nil
	}
	return parts
}

// describe makes one problem of an error that joins no others.
func describe(err error) problem {
	p := problem{Message: err.Error()}
	var step *engine.StepError
	if errors.As(err, &step) {
		p.Step = step.Step
		p.place(&source.Error{Pos: step.Pos, Snippet: step.Snippet})
	}
	var src *source.Error
	if errors.As(err, &src) {
		p.place(src)
		p.Hints = append(p.Hints, src.Hints...)
		// The place stands before everything else, once.
		p.Message = strings.Replace(p.Message, src.Error(), src.Msg, 1)
	}
	var hinted *executor.HintedError
	if errors.As(err, &hinted) {
		p.Hints = append(p.Hints, hinted.Hints...)
	}
	var usage *usageError
	if errors.As(err, &usage) {
		p.Hints = append(p.Hints, usage.hints...)
	}
	return p
}

// place takes over where an error belongs to.
func (p *problem) place(at *source.Error) {
	if at.Pos.File != "" {
		p.File, p.Line, p.Column = at.Pos.File, at.Pos.Line, at.Pos.Column
		p.Snippet, p.caret = at.Snippet, at.Caret()
	}
}

// write shows a problem: the complaint, where it is, and what can be done.
func (p problem) write(w io.Writer) {
	var b strings.Builder
	b.WriteString("attest: error: ")
	if p.File != "" {
		b.WriteString(display.Message(source.Pos{File: p.File, Line: p.Line, Column: p.Column}.String()) + ": ")
	}
	b.WriteString(cleanLines(p.Message) + "\n")
	if p.caret != "" {
		b.WriteString("  " + strings.ReplaceAll(p.caret, "\n", "\n  ") + "\n")
	}
	for _, h := range p.Hints {
		b.WriteString("attest: hint: " + cleanLines(h) + "\n")
	}
	_, _ = io.WriteString(w, b.String())
}

// cleanLines keeps names of files and what programs said from driving the
// terminal.
func cleanLines(s string) string {
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		lines[i] = display.Message(l)
	}
	return strings.Join(lines, "\n")
}

// finish shows the error or the JSON object, and returns the exit code.
func (e *Env) finish(ctx context.Context, err error) int {
	code := exitCode(ctx, err)
	if errors.Is(err, syscall.EPIPE) {
		return code // the reader went away: there is nobody to tell
	}
	list := slices.DeleteFunc(problems(err), func(p problem) bool { return p.Message == "" })
	if hint := e.writableHint(err); hint != "" && len(list) > 0 {
		list[len(list)-1].Hints = append(list[len(list)-1].Hints, hint)
	}
	if !e.json {
		for _, p := range list {
			p.write(e.Stderr)
		}
		return code
	}
	object, err := object(e.result, code, list)
	if err == nil {
		_, err = e.Stdout.Write(append(object, '\n'))
	}
	if err != nil && !errors.Is(err, syscall.EPIPE) {
		_, _ = fmt.Fprintln(e.Stderr, "attest: error: writing the result:", err)
		return max(code, exitOther)
	}
	return code
}

// object joins a result's own fields, the exit code and the errors.
func object(result any, code int, list []problem) ([]byte, error) {
	tail, err := event.Marshal(struct {
		ExitCode int       `json:"exit_code"`
		Errors   []problem `json:"errors,omitempty"`
	}{code, list})
	if err != nil {
		return nil, fmt.Errorf("encoding the result: %w", err)
	}
	if result == nil {
		return tail, nil
	}
	head, err := event.Marshal(result)
	if err != nil {
		return nil, fmt.Errorf("encoding the result: %w", err)
	}
	if len(head) == len("{}") {
		return tail, nil
	}
	return append(append(head[:len(head)-1], ','), tail[1:]...), nil
}
