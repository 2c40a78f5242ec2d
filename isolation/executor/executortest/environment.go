// SPDX-License-Identifier: Apache-2.0

package executortest

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/frontend/pipeline"
)

func (s *suite) testEnvironment(t *testing.T) {
	t.Setenv("ATTEST_NOT_DECLARED", "inherited")
	for _, test := range []struct {
		name     string
		declared []pipeline.Var
	}{
		{"base", nil},
		{"declared", []pipeline.Var{{Name: "A", Value: "1"}, {Name: "B", Value: ""}}},
		{"any value", []pipeline.Var{
			{Name: "EQUALS", Value: "=a=b="},
			{Name: "LINES", Value: "one\nA=2\n"},
			{Name: "QUOTED", Value: `$HOME "x" 'y' \`},
			{Name: "UNICODE", Value: "zażółć ☃"},
		}},
		{"above the base", []pipeline.Var{{Name: "HOME", Value: "/elsewhere"}, {Name: "TERM", Value: "xterm"}}},
	} {
		s.run(t, test.name, func(t *testing.T) {
			p := s.project(t)
			job := p.argv("env", "-0")
			job.Env = test.declared
			got := p.run(job)
			got.wantExit(t, 0)
			vars := strings.Split(strings.TrimSuffix(got.stdout, "\x00"), "\x00")
			slices.Sort(vars)
			if diff := cmp.Diff(over(s.BaseEnv, test.declared), vars); diff != "" {
				t.Fatalf("environment (-want +got):\n%s", diff)
			}
		})
	}
	s.run(t, "PATH finds the command", func(t *testing.T) {
		p := s.project(t)
		p.write("tools/tool", "#!/bin/sh\necho found\n", 0o755)
		job := p.argv("tool")
		job.Env = []pipeline.Var{{Name: "PATH", Value: "tools:/bin:/usr/bin"}}
		if s.Image != "" {
			job.Env[0].Value = "/workspace/tools:/bin:/usr/bin"
		} else {
			job.Env[0].Value = p.path("tools") + ":/bin:/usr/bin"
		}
		p.run(job).wantStdout(t, "found\n")
	})
}

// over returns base with the declared variables over it, as an ordered list.
func over(base, declared []pipeline.Var) []string {
	vars := map[string]string{}
	for _, v := range slices.Concat(base, declared) {
		vars[v.Name] = v.Value
	}
	var list []string
	for name, value := range vars {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}
