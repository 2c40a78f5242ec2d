// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/attest-pipeline/attest/isolation/process"
)

func TestMain(m *testing.M) {
	if process.IsInit(os.Args) {
		main()
	}
	testscript.Main(m, map[string]func(){"attest": main})
}

// TestScripts shows attest to a shell: each script under testdata/script is a
// behaviour that a user could notice. Steps are processes; what needs a daemon
// is in integration/e2e.
func TestScripts(t *testing.T) {
	homes := t.TempDir()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		UpdateScripts:       os.Getenv("ATTEST_UPDATE") == "1",
		Setup: func(env *testscript.Env) error {
			// A machine that has nothing of ours, and no settings of whoever
			// runs the tests.
			home, err := os.MkdirTemp(homes, "")
			if err != nil {
				return err
			}
			env.Setenv("REALHOME", os.Getenv("HOME")) // for tools that are installed in it
			env.Setenv("HOME", home)
			env.Setenv("ATTEST_STATE_DIR", filepath.Join(home, "state"))
			return nil
		},
		Condition: func(name string) (bool, error) {
			if name != "root" {
				return false, fmt.Errorf("unknown condition %s", name)
			}
			return os.Getuid() == 0, nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"fails":   cmdFails,
			"json":    cmdJSON,
			"mode":    cmdMode,
			"receipt": cmdReceipt,
			"signal":  cmdSignal,
		},
	})
}

// cmdFails runs a program that must end with an exit code: fails CODE PROGRAM
// ARGS...
func cmdFails(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: fails CODE PROGRAM ARGS...")
	}
	got := 0
	var exit *exec.ExitError
	switch err := ts.Exec(args[1], args[2:]...); {
	case errors.As(err, &exit):
		got = exit.ExitCode()
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

// cmdJSON checks one field of the JSON object that the last command wrote to
// stdout, or of a file: json [-f FILE] path.to.0.field value.
func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	data := ts.ReadFile("stdout")
	if len(args) == 4 && args[0] == "-f" {
		data, args = ts.ReadFile(args[1]), args[2:]
	}
	if len(args) != 2 {
		ts.Fatalf("usage: json [-f FILE] path value")
	}
	var v any
	if err := json.Unmarshal([]byte(data), &v); err != nil {
		ts.Fatalf("not one JSON object: %v\n%s", err, data)
	}
	got := "absent"
	if v = lookup(v, args[0]); v != nil {
		got = fmt.Sprint(v)
	}
	if (got == args[1]) == neg {
		ts.Fatalf("%s is %q", args[0], got)
	}
}

func lookup(v any, path string) any {
	for _, name := range strings.Split(path, ".") {
		switch t := v.(type) {
		case map[string]any:
			v = t[name]
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(t) {
				return nil
			}
			v = t[i]
		default:
			return nil
		}
	}
	return v
}

// cmdMode checks a file's permission bits: mode 0600 FILE.
func cmdMode(ts *testscript.TestScript, neg bool, args []string) {
	info, err := os.Lstat(ts.MkAbs(args[1]))
	ts.Check(err)
	got := fmt.Sprintf("%04o", info.Mode().Perm())
	if (got == args[0]) == neg {
		ts.Fatalf("%s has mode %s", args[1], got)
	}
}

// cmdReceipt puts the path of the project's newest receipt into a variable:
// receipt VARIABLE.
func cmdReceipt(ts *testscript.TestScript, neg bool, args []string) {
	files, err := filepath.Glob(filepath.Join(ts.Getenv("WORK"), ".attest", "receipts", "receipt_*.yaml"))
	ts.Check(err)
	if len(files) == 0 {
		ts.Fatalf("no receipt")
	}
	ts.Setenv(args[0], slices.MaxFunc(files, byAge))
}

// byAge compares the paths of two receipts: by their second, then by the number
// within it, which may have two digits.
func byAge(a, b string) int {
	second := func(path string) string { return filepath.Base(path)[:len("receipt_20060102_150405")] }
	return cmp.Or(strings.Compare(second(a), second(b)), len(a)-len(b), strings.Compare(a, b))
}

// cmdSignal runs attest, sends it a signal when a file appears, and checks how
// it ends and that it does so within two seconds:
// signal NAME FILE EXIT ARGS... Its stderr is left in the file "signalled".
func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 4 {
		ts.Fatalf("usage: signal NAME FILE EXIT ARGS...")
	}
	signals := map[string]os.Signal{"INT": os.Interrupt, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP}
	stderr, err := os.Create(ts.MkAbs("signalled"))
	ts.Check(err)
	defer stderr.Close()
	program, err := os.Executable()
	ts.Check(err)
	cmd := exec.Command(program, args[3:]...)
	cmd.Args[0] = "attest"
	cmd.Dir, cmd.Stderr = ts.MkAbs("."), stderr
	for _, name := range []string{"PATH", "HOME", "ATTEST_STATE_DIR", "TMPDIR"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	ts.Check(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(ts.MkAbs(args[1])); err == nil {
			break
		}
		if time.Now().After(deadline) {
			_ = cmd.Process.Kill()
			ts.Fatalf("%s did not appear\n%s", args[1], ts.ReadFile("signalled"))
		}
	}
	ts.Check(cmd.Process.Signal(signals[args[0]]))
	select {
	case <-ended:
	case <-time.After(2 * time.Second):
		_ = cmd.Process.Kill()
		ts.Fatalf("still there two seconds after the signal\n%s", ts.ReadFile("signalled"))
	}
	if got := strconv.Itoa(cmd.ProcessState.ExitCode()); got != args[2] {
		ts.Fatalf("exit code %s, want %s\n%s", got, args[2], ts.ReadFile("signalled"))
	}
}
