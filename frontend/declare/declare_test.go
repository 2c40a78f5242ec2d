// SPDX-License-Identifier: Apache-2.0

package declare_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/frontend/declare"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/source"
)

func TestEdit(t *testing.T) {
	const head = "version: \"0.1\"\nname: x # a name\n"
	for _, test := range []struct{ name, before, after string }{
		{"a new key", "steps:\n  a:\n    run: x # why\n\n  # next\n  b: {run: y}\n", "steps:\n  a:\n    run: x # why\n    inputs: [in, dir/, \"*.c\"]\n    outputs: [out/]\n\n  # next\n  b: {run: y}\n"},
		{"behind a script", "steps:\n  a:\n    run: |\n      one\n\n      # two\n    timeout_secs: 3\n", "steps:\n  a:\n    run: |\n      one\n\n      # two\n    inputs: [in, dir/, \"*.c\"]\n    outputs: [out/]\n    timeout_secs: 3\n"},
		{"no line end", "steps:\n  a:\n    run: x", "steps:\n  a:\n    run: x\n    inputs: [in, dir/, \"*.c\"]\n    outputs: [out/]\n"},
		{"a block list", "steps:\n  a:\n    inputs:\n      - a # one\n      # two\n      - \"b\"\n\n    # three\n    run: x\n    outputs:\n    - o\n", "steps:\n  a:\n    inputs:\n      - a # one\n      # two\n      - \"b\"\n      - in\n      - dir/\n      - \"*.c\"\n\n    # three\n    run: x\n    outputs:\n    - o\n    - out/\n"},
		{"a flow list", "steps:\n  a: # s\n    inputs: [a, \"b]\", 'c''[[]' ] # one\n    run: x\n    outputs: []\n", "steps:\n  a: # s\n    inputs: [a, \"b]\", 'c''[[]', in, dir/, \"*.c\" ] # one\n    run: x\n    outputs: [out/]\n"},
		{"a long flow list", "steps:\n  a:\n    run: x\n    inputs: [\n      a, # one ]\n      it's,\n    ]\n", "steps:\n  a:\n    run: x\n    inputs: [\n      a, # one ]\n      it's, in, dir/, \"*.c\"\n    ]\n    outputs: [out/]\n"},
		{"a step in one line", "steps: {a: {run: \"x }\"}, b: {run: y}}\n", "steps: {a: {run: \"x }\", inputs: [in, dir/, \"*.c\"], outputs: [out/]}, b: {run: y}}\n"},
		{"a list of steps", "steps:\n  - name: b\n    run: y\n  - run: x\n    name: a\n", "steps:\n  - name: b\n    run: y\n  - run: x\n    inputs: [in, dir/, \"*.c\"]\n    outputs: [out/]\n    name: a\n"},
		{"a list of words", "steps:\n  a:\n    run:\n    - x\n    - y\n    cache: false\n", "steps:\n  a:\n    run:\n    - x\n    - y\n    inputs: [in, dir/, \"*.c\"]\n    outputs: [out/]\n    cache: false\n"},
		{"letters of more than a byte", "steps:\n  a: {env: {A: \"Äö]\"}, inputs: [ü], run: x}\n", "steps:\n  a: {env: {A: \"Äö]\"}, inputs: [ü, in, dir/, \"*.c\"], run: x, outputs: [out/]}\n"},
		{"line ends of another system", "steps:\r\n  a:\r\n    run: x\r\n", "steps:\r\n  a:\r\n    run: x\r\n    inputs: [in, dir/, \"*.c\"]\r\n    outputs: [out/]\r\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := declare.Edit([]byte(head+test.before), "a", declare.Lists{Inputs: []string{"in", "dir/", "*.c"}, Outputs: []string{"out/"}})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(head+test.after, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			p, err := pipeline.Parse(&source.File{Name: "attest.yaml", Data: got})
			if err != nil {
				t.Fatalf("%v\n%s", err, got)
			}
			for _, s := range p.Steps {
				if s.Name == "a" && (len(s.Inputs) < 3 || s.Inputs[len(s.Inputs)-1].String() != "*.c" || s.Outputs[len(s.Outputs)-1].String() != "out/") {
					t.Errorf("inputs %v, outputs %v", s.Inputs, s.Outputs)
				}
			}
		})
	}
}

func TestEditRefuses(t *testing.T) {
	for _, text := range []string{
		"x: &l [a]\nsteps:\n  a:\n    run: x\n    inputs: *l\n",
		"steps:\n  a:\n    run: x\n    inputs: &l [a]\n",
		"steps:\n  b: &b {run: x}\n  a: *b\n",
		"steps:\n  b: {run: x}\n",
	} {
		if got, err := declare.Edit([]byte(text), "a", declare.Lists{Inputs: []string{"in"}}); !errors.Is(err, declare.ErrShape) {
			t.Errorf("%s\ngot %s, %v", text, got, err)
		}
	}
}

// Whatever a name holds, it comes back.
func TestEntriesAreQuoted(t *testing.T) {
	names := []string{"null", "yes", "on", "y", "1", "0x1", "1e3", "-", "-a", "a b", "a: b", "a #b", "#", "'", `"`, "&a", "*a", "!a", "%", "@", "`", "a?", "~x", ".", "ü", "{", "}", "[a]", "2026-01-01", ".5", "a,b", "..."}
	for i, name := range names {
		names[i] = declare.Literal("d" + name)
		if i%2 == 0 {
			names[i] = declare.Literal(name)
		}
	}
	text, err := declare.Edit([]byte("version: \"0.1\"\nname: x\nsteps:\n  a:\n    run: x\n"), "a", declare.Lists{Inputs: names})
	if err != nil {
		t.Fatal(err)
	}
	p, err := pipeline.Parse(&source.File{Name: "attest.yaml", Data: text})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for i, pat := range p.Steps[0].Inputs {
		if pat.Exclude || pat.Optional || strings.TrimPrefix(names[i], "./") != strings.TrimPrefix(pat.String(), "./") {
			t.Errorf("%q became %q", names[i], pat)
		}
	}
}

func TestFold(t *testing.T) {
	numbered := func(format string, n int) []string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(format, i))
		}
		return all
	}
	for _, test := range []struct {
		name      string
		used, all []string // all besides those used
		want      []string
	}{
		{name: "nothing", all: []string{"a"}},
		{name: "one", used: []string{"a/b"}, want: []string{"a/b"}},
		{name: "all of a folder", used: []string{"a/b", "a/c/d", "e"}, want: []string{"a/", "e"}},
		{name: "most of a folder", used: []string{"a/b", "a/c", "a/d"}, all: []string{"a/e"}, want: []string{"a/"}},
		{name: "half of a folder", used: []string{"a/b", "a/c"}, all: []string{"a/e", "a/f"}, want: []string{"a/b", "a/c"}},
		{name: "a folder in one that is not used", used: []string{"a/b/c", "a/b/d"}, all: []string{"a/e", "a/f"}, want: []string{"a/b/"}},
		{name: "never the project", used: []string{"a", "b"}, want: []string{"a", "b"}},
		{name: "a kind in a folder", used: []string{"a/1.c", "a/2.c", "a/3.c"}, all: []string{"a/1", "a/2", "a/3"}, want: []string{"a/*.c"}},
		{name: "a kind in the project", used: []string{"1.c", "2.c", "3.c", "x"}, all: []string{"1.h"}, want: []string{"*.c", "x"}},
		{name: "few of a kind", used: []string{"a/1.c", "a/2.c"}, all: []string{"a/1", "a/2", "a/3"}, want: []string{"a/1.c", "a/2.c"}},
		{
			name: "a kind in many folders, and not its tests", used: append(numbered("p%d/x.go", 6), "go.mod"),
			all: append(numbered("p%d/x_test.go", 6), numbered("p%d/README", 6)...), want: []string{"**/*.go", "!**/*_test.go", "go.mod"},
		},
		{name: "many entries", used: numbered("a/%d", 40), all: numbered("a/other%d", 40), want: []string{"a/"}},
		{name: "names that are patterns", used: []string{"a[1].c", "!x", "{b}?"}, want: []string{"./!x", "a[[]1[]].c", "[{]b[}][?]"}},
		{name: "no kind", used: []string{"d/.x", "d/.y", "d/.z", "e/f"}, all: []string{"d/1", "d/2", "e/g"}, want: []string{"d/.x", "d/.y", "d/.z", "e/f"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := declare.Fold(test.used, test.all)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			again := declare.Fold(test.used, append(append([]string(nil), test.used...), test.all...))
			if diff := cmp.Diff(got, again); diff != "" {
				t.Errorf("files named twice make a difference (-want +got):\n%s", diff)
			}
		})
	}
}
