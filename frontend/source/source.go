// SPDX-License-Identifier: Apache-2.0

// Package source keeps the bytes of a file that a person wrote, and says where
// in them something is wrong.
//
// Start with [File] and [Error]. Everything that is wrong with an attest.yaml
// is an [Error]: a position, one line of complaint, and ways out. The printing
// of it is cmd's.
//
// Values of this package do not change after they were made and are safe for
// concurrent use.
package source

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// File is the name and the bytes of what was read.
type File struct {
	// Name is how the user named the file; it is printed, not opened.
	Name string
	Data []byte
}

// Pos is a place in a file. Line and Column count from 1, Column in Unicode
// code points. The zero Pos is no place.
type Pos struct {
	File         string
	Line, Column int
}

// IsZero reports whether p is no place.
func (p Pos) IsZero() bool { return p.Line == 0 }

// String returns "file:line:column", or the file alone where there is no line.
func (p Pos) String() string {
	if p.IsZero() {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Line returns the text of a line, counted from 1, without its ending and
// without control characters; empty where there is no such line.
func (f *File) Line(n int) string {
	rest := f.Data
	for ; n > 1 && len(rest) > 0; n-- {
		_, after, ok := strings.Cut(string(rest[:min(len(rest), maxLine)]), "\n")
		if !ok {
			i := slices.Index(rest, '\n')
			if i < 0 {
				return ""
			}
			rest = rest[i+1:]
			continue
		}
		rest = rest[min(len(rest), maxLine)-len(after):]
	}
	line, _, _ := strings.Cut(string(rest[:min(len(rest), maxLine)]), "\n")
	return printable(strings.TrimSuffix(line, "\r"))
}

// maxLine bounds how much of a line is shown.
const maxLine = 4096

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r == utf8.RuneError, r < ' ', r == 0x7f, r >= 0x80 && r < 0xa0:
			return '\uFFFD'
		}
		return r
	}, s)
}

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

// Caret returns the snippet with a line under it that points at the column;
// empty where there is no snippet.
func (e *Error) Caret() string {
	if e.Snippet == "" || e.Pos.Column < 1 {
		return ""
	}
	return e.Snippet + "\n" + strings.Repeat(" ", e.Pos.Column-1) + "^"
}

// Join returns the errors as one, ordered by place; nil when there are none.
// errors.As finds the first; [All] finds each.
func Join(errs []*Error) error {
	if len(errs) == 0 {
		return nil
	}
	sorted := slices.Clone(errs)
	slices.SortStableFunc(sorted, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Column, b.Pos.Column))
	})
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
