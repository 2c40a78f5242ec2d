// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/process"
)

// TestEscape tries, from inside a step, what a step must not be able to do. Each
// script prints only where it gets through, and what it does then is small and
// undone, or never begun: those that would touch the machine first make sure
// that they are in a user namespace of the step's.
func TestEscape(t *testing.T) {
	needView(t)
	bystander := exec.Command("sleep", "60")
	bystander.Env = []string{"SECRET=outside"}
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = bystander.Process.Kill(); _ = bystander.Wait() }()
	hostUsers, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		t.Fatal(err)
	}
	const guard = `[ "$(readlink /proc/self/ns/user)" != "$HOST_USERS" ] || { echo no user namespace; exit 0; }
`
	for name, script := range map[string]string{
		"key":                   `cat .attest/keys/private.key "$ROOT/.attest/keys/private.key"`,
		"trust store":           `cat .attest/trust/root.pub; echo x > .attest/trust/mine.pub && echo planted`,
		"cache":                 `cat .attest/cache/entry "$CACHE/entry"; echo x > "$CACHE/mine" && echo planted; mkdir -p .attest/cache && echo planted`,
		"another step":          `cat .attest/tmp/other/out/half; find "$ROOT" /tmp -name half-written`,
		"own layers":            `find "$ROOT" /tmp -name staging.view; ls -d "$ROOT"/.attest/tmp/*`,
		"bystander's secrets":   `cat /proc/*/environ | tr '\0' '\n' | grep SECRET=; cat /proc/$BYSTANDER/environ | tr '\0' '\n' | grep SECRET=`,
		"bystander's life":      guard + `kill -9 $BYSTANDER`,
		"load a module":         guard + `perl -e '$! = 0; syscall(175, "", 0, ""); print "open: $!\n" if $!{ENOEXEC} || !$!'`,
		"clock":                 guard + `date -s "@$(date +%s)" > /dev/null && echo open`,
		"host name":             guard + `hostname attest-escape && echo open`,
		"swap":                  guard + `swapoff /attest-no-such-file 2>&1 | grep -i "no such file"`,
		"kernel's log":          guard + `( : > /dev/kmsg ) && echo open`,
		"devices":               `for n in sda vda nvme0n1 mem kmem port; do test -e /dev/$n && ( : < /dev/$n ) && echo /dev/$n; done`,
		"control groups":        `for d in /sys/fs/cgroup /sys/fs/cgroup/*; do mkdir $d/attest-escape && echo $d && rmdir $d/attest-escape; done`,
		"a program with set-ID": `grep NoNewPrivs /proc/self/status | grep -v 1`,
		"powers":                `grep -E 'Cap(Prm|Eff|Amb)' /proc/self/status | awk -v bits="200000 80000" '{ if (substr($2, 11, 1) ~ /[2367abef]/) print }'`,
		"keys in the kernel":    `perl -e '$! = 0; my $r = syscall(250, 0, -3, 0); print "session key ring is shared\n" if $r > 0 && $r == $ENV{SESSION}'`,
		"keys of the user":      `perl -e 'my $r = syscall(248, my $k = "user", my $n = "attest-escape", my $v = "x", 1, -4); if ($r > 0) { print "planted\n"; syscall(250, 9, $r, -4) } my $u = syscall(250, 0, -4, 0); print "user key ring is open\n" if $u > 0'`,
	} {
		t.Run(name, func(t *testing.T) {
			job := newJob(t, shell("set +e\n{ "+script+"\n} 2>/dev/null\ntrue"))
			cache := t.TempDir()
			for _, f := range []string{job.Root + "/.attest/keys/private.key", job.Root + "/.attest/trust/root.pub", job.Root + "/.attest/cache/entry", job.Root + "/.attest/tmp/other/out/half", job.Root + "/.attest/tmp/other/out/half-written", cache + "/entry"} {
				write(t, f, "reached\n")
			}
			session, _ := unix.KeyctlGetKeyringID(unix.KEY_SPEC_SESSION_KEYRING, false)
			job.Env = []pipeline.Var{
				{Name: "BYSTANDER", Value: fmt.Sprint(bystander.Process.Pid)}, {Name: "CACHE", Value: cache},
				{Name: "HOST_USERS", Value: hostUsers}, {Name: "ROOT", Value: job.Root}, {Name: "SESSION", Value: fmt.Sprint(session)},
			}
			e := process.New(process.Options{Hide: []string{cache}})
			defer e.Close()
			if out := output(t, e, job); out != "" {
				t.Errorf("%s", out)
			}
			if text, err := os.ReadFile(job.Root + "/.attest/keys/private.key"); string(text) != "reached\n" {
				t.Errorf("the key is %q, error %v", text, err)
			}
		})
	}
	if err := bystander.Process.Signal(unix.Signal(0)); err != nil {
		t.Errorf("the bystander is gone: %v", err)
	}
}

// What a step leaves of the old kinds of memory that processes share is its own.
func TestSharedMemoryStaysInside(t *testing.T) {
	needView(t)
	segments := func() string {
		text, err := os.ReadFile("/proc/sysvipc/shm")
		if err != nil {
			t.Skip(err)
		}
		return strings.Join(strings.Fields(string(text)), " ")
	}
	before := segments()
	e := process.New(process.Options{})
	defer e.Close()
	if out := output(t, e, newJob(t, shell("ipcmk -M 4096 > /dev/null && wc -l < /proc/sysvipc/shm"))); out != "2\n" {
		t.Errorf("the step sees %q", out)
	}
	if after := segments(); after != before {
		t.Errorf("the machine has now %s", after)
	}
}

// Links that a step plants lead nowhere, on the way out as inside.
func TestPlantedLinks(t *testing.T) {
	needView(t)
	outside := t.TempDir()
	write(t, outside+"/file", "outside")
	job := newJob(t, shell(`set +e
rm -r src; ln -s "$OUTSIDE" src
mkdir out; ln -s "$OUTSIDE" out/dir; ln -s "$OUTSIDE/file" out/link; ln "$OUTSIDE/file" out/hard; ln /etc/passwd out/passwd
printf x > "out/$(printf 'a\nb')"
true`), "out/")
	write(t, job.Root+"/src/a", "a")
	declare(t, &job, "src/a")
	job.Env = []pipeline.Var{{Name: "OUTSIDE", Value: outside}}
	e := process.New(process.Options{})
	defer e.Close()
	_, outcome := printed(t, e, job)
	if strings.Join(outcome.Modified, " ") != "src/a" {
		t.Errorf("modified: %q", outcome.Modified)
	}
	for name, want := range map[string]string{"dir": outside, "link": outside + "/file"} {
		if got, err := os.Readlink(job.Staging + "/out/" + name); got != want {
			t.Errorf("out/%s leads to %q, error %v", name, got, err)
		}
	}
	for _, name := range []string{"hard", "passwd"} {
		if _, err := os.Lstat(job.Staging + "/out/" + name); err == nil {
			t.Errorf("out/%s is a name for a file outside", name)
		}
	}
	if text, err := os.ReadFile(outside + "/file"); string(text) != "outside" {
		t.Errorf("the file outside holds %q, error %v", text, err)
	}
}
