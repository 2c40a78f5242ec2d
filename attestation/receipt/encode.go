// SPDX-License-Identifier: Apache-2.0

package receipt

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Marshal returns the document as YAML, in the one spelling that FORMAT.md gives
// it. It rounds durations to milliseconds and the timestamp down to seconds.
// Facts that FORMAT.md does not allow are errors that match [ErrInvalid].
func Marshal(r *Receipt) ([]byte, error) {
	if err := check(r); err != nil {
		return nil, err
	}
	return encode(documentOf(r)), nil
}

func encode(d *document) []byte {
	e := encoder{layouts: layouts{}}
	e.block(reflect.ValueOf(d).Elem(), "", "")
	return e.Bytes()
}

// encoder writes the YAML subset of FORMAT.md.
type encoder struct {
	bytes.Buffer
	layouts
}

// block writes a map with one key a line. first opens the first line and indent
// every other: they differ for an item of a list.
func (e *encoder) block(v reflect.Value, first, indent string) {
	for i, f := range e.of(v.Type()) {
		field := v.Field(i)
		if f.optional && empty(field) {
			continue
		}
		e.WriteString(first + f.key + ":")
		first = indent
		switch f.style {
		case "block", "rows":
			e.WriteByte('\n')
			e.list(field, f.style, indent)
		case "map":
			e.WriteByte('\n')
			e.block(field.Elem(), indent+"  ", indent+"  ")
		default:
			e.WriteByte(' ')
			e.inline(field, f.style)
			e.WriteByte('\n')
		}
	}
}

func (e *encoder) list(v reflect.Value, style, indent string) {
	for i := range v.Len() {
		if style == "block" {
			e.block(v.Index(i), indent+"  - ", indent+"    ")
			continue
		}
		e.WriteString(indent + "  - ")
		e.inline(v.Index(i), "")
		e.WriteByte('\n')
	}
}

// inline writes a value on the rest of a line.
func (e *encoder) inline(v reflect.Value, style string) {
	switch v.Kind() {
	case reflect.String:
		e.text(v.String(), style)
	case reflect.Int64: // seconds
		e.WriteString(seconds(v.Int()).String())
	case reflect.Int:
		e.WriteString(strconv.FormatInt(v.Int(), 10))
	case reflect.Uint64: // an offset
		e.WriteString(strconv.FormatUint(v.Uint(), 10))
	case reflect.Bool:
		e.WriteString(strconv.FormatBool(v.Bool()))
	case reflect.Pointer:
		e.inline(v.Elem(), style)
	case reflect.Slice:
		e.flow("[", v.Len(), "]", func(i int) { e.text(v.Index(i).String(), style) })
	case reflect.Map:
		m := v.Interface().(map[string]string)
		keys := slices.Sorted(maps.Keys(m))
		e.flow("{", len(keys), "}", func(i int) {
			e.text(keys[i], style)
			e.WriteString(": ")
			e.text(m[keys[i]], style)
		})
	case reflect.Struct:
		e.flowStruct(v)
	}
}

func (e *encoder) flowStruct(v reflect.Value) {
	open := "{"
	for i, f := range e.of(v.Type()) {
		if f.optional && empty(v.Field(i)) {
			continue
		}
		e.WriteString(open + f.key + ": ")
		open = ", "
		e.inline(v.Field(i), f.style)
	}
	e.WriteByte('}')
}

func (e *encoder) flow(open string, n int, end string, item func(int)) {
	e.WriteString(open)
	for i := range n {
		if i > 0 {
			e.WriteString(", ")
		}
		item(i)
	}
	e.WriteString(end)
}

func (e *encoder) text(s, style string) {
	if style == "word" && isWord(s) {
		e.WriteString(s)
		return
	}
	e.WriteByte('"')
	start := 0
	for i, r := range s {
		if !needsEscape(r) {
			continue
		}
		e.WriteString(s[start:i])
		start = i + len(string(r))
		switch r {
		case '"', '\\':
			e.WriteByte('\\')
			e.WriteByte(byte(r))
		case '\n':
			e.WriteString(`\n`)
		case '\r':
			e.WriteString(`\r`)
		case '\t':
			e.WriteString(`\t`)
		default:
			fmt.Fprintf(e, `\u%04x`, r)
		}
	}
	e.WriteString(s[start:])
	e.WriteByte('"')
}

// needsEscape says which characters a quoted string does not hold as they are:
// those that end it, that YAML forbids, and that a terminal or an editor would
// act upon or hide instead of showing. All are below U+10000.
func needsEscape(r rune) bool {
	switch {
	case r < 0x20, r == '"', r == '\\',
		r >= 0x7f && r <= 0x9f, // control characters
		r == 0xad, r == 0x61c,  // soft hyphen, Arabic letter mark
		r >= 0x200b && r <= 0x200f, // invisible, and direction marks
		r >= 0x2028 && r <= 0x202e, // line separators, direction overrides
		r >= 0x2060 && r <= 0x206f, // invisible, and direction isolates
		r == 0xfeff,                // byte order mark
		r >= 0xfff0 && r <= 0xfffb, // specials
		r == 0xfffe, r == 0xffff:   // no characters
		return true
	}
	return false
}

// isWord reports whether s can stand without quotes: such words mean themselves
// to every YAML reader, 1.1 and 1.2.
func isWord(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789./-", rune(c))) {
			return false
		}
	}
	switch strings.ToLower(s) {
	case "", "true", "false", "null", "yes", "no", "on", "off", "y", "n":
		return false
	}
	return true
}

func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	default:
		return v.IsZero()
	}
}
