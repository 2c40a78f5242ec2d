// SPDX-License-Identifier: Apache-2.0

package pipeline_test

import (
	"testing"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/source"
)

// What no text holds, or readers take for different things, is refused where it
// stands, in a comment as well.
func TestForeignCharacters(t *testing.T) {
	for name, char := range map[string]string{
		"no UTF-8": "\xff", "half a character": "\xe2\x82", "a carriage return alone": "\r", "NUL": "\x00", "escape": "\x1b",
		"delete": "\x7f", "the first of C1": "\u0080", "next line": "\u0085", "the last of C1": "\u009f",
		"line separator": "\u2028", "paragraph separator": "\u2029", "no character": "\ufffe", "nor this": "\uffff",
	} {
		text := head + "steps: {a: {run: x}} # é" + char + "b\n"
		p, err := pipeline.Parse(&source.File{Name: "attest.yaml", Data: []byte(text)})
		if all := source.All(err); p != nil || len(all) != 1 || all[0].Pos.Line != 3 || all[0].Pos.Column != 25 {
			t.Errorf("%s: pipeline %v, error %v", name, p != nil, err)
		}
	}
	for name, char := range map[string]string{
		"the replacement character": "\ufffd", "a space that does not break": "\u00a0", "a tab": "\t", "a line's end of two": "\r\n# ", "beyond 16 bits": "\U0001f600",
	} {
		text := head + "steps: {a: {run: x}} # é" + char + "b\n"
		if _, err := pipeline.Parse(&source.File{Name: "attest.yaml", Data: []byte(text)}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What stands behind the document counts, though no pipeline is made of it.
func TestNothingFollows(t *testing.T) {
	for name, rest := range map[string]string{
		"an empty document": "---\n", "another document": "---\na: b\n", "half a document": "---\n[\n", "no YAML": "---\n\tx: y: z\n", "no directive": "...\n%YAML 9\n",
	} {
		text := head + "steps: {a: {run: x}}\n" + rest
		if p, err := pipeline.Parse(&source.File{Name: "attest.yaml", Data: []byte(text)}); p != nil || err == nil {
			t.Errorf("%s is overlooked", name)
		}
	}
	text := head + "steps: {a: {run: x}}\n...\n# the end\n"
	if _, err := pipeline.Parse(&source.File{Name: "attest.yaml", Data: []byte(text)}); err != nil {
		t.Errorf("the mark of the end: %v", err)
	}
}
