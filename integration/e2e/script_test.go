// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs testdata/script. Beside testscript's own commands there are
//
//	exits CODE attest ...  runs a program that must end with the code
//	expand FILE...         replaces $NAME in the files by the environment's values
//	gone WORD              waits until no process has the word in its command line
//	receipt                sets $RECEIPT to the newest receipt's path
//
// and in the environment IMAGE, an OCI layout in a folder; REGISTRY and DIGEST,
// for the same image by tag and by digest; SERVER, a server on loopback; KERNEL,
// the kernel of virtual machines.
func TestScripts(t *testing.T) {
	w := need(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Vars = append(env.Vars, w.environ()...)
			env.Setenv("IMAGE", "oci-layout://"+filepath.Join(w.repo, "build/images/busybox"))
			kernels, err := filepath.Glob(filepath.Join(w.repo, "build/kernel/boot/vmlinuz-*"))
			if len(kernels) > 0 { // make setup unpacks one
				env.Setenv("KERNEL", kernels[0])
			}
			if err != nil {
				return err
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":   exits,
			"expand":  expand,
			"gone":    gone,
			"receipt": setReceipt,
		},
	})
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM ARG...")
	}
	err := ts.Exec(args[1], args[2:]...)
	coder, ok := err.(interface{ ExitCode() int }) //nolint:errorlint // as testscript returns it
	switch {
	case err == nil:
		ts.Fatalf("ended with exit code 0, not %s", args[0])
	case !ok || strconv.Itoa(coder.ExitCode()) != args[0]:
		ts.Fatalf("ended with %v, not with exit code %s", err, args[0])
	}
}

func expand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: expand FILE...")
	}
	for _, name := range args {
		var values []string
		for _, v := range []string{"IMAGE", "REGISTRY", "DIGEST", "SERVER"} {
			values = append(values, "$"+v, ts.Getenv(v))
		}
		text := strings.NewReplacer(values...).Replace(ts.ReadFile(name))
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o644))
	}
}

func gone(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gone WORD")
	}
	for range 50 {
		if len(processes(args[0])) == 0 {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("still alive: %q", processes(args[0]))
}

// processes returns the command lines of this machine's processes that have the
// word in theirs.
func processes(word string) []string {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	var found []string
	for _, name := range lines {
		line, err := os.ReadFile(name) // a process that has ended meanwhile is not alive
		if err == nil && strings.Contains(string(line), word) {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

func setReceipt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: receipt")
	}
	found, err := filepath.Glob(ts.MkAbs(".attest/receipts/receipt_*.yaml"))
	ts.Check(err)
	if len(found) == 0 {
		ts.Fatalf("there is no receipt")
	}
	ts.Setenv("RECEIPT", slices.MaxFunc(found, byAge))
}
