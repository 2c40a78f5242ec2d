// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/frontend/source"
)

// Values count as often as they are referred to, wherever they stand. When they are
// too many that alone is said, once, and not what was not read any more.
func TestSharedValuesCount(t *testing.T) {
	const most, values = 1000, 100
	list, vars := strings.Repeat("x, ", values), ""
	for i := range values {
		vars += fmt.Sprintf("V%d: x, ", i)
	}
	for name, write := range map[string]func(step string) string{
		"a list":    func(step string) string { return step + ": {run: x, inputs: &a [" + list + "]}\n" },
		"a mapping": func(step string) string { return step + ": {run: x, env: &a {" + vars + "}}\n" },
		"the pipeline's variables": func(step string) string {
			return step + ": {run: x, env: {A: b}}\nenv: {" + vars + "}\n"
		},
	} {
		use := map[string]string{"a list": "inputs: *a", "a mapping": "env: *a", "the pipeline's variables": "env: {A: b}"}[name]
		text := func(steps int) string {
			var b strings.Builder
			first, rest, _ := strings.Cut(write("  s"), "\n")
			fmt.Fprintf(&b, "version: \"0.1\"\nname: x\n%ssteps:\n%s\n", rest, first)
			for i := range steps {
				fmt.Fprintf(&b, "  s%d: {run: x, %s}\n", i, use)
			}
			return b.String()
		}
		parse := func(steps int) (*Pipeline, error) {
			return parse(&source.File{Name: "attest.yaml", Data: []byte(text(steps))}, most)
		}
		if _, err := parse(most/values - 4); err != nil {
			t.Errorf("%s, within bounds: %v", name, err)
		}
		p, err := parse(3 * most / values)
		if all := source.All(err); p != nil || len(all) != 1 || all[0].Msg != "the file, its aliases expanded, holds more than 1000 values" {
			t.Errorf("%s: pipeline %v, error %v", name, p != nil, err)
		}
	}
}
