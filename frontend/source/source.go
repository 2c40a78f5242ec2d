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
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// File is the name and the bytes of what was read.
type File struct {
	// Name is how the user named the file; it is printed, not opened.
	Name string
	Data []byte
}

// Pos is a place in a file. Line and Column count from 1, Column in Unicode
// code points; a byte order mark at the start of the file is not counted. The
// zero Pos is no place.
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

// Line returns the text of a line, counted from 1, without its ending; empty
// where there is no such line. What a terminal would not show as one character
// (control and formatting characters, bytes that are no UTF-8) is replaced, one
// character for one; what lies beyond 64 KiB is left out.
//
// It reads the file from its start: see [File.Annotate] for many lines.
func (f *File) Line(n int) string {
	if n < 1 {
		return ""
	}
	c := f.lines()
	return c.line(n)
}

// Annotate sets the Snippet of every error that has a place in this file and
// no snippet yet, reading the file once.
func (f *File) Annotate(errs []*Error) {
	todo := make([]*Error, 0, len(errs))
	for _, e := range errs {
		if e.Snippet == "" && !e.Pos.IsZero() && e.Pos.File == f.Name {
			todo = append(todo, e)
		}
	}
	slices.SortStableFunc(todo, byPlace)
	c := f.lines()
	for _, e := range todo {
		e.Snippet = c.line(e.Pos.Line)
	}
}

// lines is a place in a file that only moves on.
type lines struct {
	n    int    // number of the line at the start of rest
	rest []byte // nil after the last line
}

const byteOrderMark = "\uFEFF"

func (f *File) lines() lines {
	return lines{n: 1, rest: bytes.TrimPrefix(f.Data, []byte(byteOrderMark))}
}

// line returns line n, which must not be before the last one asked for.
func (l *lines) line(n int) string {
	for ; l.n < n; l.n++ {
		_, l.rest, _ = bytes.Cut(l.rest, []byte("\n"))
	}
	text := l.rest[:min(len(l.rest), maxLine)]
	if i := bytes.IndexByte(text, '\n'); i >= 0 {
		text = text[:i]
	}
	return printable(string(bytes.TrimSuffix(text, []byte("\r"))))
}

// maxLine bounds how many bytes of a line are kept.
const maxLine = 64 << 10

// printable keeps a line from moving the cursor, changing colours or running
// from right to left on the reader's terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\t':
			return ' '
		case r == utf8.RuneError, unicode.Is(unicode.C, r), r == '\u2028', r == '\u2029':
			return utf8.RuneError
		}
		return r
	}, s)
}
