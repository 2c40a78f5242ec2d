// SPDX-License-Identifier: Apache-2.0

package source_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/frontend/source"
)

func TestLine(t *testing.T) {
	f := &source.File{Name: "f", Data: []byte("\uFEFFone\r\n\ttwo\x1b[31m\n\nfo\xffur\u202e\nlast")}
	for n, want := range map[int]string{
		-1: "", 0: "", 1: "one", 2: " two\uFFFD[31m", 3: "", 4: "fo\uFFFDur\uFFFD", 5: "last", 6: "", 1000: "",
	} {
		if got := f.Line(n); got != want {
			t.Errorf("line %d is %q, want %q", n, got, want)
		}
	}
	long := &source.File{Data: []byte(strings.Repeat("x", 1<<20) + "\nnext")}
	if n := len(long.Line(1)); n != 64<<10 {
		t.Errorf("a long line has %d bytes", n)
	}
	if long.Line(2) != "next" {
		t.Errorf("behind a long line: %q", long.Line(2))
	}
	if got := (&source.File{}).Line(1); got != "" {
		t.Errorf("of an empty file: %q", got)
	}
}

func TestCaret(t *testing.T) {
	at := func(column int, line string) string {
		return (&source.Error{Pos: source.Pos{Line: 1, Column: column}, Snippet: line}).Caret()
	}
	for _, c := range []struct {
		column int
		line   string
		want   string
	}{
		{1, "abc", "abc\n^"},
		{3, "äöü", "äöü\n  ^"},
		{4, "abc", "abc\n   ^"},
		{5, "abc", ""},
		{0, "abc", ""},
		{1, "", ""},
	} {
		if got := at(c.column, c.line); got != c.want {
			t.Errorf("column %d of %q: %q", c.column, c.line, got)
		}
	}
	line := strings.Repeat("-", 500) + "!" + strings.Repeat("-", 500)
	for _, column := range []int{1, 40, 41, 90, 501, 950, 1001, 1002} {
		shown, under, _ := strings.Cut(at(column, line), "\n")
		arrow := strings.IndexByte(under, '^')
		if len(shown) > 110 || arrow < 0 || arrow > len(shown) {
			t.Fatalf("column %d: %q, %q", column, shown, under)
		}
		if column == 501 && shown[arrow] != '!' {
			t.Errorf("column %d points at %q", column, shown[arrow:])
		}
	}
}

func TestJoinAndAll(t *testing.T) {
	if source.Join(nil) != nil || source.All(nil) != nil {
		t.Error("no errors are an error")
	}
	sentinel := errors.New("sentinel")
	e := func(line, column int, msg string) *source.Error {
		return &source.Error{Pos: source.Pos{File: "f", Line: line, Column: column}, Msg: msg, Err: sentinel}
	}
	given := []*source.Error{{Pos: source.Pos{File: "f"}, Msg: "no place"}, e(2, 1, "c"), e(1, 9, "b"), e(1, 2, "a"), e(1, 2, "a2")}
	err := source.Join(given)
	if want := "f:1:2: a\nf:1:2: a2\nf:1:9: b\nf:2:1: c\nf: no place"; err.Error() != want {
		t.Errorf("got %q", err)
	}
	if given[0].Msg != "no place" {
		t.Error("the caller's slice was changed")
	}
	all := source.All(fmt.Errorf("reading: %w", errors.Join(err, errors.New("other"))))
	if len(all) != 5 || all[0].Msg != "a" || !errors.Is(err, sentinel) {
		t.Errorf("%v", all)
	}
	if got := (&source.Error{Msg: "alone"}).Error(); got != "alone" {
		t.Errorf("%q", got)
	}
}

// TestAnnotate wants the lines of many errors in little more time than one
// reading of the file takes.
func TestAnnotate(t *testing.T) {
	const n = 100_000
	var b strings.Builder
	var errs []*source.Error
	for i := range n {
		fmt.Fprintf(&b, "line %d\n", i+1)
		errs = append(errs, &source.Error{Pos: source.Pos{File: "f", Line: n - i, Column: 1}})
	}
	errs = append(errs, &source.Error{Pos: source.Pos{File: "g", Line: 1}}, &source.Error{Pos: source.Pos{File: "f", Line: 1}, Snippet: "kept"},
		&source.Error{Pos: source.Pos{File: "f", Line: n + 5}})
	f := &source.File{Name: "f", Data: []byte(b.String())}
	start := time.Now()
	f.Annotate(errs)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	for i := range n {
		if want := fmt.Sprintf("line %d", n-i); errs[i].Snippet != want {
			t.Fatalf("%q, want %q", errs[i].Snippet, want)
		}
	}
	if errs[n].Snippet != "" || errs[n+1].Snippet != "kept" || errs[n+2].Snippet != "" {
		t.Errorf("%q, %q, %q", errs[n].Snippet, errs[n+1].Snippet, errs[n+2].Snippet)
	}
}

func TestClosest(t *testing.T) {
	known := []string{"inputs", "outputs", "run", "", "env", "timeout_secs"}
	for word, want := range map[string]string{
		"output": "outputs", "otuputs": "outputs", "INPUTS": "inputs", "rnu": "run", "nev": "env", "timeout": "timeout_secs",
		"steps": "", "x": "", "": "", "zzzzzz": "", strings.Repeat("inputs", 50): "",
	} {
		got, ok := source.Closest(word, known)
		if got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", word, got, ok)
		}
	}
	if _, ok := source.Closest("a", make([]string, 10_001)); ok {
		t.Error("searched too many")
	}
}
