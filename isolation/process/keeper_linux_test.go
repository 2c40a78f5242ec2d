// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/frontend/pipeline"
	"github.com/attest-pipeline/attest/isolation/executor"
	"github.com/attest-pipeline/attest/isolation/process"
)

// newKeeper returns the keeper that is there now and was not before, 0 for none.
func newKeeper(t *testing.T, before map[string]int) int {
	t.Helper()
	for name, pid := range children(t) {
		if strings.HasPrefix(name, "attest-step-keeper ") && before[name] == 0 {
			return pid
		}
	}
	return 0
}

// children returns the processes that this one started, by their first argument
// and their number.
func children(t *testing.T) map[string]int {
	t.Helper()
	found := map[string]int{}
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		stat, _ := os.ReadFile(name) // it may be gone by now
		_, after, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(after); len(fields) < 2 || fields[0] == "Z" || fields[1] != fmt.Sprint(os.Getpid()) {
			continue
		}
		line, _ := os.ReadFile(filepath.Dir(name) + "/cmdline")
		program, _, _ := strings.Cut(string(line), "\x00")
		var pid int
		if _, err := fmt.Sscan(filepath.Base(filepath.Dir(name)), &pid); err != nil {
			t.Fatal(err)
		}
		found[fmt.Sprintf("%s %d", program, pid)] = pid
	}
	return found
}

func TestClose(t *testing.T) {
	e := process.New(process.Options{})
	job := newJob(t, shell("true"))
	before := children(t)
	printed(t, e, job)
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if err := e.Close(); err != nil {
		t.Errorf("closing it again: %v", err)
	}
	for name, pid := range children(t) {
		if before[name] != pid {
			t.Errorf("%s is still there", name)
		}
	}
	if _, err := e.Run(t.Context(), job, executor.Streams{}); err == nil {
		t.Error("a step ran after Close")
	}
}

// A keeper that is gone must not mean steps without protection.
func TestKeeperIsKilled(t *testing.T) {
	needNamespaces(t)
	if !grantsPIDs(t) {
		t.Skip("every step has a keeper of its own")
	}
	e := process.New(process.Options{})
	before := children(t)
	printed(t, e, newJob(t, shell("true")))
	keeper := newKeeper(t, before)
	if keeper == 0 {
		t.Fatal("no keeper is found")
	}
	if err := unix.Kill(keeper, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	_, err := e.Run(t.Context(), newJob(t, shell("echo ran")), executor.Streams{Stdout: &out})
	if err == nil || out.Len() > 0 {
		t.Errorf("error %v, printed %q", err, out.String())
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// Steps at the same time keep their output and their ends apart.
func TestManySteps(t *testing.T) {
	e := process.New(process.Options{})
	var steps sync.WaitGroup
	for i := range 20 {
		job := newJob(t, shell(fmt.Sprintf("echo %d; sleep 0.0%d; exit %d", i, i%10, i)))
		steps.Go(func() {
			var out strings.Builder
			outcome, err := e.Run(t.Context(), job, executor.Streams{Stdout: &out})
			if err != nil || outcome.ExitCode != i || out.String() != fmt.Sprintln(i) {
				t.Errorf("step %d: %v, exit code %d, printed %q", i, err, outcome.ExitCode, out.String())
			}
		})
	}
	steps.Wait()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

func TestAnotherBuild(t *testing.T) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	old := filepath.Join(t.TempDir(), anotherBuild) // see TestMain
	if err := os.WriteFile(old, self, 0o755); err != nil {
		t.Fatal(err)
	}
	for want, program := range map[string]string{"another build": old, "ended at once": "/bin/true"} {
		_, err := process.New(process.Options{Init: program}).Run(t.Context(), newJob(t, shell("true")), executor.Streams{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one about %s", err, want)
		}
	}
}

// What steps have in common is nothing that one of them can write to.
func TestStepsShareNothing(t *testing.T) {
	needRoot(t)
	if !grantsPIDs(t) {
		t.Skip("the kernel grants no /proc of one's own")
	}
	e := process.New(process.Options{})
	out, _ := printed(t, e, newJob(t, shell(`set +e
echo x > /dev/shm/left || echo cannot write to /dev/shm
( : > /dev/left ) && echo /dev is open
mkdir /dev/folder && echo /dev is open
rm -f /dev/null && echo /dev/null is gone
mount -o remount,rw /dev && echo /dev was opened
unshare -Urm mount -o remount,bind,rw /dev && echo /dev was opened in a namespace
echo x > /dev/null || echo /dev/null is closed`)))
	if out != "" {
		t.Error(out)
	}
	if out, _ := printed(t, e, newJob(t, shell("ls /dev/shm; ls /dev/pts | grep -v ptmx || true"))); out != "" {
		t.Errorf("a step left %q to the next", out)
	}
}

// Timers of a step are not as late as those of its init.
func TestTimers(t *testing.T) {
	if out, _ := printed(t, process.New(process.Options{}), newJob(t, shell("cat /proc/self/timerslack_ns"))); out != "50000\n" {
		t.Errorf("timers may be late by %q ns", out)
	}
}

// Sockets that are made while a run goes on are hidden as well.
func TestLateDoors(t *testing.T) {
	ownMounts(t)
	if err := unix.Mount("none", "/run", "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	e := process.New(process.Options{})
	job := newJob(t, shell("test ! -e /run/docker.sock || cat /run/docker.sock"))
	printed(t, e, job)
	write(t, "/run/docker.sock", "a door")
	if out, _ := printed(t, e, job); out != "" {
		t.Errorf("within reach: %q", out)
	}
}

// The program that attest has beside it does what the larger one does.
func TestConformanceOfInit(t *testing.T) {
	if testing.Short() {
		t.Skip("the suite once more takes some seconds")
	}
	program := buildInit(t)
	testConformance(t, program)
}

// When the keeper's owner is killed, the keeper ends as well.
func TestOwnerIsKilled(t *testing.T) {
	if os.Getenv("ATTEST_TEST_OWNER") != "" {
		e := process.New(process.Options{})
		_, _ = e.Run(t.Context(), newJob(t, shell("true")), executor.Streams{})
		fmt.Println("keeper", newKeeper(t, nil))
		time.Sleep(time.Minute)
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run", "^TestOwnerIsKilled$")
	cmd.Env = append(os.Environ(), "ATTEST_TEST_OWNER=1", "TMPDIR="+t.TempDir()) // it cannot clean up
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var keeper int
	if _, err := fmt.Fscanf(stdout, "keeper %d\n", &keeper); err != nil || keeper == 0 {
		t.Fatalf("keeper %d, error %v", keeper, err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	gone := func() bool {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", keeper))
		return !strings.Contains(string(line), "attest-step-keeper")
	}
	for range 200 {
		if gone() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("the keeper outlived its owner by two seconds")
}

// buildInit builds the program that attest has beside it.
func buildInit(t testing.TB) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "attest-init")
	cmd := exec.Command("go", "build", "-trimpath", "-o", program, "github.com/attest-pipeline/attest/cmd/attest-init")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building attest-init: %v\n%s", err, out)
	}
	return program
}

// Where its init cannot see to it, what a step left is ended all the same, also
// where no namespace ends with the init.
func TestStuckInit(t *testing.T) {
	if os.Getenv(without) != "pid" {
		t.Skip("TestConformanceWithout runs it where there are no PID namespaces")
	}
	e := process.New(process.Options{})
	defer e.Close()
	mark := fmt.Sprintf("stuck-%d", os.Getpid())
	job := newJob(t, shell(`sleep 60 & setsid sh -c 'sleep 60; :' & (setsid sleep 60 &) & echo $PPID; wait`))
	job.Env = []pipeline.Var{{Name: "MARK", Value: mark}}
	job.Timeout = 2 * time.Second
	stop := stopper{t: t}
	outcome, err := e.Run(t.Context(), job, executor.Streams{Stdout: &stop})
	if err != nil || !outcome.TimedOut || !stop.stopped {
		t.Fatalf("%+v, %v; the init was stopped: %t", outcome, err, stop.stopped)
	}
	for range 50 {
		if !alive(mark) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("something of the step is still alive")
}

// stopper stops the process whose number is printed.
type stopper struct {
	t       *testing.T
	stopped bool
}

func (s *stopper) Write(b []byte) (int, error) {
	if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && pid > 1 {
		if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
			s.t.Error(err)
		}
		s.stopped = true
	}
	return len(b), nil
}
