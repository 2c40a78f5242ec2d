// SPDX-License-Identifier: Apache-2.0

// Package declare writes into an attest.yaml what a step was seen to use, and
// leaves the rest of the file as it is, comments and layout included.
//
// Start with [Edit], which adds entries to the lists of a step, and [Fold], which
// makes few patterns of many files. What is to be declared is for the caller to
// know.
package declare

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
)

// Lists are entries of the lists of a step, as attest.yaml has them, without
// quotes.
type Lists struct {
	Inputs, Outputs, Needs []string
}

// ErrShape is matched by the error of [Edit] for a file in which the list to be
// changed is written in a way that only a person can change.
var ErrShape = errors.New("it has to be written by hand")

// Edit returns the text of an attest.yaml with entries added to the lists of a
// step, which are made where there are none. The text must be a valid attest.yaml
// that has the step. What comes back is for the caller to parse again: entries are
// not checked.
func Edit(text []byte, step string, add Lists) ([]byte, error) {
	for _, l := range []struct {
		key     string
		entries []string
	}{{"needs", add.Needs}, {"inputs", add.Inputs}, {"outputs", add.Outputs}} {
		if len(l.entries) == 0 {
			continue
		}
		e, err := open(text, step)
		if err == nil {
			text, err = e.add(l.key, l.entries)
		}
		if err != nil {
			return nil, fmt.Errorf("adding to the %s of step %s: %w", l.key, step, err)
		}
	}
	return text, nil
}

// edit is one change of the text.
type edit struct {
	text  []byte
	lines []int // where each begins
	eol   string
	step  *yaml.Node // the step's mapping
}

func open(text []byte, step string) (*edit, error) {
	var doc yaml.Node
	loader, err := yaml.NewLoader(bytes.NewReader(text), yaml.WithV4Defaults(), yaml.WithUniqueKeys(false))
	if err == nil {
		err = loader.Load(&doc)
	}
	if err != nil {
		return nil, err
	}
	e := &edit{text: text, lines: []int{0}, eol: "\n"}
	for i, c := range text {
		if c == '\n' {
			e.lines = append(e.lines, i+1)
		}
	}
	if bytes.Contains(text, []byte("\r\n")) {
		e.eol = "\r\n"
	}
	e.step = find(&doc, step)
	if e.step == nil {
		return nil, fmt.Errorf("%w: the step is not a mapping that stands in the list of steps", ErrShape)
	}
	return e, nil
}

// find returns the mapping of a step, nil where it is something else.
func find(doc *yaml.Node, step string) *yaml.Node {
	if len(doc.Content) != 1 {
		return nil
	}
	_, steps := value(doc.Content[0], "steps")
	switch {
	case steps == nil:
		return nil
	case steps.Kind == yaml.MappingNode:
		if _, found := value(steps, step); found != nil && found.Kind == yaml.MappingNode {
			return found
		}
	case steps.Kind == yaml.SequenceNode:
		for _, item := range steps.Content {
			if item.Kind != yaml.MappingNode {
				continue
			}
			if _, name := value(item, "name"); name != nil && name.Value == step {
				return item
			}
		}
	}
	return nil
}

// value returns the key and the value in a mapping; nil where there is none.
func value(m *yaml.Node, key string) (k, v *yaml.Node) {
	if m.Kind != yaml.MappingNode {
		return nil, nil
	}
	for i := 0; i+1 < len(m.Content); i += 2 {
		if m.Content[i].Value == key {
			return m.Content[i], m.Content[i+1]
		}
	}
	return nil, nil
}

// add adds entries to a list of the step.
func (e *edit) add(key string, entries []string) ([]byte, error) {
	quoted := make([]string, len(entries))
	for i, entry := range entries {
		quoted[i] = quote(entry)
	}
	_, list := value(e.step, key)
	flow := e.step.Style&yaml.FlowStyle != 0
	switch {
	case list == nil && flow:
		return e.insert(e.offset(e.step), ", "+key+": ["+strings.Join(quoted, ", ")+"]", '}')
	case list == nil:
		return e.addKey(key, quoted)
	case list.Kind != yaml.SequenceNode || list.Anchor != "":
		return nil, fmt.Errorf("%w: line %d holds an anchor or an alias", ErrShape, list.Line)
	case list.Style&yaml.FlowStyle != 0:
		lead := ", "
		if len(list.Content) == 0 {
			lead = ""
		}
		return e.insert(e.offset(list), lead+strings.Join(quoted, ", "), ']')
	}
	last := list.Content[len(list.Content)-1]
	if last.Kind != yaml.ScalarNode {
		return nil, fmt.Errorf("%w: line %d holds no plain entry", ErrShape, last.Line)
	}
	return e.after(e.lastLine(last.Line, list.Column), strings.Repeat(" ", list.Column-1)+"- ", quoted), nil
}

// addKey adds a key with a list to a step in block style: below the key that says
// what is run, or below inputs.
func (e *edit) addKey(key string, quoted []string) ([]byte, error) {
	after := "run"
	if k, _ := value(e.step, "inputs"); k != nil && key == "outputs" {
		after = "inputs"
	}
	k, v := value(e.step, after)
	if k == nil {
		return nil, fmt.Errorf("%w: the step has no %s", ErrShape, after)
	}
	indent := strings.Repeat(" ", k.Column-1)
	line := e.lastLine(k.Line, k.Column)
	if v.Style&yaml.FlowStyle != 0 {
		_, end := e.closing(e.offset(v))
		if end < 0 {
			return nil, ErrShape
		}
		line = 1 + bytes.Count(e.text[:end], []byte("\n"))
	}
	if v.Kind == yaml.SequenceNode && v.Style&yaml.FlowStyle == 0 && len(v.Content) > 0 {
		line = e.lastLine(v.Content[len(v.Content)-1].Line, max(v.Column, k.Column))
	}
	if e.endsOpen(v, line) {
		// What stands behind it would change it.
		if strings.TrimLeft(e.lineText(k.Line)[:len(indent)], " ") != "" || k.Line == 1 {
			return nil, fmt.Errorf("%w: line %d begins an entry", ErrShape, k.Line)
		}
		line = k.Line - 1
	}
	const width = 100
	if one := indent + key + ": [" + strings.Join(quoted, ", ") + "]"; utf8.RuneCountInString(one) <= width {
		return e.after(line, "", []string{one}), nil
	}
	lines := []string{indent + key + ":"}
	for _, q := range quoted {
		lines = append(lines, indent+"  - "+q)
	}
	return e.after(line, "", lines), nil
}

// endsOpen reports whether a value that ends in a line is a block of text that the
// line ends behind it belong to, or that has none.
func (e *edit) endsOpen(v *yaml.Node, line int) bool {
	if v.Style&(yaml.LiteralStyle|yaml.FoldedStyle) == 0 {
		return false
	}
	header, _, _ := strings.Cut(e.lineText(v.Line)[min(v.Column-1, len(e.lineText(v.Line))):], "#")
	return strings.Contains(header, "+") || line == len(e.lines) && !strings.HasSuffix(e.lineText(line), "\n") ||
		len(e.lines) > line && strings.TrimSpace(string(e.text[e.lines[line]:])) == "" && !bytes.HasSuffix(e.text, []byte("\n"))
}

// lastLine returns the last line of what begins in a line, at a column: those
// below that are indented further belong to it. Empty lines at its end do not,
// nor comments.
func (e *edit) lastLine(line, column int) int {
	last := line
	for n := line + 1; n <= len(e.lines); n++ {
		text := strings.TrimRight(e.lineText(n), " \t\r\n")
		bare := strings.TrimLeft(text, " ")
		switch {
		case bare == "":
			continue
		case len(text)-len(bare) < column:
			return last
		}
		last = n
	}
	return last
}

func (e *edit) lineText(n int) string {
	end := len(e.text)
	if n < len(e.lines) {
		end = e.lines[n]
	}
	return string(e.text[e.lines[n-1]:end])
}

// after returns the text with lines inserted behind a line.
func (e *edit) after(line int, prefix string, texts []string) []byte {
	var b strings.Builder
	at := len(e.text)
	if line < len(e.lines) {
		at = e.lines[line]
	} else if len(e.text) > 0 && e.text[len(e.text)-1] != '\n' {
		b.WriteString(e.eol)
	}
	for _, t := range texts {
		b.WriteString(prefix + t + e.eol)
	}
	return slices.Concat(e.text[:at], []byte(b.String()), e.text[at:])
}

// offset returns where a node begins. Columns count characters.
func (e *edit) offset(n *yaml.Node) int {
	at := e.lines[n.Line-1]
	if n.Line == 1 && bytes.HasPrefix(e.text, []byte("\uFEFF")) {
		at += len("\uFEFF")
	}
	for range n.Column - 1 {
		_, size := utf8.DecodeRune(e.text[at:])
		at += size
	}
	return at
}

// insert returns the text with more put in before the bracket that closes what
// begins at an offset. A comma there already is not doubled.
func (e *edit) insert(from int, more string, closing byte) ([]byte, error) {
	last, end := e.closing(from)
	if end < 0 || e.text[end] != closing {
		return nil, ErrShape
	}
	if e.text[last] == ',' || last == from {
		more = strings.TrimPrefix(more, ", ")
		if e.text[last] == ',' {
			more = " " + more
		}
	}
	return slices.Concat(e.text[:last+1], []byte(more), e.text[last+1:]), nil
}

// closing returns where the bracket is that closes the one at an offset, and the
// last character before it that is no space and in no comment; end is -1 where
// there is none.
func (e *edit) closing(from int) (last, end int) {
	depth := 0
	last = from
	for i := from; i < len(e.text); i++ {
		switch e.text[i] {
		case '"', '\'':
			if !startsScalar(e.text[last]) {
				break
			}
			if i = quoteEnd(e.text, i); i < 0 {
				return last, -1
			}
		case '#':
			if strings.IndexByte(" \t\n", e.text[i-1]) >= 0 {
				for i+1 < len(e.text) && e.text[i+1] != '\n' {
					i++
				}
				continue
			}
		case '[', '{':
			depth++
		case ']', '}':
			if depth--; depth == 0 {
				return last, i
			}
		case ' ', '\t', '\r', '\n':
			continue
		}
		last = i
	}
	return last, -1
}

// startsScalar reports whether a quote behind c opens a scalar, rather than being
// a character of one.
func startsScalar(c byte) bool { return strings.IndexByte("[{,:", c) >= 0 }

// quoteEnd returns where the quoted scalar that begins at i ends; -1 where it
// does not.
func quoteEnd(text []byte, i int) int {
	q := text[i]
	for i++; i < len(text); i++ {
		switch {
		case q == '"' && text[i] == '\\':
			i++
		case text[i] == q && q == '\'' && i+1 < len(text) && text[i+1] == q:
			i++
		case text[i] == q:
			return i
		}
	}
	return -1
}

// quote returns an entry as a YAML scalar.
func quote(s string) string {
	plain := s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("._-/?", r)
	})
	letter := plain && (s[0] >= 'a' && s[0] <= 'z' || s[0] >= 'A' && s[0] <= 'Z')
	switch strings.ToLower(s) {
	case "true", "false", "null", "yes", "no", "on", "off", "y", "n": // for one reader or another
		letter = false
	}
	if letter {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}
