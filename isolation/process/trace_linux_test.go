// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process"
)

func pathsOf(files []executor.File) []string {
	var paths []string
	for _, f := range files {
		paths = append(paths, f.Path)
	}
	return paths
}

func TestTrace(t *testing.T) {
	needView(t)
	e := process.New(process.Options{})
	defer e.Close()
	for _, test := range []struct {
		name, script string
		want         []string
	}{
		{name: "nothing", script: "true"},
		{name: "an input", script: "cat in"},
		{name: "a file", script: "cat other", want: []string{"other"}},
		{name: "by another name", script: `cd src && cat ../src/./../other "$PWD/a"`, want: []string{"other", "src/a"}},
		{name: "through a link", script: "ln -s other l; cat l", want: []string{"other"}},
		{name: "by a child that outlives its parent", script: "(setsid sh -c 'sleep 0.1; cat other' &) ; sleep 0.5", want: []string{"other"}},
		{name: "changed", script: "cat other > copy; echo x > other", want: []string{"other"}},
		{name: "read and removed", script: "cat other; rm other", want: []string{"other"}},
		{name: "its own", script: "echo x > new; cat new; rm new"},
		{name: "an output from earlier", script: "cat out || true"},
		{name: "executed", script: "./src/tool", want: []string{"src/tool"}},
		{name: "a name with a newline", script: "cat 'a\nb'", want: []string{"a\nb"}},
		{name: "in a namespace of its own", script: "unshare -Urm cat other || cat other", want: []string{"other"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			job := newJob(t, shell(test.script), "out")
			for _, name := range []string{"in", "other", "out", "src/a", "a\nb"} {
				write(t, filepath.Join(job.Root, name), "x\n")
			}
			write(t, filepath.Join(job.Root, "src/tool"), "#!/bin/sh\n")
			if err := os.Chmod(filepath.Join(job.Root, "src/tool"), 0o755); err != nil {
				t.Fatal(err)
			}
			declare(t, &job, "in")
			_, outcome := printed(t, e, job)
			if !slices.Contains(outcome.Controls, process.ControlReadsTraced) {
				if os.Getuid() == 0 {
					t.Fatalf("root is not told what a step reads: %q", outcome.Controls)
				}
				t.Skip("only root is told")
			}
			if diff := cmp.Diff(test.want, pathsOf(outcome.Read)); diff != "" {
				t.Errorf("read (-want +got):\n%s", diff)
			}
			programs := pathsOf(outcome.Programs)
			shell, err := filepath.EvalSymlinks("/bin/sh")
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(programs, shell) {
				t.Errorf("programs %q lack %s", programs, shell)
			}
		})
	}
}

// Many files at once, from many steps, and none is lost or mixed up.
func TestTraceOfMany(t *testing.T) {
	needRoot(t)
	needView(t)
	e := process.New(process.Options{})
	t.Cleanup(func() { _ = e.Close() })
	const files = 3000
	for _, name := range []string{"a", "b"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			job := newJob(t, shell("find "+name+" -type f -exec cat {} + > /dev/null"))
			for i := range files {
				write(t, filepath.Join(job.Root, name, string(rune('a'+i%26)), "x"), "x")
				write(t, filepath.Join(job.Root, name, "f"+string(rune('a'+i%26))+string(rune('a'+i/26%26))+string(rune('a'+i/676))), "x")
			}
			_, outcome := printed(t, e, job)
			if len(outcome.Read) != files+26 {
				t.Errorf("%d files were read, want %d", len(outcome.Read), files+26)
			}
		})
	}
}
