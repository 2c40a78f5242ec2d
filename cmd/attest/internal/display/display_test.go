// SPDX-License-Identifier: Apache-2.0

package display_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/cmd/attest/internal/display"
	"github.com/attest-pipeline/attest/isolation/event"
)

// aRun is a run with something of everything.
func aRun() []event.Body {
	return []event.Body{
		event.RunStarted{Pipeline: "p", Steps: []string{"lint", "build", "test", "deploy"}, Jobs: 2},
		event.StepStarted{Step: "lint", Isolation: "process"},
		event.StepStarted{Step: "build", Isolation: "container"},
		event.StepProgress{Step: "build", Doing: "hashing inputs"},
		event.StepProgress{Step: "build", Doing: "pulling golang:1.26", Current: 1, Total: 2, Unit: "bytes"},
		event.StepProgress{Step: "build", Doing: "pulling golang:1.26", Current: 2, Total: 2, Unit: "bytes"},
		event.StepProgress{Step: "lint", Doing: "running"},
		event.StepLog{Step: "lint", Stream: "stdout", Data: "fine\nno end"},
		event.StepLog{Step: "build", Stream: "stderr", Data: "\x1b[31mcompi"},
		event.StepLog{Step: "build", Stream: "stderr", Data: "ling\x1b[0m\n"},
		event.StepFinished{Step: "lint", Status: "succeeded", Cache: "off", Duration: 100 * time.Millisecond},
		event.Warning{Step: "build", Message: "slow \x1b]0;x\x07disk"},
		event.StepFinished{Step: "build", Status: "succeeded", Cache: "miss", Reason: "inputs changed: src/main.js", Duration: 45 * time.Second},
		event.StepStarted{Step: "test", Isolation: "process"},
		event.StepLog{Step: "test", Stream: "stdout", Data: "--- FAIL: TestX\n"},
		event.StepFinished{Step: "test", Status: "failed", Cache: "off", ExitCode: 7, Duration: 2 * time.Second, Err: errors.New("exit code 7")},
		event.StepFinished{Step: "deploy", Status: "skipped", Cache: "off", Err: errors.New("step deploy: it needs test")},
		event.RunFinished{Status: "failed", Duration: 47 * time.Second},
	}
}

func draw(t *testing.T, mode display.Mode, bodies []event.Body) string {
	t.Helper()
	var out bytes.Buffer
	d := display.New(t.Context(), display.Options{Mode: mode, Out: &out})
	for i, b := range bodies {
		d.Emit(event.Event{Seq: uint64(i + 1), Time: time.Unix(0, 0).Add(time.Duration(i) * 600 * time.Millisecond), Body: b})
	}
	d.Close()
	return out.String()
}

func TestPlain(t *testing.T) {
	want := `[RUN] lint (process)
lint | fine
[RUN] build (container)
build: pulling golang:1.26, 2 B
build | compiling
lint | no end
[OK] lint (0.1s)
warning: build: slow \x1b]0;x\adisk
[OK] build (45s) - cache miss (inputs changed: src/main.js)
[RUN] test (process)
test | --- FAIL: TestX
[FAIL] test (2.0s) - exit code 7
[SKIP] deploy - it needs test
4 steps: 2 ok, 1 failed, 1 skipped (47s)
`
	if diff := cmp.Diff(want, draw(t, display.Plain, aRun())); diff != "" {
		t.Errorf("plain lines differ (-want +got):\n%s", diff)
	}
}

// TestPlainTellsWhatTheCacheDid: a step that did not run leaves one line, and
// its log where that is shown again.
func TestPlainTellsWhatTheCacheDid(t *testing.T) {
	got := draw(t, display.Plain, []event.Body{
		event.RunStarted{Steps: []string{"a", "b", "c", "d"}},
		event.StepStarted{Step: "a", Isolation: "process"},
		event.StepProgress{Step: "a", Doing: "hashing inputs"},
		event.StepFinished{Step: "a", Status: "succeeded", Cache: "hit", Duration: 100 * time.Millisecond},
		event.StepStarted{Step: "b", Isolation: "process"},
		event.StepLog{Step: "b", Stream: event.LogStream, Data: "as it was\nno end"},
		event.StepFinished{Step: "b", Status: "succeeded", Cache: "hit"},
		event.StepStarted{Step: "c", Isolation: "process"},
		event.StepProgress{Step: "c", Doing: "running"},
		event.StepFinished{Step: "c", Status: "succeeded", Cache: "off", Reason: "cache off"},
		event.StepStarted{Step: "d", Isolation: "process"},
		event.StepFinished{Step: "d", Status: "succeeded", Cache: "miss", Reason: "inputs changed: \x1b[31mred\x1b[0m.js"},
		event.RunFinished{Status: "succeeded"},
	})
	want := `[OK] a (0.1s) - cache hit
b | as it was
b | no end
[OK] b (0.0s) - cache hit
[RUN] c (process)
[OK] c (0.0s) - cache miss (cache off)
[OK] d (0.0s) - cache miss (inputs changed: \x1b[31mred\x1b[0m.js)
4 steps: 4 ok (0.0s)
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("plain lines differ (-want +got):\n%s", diff)
	}
}

func TestQuiet(t *testing.T) {
	want := `warning: build: slow \x1b]0;x\adisk
--- the log of test
--- FAIL: TestX
---
`
	if diff := cmp.Diff(want, draw(t, display.Quiet, aRun())); diff != "" {
		t.Errorf("quiet lines differ (-want +got):\n%s", diff)
	}
}

// found is what was found out about a step in every way.
func found(cache string, traced bool) event.StepFinished {
	return event.StepFinished{Step: "s", Status: "succeeded", Cache: cache, Findings: &event.Findings{
		Traced: traced, Read: []string{"a", "b", "c", "d"}, Programs: []string{"/bin/sh"},
		Missing: []string{"1", "2", "3", "4", "5", "6"}, MissingPrograms: []string{"pandoc"}, Unread: []string{"in"}, Unseen: []string{"of this"},
		Unexpected: []string{"x\ny\x1b[31m"}, Modified: []string{"m"}, Reproduction: "identical", Varied: []string{"clock", "path"},
	}}
}

func TestFindings(t *testing.T) {
	const always = `     read without declaring it, and runs again when it changes: a, b, c, d
     wrote outside its outputs, which is not kept: "x\ny\x1b[31m"
     changed its inputs, which is not kept: m
`
	const asked = `     looked for and did not find: 1, 2, 3 and 3 more
     programs that it looked for and did not find: pandoc
     declared and never opened: in
     executed: /bin/sh
     there may be more, because: of this
`
	const twice = "     run twice: identical; in the second run differed: clock, path\n"
	for _, tt := range []struct {
		name string
		mode display.Mode
		what event.StepFinished
		want string
	}{
		{"a step that ran", display.Plain, found("miss", false), "[OK] s (0.0s) - cache miss\n" + always + twice},
		{"traced", display.Plain, found("miss", true), "[OK] s (0.0s) - cache miss\n" + always + asked + twice},
		{"a hit", display.Plain, found("hit", false), "[OK] s (0.0s) - cache hit\n"},
		{"a traced hit", display.Plain, found("hit", true), "[OK] s (0.0s) - cache hit\n" + always + asked + twice},
		{"quiet", display.Quiet, found("off", true), strings.ReplaceAll(always+asked, "     ", "warning: s: ")},
		{"quiet and a hit", display.Quiet, found("hit", false), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, draw(t, tt.mode, []event.Body{tt.what})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestQuietShowsTheEndOfALongLog(t *testing.T) {
	got := draw(t, display.Quiet, []event.Body{
		event.StepStarted{Step: "test"},
		event.StepLog{Step: "test", Stream: "stdout", Data: strings.Repeat("x\n", 100) + "the last\n"},
		event.StepFinished{Step: "test", Status: "failed", ExitCode: 1},
	})
	if !strings.HasPrefix(got, "--- the last 30 lines of test\n") || strings.Count(got, "\n") != 32 ||
		!strings.Contains(got, "the last\n---\n") {
		t.Errorf("got %q", got)
	}
}

func TestJSONIsOneObjectPerLine(t *testing.T) {
	got := draw(t, display.JSON, aRun())
	lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
	if len(lines) != len(aRun()) {
		t.Fatalf("%d lines for %d events", len(lines), len(aRun()))
	}
	if !strings.Contains(lines[15], `"type":"step.finished"`) || !strings.Contains(lines[15], `"error":"exit code 7"`) {
		t.Errorf("line 16 is %s", lines[15])
	}
	if strings.Contains(got, "\x1b") {
		t.Error("an escape character reached the output")
	}
}

func TestAutoIsPlainWhereThereIsNoTerminal(t *testing.T) {
	for _, mode := range []display.Mode{"", display.Auto, display.TTY} {
		if got := draw(t, mode, aRun()); got != draw(t, display.Plain, aRun()) {
			t.Errorf("mode %q is not plain:\n%s", mode, got)
		}
	}
}

func TestManyUnfinishedBytesAreNotHeld(t *testing.T) {
	var out bytes.Buffer
	d := display.New(t.Context(), display.Options{Mode: display.Plain, Out: &out})
	for range 100 {
		d.Emit(event.Event{Body: event.StepLog{Step: "s", Stream: "stdout", Data: strings.Repeat("x", 1000)}})
	}
	if out.Len() < 60_000 {
		t.Errorf("only %d of 100000 bytes were written before the line ended", out.Len())
	}
	d.Close()
}
