// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/process"
)

// TestOwnNamespaces compares the namespaces of a step with those of this program:
// the step has its own of each that the controls name.
func TestOwnNamespaces(t *testing.T) {
	needNamespaces(t)
	e := process.New(process.Options{})
	defer e.Close()
	job := newJob(t, shell(`for n in ipc mnt net pid user uts; do readlink /proc/self/ns/$n; done`))
	job.Network = pipeline.NetworkNone
	out, outcome := printed(t, e, job)
	lines := strings.Fields(out)
	names := []string{"ipc", "mnt", "net", "pid", "user", "uts"}
	if len(lines) != len(names) {
		t.Fatalf("printed %q", out)
	}
	controls := map[string]string{
		"ipc": process.ControlIPCNamespace, "mnt": process.ControlMountNamespace, "net": process.ControlNoNetwork,
		"pid": process.ControlPIDNamespace, "user": process.ControlUserNamespace, "uts": process.ControlUTSNamespace,
	}
	for i, name := range names {
		mine, err := os.Readlink("/proc/self/ns/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if own := lines[i] != mine; own != slices.Contains(outcome.Controls, controls[name]) {
			t.Errorf("%s: a namespace of its own: %t; controls %q", name, own, outcome.Controls)
		}
	}
}

// TestMountFlags: neither devices nor set-user-ID programs work in what a step
// writes to, whatever else would let them.
func TestMountFlags(t *testing.T) {
	needView(t)
	home := t.TempDir()
	e := process.New(process.Options{Environ: []string{"HOME=" + home, "PATH=" + os.Getenv("PATH")}})
	defer e.Close()
	job := newJob(t, shell("cat /proc/self/mounts"))
	out, outcome := printed(t, e, job)
	want := []string{job.Root, "/dev/shm"}
	if slices.Contains(outcome.Controls, process.ControlHomePrivate) {
		want = append(want, home)
	}
	last := map[string]string{} // the uppermost of what is mounted at a path
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); len(fields) > 3 {
			last[fields[1]] = fields[3]
		}
	}
	for _, path := range want {
		flags := strings.Split(last[path], ",")
		if !slices.Contains(flags, "nosuid") || path != "/dev/shm" && !slices.Contains(flags, "nodev") {
			t.Errorf("%s is mounted with %q", path, flags)
		}
	}
}
