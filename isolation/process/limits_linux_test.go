// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/diskspace"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process"
)

// limited runs a script under limits. Every script is bounded by itself: where
// the limit fails, it ends all the same.
func limited(t *testing.T, l pipeline.Limits, script string) (stdout, stderr string, outcome executor.Outcome) {
	t.Helper()
	e := process.New(process.Options{})
	defer e.Close()
	job := newJob(t, shell(script))
	job.Limits = l
	var out, errOut strings.Builder
	outcome, err := e.Run(t.Context(), job, executor.Streams{Stdout: &out, Stderr: &errOut})
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), errOut.String(), outcome
}

func TestMemoryLimit(t *testing.T) {
	needNamespaces(t)
	// Three strings of 40 MB, in one process.
	stdout, _, outcome := limited(t, pipeline.Limits{Memory: 50 << 20}, `perl -e '$a = "x" x 4e7; $b = "y" x 4e7; $c = "z" x 4e7; print "filled\n"'`)
	if outcome.ExitCode == 0 || stdout != "" {
		t.Errorf("exit code %d, printed %q", outcome.ExitCode, stdout)
	}
	if slices.Contains(outcome.Controls, process.ControlMemoryLimit) {
		if want := []string{pipeline.LimitMemory}; !slices.Equal(outcome.Met, want) {
			t.Errorf("met %q, want %q", outcome.Met, want)
		}
	} else if !slices.Contains(outcome.Controls, process.ControlMemoryEach) {
		t.Errorf("controls %q", outcome.Controls)
	}
}

func TestPIDsLimit(t *testing.T) {
	needNamespaces(t)
	stdout, _, outcome := limited(t, pipeline.Limits{PIDs: 20}, `set +e; for i in $(seq 300); do sleep 3 & done 2>/dev/null; ls -d /proc/[0-9]* | wc -l`)
	if !slices.Contains(outcome.Controls, process.ControlPIDsLimit) && !slices.Contains(outcome.Controls, process.ControlPIDsUser) {
		t.Fatalf("controls %q", outcome.Controls)
	}
	if stdout != "" { // where the shell could count at all
		if n := strings.TrimSpace(stdout); len(n) > 2 && slices.Contains(outcome.Controls, process.ControlPIDsLimit) {
			t.Errorf("%s processes", n)
		}
	}
	if want := []string{pipeline.LimitPIDs}; outcome.ExitCode != 0 && slices.Contains(outcome.Controls, process.ControlPIDsLimit) && !slices.Equal(outcome.Met, want) {
		t.Errorf("met %q, want %q", outcome.Met, want)
	}
}

func TestFileSizeLimit(t *testing.T) {
	needNamespaces(t)
	stdout, _, outcome := limited(t, pipeline.Limits{FileSize: 1 << 20}, `head -c 1000000 /dev/zero > small && echo small; head -c 3000000 /dev/zero > large; echo large`)
	if stdout != "small\n" || outcome.ExitCode == 0 || !slices.Contains(outcome.Controls, process.ControlFileSizeLimit) {
		t.Errorf("printed %q, exit code %d, controls %q", stdout, outcome.ExitCode, outcome.Controls)
	}
}

func TestCPUsLimit(t *testing.T) {
	needNamespaces(t)
	stdout, _, outcome := limited(t, pipeline.Limits{CPUs: 1}, "nproc")
	if stdout != "1\n" || !slices.Contains(outcome.Controls, process.ControlCPUsAffinity) {
		t.Errorf("printed %q, controls %q", stdout, outcome.Controls)
	}
}

// What a step can undo, its affinity, is not all that keeps it to its processors.
func TestCPUsLimitOfGroup(t *testing.T) {
	needNamespaces(t)
	e := process.New(process.Options{})
	defer e.Close()
	job := newJob(t, shell("echo runs; sleep 0.5"))
	job.Limits = pipeline.Limits{CPUs: 1}
	var found []string
	outcome, err := e.Run(t.Context(), job, executor.Streams{Stdout: writerFunc(func([]byte) {
		for _, file := range []string{"cpu.cfs_quota_us", "cpu.max"} {
			for _, above := range []string{"", "/*", "/*/*", "/*/*/*"} {
				names, _ := filepath.Glob(fmt.Sprintf("/sys/fs/cgroup%s/attest-step-%d-*/%s", above, os.Getpid(), file))
				for _, name := range names {
					text, _ := os.ReadFile(name)
					found = append(found, strings.TrimSpace(string(text)))
				}
			}
		}
	})})
	if err != nil || outcome.ExitCode != 0 {
		t.Fatal(outcome.ExitCode, err)
	}
	limited := slices.ContainsFunc(found, func(s string) bool { return s == "100000" || s == "100000 100000" })
	if named := slices.Contains(outcome.Controls, process.ControlCPUsLimit); named != limited {
		t.Errorf("groups have %q, controls %q", found, outcome.Controls)
	}
}

type writerFunc func(p []byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

// Nothing is left of the control groups.
func TestGroupsAreRemoved(t *testing.T) {
	needNamespaces(t)
	_, _, outcome := limited(t, pipeline.Limits{Memory: 1 << 30, PIDs: 100, CPUs: 1}, "setsid sleep 100 & true")
	if os.Getuid() == 0 && !slices.Contains(outcome.Controls, process.ControlPIDsLimit) {
		t.Skipf("no control groups: %q", outcome.Controls)
	}
	ours := fmt.Sprintf("attest-step-%d-*", os.Getpid()) // others may run steps just now
	for _, above := range []string{"", "/*", "/*/*"} {
		if left, _ := filepath.Glob("/sys/fs/cgroup" + above + "/" + ours); len(left) > 0 {
			t.Errorf("left: %q", left)
		}
	}
}

// A step that says nothing of limits is held to what the machine survives.
func TestWithoutLimits(t *testing.T) {
	needNamespaces(t)
	stdout, _, outcome := limited(t, pipeline.Limits{}, `cat /proc/self/oom_score_adj
for g in /sys/fs/cgroup/pids/ /sys/fs/cgroup/; do
	cat $g/$(sed -n 's/^[0-9]*:\(pids\)\{0,1\}:\/\(.*attest-step-.*\)/\2/p' /proc/self/cgroup)/pids.max 2>/dev/null && exit
done; true`)
	score, held, _ := strings.Cut(stdout, "\n")
	if score != "500" {
		t.Errorf("the kernel counts %q for it when there is no memory left", score)
	}
	if len(grouped()) == 0 {
		t.Skipf("no control groups: %q", outcome.Controls)
	}
	// In version 1 a thread of the init counts too.
	if held := strings.TrimSpace(held); held != "8192" && held != "8193" {
		t.Errorf("held to %q processes", held)
	}
}

// A step is stopped before it has filled the disk that it works on.
func TestFullDisk(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID, "size=64m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	e := process.New(process.Options{})
	defer e.Close()
	job := newJob(t, shell(`head -c 40000000 /dev/zero > large; sleep 20; echo went on`))
	job.Root, job.Staging = dir, filepath.Join(dir, ".attest/tmp/out")
	if err := os.MkdirAll(job.Staging, 0o755); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	_, err := e.Run(t.Context(), job, executor.Streams{Stdout: &out})
	var full *diskspace.FullError
	if !errors.As(err, &full) || out.String() != "" {
		t.Errorf("error %v, printed %q", err, &out)
	}
}
