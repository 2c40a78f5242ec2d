// SPDX-License-Identifier: Apache-2.0

package display_test

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/attest-pipeline/attest/cmd/attest/internal/display"
)

func TestClean(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain", "hello", "hello"},
		{"line end", "hello\r\n", "hello"},
		{"colour", "\x1b[1;31mred\x1b[0m", "red"},
		{"title", "a\x1b]0;owned\x07b", "ab"},
		{"title, other end", "a\x1b]0;owned\x1b\\b", "ab"},
		{"hyperlink", "\x1b]8;;http://x\x1b\\text\x1b]8;;\x1b\\", "text"},
		{"device control", "a\x1bPq#0\x1b\\b", "ab"},
		{"clear screen", "\x1b[2J\x1b[Hx", "x"},
		{"character set", "\x1b(0x", "x"},
		{"alone", "x\x1b", "x"},
		{"unfinished", "x\x1b[31", "x"},
		{"unfinished title", "x\x1b]0;never ends", "x"},
		{"overwritten", "10%\r100%", "100%"},
		{"bell and backspace", "a\a\bb", "ab"},
		{"C1 control", "a\u009b31mb", "a31mb"},
		{"tab", "a\tb", "a    b"},
		{"right to left override", "a\u202eb\u2066c", "abc"},
		{"line separator", "a\u2028b", "ab"},
		{"not UTF-8", "a\xffb", "a\uFFFDb"},
		{"unicode", "żółć 漢字 🎉", "żółć 漢字 🎉"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := display.Clean(c.in); got != c.want {
				t.Errorf("Clean(%q) = %q, want %q", c.in, got, c.want)
			}
		})
	}
}

func TestMessage(t *testing.T) {
	for in, want := range map[string]string{
		"input żółć: changed\n":              "input żółć: changed",
		"a\tb":                               "a    b",
		"\x1b[31mred\x1b[0m":                 `\x1b[31mred\x1b[0m`,
		"input \x01: new":                    `input \x01: new`,
		"10%\r100%":                          `10%\r100%`,
		"a\u009b31m \u202eb\u2028 \xff \x7f": `a\u009b31m \u202eb\u2028 \xff \x7f`,
	} {
		if got := display.Message(in); got != want {
			t.Errorf("Message(%q) = %s, want %s", in, got, want)
		}
	}
}

func FuzzMessage(f *testing.F) {
	f.Add("\x1b[31mred\x1b]0;t\x07\x1bP\x1b\\")
	f.Fuzz(func(t *testing.T, s string) {
		got := display.Message(strings.ReplaceAll(s, "\n", ""))
		if i := strings.IndexFunc(got, unicode.IsControl); i >= 0 || !utf8.ValidString(got) {
			t.Errorf("Message(%q) = %q has a control character at %d", s, got, i)
		}
	})
}

func FuzzClean(f *testing.F) {
	f.Add("\x1b[31mred\x1b]0;t\x07\x1bP\x1b\\")
	f.Fuzz(func(t *testing.T, s string) {
		got := display.Clean(strings.ReplaceAll(s, "\n", ""))
		if i := strings.IndexFunc(got, unicode.IsControl); i >= 0 {
			t.Errorf("Clean(%q) = %q has a control character at %d", s, got, i)
		}
	})
}

func TestDuration(t *testing.T) {
	for in, want := range map[time.Duration]string{
		0:                           "0.0s",
		100 * time.Millisecond:      "0.1s",
		9949 * time.Millisecond:     "9.9s",
		9950 * time.Millisecond:     "10s",
		45 * time.Second:            "45s",
		59_600 * time.Millisecond:   "1m00s",
		127 * time.Second:           "2m07s",
		3599_700 * time.Millisecond: "1h00m",
		62 * time.Minute:            "1h02m",
	} {
		if got := display.Duration(in); got != want {
			t.Errorf("Duration(%v) = %q, want %q", in, got, want)
		}
	}
}
