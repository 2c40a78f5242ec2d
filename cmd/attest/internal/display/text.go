// SPDX-License-Identifier: Apache-2.0

package display

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Clean returns one line of a step's output without terminal escapes, control
// characters and characters that reorder text, tabs widened. What a carriage
// return overwrote is dropped, as a terminal would have shown it.
func Clean(line string) string {
	line = strings.TrimRight(line, "\r\n")
	if i := strings.LastIndexByte(line, '\r'); i >= 0 {
		line = line[i+1:]
	}
	var b strings.Builder
	for line != "" {
		if n := escape(line); n > 0 {
			line = line[n:]
			continue
		}
		r, size := utf8.DecodeRuneInString(line)
		line = line[size:]
		switch {
		case r == '\t':
			b.WriteString("    ")
		case r == utf8.RuneError && size == 1:
			b.WriteRune(utf8.RuneError)
		case unicode.IsControl(r), reorders(r):
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// Message returns one line of a message in which names and what programs said may
// stand. What [Clean] drops of a step's output is shown here, as in a Go string: a
// message that lacks a part of a name is about another file.
func Message(line string) string {
	line = strings.TrimRight(line, "\r\n")
	var b strings.Builder
	for line != "" {
		r, size := utf8.DecodeRuneInString(line)
		switch {
		case r == '\t':
			b.WriteString("    ")
		case r == utf8.RuneError && size == 1, unicode.IsControl(r), reorders(r):
			quoted := strconv.Quote(line[:size])
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteString(line[:size])
		}
		line = line[size:]
	}
	return b.String()
}

// reorders reports whether r changes the direction of what is around it.
func reorders(r rune) bool {
	return unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// escape returns the length of the ECMA-48 escape sequence that s begins with,
// 0 where it begins with none. One that never ends takes the rest of s.
func escape(s string) int {
	if s[0] != 0x1b {
		return 0
	}
	if len(s) == 1 {
		return 1
	}
	switch s[1] {
	case '[': // CSI: parameters, intermediates, one final byte
		for i := 2; i < len(s); i++ {
			if s[i] >= 0x40 && s[i] <= 0x7e {
				return i + 1
			}
		}
		return len(s)
	case ']', 'P', 'X', '^', '_': // OSC, DCS, SOS, PM, APC: until BEL or ST
		for i := 2; i < len(s); i++ {
			if s[i] == 0x07 {
				return i + 1
			}
			if s[i] == 0x1b && i+1 < len(s) && s[i+1] == '\\' {
				return i + 2
			}
		}
		return len(s)
	case '(', ')', '*', '+', '#', ' ', '%': // one more byte
		return min(3, len(s))
	}
	return 2
}

// Duration returns d as people read it: 0.1s, 45s, 2m07s, 1h02m.
func Duration(d time.Duration) string {
	switch {
	case d < 9950*time.Millisecond:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d.Round(time.Second) < time.Minute:
		return fmt.Sprintf("%ds", d.Round(time.Second)/time.Second)
	case d.Round(time.Second) < time.Hour:
		d = d.Round(time.Second)
		return fmt.Sprintf("%dm%02ds", d/time.Minute, d%time.Minute/time.Second)
	default:
		d = d.Round(time.Minute)
		return fmt.Sprintf("%dh%02dm", d/time.Hour, d%time.Hour/time.Minute)
	}
}

// Size returns a count of bytes as people read it.
func Size(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1_000_000:
		return fmt.Sprintf("%.0f kB", float64(n)/1e3)
	case n < 1_000_000_000:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	default:
		return fmt.Sprintf("%.2f GB", float64(n)/1e9)
	}
}

// maxPartial bounds how much of a line that never ends is held.
const maxPartial = 16 << 10

// splitter cuts the pieces of one stream into lines.
type splitter struct{ partial []byte }

// lines returns the lines that data completes, cleaned.
func (s *splitter) lines(data string) []string {
	var out []string
	for {
		i := strings.IndexByte(data, '\n')
		if i < 0 {
			break
		}
		out = append(out, Clean(string(s.partial)+data[:i]))
		s.partial, data = s.partial[:0], data[i+1:]
	}
	s.partial = append(s.partial, data...)
	if len(s.partial) > maxPartial {
		out = append(out, s.rest()...)
	}
	return out
}

// rest returns what never got its line end.
func (s *splitter) rest() []string {
	if len(s.partial) == 0 {
		return nil
	}
	line := Clean(string(s.partial))
	s.partial = s.partial[:0]
	return []string{line}
}
