// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
	"go.yaml.in/yaml/v4/plugin/loaderlimits"

	"github.com/attest-pipeline/attest/frontend/source"
)

// Bounds on the document, so that a hostile one costs no more than an honest
// one of 100,000 steps.
const (
	maxDepth = 50
	// maxMarks is held, before parsing, against the characters that can begin a
	// value: a parsed value is a hundred times the size of its text.
	maxMarks = 2_000_000
	// maxValues bounds the values that are read, those behind aliases as often
	// as they are referred to.
	maxValues = 3_000_000
)

// document parses the file's text as one YAML document and returns its root,
// or nil after it has reported what is wrong.
func (p *parser) document() *yaml.Node {
	if !p.plainText() {
		return nil
	}
	loader, err := yaml.NewLoader(bytes.NewReader(p.file.Data), yaml.WithV4Defaults(), yaml.WithUniqueKeys(false),
		yaml.WithPlugin(loaderlimits.New(loaderlimits.DepthValue(maxDepth), loaderlimits.AliasNone())))
	if err != nil {
		p.whole("the file cannot be parsed: " + err.Error())
		return nil
	}
	var doc, second yaml.Node
	switch err := loader.Load(&doc); {
	case errors.Is(err, io.EOF):
		p.whole("the file is empty", `write at least version: "0.1", a name and steps`)
		return nil
	case err != nil:
		p.syntax(err)
		return nil
	}
	switch err := loader.Load(&second); {
	case err == nil:
		p.report(source.Pos{File: p.file.Name, Line: second.Line, Column: second.Column},
			"a second document begins here", "one file is one pipeline: remove the --- line")
		return nil
	case !errors.Is(err, io.EOF):
		p.syntax(err)
		return nil
	}
	return doc.Content[0] // a document is one value, null where nothing is written
}

// plainText reports the first byte that no attest.yaml holds. Besides keeping
// binary data from the YAML parser, it leaves "\n" as the only end of a line,
// so that the parser, this package and every editor count lines alike.
func (p *parser) plainText() bool {
	data := p.file.Data
	if len(data) > MaxSize {
		p.whole(fmt.Sprintf("the file is larger than %d MiB", MaxSize>>20))
		return false
	}
	marks, line, start := 0, 1, 0
	for i := 0; i < len(data); {
		r, size := rune(data[i]), 1
		if r >= utf8.RuneSelf {
			r, size = utf8.DecodeRune(data[i:])
		}
		if what := foreign(r, size, data[i:]); what != "" {
			column := utf8.RuneCount(bytes.TrimPrefix(data[start:i], []byte("\uFEFF"))) + 1
			p.report(source.Pos{File: p.file.Name, Line: line, Column: column}, what, "an attest.yaml is plain UTF-8 text")
			return false
		}
		switch r {
		case '\n':
			line, start = line+1, i+1
		case ',', ':', '[', '{', '&', '*':
			marks++
		case '-', '?':
			if i+1 < len(data) && (data[i+1] == ' ' || data[i+1] == '\n' || data[i+1] == '\r') {
				marks++
			}
		}
		i += size
	}
	if marks > maxMarks {
		p.whole(fmt.Sprintf("the file holds more than %d values", maxMarks))
		return false
	}
	return true
}

// foreign says what is wrong with a character, empty for nothing. rest begins
// with it.
func foreign(r rune, size int, rest []byte) string {
	switch {
	case r == utf8.RuneError && size == 1:
		return "not UTF-8 text"
	case r == '\r' && !bytes.HasPrefix(rest, []byte("\r\n")):
		return "a carriage return without a line feed"
	case r < ' ' && r != '\n' && r != '\r' && r != '\t', 0x7f <= r && r < 0xa0, r == 0x2028, r == 0x2029, r == 0xfffe, r == 0xffff:
		return fmt.Sprintf("a control character, %U", r)
	}
	return ""
}

// syntax reports an error of the YAML parser.
func (p *parser) syntax(err error) {
	var load *yaml.LoadError
	if !errors.As(err, &load) {
		p.whole("the file is not YAML: " + oneLine(err.Error()))
		return
	}
	place := source.Pos{File: p.file.Name, Line: load.Mark.Line, Column: load.Mark.Column}
	if opened := load.ContextMark; opened.Line > 0 && (place.Line == 0 || strings.Contains(load.Message, "end of stream")) {
		place.Line, place.Column = opened.Line, opened.Column
	}
	msg := "not YAML: " + oneLine(load.Message)
	if load.ContextMsg != "" {
		msg += " " + oneLine(load.ContextMsg)
	}
	if place.Line == 0 {
		p.whole(msg)
		return
	}
	place.Column = max(place.Column, 1)
	p.report(place, msg, p.syntaxHints(place, load.Message)...)
}

func (p *parser) syntaxHints(place source.Pos, msg string) []string {
	raw := rawLine(p.file.Data, place.Line)
	switch {
	case strings.HasPrefix(strings.TrimLeft(raw, " "), "\t"):
		return []string{"indent with spaces: YAML does not take tabs"}
	case strings.Contains(msg, "mapping values are not allowed"):
		return []string{"put a value that holds a colon and a space in quotes"}
	case strings.Contains(msg, "cannot start any token"):
		return []string{"put a value that begins with this character in quotes"}
	case strings.Contains(msg, "max depth"):
		return []string{fmt.Sprintf("an attest.yaml nests no deeper than %d levels", maxDepth)}
	}
	return nil
}

func rawLine(data []byte, n int) string {
	for ; n > 1; n-- {
		_, data, _ = bytes.Cut(data, []byte("\n"))
	}
	line, _, _ := bytes.Cut(data, []byte("\n"))
	return string(line)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
