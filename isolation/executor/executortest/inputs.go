// SPDX-License-Identifier: Apache-2.0

package executortest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/isolation/executor"
)

func (s *suite) testInputs(t *testing.T) {
	s.run(t, "as they are", s.testAsTheyAre)
	if s.Sealed {
		s.run(t, "and nothing else", s.testNothingElse)
		s.run(t, "stay as they are", s.testUntouched)
		s.run(t, "changed", s.testChanged)
	}
}

func (s *suite) testAsTheyAre(t *testing.T) {
	p := s.project(t)
	p.write("src/plain", "x\n", 0o644)
	p.write("src/tool", "#!/bin/sh\necho tool\n", 0o755)
	p.link("src/link", "plain")
	p.link("src/dangling", "nowhere")
	if err := os.MkdirAll(p.path("src/empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	p.run(p.shell(`cat src/link; ./src/tool; readlink src/dangling; test ! -x src/plain; rmdir src/empty`)).
		wantStdout(t, "x\ntool\nnowhere\n")
}

func (p *project) link(name, target string) {
	p.t.Helper()
	if err := os.Symlink(target, p.path(name)); err != nil {
		p.t.Fatal(err)
	}
}

func (s *suite) testNothingElse(t *testing.T) {
	p := s.project(t)
	p.write("in/declared", "", 0o644)
	job := p.shell("find . | sort")
	p.write("in/undeclared", "", 0o644)
	p.write("other/file", "", 0o644)
	p.run(job).wantStdout(t, ".\n./in\n./in/declared\n")
}

// A command may write where it likes; the project does not see it.
func (s *suite) testUntouched(t *testing.T) {
	p := s.project(t)
	p.write("input", "x\n", 0o644)
	p.write("gone", "x\n", 0o644)
	job := p.shell("echo changed > input; chmod 755 input; rm gone; echo x > stray; echo y > out", "out")
	before := describe(t, p.root)
	delete(before, ".attest/tmp/"+filepath.Base(p.staging))
	p.run(job).wantExit(t, 0)
	p.wantStaging(map[string]string{"out": "0644 y\n"})
	after := describe(t, p.root)
	delete(after, ".attest/tmp/"+filepath.Base(p.staging)+"/out")
	if diff := cmp.Diff(before, after); diff != "" {
		t.Fatalf("project (-before +after):\n%s", diff)
	}
}

// A file that is not what was hashed stops the job before its command runs.
func (s *suite) testChanged(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(p *project) error
	}{
		{"content of equal size", func(p *project) error {
			info, err := os.Stat(p.path("in/file"))
			if err != nil {
				return err
			}
			if err := os.WriteFile(p.path("in/file"), []byte("B\n"), 0o644); err != nil {
				return err
			}
			return os.Chtimes(p.path("in/file"), info.ModTime(), info.ModTime())
		}},
		{"longer", func(p *project) error { return os.WriteFile(p.path("in/file"), []byte("A\nB\n"), 0o644) }},
		{"shorter", func(p *project) error { return os.Truncate(p.path("in/file"), 0) }},
		{"gone", func(p *project) error { return os.Remove(p.path("in/file")) }},
		{"executable", func(p *project) error { return os.Chmod(p.path("in/file"), 0o755) }},
		{"a link to the same", func(p *project) error {
			if err := os.Rename(p.path("in/file"), p.path("elsewhere")); err != nil {
				return err
			}
			return os.Symlink("../elsewhere", p.path("in/file"))
		}},
		{"a folder", func(p *project) error {
			if err := os.Remove(p.path("in/file")); err != nil {
				return err
			}
			return os.Mkdir(p.path("in/file"), 0o755)
		}},
	} {
		s.run(t, test.name, func(t *testing.T) {
			p := s.project(t)
			p.write("in/file", "A\n", 0o644)
			p.write("in/other", "x\n", 0o644)
			job := p.shell("echo ran; cat in/file > out", "out")
			if err := test.change(p); err != nil {
				t.Fatal(err)
			}
			p.wantChanged(p.run(job), "in/file")
		})
	}
	s.run(t, "target of a link", func(t *testing.T) {
		p := s.project(t)
		p.write("file", "x\n", 0o644)
		p.link("link", "file")
		job := p.shell("echo ran; cat link > out", "out")
		if err := os.Remove(p.path("link")); err != nil {
			t.Fatal(err)
		}
		p.link("link", "elif")
		p.wantChanged(p.run(job), "link")
	})
	s.run(t, "large", func(t *testing.T) {
		p := s.project(t)
		p.write("in/file", strings.Repeat("x", 4<<20), 0o644)
		job := p.shell("echo ran; cat in/file > out", "out")
		p.write("in/file", strings.Repeat("x", 4<<20-1)+"y", 0o644)
		p.wantChanged(p.run(job), "in/file")
	})
	s.run(t, "planned wrongly", func(t *testing.T) {
		p := s.project(t)
		p.write("in/file", "x\n", 0o644)
		job := p.shell("echo ran")
		entries := append([]tree.Entry{}, job.Inputs.Entries()...)
		entries[0].Digest = tree.Tree{}.Digest()
		var err error
		if job.Inputs, err = tree.New(entries); err != nil {
			t.Fatal(err)
		}
		p.wantChanged(p.run(job), "in/file")
	})
}

func (p *project) wantChanged(got result, path string) {
	p.t.Helper()
	var changed *executor.InputChangedError
	if !errors.As(got.err, &changed) || changed.Path != path {
		p.t.Fatalf("exit code %d, error %v; want one that names %s", got.ExitCode, got.err, path)
	}
	if got.stdout != "" {
		p.t.Fatalf("the command ran: %q", got.stdout)
	}
	p.wantStaging(nil)
}
