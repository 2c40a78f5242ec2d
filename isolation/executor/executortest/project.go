// SPDX-License-Identifier: Apache-2.0

package executortest

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/frontend/source"
	"github.com/attest-pipeline/attest/isolation/executor"
)

// patience bounds every job: a suite that hangs says nothing.
const patience = 2 * time.Minute

// project is a folder that a job runs on.
type project struct {
	t *testing.T
	s *suite
	// root is the folder, staging where the last job's outputs went.
	root, staging string
	jobs          int
}

// project makes a folder whose name has a space and a letter beyond ASCII.
func (s *suite) project(t *testing.T) *project {
	t.Helper()
	root := filepath.Join(t.TempDir(), "a prøject")
	if err := os.MkdirAll(filepath.Join(root, ".attest", "tmp"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { open(root) })
	return &project{t: t, s: s, root: root}
}

// open lets folders that a job closed be removed by a user who is not root.
func open(root string) {
	_ = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(name, 0o700)
		}
		return nil
	})
}

func (p *project) path(name string) string { return filepath.Join(p.root, filepath.FromSlash(name)) }

// write makes a file, with the folders above it.
func (p *project) write(name, content string, perm fs.FileMode) {
	p.t.Helper()
	if err := os.MkdirAll(filepath.Dir(p.path(name)), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(p.path(name), []byte(content), 0o600); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Chmod(p.path(name), perm); err != nil {
		p.t.Fatal(err)
	}
}

// scan hashes the project as it stands, less .attest.
func (p *project) scan() tree.Tree {
	p.t.Helper()
	root, err := os.OpenRoot(p.root)
	if err != nil {
		p.t.Fatal(err)
	}
	defer root.Close()
	got, err := tree.Hasher{}.Scan(p.t.Context(), root, "", func(name string, _ bool) bool { return name == ".attest" })
	if err != nil {
		p.t.Fatal(err)
	}
	return got
}

// job makes a job of the command: all that is in the project is its input.
func (p *project) job(c pipeline.Command, outputs ...string) executor.Job {
	p.t.Helper()
	p.jobs++
	p.staging = filepath.Join(p.root, ".attest", "tmp", fmt.Sprintf("staging-%d", p.jobs))
	if err := os.Mkdir(p.staging, 0o755); err != nil {
		p.t.Fatal(err)
	}
	job := executor.Job{
		Step:       "step",
		Pos:        source.Pos{},
		Command:    c,
		WorkingDir: ".",
		Image:      p.s.Image,
		Network:    p.s.Network,
		Root:       p.root,
		Inputs:     p.scan(),
		Staging:    p.staging,
	}
	for _, text := range outputs {
		job.Outputs = append(job.Outputs, pattern(text))
	}
	return job
}

func (p *project) shell(script string, outputs ...string) executor.Job {
	p.t.Helper()
	return p.job(pipeline.Command{Shell: script}, outputs...)
}

func (p *project) argv(words ...string) executor.Job {
	p.t.Helper()
	return p.job(pipeline.Command{Argv: words})
}

// pattern reads one entry of outputs as attest.yaml has it.
func pattern(text string) pipeline.Pattern {
	var p pipeline.Pattern
	text, p.Optional = strings.CutSuffix(text, "?")
	text, p.Exclude = strings.CutPrefix(text, "!")
	p.Text, p.Folder = strings.CutSuffix(text, "/")
	p.Glob = strings.ContainsAny(p.Text, "*?[")
	return p
}

// result is what came of a job.
type result struct {
	executor.Outcome
	err            error
	stdout, stderr string
	took           time.Duration
}

// run runs the job and keeps what it printed.
func (p *project) run(job executor.Job) result {
	p.t.Helper()
	return p.runIn(p.t.Context(), job)
}

func (p *project) runIn(ctx context.Context, job executor.Job) result {
	p.t.Helper()
	return p.s.runIn(ctx, job)
}

func (s *suite) runIn(ctx context.Context, job executor.Job) result {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("the job did not end within %v", patience))
	defer cancel()
	var stdout, stderr bytes.Buffer
	start := time.Now()
	outcome, err := s.Executor.Run(ctx, job, executor.Streams{Stdout: &stdout, Stderr: &stderr})
	return result{outcome, err, stdout.String(), stderr.String(), time.Since(start)}
}

func (r result) wantExit(t *testing.T, code int) {
	t.Helper()
	if r.err != nil {
		t.Fatalf("error: %v\nstderr: %s", r.err, r.stderr)
	}
	if r.ExitCode != code {
		t.Fatalf("exit code %d, want %d\nstdout: %s\nstderr: %s", r.ExitCode, code, r.stdout, r.stderr)
	}
	if r.TimedOut != (code == executor.ExitTimeout) {
		t.Fatalf("exit code %d with TimedOut %t", r.ExitCode, r.TimedOut)
	}
}

func (r result) wantStdout(t *testing.T, want string) {
	t.Helper()
	r.wantExit(t, 0)
	if diff := cmp.Diff(want, r.stdout); diff != "" {
		t.Fatalf("stdout (-want +got):\n%s", diff)
	}
}

// wantStaging compares the staging folder with a map from path to what stands
// there: "0644 content", "-> target", or "empty" for an empty folder.
func (p *project) wantStaging(want map[string]string) {
	p.t.Helper()
	if want == nil {
		want = map[string]string{}
	}
	if diff := cmp.Diff(want, describe(p.t, p.staging)); diff != "" {
		p.t.Fatalf("staging (-want +got):\n%s", diff)
	}
}

func describe(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		got[rel], err = describeOne(name, d)
		if got[rel] == "" {
			delete(got, rel)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// describeOne returns nothing for a folder that is not empty.
func describeOne(name string, d fs.DirEntry) (string, error) {
	info, err := d.Info()
	if err != nil {
		return "", err
	}
	switch {
	case d.IsDir():
		items, err := os.ReadDir(name)
		if len(items) == 0 {
			return "empty", err
		}
		return "", err
	case d.Type()&fs.ModeSymlink != 0:
		target, err := os.Readlink(name)
		return "-> " + target, err
	case !d.Type().IsRegular():
		return d.Type().String(), nil
	}
	// A file that nobody may read is opened by its owner all the same.
	if info.Mode().Perm()&0o400 == 0 {
		return fmt.Sprintf("%#o unreadable", info.Mode().Perm()), nil
	}
	content, err := os.ReadFile(name)
	bits := uint32(info.Mode().Perm())
	if info.Mode()&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0 {
		return fmt.Sprintf("special bits, %04o %s", bits, content), err
	}
	return fmt.Sprintf("%04o %s", bits, content), err
}

// word returns something that nothing else on this machine is called.
func word() string { return "attest-" + rand.Text() }
