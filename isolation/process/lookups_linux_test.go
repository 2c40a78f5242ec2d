// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process"
)

// lookCommand has the test's program look for files in ways that shells do not
// have; see look.
const lookCommand = "attest-look"

// look looks for a file, and is content with what comes of it.
func look(args []string) int {
	how, name := args[0], args[1]
	dir, base := filepath.Split(name)
	at := func() int {
		fd, err := unix.Open("./"+dir, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			panic(err)
		}
		return fd
	}
	var info unix.Stat_t
	switch how {
	case "openat":
		_, _ = unix.Openat(at(), base, unix.O_RDONLY, 0)
	case "openat2":
		_, _ = unix.Openat2(at(), base, &unix.OpenHow{Flags: unix.O_RDONLY})
	case "fstatat":
		_ = unix.Fstatat(at(), base, &info, unix.AT_SYMLINK_NOFOLLOW)
	case "fchdir":
		if err := unix.Fchdir(at()); err != nil {
			panic(err)
		}
		_, _ = unix.Open(base, unix.O_RDONLY, 0)
	case "execveat":
		_, _, _ = unix.Syscall6(unix.SYS_EXECVEAT, uintptr(at()), uintptr(unsafe.Pointer(&append([]byte(base), 0)[0])), 0, 0, 0, 0)
	case "page end": // the name ends where the memory does
		page := os.Getpagesize()
		m, err := unix.Mmap(-1, 0, 2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
		if err != nil || unix.Mprotect(m[page:], unix.PROT_NONE) != nil {
			panic(err)
		}
		text := m[page-len(name)-1 : page]
		copy(text, name)
		here := unix.AT_FDCWD
		_, _, _ = unix.Syscall6(unix.SYS_OPENAT, uintptr(here), uintptr(unsafe.Pointer(&text[0])), unix.O_RDONLY, 0, 0, 0)
	case "no name":
		here := unix.AT_FDCWD
		_, _, _ = unix.Syscall6(unix.SYS_OPENAT, uintptr(here), 8, unix.O_RDONLY, 0, 0, 0)
	case "threads":
		var wait sync.WaitGroup
		for i := range 8 {
			wait.Go(func() {
				runtime.LockOSThread()
				for n := range 50 {
					_, _ = os.Stat(fmt.Sprintf("%s-%d-%d", name, i, n))
				}
			})
		}
		wait.Wait()
	case "own folder": // a thread with a working directory of its own
		fd := at()
		runtime.LockOSThread()
		if unix.Unshare(unix.CLONE_FS) != nil || unix.Fchdir(fd) != nil {
			panic("no folder of its own")
		}
		_, _ = unix.Open(base, unix.O_RDONLY, 0)
	case "io_uring":
		params := make([]byte, 120)
		_, _, _ = unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params[0])), 0)
	}
	return 0
}

// copySelf makes the test's program a file of the project.
func copySelf(t *testing.T, name string) {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err == nil {
		err = os.WriteFile(name, self, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// traced runs the job with Trace.
func traced(t *testing.T, e *process.Executor, job executor.Job) executor.Outcome {
	t.Helper()
	job.Trace = true
	outcome, err := e.Run(t.Context(), job, executor.Streams{Stdout: testWriter{t}, Stderr: testWriter{t}})
	if err != nil {
		t.Fatal(err)
	}
	return outcome
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(b []byte) (int, error) { w.t.Logf("%s", b); return len(b), nil }

func TestLookups(t *testing.T) {
	needView(t)
	e := process.New(process.Options{})
	defer e.Close()
	long := strings.Repeat("a/", 1500) + "x"
	for _, test := range []struct {
		name, script    string
		missing, unread []string
	}{
		{name: "nothing is missing", script: "cat in dir/in"},
		{name: "read", script: "cat in dir/in; cat gone || true", missing: []string{"gone"}},
		{name: "asked after", script: "cat in dir/in; test -e gone || test -e dir/gone || true", missing: []string{"dir/gone", "gone"}},
		{name: "executed", script: "cat in dir/in; ./gone || true", missing: []string{"gone"}},
		{name: "entered", script: "cat in dir/in; cd gone || true", missing: []string{"gone"}},
		{name: "in a folder that is not there", script: "cat in dir/in; cat no/such/file || true", missing: []string{"no/such/file"}},
		{name: "below a file", script: "cat in dir/in; cat in/file || true", missing: []string{"in/file"}},
		{name: "by other names", script: `cat in dir/in; cd dir; cat .././dir//gone "$PWD/../gone" || true`, missing: []string{"dir/gone", "gone"}},
		{name: "through links", script: "cat in dir/in; ln -s dir l; ln -s l/gone m; cat l/../gone l/x m || true", missing: []string{"dir/gone", "dir/x", "gone"}},
		{name: "a link that leads in circles", script: "cat in dir/in; ln -s l l; cat l || true"},
		{name: "what it makes", script: "cat in dir/in; test -e new || : > new; cat new; test -e d || mkdir d; test -e d/x || cat d/y || true"},
		{name: "what it makes by renaming", script: "cat in dir/in; test -e new || { : > t; mv t new; }; test -e l || ln -s in l"},
		{name: "what it removes", script: "cat in dir/in; rm in; cat in || true"},
		{name: "an output", script: "cat in dir/in; test -e out || cat out2/x || true"},
		{name: "an earlier output", script: "cat in dir/in; test -e out3 || true"},
		{name: "nobody read", script: "cat in; ls -l dir", unread: []string{"dir/in"}},
		{name: "written and not read", script: "cat in; : > dir/in", unread: []string{"dir/in"}},
		{name: "by a child that outlives its parent", script: "cat in dir/in; (setsid sh -c 'sleep 0.1; cat gone' &) ; sleep 0.5", missing: []string{"gone"}},
		{name: "elsewhere", script: "cat in dir/in /no/such /tmp/gone /etc/gone || true"},
		{name: "a long name", script: "cat in dir/in; cat " + long + " || true", missing: []string{long}},
		{name: "any bytes", script: "cat in dir/in; cat \"$(printf 'a\\nb')\" || true", missing: []string{"a\nb"}},
		{name: "git's and ours", script: "cat in dir/in; cat .git/x .attest/x || true"},
	} {
		t.Run(test.name, func(t *testing.T) {
			job := newJob(t, shell(test.script), "out", "out2/", "out3")
			write(t, filepath.Join(job.Root, "in"), "x\n")
			write(t, filepath.Join(job.Root, "dir/in"), "x\n")
			write(t, filepath.Join(job.Root, "out3"), "x\n")
			declare(t, &job, "in", "dir/in")
			outcome := traced(t, e, job)
			if diff := cmp.Diff(test.missing, outcome.Missing); diff != "" {
				t.Errorf("missing (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.unread, outcome.Unread); diff != "" {
				t.Errorf("unread (-want +got):\n%s", diff)
			}
			if len(outcome.Seen.Unseen) > 0 {
				t.Errorf("unseen: %q", outcome.Seen.Unseen)
			}
		})
	}
}

// Every way to name a file to the kernel.
func TestLookupsByCall(t *testing.T) {
	needView(t)
	e := process.New(process.Options{})
	defer e.Close()
	var threads []string
	for i := range 8 {
		for n := range 50 {
			threads = append(threads, fmt.Sprintf("dir/gone-%d-%d", i, n))
		}
	}
	slices.Sort(threads)
	for _, test := range []struct {
		how  string
		want []string
	}{
		{"openat", []string{"dir/gone"}},
		{"openat2", []string{"dir/gone"}},
		{"fstatat", []string{"dir/gone"}},
		{"fchdir", []string{"dir/gone"}},
		{"execveat", []string{"dir/gone"}},
		{"page end", []string{"dir/gone"}},
		{"own folder", []string{"dir/gone"}},
		{"no name", nil},
		{"threads", threads},
	} {
		t.Run(test.how, func(t *testing.T) {
			job := newJob(t, shell(`./look `+lookCommand+` "`+test.how+`" dir/gone`))
			write(t, filepath.Join(job.Root, "dir/in"), "x\n")
			copySelf(t, filepath.Join(job.Root, "look"))
			outcome := traced(t, e, job)
			if diff := cmp.Diff(test.want, outcome.Missing); diff != "" || outcome.ExitCode != 0 {
				t.Errorf("exit code %d, missing (-want +got):\n%s", outcome.ExitCode, diff)
			}
		})
	}
}

// What cannot be seen is named.
func TestLookupsUnseen(t *testing.T) {
	needView(t)
	e := process.New(process.Options{})
	defer e.Close()
	job := newJob(t, shell("./look "+lookCommand+" io_uring x"))
	copySelf(t, filepath.Join(job.Root, "look"))
	if outcome := traced(t, e, job); len(outcome.Seen.Unseen) != 1 || !strings.Contains(outcome.Seen.Unseen[0], "io_uring") {
		t.Errorf("unseen %q, want io_uring", outcome.Seen.Unseen)
	}
}

// A program of the architecture that came before is seen as well.
func TestLookupsOf32Bits(t *testing.T) {
	if runtime.GOARCH != "amd64" {
		t.Skip("the program is for i386")
	}
	needView(t)
	e := process.New(process.Options{})
	defer e.Close()
	job := newJob(t, shell("./old"))
	program := old("gone")
	if err := os.WriteFile(filepath.Join(job.Root, "old"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := exec.Command(filepath.Join(job.Root, "old")).Run(); err != nil && !errors.As(err, &exit) {
		t.Skipf("this kernel runs no programs for i386: %v", err)
	}
	if outcome := traced(t, e, job); !slices.Equal(outcome.Missing, []string{"gone"}) {
		t.Errorf("missing %q, exit code %d, want gone", outcome.Missing, outcome.ExitCode)
	}
}

// old is a program for i386 that opens a file and exits.
func old(name string) []byte {
	const base, header = 0x08048000, 52 + 32
	code := []byte{
		0xb8, 5, 0, 0, 0, // mov eax, 5 (open)
		0xbb, 0, 0, 0, 0, // mov ebx, name
		0x31, 0xc9, 0x31, 0xd2, 0xcd, 0x80, // xor ecx, ecx; xor edx, edx; int 0x80
		0xb8, 1, 0, 0, 0, 0x31, 0xdb, 0xcd, 0x80, // mov eax, 1 (exit); xor ebx, ebx; int 0x80
	}
	binary.LittleEndian.PutUint32(code[6:], uint32(base+header+len(code)))
	code = append(append(code, name...), 0)
	size := uint32(header + len(code))
	var b bytes.Buffer
	b.Write([]byte{0x7f, 'E', 'L', 'F', 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	for _, v := range []any{
		uint16(2), uint16(3), uint32(1), uint32(base + header), uint32(52), uint32(0), uint32(0),
		uint16(52), uint16(32), uint16(1), uint16(0), uint16(0), uint16(0),
		uint32(1), uint32(0), uint32(base), uint32(base), size, size, uint32(5), uint32(0x1000),
	} {
		_ = binary.Write(&b, binary.LittleEndian, v)
	}
	return append(b.Bytes(), code...)
}

func TestMissingPrograms(t *testing.T) {
	needView(t)
	e := process.New(process.Options{Environ: []string{"PATH=/usr/local/bin:/usr/bin:/bin:/no/such"}})
	defer e.Close()
	job := newJob(t, shell("no-such-program-1 || true; command -v no-such-program-2 || true; ls; /usr/bin/no-such-program-3 || true"))
	if outcome := traced(t, e, job); !slices.Equal(outcome.MissingPrograms, []string{"no-such-program-1", "no-such-program-2"}) {
		t.Errorf("missing programs %q", outcome.MissingPrograms)
	}
}

// What a step used is listed, whether it was declared or not.
func TestSeen(t *testing.T) {
	needView(t)
	e := process.New(process.Options{})
	defer e.Close()
	job := newJob(t, shell("cat in; cat current/file; test -e other; ls dir; ./tool; : > mine; cat mine; mkdir d; ls d; cat mine/x || true"), "out")
	for _, name := range []string{"in", "v1/file", "other", "dir/x", "more"} {
		write(t, filepath.Join(job.Root, name), "x\n")
	}
	write(t, filepath.Join(job.Root, "tool"), "#!/bin/sh\n")
	if err := errors.Join(os.Chmod(filepath.Join(job.Root, "tool"), 0o755), os.Symlink("v1", filepath.Join(job.Root, "current"))); err != nil {
		t.Fatal(err)
	}
	declare(t, &job, "in", "more")
	outcome := traced(t, e, job)
	want := &executor.Seen{Opened: []string{"in", "tool", "v1/file"}, Looked: []string{"current", "other"}, Listed: []string{"dir"}, Wrote: []string{"d/", "mine"}}
	if diff := cmp.Diff(want, outcome.Seen); diff != "" {
		t.Errorf("seen (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"current", "tool", "v1/file"}, pathsOf(outcome.Read)); diff != "" {
		t.Errorf("read (-want +got):\n%s", diff)
	}
	shell, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	if programs := pathsOf(outcome.Programs); !slices.Contains(programs, shell) {
		t.Errorf("programs %q lack %s", programs, shell)
	}
}

// Under Strict, what is hidden is what is missing.
func TestLookupsStrict(t *testing.T) {
	needRoot(t)
	needView(t)
	e := process.New(process.Options{})
	defer e.Close()
	job := newJob(t, shell("cat in; cat other out || true"), "out")
	for _, name := range []string{"in", "other", "out"} {
		write(t, filepath.Join(job.Root, name), "x\n")
	}
	declare(t, &job, "in")
	job.Strict = true
	if outcome := traced(t, e, job); !slices.Equal(outcome.Missing, []string{"other"}) {
		t.Errorf("missing %q, want other", outcome.Missing)
	}
}

// A step that is stopped while it looks for files leaves nothing behind.
func TestLookupsStopped(t *testing.T) {
	needView(t)
	e := process.New(process.Options{})
	defer e.Close()
	job := newJob(t, shell("while :; do test -e gone || :; done"))
	job.Trace, job.Timeout = true, 500_000_000
	outcome, err := e.Run(t.Context(), job, executor.Streams{})
	if err != nil || !outcome.TimedOut {
		t.Fatalf("timed out %t, error %v", outcome.TimedOut, err)
	}
	if !slices.Equal(outcome.Missing, []string{"gone"}) {
		t.Errorf("missing %q", outcome.Missing)
	}
}

// Whoever is not root is told as much.
func TestLookupsOfAnotherUser(t *testing.T) {
	needRoot(t)
	again(t, "^TestLookups|^TestMissingPrograms$|^TestSeen$", func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 54321, Gid: 54321}}
	})
}
