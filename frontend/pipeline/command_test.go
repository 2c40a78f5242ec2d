// SPDX-License-Identifier: Apache-2.0

package pipeline_test

import (
	"testing"

	"github.com/attest-pipeline/attest/frontend/pipeline"
)

func TestCommandString(t *testing.T) {
	for _, c := range []struct {
		command pipeline.Command
		want    string
	}{
		{pipeline.Command{Shell: "a && b\n"}, "a && b\n"},
		{pipeline.Command{Script: "#!/bin/cat\nx"}, "#!/bin/cat\nx"},
		{pipeline.Command{Argv: []string{"cc", "-o", "x=y,z", "./a@b:c+%"}}, "[cc -o x=y,z ./a@b:c+%]"},
		{pipeline.Command{Argv: []string{"a b"}}, `["a b"]`},
		{pipeline.Command{Argv: []string{"a", "b"}}, `[a b]`},
		{pipeline.Command{Argv: []string{"a", ""}}, `[a ""]`},
		{pipeline.Command{Argv: []string{`"a"`, "b\n", "ü", "$X", "]"}}, `["\"a\"" "b\n" "ü" "$X" "]"]`},
		{pipeline.Command{Argv: []string{`\x41`, "\xff"}}, `["\\x41" "\xff"]`},
	} {
		if got := c.command.String(); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

// FuzzCommand wants two lists to look the same only when they are.
func FuzzCommand(f *testing.F) {
	f.Add("a b", "c", "a", "b c")
	f.Add(`a" "b`, "", `a" "b`, " ")
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		one, two := pipeline.Command{Argv: []string{a, b}}, pipeline.Command{Argv: []string{c, d}}
		if same := a == c && b == d; same != (one.String() == two.String()) {
			t.Errorf("%q and %q: %s and %s", one.Argv, two.Argv, one, two)
		}
		if (pipeline.Command{Argv: []string{a + " " + b}}).String() == one.String() {
			t.Errorf("one word and two: %s", one)
		}
	})
}
