// SPDX-License-Identifier: Apache-2.0

package executortest

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// testSecrets hands a command secrets, and looks where they stay.
func (s *suite) testSecrets(t *testing.T) {
	secret := func(name, mount, value string) executor.Secret {
		return executor.Secret{Name: name, Mount: mount, Value: executor.NewSecretValue([]byte(value))}
	}
	s.run(t, "variable", func(t *testing.T) {
		p := s.project(t)
		value := word() + " 'quoted'\n second line"
		job := p.shell(`printf '%s|' "$TOKEN"; test "$TOKEN" != "" && echo set`)
		job.Secrets = []executor.Secret{secret("TOKEN", "", value)}
		p.run(job).wantStdout(t, value+"|set\n")
		p.wantNowhere(t, value)
		p.run(p.shell(`printf '%s' "$TOKEN"`)).wantStdout(t, "")
	})
	s.run(t, "file", func(t *testing.T) {
		p := s.project(t)
		// One where nothing stands, and two in folders that a step may write to.
		at := "/run/attest-" + word() + "/deep/key"
		job := p.shell(`set -e
			for f in "$AT" /tmp/key /tmp/deep/other; do cat $f; echo; stat -c '%a %u' $f; stat -f -c %T $f; done
			env | grep HELD || true
			for try in "chmod 600" "tee" "rm -f" "umount"; do echo planted | $try "$AT" >/dev/null 2>&1 || true; done
			cat "$AT"`)
		job.Env = append(job.Env, pipeline.Var{Name: "AT", Value: at})
		value := word() + "\x01\xff"
		job.Secrets = []executor.Secret{secret("HELD", at, value), secret("SECOND", "/tmp/deep/other", "2"), secret("THIRD", "/tmp/key", "3")}
		got := p.run(job)
		if s.NoFiles {
			if !errors.Is(got.err, executor.ErrUnavailable) || strings.Contains(got.err.Error(), value) {
				t.Fatalf("error %v is not that the file cannot be had", got.err)
			}
			p.wantNowhere(t, value)
			return
		}
		got.wantExit(t, 0)
		user := "0"
		if s.Image == "" {
			user = strconv.Itoa(os.Geteuid())
		}
		lines := strings.Split(got.stdout, "\n")
		want := []string{value, "400 " + user, "", "3", "400 " + user, "", "2", "400 " + user, "", value}
		for i, line := range want {
			switch {
			case i >= len(lines):
				t.Fatalf("printed %q, want %q", got.stdout, want)
			case line == "":
				if lines[i] != "ramfs" && lines[i] != "tmpfs" {
					t.Errorf("line %d: %q is no file system in memory", i, lines[i])
				}
			case lines[i] != line:
				t.Errorf("line %d: %q, want %q", i, lines[i], line)
			}
		}
		if len(got.Unexpected)+len(got.Modified) > 0 {
			t.Errorf("the place of a secret is taken for something that the command wrote: %q, %q", got.Unexpected, got.Modified)
		}
		p.wantNowhere(t, value)
		for _, path := range []string{filepath.Dir(filepath.Dir(at)), at} {
			if _, err := os.Lstat(path); err == nil && s.Image == "" {
				t.Errorf("%s stays on this machine", path)
			}
		}
	})
	s.run(t, "for one job", func(t *testing.T) {
		p := s.project(t)
		job := p.shell(`! cat /tmp/key; printf '%s' "$TOKEN"`)
		p.run(job).wantStdout(t, "")
	})
	s.run(t, "in errors", func(t *testing.T) {
		p := s.project(t)
		value := word()
		job := p.argv("/no/such/program")
		job.Secrets = []executor.Secret{secret("TOKEN", "", value)}
		got := p.run(job)
		if got.err == nil && got.ExitCode == 0 {
			t.Fatal("a program that is not there ran")
		}
		if got.err != nil && strings.Contains(got.err.Error(), value) || strings.Contains(got.stderr, value) {
			t.Errorf("the secret is told: %v, %q", got.err, got.stderr)
		}
	})
}

// wantNowhere makes sure that no file of the project holds a value, nor of what
// the level keeps there.
func (p *project) wantNowhere(t *testing.T, value string) {
	t.Helper()
	err := filepath.WalkDir(p.root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(name)
		if bytes.Contains(text, []byte(value)) {
			t.Errorf("%s holds the secret", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
