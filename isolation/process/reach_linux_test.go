// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process"
)

func TestHide(t *testing.T) {
	needNamespaces(t)
	job := newJob(t, pipeline.Command{})
	dir := job.Root
	write(t, dir+"/folder/secret", "secret")
	write(t, dir+"/file", "secret")
	write(t, dir+"/real/secret", "secret")
	if err := os.Symlink("real", dir+"/link"); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", dir+"/socket")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	e := process.New(process.Options{Hide: []string{
		dir + "/folder", dir + "/folder/secret", dir + "/file", dir + "/link", dir + "/socket", dir + "/none/there",
	}})
	job.Command = shell(`set +e
cat folder/secret file real/secret link/secret 2>/dev/null
test -S socket && echo the socket is there
mkdir -p none/there && echo planted > none/there/it && echo planted
mv folder moved && cat moved/secret
true`)
	if out, _ := printed(t, e, job); out != "" {
		t.Errorf("within reach: %q", out)
	}
	for _, name := range []string{"folder/secret", "file", "real/secret"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); string(got) != "secret" {
			t.Errorf("%s holds %q, error %v", name, got, err)
		}
	}
}

// ownMounts gives the test a mount namespace that ends with it.
func ownMounts(t *testing.T) {
	t.Helper()
	needRoot(t)
	runtime.LockOSThread() // and never unlocked: the thread ends with the test
	if err := errors.Join(unix.Unshare(unix.CLONE_NEWNS), unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")); err != nil {
		t.Fatal(err)
	}
}

// A mount elsewhere shows the same files.
func TestAliases(t *testing.T) {
	ownMounts(t)
	job := newJob(t, pipeline.Command{})
	write(t, job.Root+"/.attest/keys/private.key", "secret")
	other := t.TempDir() + "/a b"
	if err := os.MkdirAll(other+"/whole", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, source := range map[string]string{"whole": filepath.Dir(job.Root), "project": job.Root, "attest": job.Root + "/.attest", "keys": job.Root + "/.attest/keys"} {
		if err := errors.Join(os.MkdirAll(other+"/"+name, 0o755), unix.Mount(source, other+"/"+name, "", unix.MS_BIND, "")); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = unix.Unmount(other+"/"+name, unix.MNT_DETACH) }()
	}
	job.Command = shell(fmt.Sprintf("find '%s' -name private.key -exec cat {} +", other))
	if out, _ := printed(t, process.New(process.Options{}), job); out != "" {
		t.Errorf("within reach: %q", out)
	}
}

// Whoever starts programs on request would start one outside of the step.
func TestDoors(t *testing.T) {
	ownMounts(t)
	if err := unix.Mount("none", "/run", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"/run/docker.sock", "/run/systemd/private", "/run/user/0/bus", "/run/other.sock"} {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		listener, err := net.Listen("unix", name)
		if err != nil {
			t.Fatal(err)
		}
		defer listener.Close()
	}
	if out, _ := printed(t, process.New(process.Options{}), newJob(t, shell("cd /run; for f in docker.sock systemd/private user/0/bus other.sock; do test ! -S $f || echo $f; done"))); out != "other.sock\n" {
		t.Errorf("sockets within reach: %q", out)
	}
}

// What root can do elsewhere, a step of root cannot: each of these would lead
// to the keys by a way of its own, and prints only where it is open. What could
// be changed is opened for writing, and nothing is written.
func TestRoot(t *testing.T) {
	needRoot(t)
	if !grantsPIDs(t) {
		t.Skip("the kernel grants no /proc of one's own")
	}
	for name, script := range map[string]string{
		"read a disk":            `find /dev -type b`,
		"make a disk":            `for n in "254 0" "259 0" "8 0"; do mknod d b $n && head -c 1 d && echo open; rm -f d; done`,
		"have the kernel run it": `( : >> /proc/sys/kernel/core_pattern ) && echo open`,
		"have udev run it":       `f=/sys/kernel/uevent_helper; test -e $f && ( : >> $f ) && echo open`,
		"change /sys":            `for f in /sys/module/*/parameters/* /sys/fs/cgroup/*/release_agent; do test -f "$f" && ( : >> "$f" ) && echo "$f"; done`,
		// Landlock refuses the same; this holds where there is none.
		"mount of /sys":          `awk '$5 == "/sys" { how = $6 } END { if (how !~ /^ro/) print "/sys is mounted " how }' /proc/self/mountinfo`,
		"press keys":             `( : >> /proc/sysrq-trigger ) && echo open`,
		"mount":                  `mkdir m; mount -t tmpfs none m && echo open`,
		"overlay":                `mkdir l u w m; unshare -Urm sh -c 'mount -t overlay -o lowerdir=..,upperdir=u,workdir=w none m && cat m/*/.attest/keys/private.key'`,
		"memory of the init":     `head -c 1 /proc/1/mem && echo open; for f in /proc/1/fd/*; do readlink $f && echo open; done`,
		"files of the init":      `ls /proc/1/root/ && echo open; ls /proc/1/cwd/ && echo open`,
		"namespaces of the init": `nsenter -t 1 -m -U true && echo open; nsenter -t 1 -m true && echo open`,
		"descriptors":            `for f in /proc/self/fd/*; do case "$(readlink $f)" in *.attest*) echo $f;; esac; done; test ! -e /proc/$$/fd/3 || test -n "$(readlink /proc/$$/fd/3 | grep sh)" || echo 3 is open`,
		"processes outside":      `for p in /proc/[0-9]*/exe; do readlink $p; done | grep -q process.test && echo open`,
	} {
		t.Run(name, func(t *testing.T) {
			job := newJob(t, pipeline.Command{})
			write(t, job.Root+"/.attest/keys/private.key", "secret")
			var out strings.Builder
			job.Command = shell("set +e\n" + script + "\ntrue")
			if _, err := process.New(process.Options{}).Run(t.Context(), job, executor.Streams{Stdout: &out}); err != nil {
				t.Fatal(err)
			}
			if out.Len() > 0 {
				t.Errorf("%s", out.String())
			}
		})
	}
}

// The init lives on whatever the step sends it.
func TestSignalsToInit(t *testing.T) {
	needNamespaces(t)
	// Should the namespace be missing, the signals would reach this machine.
	host, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	job := newJob(t, shell(`[ "$(readlink /proc/self/ns/pid)" != '`+host+`' ] || exit 99
for s in $(seq 1 31); do case $s in 19|20|21|22) ;; *) kill -$s 1 2>/dev/null || true;; esac; done; kill -9 -1 2>/dev/null & sleep 0.1; exit 5`))
	if _, outcome := printed(t, process.New(process.Options{}), job); outcome.ExitCode != 5 && outcome.ExitCode != 137 {
		t.Errorf("exit code %d", outcome.ExitCode)
	}
}

// Files that a step makes belong to whom they would without attest, and root's
// may be given to others.
func TestOwners(t *testing.T) {
	needRoot(t)
	job := newJob(t, shell("echo x > out; chown 1234:5678 out"), "out")
	printed(t, process.New(process.Options{}), job)
	info, err := os.Stat(job.Staging + "/out")
	if err != nil {
		t.Fatal(err)
	}
	if stat := info.Sys().(*syscall.Stat_t); stat.Uid != 1234 || stat.Gid != 5678 {
		t.Errorf("owner %d:%d", stat.Uid, stat.Gid)
	}
}

func TestSocketAmongOutputs(t *testing.T) {
	job := newJob(t, shell("mkdir out; mv socket out/"), "out/")
	listener, err := net.Listen("unix", job.Root+"/socket")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, err = process.New(process.Options{}).Run(t.Context(), job, executor.Streams{})
	if err == nil || !strings.Contains(err.Error(), "out/socket") {
		t.Errorf("error %v", err)
	}
}

// When attest is killed, its steps end, and what was moved aside can be put back.
func TestKilled(t *testing.T) {
	if dir := os.Getenv("ATTEST_TEST_PROJECT"); dir != "" {
		job := newJob(t, shell("echo new > out; setsid sleep 1000 & echo ready; sleep 1000"), "out")
		job.Root, job.Staging = dir, dir+"/.attest/staging"
		job.Env = []pipeline.Var{{Name: "MARK", Value: dir}}
		_, _ = process.New(process.Options{}).Run(t.Context(), job, executor.Streams{Stdout: os.Stdout})
		return
	}
	dir := t.TempDir()
	write(t, dir+"/out", "old")
	write(t, dir+"/.attest/staging/x", "")
	cmd := exec.Command("/proc/self/exe", "-test.run", "^TestKilled$")
	cmd.Env = append(os.Environ(), "ATTEST_TEST_PROJECT="+dir, "TMPDIR="+t.TempDir()) // it cannot clean up
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 6)
	if _, err := stdout.Read(line); err != nil || string(line) != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if !alive(dir) {
		t.Fatal("the step is not found although it runs")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	for range 200 {
		if !alive(dir) {
			break
		}
		unix.Nanosleep(&unix.Timespec{Nsec: 1e7}, nil)
	}
	if alive(dir) {
		t.Error("the step outlived attest by two seconds")
	}
	if err := process.PutBack(dir, dir+"/.attest/staging.aside"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(dir + "/out"); string(got) != "old" {
		t.Errorf("out holds %q, error %v", got, err)
	}
}

// alive reports whether a process has MARK in its environment.
func alive(mark string) bool {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	return slices.ContainsFunc(files, func(name string) bool {
		text, _ := os.ReadFile(name)
		return strings.Contains(string(text), "MARK="+mark)
	})
}

func TestMainByHand(t *testing.T) {
	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{"attest-step-init"}
	var exit *exec.ExitError
	if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 2 {
		t.Errorf("error %v, want exit status 2", err)
	}
}
