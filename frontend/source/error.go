// SPDX-License-Identifier: Apache-2.0

package source

import (
	"cmp"
	"errors"
	"slices"
	"strings"
)

// Error is one thing that is wrong at one place, with ways out.
type Error struct {
	Pos Pos
	// Snippet is the text of the line at Pos; empty where there is none.
	Snippet string
	// Msg is the complaint: lower case, one line.
	Msg string
	// Hints are what the user can do about it, each a line.
	Hints []string
	// Err is a sentinel to branch on, or the cause; may be nil.
	Err error
}

// Error returns "file:line:column: complaint", without hints.
func (e *Error) Error() string {
	if e.Pos.File == "" {
		return e.Msg
	}
	return e.Pos.String() + ": " + e.Msg
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// window is how many characters of a line Caret shows, and lead how many of
// them at least stand before the column, should the line be longer.
const window, lead = 100, 40

// Caret returns the snippet with a line under it that points at the column. Of
// a long line it returns the part around the column. Empty where there is no
// snippet, or it does not reach the column.
func (e *Error) Caret() string {
	line := []rune(e.Snippet)
	at := e.Pos.Column - 1
	if len(line) == 0 || at < 0 || at > len(line) {
		return ""
	}
	from, before, after := 0, "", ""
	if len(line) > window {
		from = max(0, min(at-lead, len(line)-window))
		line = line[from:min(len(line), from+window)]
		if from > 0 {
			before = "..."
		}
		if from+window < len([]rune(e.Snippet)) {
			after = "..."
		}
	}
	return before + string(line) + after + "\n" + strings.Repeat(" ", len(before)+at-from) + "^"
}

// byPlace orders errors by line and column; those without a place come last.
func byPlace(a, b *Error) int {
	if a.Pos.IsZero() != b.Pos.IsZero() {
		if a.Pos.IsZero() {
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Column, b.Pos.Column))
}

// Join returns the errors as one, ordered by place, those without a place
// last; nil when there are none. errors.As finds the first; [All] finds each.
func Join(errs []*Error) error {
	sorted := slices.Clone(errs)
	slices.SortStableFunc(sorted, byPlace)
	list := make([]error, len(sorted))
	for i, e := range sorted {
		list[i] = e
	}
	return errors.Join(list...)
}

// All returns every [Error] that err holds, in order.
func All(err error) []*Error {
	switch e := err.(type) { //nolint:errorlint // walking the tree by hand
	case nil:
		return nil
	case *Error:
		return []*Error{e}
	case interface{ Unwrap() []error }:
		var all []*Error
		for _, inner := range e.Unwrap() {
			all = append(all, All(inner)...)
		}
		return all
	case interface{ Unwrap() error }:
		return All(e.Unwrap())
	default:
		return nil
	}
}
