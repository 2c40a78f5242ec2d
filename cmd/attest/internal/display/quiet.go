// SPDX-License-Identifier: Apache-2.0

package display

import (
	"io"

	"github.com/attest-pipeline/attest/isolation/event"
)

// quiet writes what went wrong, warnings, and what steps did undeclared.
type quiet struct {
	out   io.Writer
	style palette
	tails tails
}

func newQuiet(o Options) *quiet {
	return &quiet{out: o.Out, style: newPalette(o.color()), tails: tails{}}
}

// Emit keeps the ends of logs and writes those of steps that failed.
func (q *quiet) Emit(e event.Event) {
	switch b := e.Body.(type) {
	case event.StepLog:
		q.tails.add(b)
	case event.StepFinished:
		q.tails.finish(b)
		for _, f := range findings(b) {
			if f.what != runTwice { // where that went wrong, the step did
				_, _ = io.WriteString(q.out, q.style.warning(event.Warning{Step: b.Step, Message: f.what + ": " + f.text})+"\n")
			}
		}
	case event.Warning:
		_, _ = io.WriteString(q.out, q.style.warning(b)+"\n")
	}
}

// Close writes the ends of the logs of steps that failed.
func (q *quiet) Close() { q.tails.print(q.out, q.style) }
