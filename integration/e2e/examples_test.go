// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestExamples runs every example twice in a copy of its folder: each verifies,
// and what is built is the same both times.
func TestExamples(t *testing.T) {
	w := need(t)
	for _, c := range []struct {
		name    string
		prepare []string
		built   []string
	}{
		{"hello", nil, []string{"out/shout.txt", "out/count.txt"}},
		{"c-library", nil, []string{"libini.a", "dist/libini.tar"}},
		{"go-service", []string{"go", "mod", "vendor"}, []string{"bin/links", "dist/links.tar.gz"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := w.example(t, c.name)
			if c.prepare != nil {
				cmd := exec.CommandContext(t.Context(), c.prepare[0], c.prepare[1:]...)
				cmd.Dir = dir
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
			}
			var rounds []string
			for range 2 {
				w.attest(t, dir, "run", "--sign").want(t, 0)
				w.attest(t, dir, "verify", receipt(t, dir)).want(t, 0)
				all := ""
				for _, name := range c.built {
					all += read(t, filepath.Join(dir, name))
				}
				rounds = append(rounds, all)
			}
			if rounds[0] != rounds[1] {
				t.Errorf("two runs built different files: %s", strings.Join(c.built, ", "))
			}
		})
	}
}

// example copies an example, without what earlier runs left in it, to a place
// from which its images are found as they are from its own.
func (w *world) example(t *testing.T, name string) string {
	t.Helper()
	root := t.TempDir()
	dir := filepath.Join(root, "examples", name)
	if err := os.MkdirAll(filepath.Join(root, "build"), 0o755); err != nil {
		t.Fatal(err)
	}
	listed := exec.CommandContext(t.Context(), "git", "-C", filepath.Join(w.repo, "examples", name),
		"ls-files", "--cached", "--others", "--exclude-standard")
	files, err := listed.Output()
	if err != nil {
		t.Fatalf("listing the example's files: %v", err)
	}
	for file := range strings.Lines(string(files)) {
		file = strings.TrimSpace(file)
		write(t, filepath.Join(dir, file), read(t, filepath.Join(w.repo, "examples", name, file)))
	}
	copied := exec.CommandContext(t.Context(), "cp", "-r", filepath.Join(w.repo, "build/images"), filepath.Join(root, "build"))
	if out, err := copied.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}
