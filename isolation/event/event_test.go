// SPDX-License-Identifier: Apache-2.0

package event_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/isolation/event"
)

// one has every type of event, and text that is awkward in JSON.
func one() []event.Body {
	return []event.Body{
		event.RunStarted{Pipeline: "demo", Steps: []string{"build", "tëst"}, Jobs: 2},
		event.StepStarted{Step: "build", Isolation: "process"},
		event.StepProgress{Step: "build", Doing: "hashing inputs"},
		event.StepProgress{Step: "build", Doing: "hashing inputs", Current: 3, Total: 7, Unit: "files"},
		event.StepLog{Step: "build", Stream: "stdout", Data: "a <b> & \"c\"\n"},
		event.StepLog{Step: "build", Stream: "stderr", Data: "\x1b[31mred\x1b[0m \xff\x00\u2028\n"},
		event.StepLog{Step: "build", Stream: "stdout", Data: "\u009b2J \x7f \u202egnp.exe\u2066\u061c \ufffd\n"},
		event.Warning{Message: "of the run"},
		event.Warning{Step: "build", Message: "of a step"},
		event.StepFinished{Step: "build", Status: "failed", Cache: "off", ExitCode: 3,
			Duration: 1500 * time.Millisecond, Err: errors.New("exit code 3")},
		event.StepFinished{Step: "tëst", Status: "succeeded", Cache: "miss", Reason: "first run"},
		event.RunFinished{Status: "failed", Duration: 2 * time.Second},
	}
}

func TestLinesAreStable(t *testing.T) {
	var out bytes.Buffer
	lines := event.NewLines(&out)
	zone := time.FixedZone("somewhere", 3600)
	at := time.Date(2026, 12, 1, 14, 30, 52, 5000, zone)
	rec := event.NewRecorder(lines, func() time.Time { return at })
	for _, b := range one() {
		rec.Record(b)
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	golden := filepath.Join("testdata", "events.jsonl")
	if os.Getenv("ATTEST_UPDATE") != "" {
		if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("the JSON of events is a public format; it changed (-want +got):\n%s", diff)
	}
	for _, line := range bytes.Split(bytes.TrimSpace(out.Bytes()), []byte("\n")) {
		if !json.Valid(line) {
			t.Errorf("not JSON: %s", line)
		}
		if i := bytes.IndexFunc(line, func(r rune) bool { return unicode.In(r, unicode.Cc, unicode.Bidi_Control) }); i >= 0 {
			t.Errorf("a terminal would obey byte %d of %s", i, line)
		}
	}
}

func TestMarshalLosesNothing(t *testing.T) {
	var every []rune
	for r := rune(0); r <= 0x2100; r++ {
		every = append(every, r)
	}
	want := map[string]string{"a\u009b": string(every) + "\U0001F600", "b": `\u009b <&> "`}
	text, err := event.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]string
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRecorderNumbersWithoutGaps(t *testing.T) {
	const goroutines, each = 8, 200
	var got []event.Event // without a lock: the recorder promises one at a time
	rec := event.NewRecorder(event.SinkFunc(func(e event.Event) {
		before := got
		runtime.Gosched() // whoever else is let in now is lost below
		got = append(before, e)
	}), nil)
	var group sync.WaitGroup
	for g := range goroutines {
		group.Go(func() {
			for i := range each {
				rec.Record(event.StepProgress{Step: string(rune('a' + g)), Current: int64(i)})
			}
		})
	}
	group.Wait()
	if len(got) != goroutines*each {
		t.Fatalf("got %d events, want %d", len(got), goroutines*each)
	}
	next := map[string]int64{}
	for i, e := range got {
		if e.Seq != uint64(i+1) {
			t.Fatalf("event %d has seq %d", i+1, e.Seq)
		}
		if e.Time.IsZero() {
			t.Fatalf("event %d has no time", e.Seq)
		}
		p := e.Body.(event.StepProgress)
		if p.Current != next[p.Step] {
			t.Fatalf("step %s: event %d came when %d was due", p.Step, p.Current, next[p.Step])
		}
		next[p.Step]++
	}
}

func TestTeeKeepsTheOrder(t *testing.T) {
	var got []string
	sink := func(name string) event.Sink {
		return event.SinkFunc(func(e event.Event) { got = append(got, name+e.Body.Type()) })
	}
	rec := event.NewRecorder(event.Tee(sink("a:"), sink("b:")), nil)
	rec.Record(event.RunStarted{})
	rec.Record(event.RunFinished{})
	want := []string{"a:run.started", "b:run.started", "a:run.finished", "b:run.finished"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestRecorderWithoutSink(t *testing.T) {
	event.NewRecorder(nil, nil).Record(event.RunStarted{})
}

// full fails from its second write on, as a full disk or a closed pipe does.
type full struct{ writes int }

var errFull = errors.New("no space left")

func (f *full) Write(p []byte) (int, error) {
	f.writes++
	if f.writes > 1 {
		return 0, errFull
	}
	return len(p), nil
}

func TestLinesStopAtTheFirstError(t *testing.T) {
	w := &full{}
	lines := event.NewLines(w)
	for range 5 {
		lines.Emit(event.Event{Seq: 1, Body: event.Warning{Message: "x"}})
	}
	if !errors.Is(lines.Err(), errFull) {
		t.Errorf("Err is %v, want %v", lines.Err(), errFull)
	}
	if w.writes != 2 {
		t.Errorf("%d writes, want 2: nothing is written after an error", w.writes)
	}
}

func TestEventWithoutBodyIsAnError(t *testing.T) {
	if _, err := json.Marshal(event.Event{Seq: 1}); err == nil {
		t.Error("an event without a body was encoded")
	}
}
