// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestManyFiles runs a container step on 20,000 input files, which leaves 20,000
// others, within bounds of memory and time.
func TestManyFiles(t *testing.T) {
	const folders, files = 200, 100
	w := need(t)
	dir := w.project(t, `version: "0.1"
name: many
image: $IMAGE
steps:
  count:
    run: |
      find src -type f | wc -l > count.txt
      cp -r src copy
    inputs: [src/]
    outputs: [count.txt, copy/]
`)
	for i := range folders {
		folder := filepath.Join(dir, fmt.Sprintf("src/folder-%03d", i))
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		for j := range files {
			content := strings.Repeat(fmt.Sprintf("line of file %d in folder %d\n", j, i), 20)
			if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("file-%03d.txt", j)), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, round := range []string{"first", "second"} {
		began := time.Now()
		peak := w.runAndWatch(t, dir) >> 20
		took := time.Since(began)
		if got := strings.TrimSpace(read(t, filepath.Join(dir, "count.txt"))); got != fmt.Sprint(folders*files) {
			t.Fatalf("the step saw %s files", got)
		}
		t.Logf("%s run: %s, %d MB", round, took.Round(10*time.Millisecond), peak)
		if peak >= 180 {
			t.Errorf("the %s run took %d MB", round, peak)
		}
		if took > 2*time.Minute {
			t.Errorf("the %s run took %s", round, took)
		}
	}
	w.attest(t, dir, "verify", "--no-signatures", receipt(t, dir)).want(t, 0)
}

// runAndWatch runs attest, looking a hundred times a second at how much memory it
// has, and returns the most, in bytes.
func (w *world) runAndWatch(t *testing.T, dir string) (peak int) {
	t.Helper()
	cmd := w.command(t.Context(), dir, "run")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("%v\n%s", err, &output)
			}
			return peak
		case <-time.After(10 * time.Millisecond):
			peak = max(peak, memory(cmd.Process.Pid))
		}
	}
}

// memory returns how many bytes a process and those that it started have
// resident, but for the engine, which outlives them.
func memory(pid int) int {
	dir := fmt.Sprintf("/proc/%d/", pid)
	name, err := os.ReadFile(dir + "comm")
	if err != nil || strings.HasPrefix(string(name), "attest-buildkit") {
		return 0 // ended, or the engine
	}
	statm, _ := os.ReadFile(dir + "statm") // empty for a process that has just ended
	total := 0
	if fields := strings.Fields(string(statm)); len(fields) > 1 {
		pages, _ := strconv.Atoi(fields[1]) // the kernel writes a number
		total = pages * os.Getpagesize()
	}
	children, _ := filepath.Glob(dir + "task/*/children")
	for _, list := range children {
		text, _ := os.ReadFile(list) // a thread that has just ended has no children
		for _, child := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(child); err == nil {
				total += memory(pid)
			}
		}
	}
	return total
}

// TestInputEdited edits an input after it was hashed and before it travels: in
// the place of the engine's program stands one that first edits the file. What
// would run is not what was hashed, so nothing may run.
func TestInputEdited(t *testing.T) {
	w := need(t)
	for _, c := range []struct{ name, edit string }{
		{"nothing", `:`}, // else the others could fail for another reason
		{"content", `echo edited > "$file"`},
		{"same size and time", `printf 'evil\n' > "$file.new"; touch -r "$file" "$file.new"; cat "$file.new" > "$file"; touch -r "$file.new" "$file"`},
		{"mode", `chmod 755 "$file"`},
		{"replaced by a link", `rm "$file"; ln -s other.txt "$file"`},
		{"removed", `rm "$file"`},
		{"replaced by a folder", `rm "$file"; mkdir "$file"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := w.project(t, `version: "0.1"
name: edited
image: $IMAGE
steps:
  copy:
    run: cat src/in.txt > out.txt
    inputs: [src/]
    outputs: [out.txt]
`)
			write(t, filepath.Join(dir, "src/in.txt"), "good\n")
			write(t, filepath.Join(dir, "src/other.txt"), "good\n")
			program := filepath.Join(t.TempDir(), "attest-buildkitd")
			write(t, program, "#!/bin/sh\nfile='"+filepath.Join(dir, "src/in.txt")+"'\n"+
				"if [ ! -e '"+dir+"/done' ]; then touch '"+dir+"/done'; "+c.edit+"; fi\n"+
				"exec '"+filepath.Join(w.bin, "attest-buildkitd")+"' \"$@\"\n")
			if err := os.Chmod(program, 0o755); err != nil {
				t.Fatal(err)
			}
			own := "ATTEST_STATE_DIR=" + t.TempDir()
			t.Cleanup(func() { w.stopEngine(t, own) })
			cmd := w.command(t.Context(), dir, "run")
			cmd.Env = append(cmd.Env, own, "ATTEST_BUILDKITD="+program)
			if c.name == "nothing" {
				finish(t, cmd).want(t, 0)
				return
			}
			r := finish(t, cmd).want(t, 3)
			if !strings.Contains(r.stderr, "src/in.txt") || !strings.Contains(r.stderr, "changed") {
				t.Errorf("the error does not name the file:\n%s", r.stderr)
			}
			if _, err := os.Lstat(filepath.Join(dir, "out.txt")); err == nil {
				t.Error("the step left its output")
			}
			if _, err := os.Lstat(filepath.Join(dir, "done")); err != nil {
				t.Error("the file was never edited")
			}
		})
	}
}
