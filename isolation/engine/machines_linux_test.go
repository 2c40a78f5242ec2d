// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/attest-pipeline/attest/isolation/engine"
)

// keysEnv holds the folder of a project of which this test binary is to print
// the keys.
const keysEnv = "ATTEST_ENGINE_KEYS"

// Two ways to write down the same work.
const (
	oneOrder = `env: {B: 2, A: 1}
steps:
  build:
    run: make
    inputs: [src/, "*.txt", "!no.txt"]
    outputs: [dist/, log]
    pass_env: [TOKEN, ABSENT]
    env: {D: 4, C: 3}
  other: {run: other, inputs: []}
  test: {run: [check, it], inputs: [], needs: [build, other], image: "busybox:1"}
`
	anotherOrder = `steps:
  other: {inputs: [], run: other}
  test: {image: "busybox:1", needs: [other, build], inputs: [], run: [check, it]}
  build:
    timeout_secs: 9
    env: {C: 3, D: 4}
    pass_env: [ABSENT, TOKEN]
    outputs: [log, dist/]
    inputs: ["*.txt", src/, "!no.txt"]
    run: make
env: {A: 1, B: 2}
`
)

// TestKeysAreTheSameElsewhere computes the keys of the same work in other
// folders, as another user, under other umasks, time zones and locales, and from
// another order of declaration, with the same key for passed values.
func TestKeysAreTheSameElsewhere(t *testing.T) {
	if dir := os.Getenv(keysEnv); dir != "" {
		printKeys(t, dir)
		return
	}
	if err := os.Chmod(filepath.Dir(t.TempDir()), 0o755); err != nil { // another user comes by
		t.Fatal(err)
	}
	want := keysOf(t, elsewhere{yaml: oneOrder})
	if strings.Count(want, "blake3:") != 3 {
		t.Fatalf("keys are %s", want)
	}
	for _, tt := range []struct {
		name string
		at   elsewhere
		same bool
	}{
		{"another folder", elsewhere{yaml: oneOrder, folder: "a folder with spaces/é"}, true},
		{"order of declaration", elsewhere{yaml: anotherOrder}, true},
		{"umask", elsewhere{yaml: oneOrder, umask: 0o077}, true},
		{"no umask", elsewhere{yaml: oneOrder, umask: -1}, true},
		{"time zone", elsewhere{yaml: oneOrder, environ: []string{"TZ=Pacific/Chatham"}}, true},
		{"locale", elsewhere{yaml: oneOrder, environ: []string{"LANG=tr_TR.UTF-8", "LC_ALL=tr_TR.UTF-8"}}, true},
		{"user and home", elsewhere{yaml: oneOrder, environ: []string{"USER=somebody", "LOGNAME=somebody", "HOME=/nowhere", "HOSTNAME=x"}}, true},
		{"another user", elsewhere{yaml: oneOrder, uid: 65534}, true},
		{"another secret key", elsewhere{yaml: oneOrder, environ: []string{"KEY=2"}}, false},
		{"a passed value", elsewhere{yaml: oneOrder, environ: []string{"TOKEN=2"}}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.at.uid != 0 && os.Getuid() != 0 {
				t.Skip("only root can be another user")
			}
			if got := keysOf(t, tt.at); (got == want) != tt.same {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

// elsewhere is a place where the same work is done.
type elsewhere struct {
	yaml    string
	folder  string
	umask   int // 0 for 022, -1 for none
	environ []string
	uid     uint32
}

// keysOf makes the project in another process, and has it say the keys.
func keysOf(t *testing.T, at elsewhere) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "keys-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if at.umask == 0 {
		at.umask = 0o022
	}
	cmd := exec.Command(os.Args[0], "-test.run", "^TestKeysAreTheSameElsewhere$")
	project, err := json.Marshal([]any{filepath.Join(dir, at.folder), at.yaml, max(at.umask, 0)})
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(append(os.Environ(), "TOKEN=1", keysEnv+"="+string(project)), at.environ...)
	if at.uid != 0 {
		if err := os.Chown(dir, int(at.uid), int(at.uid)); err != nil {
			t.Fatal(err)
		}
		binary := filepath.Join(dir, "test")
		copyFile(t, os.Args[0], binary)
		cmd.Path = binary
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: at.uid, Gid: at.uid}}
	}
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	_, keys, ok := strings.Cut(string(out), "keys:")
	keys, _, _ = strings.Cut(keys, "\n")
	if err != nil || !ok {
		t.Fatalf("%v\n%s", err, out)
	}
	return keys
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// printKeys makes the project in the folder that it is told, runs it and prints
// the keys in order of the steps' names.
func printKeys(t *testing.T, text string) {
	var arguments struct{ dir, yaml string }
	var umask int
	if err := json.Unmarshal([]byte(text), &[]any{&arguments.dir, &arguments.yaml, &umask}); err != nil {
		t.Fatal(err)
	}
	syscall.Umask(umask)
	if err := os.MkdirAll(arguments.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	p := newProject(t, arguments.yaml, nil, inMemory{})
	p.dir, p.options.Root = arguments.dir, arguments.dir
	for name, content := range map[string]string{
		"attest.yaml": head + arguments.yaml, "src/main.c": "int main;", "src/sub/x.h": "", "a.txt": "a", "no.txt": "b",
	} {
		p.write(name, content)
	}
	if err := os.Chmod(p.path("src/main.c"), 0o755&^os.FileMode(umask)); err != nil {
		t.Fatal(err)
	}
	// What a step is given enters by a hash under the project's key.
	p.write(".attest/secret.key", strings.Repeat(os.Getenv("KEY")+"k", 32)[:32])
	if err := os.Chmod(p.path(".attest/secret.key"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.options.Environ = os.Environ()
	rec, err := engine.Run(context.Background(), p.options)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{}
	for _, s := range rec.Receipt.Steps {
		keys[s.Name] = s.Key.String()
	}
	fmt.Println("keys:", keys)
}
