// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process"
)

// Under Job.Strict a step sees its inputs and nothing else of the project.
func TestStrict(t *testing.T) {
	needView(t)
	home := t.TempDir()
	write(t, home+"/.npm/secret", "x")
	e := process.New(process.Options{Environ: []string{"HOME=" + home, "PATH=/usr/bin:/bin"}})
	defer e.Close()
	job := newJob(t, shell(`find . -type f | sort; find "$HOME"; : > ~/.x; mkdir -p ~/.npm; : > ~/.npm/x; echo y > out; echo z > src/other`), "out")
	for _, name := range []string{"in", "other", "out", "src/a", "src/other", "lib/b", ".git/config", ".attest/keys/private.key"} {
		write(t, filepath.Join(job.Root, name), "x\n")
	}
	declare(t, &job, "in", "src/a")
	job.Strict = true
	if os.Getuid() != 0 {
		if _, err := e.Run(t.Context(), job, executor.Streams{}); !errors.Is(err, executor.ErrUnavailable) {
			t.Errorf("error %v, want one that matches ErrUnavailable", err)
		}
		return
	}
	before := snapshot(t, job.Root)
	out, outcome := printed(t, e, job)
	if want := "./in\n./src/a\n" + home + "\n"; out != want {
		t.Errorf("the step saw %q, want %q", out, want)
	}
	if diff := cmp.Diff([]string{"src/other"}, outcome.Unexpected); diff != "" || len(outcome.Modified)+len(outcome.Read) > 0 {
		t.Errorf("modified %q, read %q, unexpected (-want +got):\n%s", outcome.Modified, outcome.Read, diff)
	}
	for _, want := range slices.Concat(always(), ofView(), []string{process.ControlHomePrivate, process.ControlReadsTraced}) {
		if !slices.Contains(outcome.Controls, want) {
			t.Errorf("controls %q lack %s", outcome.Controls, want)
		}
	}
	if diff := cmp.Diff(before, snapshot(t, job.Root)); diff != "" {
		t.Errorf("the project (-before +after):\n%s", diff)
	}
	for _, name := range []string{"/.x", "/.npm/x"} {
		if _, err := os.Lstat(home + name); err == nil {
			t.Errorf("the step left %s in its home", name)
		}
	}
}
