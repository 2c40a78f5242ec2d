// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/vm/guest"
)

func TestOrder(t *testing.T) {
	spec := &specs.Spec{
		Hostname: "attest",
		Root:     &specs.Root{Path: "/nowhere", Readonly: true},
		Process: &specs.Process{
			Args: []string{"a"}, Env: []string{"B=c"}, Cwd: "/d", NoNewPrivileges: true,
			User:         specs.User{UID: 1, GID: 2, AdditionalGids: []uint32{3}},
			Capabilities: &specs.LinuxCapabilities{Bounding: []string{"CAP_CHOWN", "CAP_SYSLOG"}, Effective: []string{"CAP_KILL"}},
			Rlimits:      []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Soft: 4, Hard: 5}},
		},
		Mounts: []specs.Mount{
			{Type: "proc", Source: "proc", Destination: "/proc", Options: []string{"nosuid", "noexec"}},
			{Type: "devpts", Source: "devpts", Destination: "/dev/pts", Options: []string{"nosuid", "mode=0620", "gid=5"}},
			{Type: "cgroup", Source: "cgroup", Destination: "/sys/fs/cgroup"},
			{Type: "bind", Source: "/etc/hosts", Destination: "/etc/hosts"},
		},
	}
	got, outside, err := order(spec, Settings{Memory: 6, PIDs: 7, FileSize: 8})
	if err != nil {
		t.Fatal(err)
	}
	if got.Rights.Bounding != 1<<unix.CAP_CHOWN|1<<unix.CAP_SYSLOG || got.Rights.Effective != 1<<unix.CAP_KILL || got.Rights.Permitted != 0 {
		t.Errorf("capabilities %x %x %x", got.Rights.Bounding, got.Rights.Effective, got.Rights.Permitted)
	}
	if want := []guest.Rlimit{{Kind: unix.RLIMIT_CORE, Soft: 4, Hard: 5}, {Kind: unix.RLIMIT_FSIZE, Soft: 8, Hard: 8}}; !slices.Equal(got.Rights.Rlimits, want) {
		t.Errorf("limits %v, want %v", got.Rights.Rlimits, want)
	}
	if want := []guest.Mount{
		{Type: "proc", Source: "proc", Target: "/proc", Flags: unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV},
		{Type: "devpts", Source: "devpts", Target: "/dev/pts", Flags: unix.MS_NOSUID, Data: "mode=0620,gid=5"},
	}; !slices.Equal(got.Mounts, want) {
		t.Errorf("mounts %v, want %v", got.Mounts, want)
	}
	if len(outside) != 1 || outside[0].Destination != "/etc/hosts" {
		t.Errorf("mounts of the host: %v", outside)
	}
	if !got.Rights.NoNewPrivileges || got.Rights.UID != 1 || got.Rights.GID != 2 || !slices.Equal(got.Rights.Groups, []int{3}) || got.Memory != 6 || got.PIDs != 7 {
		t.Errorf("got %+v", got)
	}
}

// TestOrderRefusesWhatItDoesNotUnderstand: nothing is left out silently.
func TestOrderRefusesWhatItDoesNotUnderstand(t *testing.T) {
	for name, change := range map[string]func(*specs.Spec){
		"capability": func(s *specs.Spec) { s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: []string{"CAP_WHAT"}} },
		"limit":      func(s *specs.Spec) { s.Process.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_WHAT"}} },
		"option": func(s *specs.Spec) {
			s.Mounts = []specs.Mount{{Type: "tmpfs", Destination: "/a", Options: []string{"x,y"}}}
		},
		"hidden mount": func(s *specs.Spec) {
			s.Mounts = []specs.Mount{{Type: "tmpfs", Destination: "/a"}, {Type: "bind", Source: "/b", Destination: "/a/b"}}
		},
		"process": func(s *specs.Spec) { s.Process = nil },
	} {
		spec := &specs.Spec{Root: &specs.Root{}, Process: &specs.Process{}}
		change(spec)
		if _, _, err := order(spec, Settings{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestFilesInMemory: a file that lies in memory here goes with the order, wherever
// in the step it is; one on a disk, and a folder, are mounted.
func TestFilesInMemory(t *testing.T) {
	memory, err := os.MkdirTemp("/dev/shm", "attest-test-")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(memory) })
	secret, onDisk := filepath.Join(memory, "secret"), filepath.Join(t.TempDir(), "file")
	for _, name := range []string{secret, onDisk} {
		if err := os.WriteFile(name, []byte("hunter2"), 0o400); err != nil {
			t.Fatal(err)
		}
	}
	spec := &specs.Spec{Root: &specs.Root{}, Process: &specs.Process{}, Mounts: []specs.Mount{
		{Type: "tmpfs", Source: "tmpfs", Destination: "/dev"},
		{Type: "bind", Source: secret, Destination: "/run/../dev/secret/", Options: []string{"ro", "rbind"}},
		{Type: "bind", Source: onDisk, Destination: "/disk", Options: []string{"ro", "rbind"}},
		{Type: "bind", Source: memory, Destination: "/folder", Options: []string{"ro", "rbind"}},
		{Type: "bind", Source: secret, Destination: "/writable", Options: []string{"rbind"}},
	}}
	o, outside, err := order(spec, Settings{})
	if err != nil {
		t.Fatal(err)
	}
	want := []guest.File{{Path: "/dev/secret", Content: []byte("hunter2"), Mode: 0o400, UID: os.Getuid(), GID: os.Getgid()}}
	if diff := cmp.Diff(want, o.Files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if len(outside) != 3 || slices.ContainsFunc(outside, func(m specs.Mount) bool { return m.Destination == "/run/../dev/secret/" }) {
		t.Errorf("mounts of the host: %v", outside)
	}
}

// TestSeededHardware: what gives a program random numbers without a system call is
// not there in a machine with a seed.
func TestSeededHardware(t *testing.T) {
	for _, test := range []struct {
		kernel, accelerator string
		vdso                bool
	}{
		{"6.1.0-48-cloud-amd64", TCG, true}, {"6.10.11-amd64", KVM, true}, {"6.11.0-1-amd64", TCG, false}, {"7.0.1", KVM, false},
	} {
		plain := hardware{accelerator: test.accelerator, kernel: test.kernel}
		seeded := plain
		seeded.seeded = true
		if args := strings.Join(seeded.arguments(), " "); !strings.Contains(args, ",-rdrand,-rdseed") || strings.Contains(args, " vdso=0") == test.vdso {
			t.Errorf("with a seed, linux %s: %s", test.kernel, args)
		}
		if args := strings.Join(plain.arguments(), " "); strings.Contains(args, "-rdrand") || strings.Contains(args, "vdso=0") {
			t.Errorf("without a seed, linux %s: %s", test.kernel, args)
		}
	}
}
