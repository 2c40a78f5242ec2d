// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

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
			control := process.ControlReadsTraced
			if os.Getuid() != 0 {
				control = process.ControlOpensTraced
			}
			if !slices.Contains(outcome.Controls, control) {
				t.Fatalf("controls %q lack %s", outcome.Controls, control)
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

// Users other than root are told by other means.
func TestTraceOfAnotherUser(t *testing.T) {
	needRoot(t)
	again(t, "^TestTrace$|^TestTraceOfMany$|^TestTraceNested$", func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 54321, Gid: 54321}}
	})
}

// Where another program listens already, a step runs and is not traced.
func TestTraceNested(t *testing.T) {
	needView(t)
	if os.Getuid() == 0 {
		t.Skip("root is told by fanotify")
	}
	runtime.LockOSThread() // which ends with the filter, with this test
	filter := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}}
	program := unix.SockFprog{Len: 1, Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	fd, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		t.Fatal(errno)
	}
	defer unix.Close(int(fd))
	e := process.New(process.Options{}) // its keeper is started by this thread
	defer e.Close()
	job := newJob(t, shell("cat other"))
	write(t, filepath.Join(job.Root, "other"), "x\n")
	out, outcome := printed(t, e, job)
	if out != "x\n" || slices.Contains(outcome.Controls, process.ControlOpensTraced) || len(outcome.Read) > 0 {
		t.Errorf("printed %q, controls %q, read %v", out, outcome.Controls, outcome.Read)
	}
	job = newJob(t, shell("true"))
	job.Trace = true
	if _, err := e.Run(t.Context(), job, executor.Streams{}); err == nil || !strings.Contains(err.Error(), "tracing what it looks for") {
		t.Errorf("--trace where it cannot be: %v", err)
	}
}

// Many files at once, from many steps, and none is lost or mixed up.
func TestTraceOfMany(t *testing.T) {
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

// Root is told of the folders that a step lists, not of those that it opens.
func TestTraceOfFolders(t *testing.T) {
	needView(t)
	needRoot(t)
	e := process.New(process.Options{})
	defer e.Close()
	for _, test := range []struct {
		name, script string
		want         []string
	}{
		{name: "nothing", script: "true"},
		{name: "a file", script: "cat src/a"},
		{name: "opened and not read", script: "mkdir -p new/a new/b; exec 3< src; rm -r new"},
		{name: "a folder", script: "ls src", want: []string{"src"}},
		{name: "the project", script: "ls", want: []string{"."}},
		{name: "a pattern", script: "cat src/*/f*", want: []string{"src", "src/deep"}},
		{name: "its own", script: "mkdir new; ls new; rmdir new"},
		{name: "ours and git's", script: "ls .git; ls .attest || true"},
	} {
		t.Run(test.name, func(t *testing.T) {
			job := newJob(t, shell(test.script))
			for _, name := range []string{"in", "src/a", "src/deep/file", ".git/HEAD"} {
				write(t, filepath.Join(job.Root, name), "x\n")
			}
			declare(t, &job, "in")
			_, outcome := printed(t, e, job)
			if diff := cmp.Diff(test.want, outcome.Listed); diff != "" {
				t.Errorf("listed (-want +got):\n%s", diff)
			}
		})
	}
}
