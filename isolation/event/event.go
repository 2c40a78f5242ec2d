// SPDX-License-Identifier: Apache-2.0

// Package event defines the things that happen in a run, typed and ordered, for
// whoever draws, stores or forwards them.
//
// Start with [Event] and [Sink]. Events are not logs: their types and JSON
// names are stable, and every run yields RunStarted first and RunFinished last.
package event

import "time"

// Event is one thing that happened. Seq counts from 1 within a run without
// gaps; an event's Seq is larger than that of everything that led to it.
type Event struct {
	Seq  uint64
	Time time.Time
	Body Body
}

// Body is what happened: one of the types of this package.
type Body interface {
	// Type returns the stable name of the event in JSON, such as "step.started".
	Type() string
}

// Sink receives the events of one run, one at a time and in order of Seq. It
// must not block for long: the run waits for it.
type Sink interface {
	Emit(Event)
}

// SinkFunc is a function as a Sink.
type SinkFunc func(Event)

// Emit calls f.
func (f SinkFunc) Emit(e Event) { f(e) }

// Tee returns a Sink that hands every event to each of the sinks in turn.
func Tee(sinks ...Sink) Sink {
	return SinkFunc(func(e Event) {
		for _, s := range sinks {
			s.Emit(e)
		}
	})
}

// RunStarted opens a run.
type RunStarted struct {
	Pipeline string   `json:"pipeline"`
	Steps    []string `json:"steps"` // in planned order
	Jobs     int      `json:"jobs"`
}

// StepStarted says that a step begins: its inputs are looked at next.
type StepStarted struct {
	Step      string `json:"step"`
	Isolation string `json:"isolation"`
}

// StepProgress says what a step is doing before and after its command runs:
// hashing inputs, starting the engine, pulling an image, collecting outputs.
// "running" says that none of this goes on, but the command itself.
type StepProgress struct {
	Step  string `json:"step"`
	Doing string `json:"doing"`
	// Current and Total count Unit; Total is 0 where it is not known.
	Current int64  `json:"current,omitempty"`
	Total   int64  `json:"total,omitempty"`
	Unit    string `json:"unit,omitempty"` // "files" or "bytes"
}

// StepLog is a piece of what a step's command printed, cut at line ends where
// it has them.
type StepLog struct {
	Step   string `json:"step"`
	Stream string `json:"stream"` // "stdout" or "stderr", or [LogStream]
	Data   string `json:"data"`
}

// LogStream is the stream of a log that an earlier run left and this one shows
// again: which of the two streams a line came from is not known any more.
const LogStream = "log"

// StepFinished ends a step. Status is one of receipt's step statuses.
type StepFinished struct {
	Step   string `json:"step"`
	Status string `json:"status"`
	Cache  string `json:"cache"` // hit, miss or off
	// Reason says of a step that succeeded why it was run, where a cache could
	// have spared it that: "inputs changed: src/main.js", "first run", "cache
	// off"; and of one that was skipped, why it was.
	Reason   string        `json:"reason,omitempty"`
	ExitCode int           `json:"exit_code"`
	Duration time.Duration `json:"duration_ns"`
	// Findings are what was found out about the step, now or, on a hit, when its
	// result was made; nil where it is nothing.
	Findings *Findings `json:"findings,omitempty"`
	// Err is what went wrong, nil for a step that succeeded. Its text is in
	// JSON as "error".
	Err error `json:"-"`
}

// Findings are what a step did besides what it declared, as a receipt has it;
// lists are ordered.
type Findings struct {
	// Fetched are the URLs of what came over a recorded network, Unfetched requests
	// from which nothing came, in words.
	Fetched   []string `json:"fetched,omitempty"`
	Unfetched []string `json:"unfetched,omitempty"`
	// Traced says that this run asked for Missing and what stands with it.
	Traced bool `json:"traced,omitempty"`
	// Read are files of the project that it read without declaring them, and
	// Programs those that it executed.
	Read     []string `json:"read,omitempty"`
	Programs []string `json:"programs,omitempty"`
	// Missing, MissingPrograms and Unread are a receipt's. Unseen says, in words,
	// why they may lack something.
	Missing         []string `json:"missing,omitempty"`
	MissingPrograms []string `json:"missing_programs,omitempty"`
	Unread          []string `json:"unread,omitempty"`
	Unseen          []string `json:"unseen,omitempty"`
	// Unexpected are paths that it wrote outside its outputs, Modified are inputs
	// that it changed.
	Unexpected []string `json:"unexpected,omitempty"`
	Modified   []string `json:"modified,omitempty"`
	// Reproduction is the verdict of a second run: one of receipt's; empty where
	// there was none. Varied is what of the world was another one in it.
	Reproduction string   `json:"reproduction,omitempty"`
	Varied       []string `json:"varied,omitempty"`
}

// Warning is something the user should know and that stops nothing.
type Warning struct {
	Step    string `json:"step,omitempty"` // empty where it concerns the run
	Message string `json:"message"`
}

// RunFinished closes a run.
type RunFinished struct {
	Status   string        `json:"status"` // one of receipt's run statuses
	Duration time.Duration `json:"duration_ns"`
}

// Type returns "run.started".
func (RunStarted) Type() string { return "run.started" }

// Type returns "step.started".
func (StepStarted) Type() string { return "step.started" }

// Type returns "step.progress".
func (StepProgress) Type() string { return "step.progress" }

// Type returns "step.log".
func (StepLog) Type() string { return "step.log" }

// Type returns "step.finished".
func (StepFinished) Type() string { return "step.finished" }

// Type returns "warning".
func (Warning) Type() string { return "warning" }

// Type returns "run.finished".
func (RunFinished) Type() string { return "run.finished" }
