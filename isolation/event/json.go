// SPDX-License-Identifier: Apache-2.0

package event

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"unicode"
	"unicode/utf8"
)

// head is what every event has in JSON, before the fields of its body.
type head struct {
	Seq  uint64 `json:"seq"`
	Time string `json:"time"` // RFC 3339, UTC, nanoseconds
	Type string `json:"type"`
}

// timeFormat has a fixed width, so that lines stay aligned and sort as text.
const timeFormat = "2006-01-02T15:04:05.000000000Z07:00"

// MarshalJSON writes one object: seq, time, type, then the fields of the body.
// Text that is not UTF-8 has U+FFFD in place of what is not; the log file of a
// step has the very bytes.
func (e Event) MarshalJSON() ([]byte, error) {
	if e.Body == nil {
		return nil, errors.New("an event without a body")
	}
	front, err := Marshal(head{e.Seq, e.Time.UTC().Format(timeFormat), e.Body.Type()})
	if err != nil {
		return nil, err
	}
	fields, err := Marshal(e.Body)
	if err != nil {
		return nil, fmt.Errorf("encoding a %s event: %w", e.Body.Type(), err)
	}
	if len(fields) == len("{}") {
		return front, nil
	}
	return append(append(front[:len(front)-1], ','), fields[1:]...), nil
}

// MarshalJSON adds the text of Err as "error".
func (s StepFinished) MarshalJSON() ([]byte, error) {
	type plain StepFinished // without this method
	var text string
	if s.Err != nil {
		text = s.Err.Error()
	}
	return Marshal(struct {
		plain
		Error string `json:"error,omitempty"`
	}{plain(s), text})
}

// Marshal is json.Marshal for what may be shown on a terminal as it is: all control
// characters and those that change the direction of text are escaped, which every
// reader of JSON undoes; <, > and & are left as they are.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	text := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if bytes.IndexFunc(text, drives) < 0 {
		return text, nil
	}
	var safe []byte
	for _, r := range string(text) { // outside of strings JSON has none of these
		if drives(r) {
			safe = fmt.Appendf(safe, `\u%04x`, r)
		} else {
			safe = utf8.AppendRune(safe, r)
		}
	}
	return safe, nil
}

// drives reports whether a terminal may do something else with r than to show it.
// [json.Encoder] escapes the control characters below U+0020, and line separators.
func drives(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }

// Lines is a [Sink] that writes every event as one line of JSON. The first
// error ends the writing, and [Lines.Err] reports it: a run does not stop
// because nobody listens any more.
type Lines struct {
	w io.Writer

	mu  sync.Mutex
	err error
}

// NewLines returns a Lines that writes to w, one Write for each event.
func NewLines(w io.Writer) *Lines { return &Lines{w: w} }

// Emit writes e.
func (l *Lines) Emit(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	line, err := e.MarshalJSON()
	if err == nil {
		_, err = l.w.Write(append(line, '\n'))
	}
	l.err = err
}

// Err returns what ended the writing, nil while all is well. Safe for
// concurrent use.
func (l *Lines) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}
