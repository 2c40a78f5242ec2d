// SPDX-License-Identifier: Apache-2.0

package display

import (
	"fmt"
	"io"
	"time"

	"github.com/attest-pipeline/attest/isolation/event"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// plain writes one line per thing that happened, log lines behind the name of
// their step.
type plain struct {
	out   io.Writer
	style palette
	level map[string]string    // of steps whose beginning no line has told yet
	logs  map[string]*splitter // by step and stream
	doing map[string]*activity // what a step does besides its command, by step
	tally tally
}

// activity is what a step does before and after its command.
type activity struct {
	text  string
	bytes int64 // how many in all; 0 where it is not known
	began time.Time
	said  bool
}

// worthALine is how long an activity lasts before a log mentions it.
const worthALine = time.Second

func newPlain(o Options) *plain {
	return &plain{
		out: o.Out, style: newPalette(o.color()),
		level: map[string]string{}, logs: map[string]*splitter{}, doing: map[string]*activity{},
	}
}

// Emit writes the lines that e stands for.
func (p *plain) Emit(e event.Event) {
	switch b := e.Body.(type) {
	case event.RunStarted:
		p.tally.total = len(b.Steps)
	case event.StepStarted:
		p.level[b.Step] = b.Isolation
	case event.StepProgress:
		p.mention(b.Step, e.Time)
		if b.Doing == executor.Running {
			p.begin(b.Step)
		}
		if a := p.doing[b.Step]; a == nil || a.text != b.Doing {
			p.doing[b.Step] = &activity{text: b.Doing, began: e.Time}
		}
		if b.Unit == "bytes" {
			p.doing[b.Step].bytes = b.Total
		}
	case event.StepLog:
		p.mention(b.Step, e.Time)
		delete(p.doing, b.Step)
		if b.Stream != event.LogStream {
			p.begin(b.Step)
		}
		p.log(b.Step, p.stream(b).lines(b.Data))
	case event.StepFinished:
		p.mention(b.Step, e.Time)
		delete(p.doing, b.Step)
		delete(p.level, b.Step)
		for _, stream := range []string{"stdout", "stderr", event.LogStream} {
			p.log(b.Step, p.stream(event.StepLog{Step: b.Step, Stream: stream}).rest())
			delete(p.logs, b.Step+"\x00"+stream)
		}
		p.tally.add(b.Status)
		p.line("%s", p.style.finished(b))
		for _, l := range p.style.findings(b) {
			p.line("%s", l)
		}
	case event.Warning:
		p.line("%s", p.style.warning(b))
	case event.RunFinished:
		if p.tally.done() > 0 {
			p.line("%s", p.tally.summary(b.Duration))
		}
	}
}

// begin writes a line, once, for a step that really runs: nobody waits for one
// whose result is in the cache.
func (p *plain) begin(step string) {
	if level, ok := p.level[step]; ok {
		delete(p.level, step)
		p.line("[RUN] %s (%s)", step, level)
	}
}

// mention writes a line, once, for an activity that takes long.
func (p *plain) mention(step string, now time.Time) {
	if a := p.doing[step]; a != nil && !a.said && a.text != executor.Running && now.Sub(a.began) >= worthALine {
		a.said = true
		p.begin(step)
		text := step + ": " + Message(a.text)
		if a.bytes > 0 {
			text += ", " + Size(a.bytes)
		}
		p.line("%s", p.style.dim.Render(text))
	}
}

// Close does nothing: every line is out already.
func (p *plain) Close() {}

func (p *plain) stream(e event.StepLog) *splitter {
	key := e.Step + "\x00" + e.Stream
	s := p.logs[key]
	if s == nil {
		s = &splitter{}
		p.logs[key] = s
	}
	return s
}

func (p *plain) log(step string, lines []string) {
	if len(lines) > 0 {
		_, _ = io.WriteString(p.out, p.style.log(step, lines))
	}
}

// line writes one line. A watcher who went away is no reason to stop a run, so
// errors are dropped.
func (p *plain) line(format string, args ...any) {
	_, _ = fmt.Fprintf(p.out, format+"\n", args...)
}
