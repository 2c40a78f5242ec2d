// SPDX-License-Identifier: Apache-2.0

package executortest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/frontend/pipeline"
)

func (s *suite) testCommand(t *testing.T) {
	s.run(t, "exit code", s.testExitCode)
	s.run(t, "words", s.testWords)
	s.run(t, "no text", s.testNoText)
	s.run(t, "shell", s.testShell)
	s.run(t, "script", s.testScript)
	s.run(t, "not there", s.testNotThere)
	s.run(t, "working dir", s.testWorkingDir)
}

func (s *suite) testExitCode(t *testing.T) {
	for _, test := range []struct {
		script string
		want   int
	}{
		{"true", 0},
		{"exit 1", 1},
		{"exit 42", 42},
		{"exit 125", 125},
		{"exit 255", 255},
		{"exec false", 1},
		{"no-such-command-anywhere", 127},
		// The first process of a container cannot kill itself, which leaves
		// it to the second command to say the same.
		{"kill -KILL $$; exit 137", 137},
		{"kill -TERM $$; exit 143", 143},
		{"sh -c 'kill -SEGV $$'; exit $?", 139},
	} {
		s.run(t, test.script, func(t *testing.T) {
			p := s.project(t)
			p.run(p.shell(test.script)).wantExit(t, test.want)
		})
	}
	s.run(t, "124 by itself", func(t *testing.T) {
		p := s.project(t)
		got := p.run(p.shell("exit 124"))
		if got.err != nil || got.ExitCode != 124 || got.TimedOut {
			t.Fatalf("exit code %d, TimedOut %t, error %v", got.ExitCode, got.TimedOut, got.err)
		}
	})
}

func (s *suite) testWords(t *testing.T) {
	show := []string{"sh", "-c", `printf '<%s>' "$0" "$@"`}
	for _, words := range [][]string{
		{"a b"},
		{"a", "b"},
		{"", "a", ""},
		{"$HOME", "`id`", "$(id)", "*", "~", "\\"},
		{"-n", "--", "'", `"`, "a\nb", "a\tb", "ø\u0301"},
		{strings.Repeat("x", 100_000)},
	} {
		name := fmt.Sprintf("%.20q", words)
		s.run(t, name, func(t *testing.T) {
			p := s.project(t)
			p.run(p.argv(append(show[:3:3], words...)...)).wantStdout(t, "<"+strings.Join(words, "><")+">")
		})
	}
}

// testNoText has words and values of any bytes arrive as they are, or stop the
// job: they are never turned into others.
func (s *suite) testNoText(t *testing.T) {
	for _, name := range []string{"word", "value"} {
		s.run(t, name, func(t *testing.T) {
			p := s.project(t)
			job := p.argv("printf", "%s", "a\xffb")
			if name == "value" {
				job = p.shell(`printf %s "$LATIN"`)
				job.Env = []pipeline.Var{{Name: "LATIN", Value: "a\xffb"}}
			}
			got := p.run(job)
			if !s.Text {
				got.wantStdout(t, "a\xffb")
			} else if got.err == nil {
				t.Fatalf("no error; exit code %d, stdout %q", got.ExitCode, got.stdout)
			}
		})
	}
}

func (s *suite) testShell(t *testing.T) {
	for _, test := range []struct {
		name, script string
		code         int
		stdout       string
	}{
		{"stops at the first failure", "echo one\nfalse\necho two", 1, "one\n"},
		{"knows lists", "false || echo or; true && echo and", 0, "or\nand\n"},
		{"expands variables", `A='x  y'; echo "$A"`, 0, "x  y\n"},
		{"expands names", "touch 1.txt 2.txt; echo *.txt", 0, "1.txt 2.txt\n"},
		{"has no arguments", `echo "$#"`, 0, "0\n"},
		{"sets the usual umask", "umask", 0, "0022\n"},
		{"has nothing on stdin", "wc -c | tr -d ' '", 0, "0\n"},
	} {
		s.run(t, test.name, func(t *testing.T) {
			p := s.project(t)
			got := p.run(p.shell(test.script))
			got.wantExit(t, test.code)
			if got.stdout != test.stdout {
				t.Fatalf("stdout %q, want %q", got.stdout, test.stdout)
			}
		})
	}
}

func (s *suite) testScript(t *testing.T) {
	for _, test := range []struct {
		name, script string
		code         int
		stdout       string
	}{
		{"interpreter", "#!/bin/sh\necho one\nfalse\necho two\n", 0, "one\ntwo\n"},
		{"argument", "#!/bin/sh -e\necho one\nfalse\necho two\n", 1, "one\n"},
		{"one argument", "#!/bin/sh -e -u\necho never\n", 2, ""},
		{"env", "#!/usr/bin/env sh\necho \"$#\"", 0, "0\n"},
		{"no shell", "#!/bin/cat\nthe $text\n", 0, "#!/bin/cat\nthe $text\n"},
		{"outside the project", "#!/bin/sh\nls -A | grep -v '^[.]attest$' || true\n", 0, ""},
	} {
		s.run(t, test.name, func(t *testing.T) {
			p := s.project(t)
			got := p.run(p.job(pipeline.Command{Script: test.script}))
			if test.name == "one argument" {
				// Which code a shell gives for the option " " is its affair.
				if got.err != nil || got.ExitCode == 0 || got.stdout != "" {
					t.Fatalf("exit code %d, stdout %q, error %v", got.ExitCode, got.stdout, got.err)
				}
				return
			}
			got.wantExit(t, test.code)
			if got.stdout != test.stdout {
				t.Fatalf("stdout %q, want %q", got.stdout, test.stdout)
			}
		})
	}
}

// A command that is not there never looks like one that succeeded. Whether it
// is an error or the shell's exit code is left open.
func (s *suite) testNotThere(t *testing.T) {
	for name, c := range map[string]pipeline.Command{
		"in PATH":     {Argv: []string{"no-such-command-anywhere"}},
		"by path":     {Argv: []string{"/no/such/command"}},
		"a folder":    {Argv: []string{"/"}},
		"empty":       {Argv: []string{""}},
		"interpreter": {Script: "#!/no/such/interpreter\n"},
	} {
		s.run(t, name, func(t *testing.T) {
			p := s.project(t)
			p.write("out", "from before", 0o644)
			got := p.run(p.job(c, "out"))
			if got.err == nil && got.ExitCode != 126 && got.ExitCode != 127 {
				t.Fatalf("exit code %d and no error", got.ExitCode)
			}
			p.wantStaging(nil)
		})
	}
}

func (s *suite) testWorkingDir(t *testing.T) {
	for _, dir := range []string{".", "there", "not/there", "with space/ø"} {
		s.run(t, dir, func(t *testing.T) {
			p := s.project(t)
			p.write("there/file", "", 0o644)
			job := p.shell("pwd; echo x > made", dir+"/made")
			job.Outputs[0].Text = strings.TrimPrefix(job.Outputs[0].Text, "./")
			job.WorkingDir = dir
			got := p.run(job)
			got.wantExit(t, 0)
			if dir != "." && !strings.HasSuffix(got.stdout, "/"+dir+"\n") {
				t.Errorf("ran in %q, want %q", got.stdout, dir)
			}
			p.wantStaging(map[string]string{job.Outputs[0].Text: "0644 x\n"})
		})
	}
}
