// SPDX-License-Identifier: Apache-2.0

package display

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"charm.land/lipgloss/v2"

	"github.com/attest-pipeline/attest/attestation/receipt"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/event"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// palette styles the few words that have a colour.
type palette struct{ ok, bad, dim, warn lipgloss.Style }

func newPalette(color bool) palette {
	if !color {
		return palette{}
	}
	style := func(c string) lipgloss.Style { return lipgloss.NewStyle().Foreground(lipgloss.Color(c)) }
	return palette{ok: style("2"), bad: style("1"), warn: style("3"), dim: lipgloss.NewStyle().Faint(true)}
}

// tally counts how the steps of a run ended.
type tally struct {
	total, ok, failed, skipped, stopped int
}

func (t *tally) add(status string) {
	switch receipt.Status(status) {
	case receipt.Succeeded:
		t.ok++
	case receipt.Skipped:
		t.skipped++
	case receipt.Interrupted:
		t.stopped++
	default:
		t.failed++
	}
}

func (t *tally) done() int { return t.ok + t.failed + t.skipped + t.stopped }

// summary is the run's last status line.
func (t *tally) summary(d time.Duration) string {
	parts := []string{fmt.Sprintf("%d ok", t.ok)}
	for _, p := range []struct {
		n    int
		name string
	}{{t.failed, "failed"}, {t.skipped, "skipped"}, {t.stopped, "interrupted"}} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.name))
		}
	}
	steps := "steps"
	if t.total == 1 {
		steps = "step"
	}
	return fmt.Sprintf("%d %s: %s (%s)", t.total, steps, strings.Join(parts, ", "), Duration(d))
}

// finished is the line that a finished step leaves.
func (p palette) finished(e event.StepFinished) string {
	switch receipt.Status(e.Status) {
	case receipt.Succeeded:
		return fmt.Sprintf("%s %s (%s)%s", p.ok.Render("[OK]"), e.Step, Duration(e.Duration), cacheNote(e))
	case receipt.Skipped:
		return fmt.Sprintf("%s %s%s", p.warn.Render("[SKIP]"), e.Step, why(e))
	case receipt.Interrupted:
		return fmt.Sprintf("%s %s (%s) - interrupted", p.warn.Render("[STOP]"), e.Step, Duration(e.Duration))
	default:
		return fmt.Sprintf("%s %s (%s)%s", p.bad.Render("[FAIL]"), e.Step, Duration(e.Duration), why(e))
	}
}

// findings say what a finished step did besides what it declared, one after the
// other. What a hit did was said when it was made, and is said
// again where the run asked what steps look for.
func findings(e event.StepFinished) []finding {
	f := e.Findings
	if f == nil || receipt.CacheUse(e.Cache) == receipt.Hit && !f.Traced {
		return nil
	}
	var all []finding
	for _, l := range []struct {
		what  string
		names []string
		shown bool
	}{
		{"fetched before it failed", f.Fetched, receipt.Status(e.Status) == receipt.Failed},
		{"read without declaring it, and runs again when it changes", f.Read, true},
		{"wrote outside its outputs, which is not kept", f.Unexpected, true},
		{"changed its inputs, which is not kept", f.Modified, true},
		{"looked for and did not find", f.Missing, f.Traced},
		{"programs that it looked for and did not find", f.MissingPrograms, f.Traced},
		{"declared and never opened", f.Unread, f.Traced},
		{"executed", f.Programs, f.Traced},
		{"there may be more, because", f.Unseen, f.Traced},
	} {
		if len(l.names) > 0 && l.shown {
			all = append(all, finding{l.what, some(l.names)})
		}
	}
	if f.Reproduction != "" {
		text := f.Reproduction
		if len(f.Varied) > 0 {
			text += "; in the second run differed: " + strings.Join(f.Varied, ", ")
		}
		all = append(all, finding{runTwice, text})
	}
	return all
}

// finding is one of the things that were found out about a step.
type finding struct{ what, text string }

const runTwice = "run twice"

// findings are the lines below that of a finished step.
func (p palette) findings(e event.StepFinished) []string {
	var lines []string
	for _, f := range findings(e) {
		lines = append(lines, "     "+p.warn.Render(f.what+":")+" "+Message(f.text))
	}
	return lines
}

// some names the first few of many.
func some(names []string) string {
	const most = 3
	shown := slices.Clone(names)
	if len(names) > most+1 {
		shown = shown[:most]
	}
	for i, n := range shown {
		shown[i] = source.Name(n)
	}
	if len(shown) < len(names) {
		return fmt.Sprintf("%s and %d more", strings.Join(shown, ", "), len(names)-most)
	}
	return strings.Join(shown, ", ")
}

// cacheNote says what the cache had to do with a step that succeeded.
func cacheNote(e event.StepFinished) string {
	switch {
	case receipt.CacheUse(e.Cache) == receipt.Hit:
		return " - cache hit"
	case e.Reason != "":
		return " - cache miss (" + Message(e.Reason) + ")"
	case receipt.CacheUse(e.Cache) == receipt.Miss:
		return " - cache miss"
	}
	return ""
}

// log is a piece of a step's log, behind the name of the step.
func (p palette) log(step string, lines []string) string {
	var b strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&b, "%s %s\n", p.dim.Render(step+" |"), l)
	}
	return b.String()
}

// why says in few words why a step did not succeed: the whole error is printed
// when the run is over.
func why(e event.StepFinished) string {
	switch {
	case e.Reason != "":
		return " - " + Message(e.Reason)
	case e.ExitCode != 0:
		return fmt.Sprintf(" - exit code %d", e.ExitCode)
	case e.Err != nil:
		first, _, _ := strings.Cut(strings.TrimPrefix(e.Err.Error(), "step "+e.Step+": "), "\n")
		return " - " + Message(first)
	}
	return ""
}

func (p palette) warning(w event.Warning) string {
	if w.Step != "" {
		return fmt.Sprintf("%s %s: %s", p.warn.Render("warning:"), w.Step, Message(w.Message))
	}
	return fmt.Sprintf("%s %s", p.warn.Render("warning:"), Message(w.Message))
}

// doing is what a step does besides running its command.
func doing(e event.StepProgress) string {
	text := Message(e.Doing)
	if text == executor.Running {
		return ""
	}
	count := func(n int64) string {
		if e.Unit == "bytes" {
			return Size(n)
		}
		return fmt.Sprint(n)
	}
	switch {
	case e.Unit == "":
		return text
	case e.Total > 0 && e.Unit == "bytes":
		return fmt.Sprintf("%s %s/%s", text, count(e.Current), count(e.Total))
	case e.Total > 0:
		return fmt.Sprintf("%s %s/%s %s", text, count(e.Current), count(e.Total), Message(e.Unit))
	case e.Unit == "bytes":
		return fmt.Sprintf("%s %s", text, count(e.Current))
	default:
		return fmt.Sprintf("%s %s %s", text, count(e.Current), Message(e.Unit))
	}
}
