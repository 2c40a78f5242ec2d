// SPDX-License-Identifier: Apache-2.0

// Package display draws a run's events for whoever watches: a live view on a
// terminal, plain lines in CI, JSON lines for programs.
//
// Start with [New]. What a step printed is hostile until proven otherwise: no
// control character of a step's log reaches the terminal, except in JSON,
// where it is escaped.
package display

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/attest-pipeline/attest/isolation/event"
)

// Mode is a way of drawing.
type Mode string

// The modes. Auto is TTY where Out is a terminal that can be drawn on and no
// CI variable is set, else Plain.
const (
	Auto  Mode = "auto"
	TTY   Mode = "tty"
	Plain Mode = "plain"
	JSON  Mode = "json"
	Quiet Mode = "quiet"
)

// ParseMode reads the name of a mode.
func ParseMode(s string) (Mode, error) {
	switch m := Mode(s); m {
	case Auto, TTY, Plain, JSON, Quiet:
		return m, nil
	}
	return "", fmt.Errorf("%q is not one of auto, tty, plain, json, quiet", s)
}

// Options say where and how to draw.
type Options struct {
	Mode Mode // empty means Auto
	// Out is drawn on; TTY needs it to be an *os.File of a terminal and falls
	// back to Plain otherwise.
	Out io.Writer
	// Getenv looks up CI, NO_COLOR and TERM; nil means that none is set.
	Getenv func(string) string
	// Environ is handed to the terminal library, as os.Environ has it.
	Environ []string
	// Now is the clock of the live view; nil means time.Now.
	Now func() time.Time
}

// Display is a sink that draws. Close ends the drawing, leaves the terminal as
// it was found and prints what was held back; nothing may be emitted after it.
type Display interface {
	event.Sink
	Close()
}

// New returns the Display that the options ask for. When ctx ends, the live
// view gives way to plain lines at once, so that a program killed later leaves
// a usable terminal.
func New(ctx context.Context, o Options) Display {
	o = o.withDefaults()
	switch o.resolve() {
	case JSON:
		return jsonLines{event.NewLines(o.Out)}
	case Quiet:
		return newQuiet(o)
	case TTY:
		return newLive(ctx, o)
	default:
		return newPlain(o)
	}
}

func (o Options) withDefaults() Options {
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Mode == "" {
		o.Mode = Auto
	}
	return o
}

func (o Options) resolve() Mode {
	switch {
	case o.Mode == JSON, o.Mode == Quiet, o.Mode == Plain:
		return o.Mode
	case !isTerminal(o.Out), o.Getenv("TERM") == "dumb":
		return Plain
	case o.Mode == Auto && o.Getenv("CI") != "":
		return Plain
	default:
		return TTY
	}
}

// color reports whether Out may be coloured: https://no-color.org.
func (o Options) color() bool {
	return isTerminal(o.Out) && o.Getenv("NO_COLOR") == "" && o.Getenv("TERM") != "dumb"
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
