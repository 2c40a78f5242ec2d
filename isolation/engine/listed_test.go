// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"testing"

	"github.com/attest-pipeline/attest/frontend/plan"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// What comes to be in a folder that a step listed is a reason to run it again, where
// it does not declare anything of the folder.
func TestListedFolders(t *testing.T) {
	const steps = `
steps:
  a: {run: x, image: i, inputs: [in/*.c, other], outputs: [o, made/x]}
  b: {run: x, image: i, inputs: [], outputs: [conf/gen/y, conf/*.tmp], cache: false}
`
	for _, c := range []struct {
		name, path, reason string
	}{
		{"nothing", "", ""},
		{"a file in an undeclared folder", "conf/new", "other files in a folder that is not declared: conf"},
		{"a folder in one", "conf/sub/new", "other files in a folder that is not declared: conf"},
		{"further down", "conf/deep/new", ""},
		{"a file in a declared folder", "in/new.h", ""},
		{"a file in a folder that was not opened", "src/new", ""},
		{"what a step leaves", "conf/gen/y", ""},
		{"another output", "conf/x.tmp", ""},
		{"what is ours", "conf/.attest/x", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var err error
			p, ran := cached(t, steps, map[string]string{"in/a.c": "", "other": "", "conf/one": "", "conf/deep/one": "", "src/one": ""}, inMemory{})
			last := &executor.Job{}
			for level, e := range p.options.Executors {
				p.options.Executors[level] = finding{e.(counting), executor.Outcome{Listed: []string{"conf", "in"}}, last}
			}
			if p.options.Plan, err = plan.New(p.options.Plan.Pipeline, "a"); err != nil { // b's outputs are the test's
				t.Fatal(err)
			}
			settle()
			reason := p.lastReason()
			p.run()
			if ran.take(); c.path != "" {
				p.write(c.path, "")
			}
			p.run()
			if again := ran.take() != ""; again != (c.reason != "") || *reason != c.reason {
				t.Errorf("ran again: %t, reason %q, want %q", again, *reason, c.reason)
			}
		})
	}
}
