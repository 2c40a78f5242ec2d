// SPDX-License-Identifier: Apache-2.0

package display

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/isolation/event"
)

// tailLines is how much of a failed step's log is shown.
const tailLines = 30

// tails keeps the ends of logs whose lines were not shown when they came.
type tails map[string]*tail

type tail struct {
	order   int // among the steps that failed; 0 while it runs
	streams [2]splitter
	lines   []string
	more    bool // lines were dropped
	failed  bool
}

func (t tails) of(step string) *tail {
	s := t[step]
	if s == nil {
		s = &tail{}
		t[step] = s
	}
	return s
}

// add takes a piece of a log.
func (t tails) add(e event.StepLog) {
	s := t.of(e.Step)
	i := 0
	if e.Stream == "stderr" {
		i = 1
	}
	s.push(s.streams[i].lines(e.Data))
}

func (s *tail) push(lines []string) {
	s.lines = append(s.lines, lines...)
	if extra := len(s.lines) - tailLines; extra > 0 {
		s.more = true
		s.lines = slices.Delete(s.lines, 0, extra)
	}
}

// last returns the last n lines, those without an end included.
func (s *tail) last(n int) []string {
	lines := slices.Clone(s.lines)
	for i := range s.streams {
		if len(s.streams[i].partial) > 0 {
			lines = append(lines, Clean(string(s.streams[i].partial)))
		}
	}
	return lines[max(0, len(lines)-n):]
}

// finish ends a step's log: only that of a failed step is kept.
func (t tails) finish(e event.StepFinished) {
	s := t.of(e.Step)
	if receipt.Status(e.Status) != receipt.Failed {
		delete(t, e.Step)
		return
	}
	for i := range s.streams {
		s.push(s.streams[i].rest())
	}
	s.failed = true
	for _, other := range t {
		if other.failed {
			s.order++
		}
	}
}

// print writes the kept logs in the order in which their steps failed.
func (t tails) print(w io.Writer, style palette) {
	var failed []string
	for name, s := range t {
		if s.failed && len(s.lines) > 0 {
			failed = append(failed, name)
		}
	}
	slices.SortFunc(failed, func(a, b string) int { return t[a].order - t[b].order })
	for _, name := range failed {
		s := t[name]
		title := "the log of " + name
		if s.more {
			title = fmt.Sprintf("the last %d lines of %s", len(s.lines), name)
		}
		_, _ = fmt.Fprintf(w, "%s\n%s\n", style.dim.Render("--- "+title), strings.Join(s.lines, "\n"))
	}
	if len(failed) > 0 {
		_, _ = fmt.Fprintln(w, style.dim.Render("---"))
	}
}
