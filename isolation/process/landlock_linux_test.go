// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/process"
)

// needLandlock skips where the kernel has none that knows scopes.
func needLandlock(t *testing.T) {
	t.Helper()
	if len(landlocked(true)) == 0 {
		t.Skip("the kernel's Landlock is too old")
	}
}

// TestAbstractSockets: what listens on this machine without a place in the file
// system is out of a step's reach, though it shares the network. What the step
// itself opens is not.
func TestAbstractSockets(t *testing.T) {
	needLandlock(t)
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("no python3")
	}
	name := fmt.Sprintf("attest-test-%d", os.Getpid())
	listener, err := net.Listen("unix", "@"+name)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	e := process.New(process.Options{Environ: os.Environ()})
	defer e.Close()
	job := newJob(t, shell(`python3 - <<'EOF'
import socket
s = socket.socket(socket.AF_UNIX)
try:
    s.connect("\0`+name+`")
    print("reached")
except PermissionError:
    print("refused")
own = socket.socket(socket.AF_UNIX)
own.bind("\0`+name+`-own")
own.listen()
socket.socket(socket.AF_UNIX).connect("\0`+name+`-own")
print("own")
EOF`))
	if out, _ := printed(t, e, job); out != "refused\nown\n" {
		t.Errorf("printed %q", out)
	}
}

// TestWithoutNamespaces: where the kernel grants none, Landlock keeps a step from
// writing beside its project, and from signals to others.
func TestWithoutNamespaces(t *testing.T) {
	if os.Getenv(without) == "all" {
		testFenced(t)
		return
	}
	needLandlock(t)
	needRoot(t)
	again(t, "^TestWithoutNamespaces$", func(cmd *exec.Cmd) {
		cmd.Args = append([]string{"sh", "-e", "-c", `echo 0 > /proc/sys/user/max_user_namespaces; exec "$@"`, "sh", cmd.Path}, cmd.Args[1:]...)
		cmd.Path = "/bin/sh"
		cmd.Env = append(cmd.Env, without+"=all")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
	})
}

func testFenced(t *testing.T) {
	// Beside it, in a folder that is not /tmp.
	dir, err := os.MkdirTemp("/run", "attest-test-")
	if err != nil {
		t.Skip("no folder that is not the step's to write to")
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	write(t, dir+"/there", "mine")
	other := exec.Command("sleep", "60")
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Process.Kill(); _ = other.Wait() }()
	e := process.New(process.Options{Environ: os.Environ()})
	defer e.Close()
	job := newJob(t, shell(fmt.Sprintf(`
		for try in "echo x > %[1]s/new" "echo x > %[1]s/there" ": > %[1]s/there" "rm %[1]s/there" "mkdir %[1]s/d" "ln -s x %[1]s/l" "mv %[1]s/there ." "kill -0 %[2]d"; do
			if sh -c "$try" 2>/dev/null; then echo "did: $try"; fi
		done
		echo x > /dev/null; echo x > /tmp/attest-fenced-$$; rm /tmp/attest-fenced-$$
		mkdir a b; echo x > a/f; mv a/f b/g; ln b/g a/h; cat a/h
		sleep 60 & kill $!`, dir, other.Process.Pid)), "b/")
	out, outcome := printed(t, e, job)
	if out != "x\n" || outcome.ExitCode != 0 {
		t.Errorf("printed %q, exit code %d", out, outcome.ExitCode)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "there")); string(text) != "mine" {
		t.Errorf("beside the project: %q, %v", text, err)
	}
	if !strings.Contains(strings.Join(outcome.Controls, " "), process.ControlLandlockFiles) {
		t.Errorf("controls %q", outcome.Controls)
	}
}
