// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// sleeper is a pipeline whose container step sleeps for a number of seconds
// that no other process on the machine has, with a child that detached itself.
func sleeper(seconds string) string {
	return `version: "0.1"
name: sleeper
image: $IMAGE
steps:
  sleep:
    run: |
      (setsid sleep ` + seconds + ` > /dev/null 2>&1 &)
      sleep ` + seconds + `
    inputs: []
  quick: {run: echo done > done.txt, inputs: [], outputs: [done.txt]}
`
}

// start starts attest and waits until both processes of the sleeper are there.
func (w *world) start(t *testing.T, cmd *exec.Cmd, seconds string) *bytes.Buffer {
	t.Helper()
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	until(t, 60*time.Second, "the step to run", func() bool {
		return sleeping(seconds) == 2
	})
	return &output
}

// sleeping counts the processes that sleep for so long; the shell that started
// them has the number in its command line too.
func sleeping(seconds string) int {
	n := 0
	for _, line := range processes(seconds) {
		if strings.HasPrefix(line, "sleep ") {
			n++
		}
	}
	return n
}

func until(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain for %s", limit, what)
		}
	}
}

func TestInterrupt(t *testing.T) {
	const seconds = "86398.1001"
	w := need(t)
	dir := w.project(t, sleeper(seconds))
	cmd := w.command(t.Context(), dir, "run", "--sign", "-j", "1", "sleep", "quick")
	output := w.start(t, cmd, seconds)

	began := time.Now()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // its exit code is looked at next
	took := time.Since(began)
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d, want 130\n%s", code, output)
	}
	if took > 2*time.Second {
		t.Errorf("attest took %s to end", took)
	}
	if left := processes(seconds); len(left) > 0 {
		t.Errorf("still alive: %q", left)
	}
	if r := read(t, receipt(t, dir)); !strings.Contains(r, "\nstatus: interrupted\n") {
		t.Errorf("the receipt does not say that the run was interrupted:\n%s", r)
	}
	w.attest(t, dir, "verify", receipt(t, dir)).want(t, 4)
	if left, _ := os.ReadDir(filepath.Join(dir, ".attest/tmp")); len(left) > 0 {
		t.Errorf("left behind in .attest/tmp: %v", left)
	}
}

// TestEngineKilled: kill -9 of the engine ends the run with an error, ends what
// ran, and does not stand in the way of the next run.
func TestEngineKilled(t *testing.T) {
	const seconds = "86398.1002"
	w := need(t)
	dir := w.project(t, sleeper(seconds))
	own := "ATTEST_STATE_DIR=" + t.TempDir()
	t.Cleanup(func() { w.stopEngine(t, own) })
	cmd := w.command(t.Context(), dir, "run", "sleep")
	cmd.Env = append(cmd.Env, own)
	output := w.start(t, cmd, seconds)

	if err := syscall.Kill(w.enginePID(t, own), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("attest waits for an engine that is gone")
	}
	if code := cmd.ProcessState.ExitCode(); code != 3 && code != 11 {
		t.Errorf("exit code %d, want 3 or 11\n%s", code, output)
	}
	until(t, 5*time.Second, "the step's processes to end", func() bool { return len(processes(seconds)) == 0 })
	if r := read(t, receipt(t, dir)); !strings.Contains(r, "\nstatus: failed\n") {
		t.Errorf("the receipt does not say that the run failed:\n%s", r)
	}

	again := w.command(t.Context(), dir, "run", "quick")
	again.Env = append(again.Env, own)
	finish(t, again).want(t, 0)
}

// TestAttestKilled: kill -9 of attest ends what it ran, and the next run works.
func TestAttestKilled(t *testing.T) {
	const seconds = "86398.1003"
	w := need(t)
	dir := w.project(t, sleeper(seconds))
	cmd := w.command(t.Context(), dir, "run", "sleep")
	w.start(t, cmd, seconds)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // killed
	until(t, 10*time.Second, "the step's processes to end", func() bool { return len(processes(seconds)) == 0 })
	w.attest(t, dir, "run", "quick").want(t, 0)
	if left, _ := os.ReadDir(filepath.Join(dir, ".attest/tmp")); len(left) > 0 {
		t.Errorf("left behind in .attest/tmp: %v", left)
	}
}

// TestRunsAtOnce: eight runs in as many projects share one engine that none of
// them finds running.
func TestRunsAtOnce(t *testing.T) {
	w := need(t)
	own := "ATTEST_STATE_DIR=" + t.TempDir()
	t.Cleanup(func() { w.stopEngine(t, own) })
	var cmds []*exec.Cmd
	var outputs []*bytes.Buffer
	for range 8 {
		cmd := w.command(t.Context(), w.project(t, sleeper("0")), "run")
		cmd.Env = append(cmd.Env, own)
		output := &bytes.Buffer{}
		cmd.Stdout, cmd.Stderr = output, output
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		cmds, outputs = append(cmds, cmd), append(outputs, output)
	}
	for i, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			t.Errorf("run %d: %v\n%s", i, err, outputs[i])
		}
	}
}

// TestRunsAtOnceInOneProject: they take turns, and each leaves a receipt.
func TestRunsAtOnceInOneProject(t *testing.T) {
	w := need(t)
	dir := w.project(t, sleeper("1"))
	first := w.command(t.Context(), dir, "run")
	var output bytes.Buffer
	first.Stdout, first.Stderr = &output, &output
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	w.attest(t, dir, "run").want(t, 0)
	if err := first.Wait(); err != nil {
		t.Errorf("%v\n%s", err, output.String())
	}
	if found, _ := filepath.Glob(filepath.Join(dir, ".attest/receipts/receipt_*.yaml")); len(found) != 2 {
		t.Errorf("two runs left the receipts %q", found)
	}
}

func (w *world) enginePID(t *testing.T, environ ...string) int {
	t.Helper()
	cmd := w.command(t.Context(), w.dir, "engine", "status", "--json")
	cmd.Env = append(cmd.Env, environ...)
	var status struct {
		PID int `json:"pid"`
	}
	out := finish(t, cmd).want(t, 0).stdout
	if err := json.Unmarshal([]byte(out), &status); err != nil || status.PID <= 1 {
		t.Fatalf("no process in %s (%v)", out, err)
	}
	if program := read(t, "/proc/"+strconv.Itoa(status.PID)+"/comm"); !strings.HasPrefix(program, "attest-build") {
		t.Fatalf("process %d is %s", status.PID, program)
	}
	return status.PID
}

func (w *world) stopEngine(t *testing.T, environ ...string) {
	t.Helper()
	cmd := w.command(context.WithoutCancel(t.Context()), w.dir, "engine", "stop")
	cmd.Env = append(cmd.Env, environ...)
	finish(t, cmd).want(t, 0)
}

// TestReaderGone: who reads attest's output and goes away ends the run.
func TestReaderGone(t *testing.T) {
	const seconds = "86398.1004"
	w := need(t)
	// A line every now and then is what finds out.
	dir := w.project(t, strings.Replace(sleeper(seconds), "      sleep "+seconds,
		"      sleep "+seconds+" &\n      while sleep 0.1; do echo drop; done", 1))
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := w.command(t.Context(), dir, "run", "sleep")
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	until(t, 60*time.Second, "the step to run", func() bool { return sleeping(seconds) == 2 })
	if err := errors.Join(write.Close(), read.Close()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	_ = cmd.Wait() // its exit code is looked at next
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("attest took %s to end", took)
	}
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exit code %d, want 130", code)
	}
	if left := processes(seconds); len(left) > 0 {
		t.Errorf("still alive: %q", left)
	}
}
