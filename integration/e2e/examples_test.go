// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestExamples runs every example in a copy of its folder, and builds again: each
// run verifies, and what is built is the same both times.
func TestExamples(t *testing.T) {
	w := need(t)
	for _, c := range []struct {
		name    string
		prepare []string
		again   []string // steps of the second run; none means all
		built   []string
	}{
		{"hello", nil, nil, []string{"out/shout.txt", "out/count.txt"}},
		{"c-library", nil, nil, []string{"libini.a", "dist/libini.tar"}},
		{"go-service", []string{"go", "mod", "vendor"}, []string{"build"}, []string{"bin/links"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := w.copyOf(t, "examples/"+c.name)
			if c.prepare != nil {
				cmd := exec.CommandContext(t.Context(), c.prepare[0], c.prepare[1:]...)
				cmd.Dir = dir
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
			}
			var built []string
			for _, steps := range [][]string{nil, c.again} {
				w.attest(t, dir, append([]string{"run", "--sign", "--no-cache"}, steps...)...).want(t, 0)
				w.attest(t, dir, "verify", receipt(t, dir)).want(t, 0)
				all := ""
				for _, name := range c.built {
					all += read(t, filepath.Join(dir, name))
				}
				built = append(built, all)
			}
			if built[0] != built[1] {
				t.Errorf("two runs built different files: %s", strings.Join(c.built, ", "))
			}
		})
	}
}

// TestOwnPipeline has attest vet, test and build itself, as its attest.yaml says,
// without network. What comes out is, byte for byte, what this machine's own
// build made, and it works.
func TestOwnPipeline(t *testing.T) {
	w := need(t)
	dir := w.copyOf(t, ".")
	w.attest(t, dir, "run", "--sign").want(t, 0)
	w.attest(t, dir, "verify", receipt(t, dir)).want(t, 0)
	program := filepath.Join(dir, "build/out/attest")
	if read(t, program) != read(t, filepath.Join(w.bin, "attest")) {
		t.Error("the program that the pipeline built is not the one that was built here")
	}
	built := exec.CommandContext(t.Context(), program, "verify", receipt(t, dir))
	built.Dir, built.Env = dir, w.environ()
	finish(t, built).want(t, 0)
}

// copyOf copies a folder of this project, without what is ignored, to a place
// from which the images are found as they are from here.
func (w *world) copyOf(t *testing.T, folder string) string {
	t.Helper()
	root := t.TempDir()
	listed := exec.CommandContext(t.Context(), "git", "-C", w.repo,
		"ls-files", "-z", "--cached", "--others", "--exclude-standard", folder)
	files, err := listed.Output()
	if err != nil {
		t.Fatalf("listing the files of %s: %v", folder, err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(files), "\x00"), "\x00") {
		from, to := filepath.Join(w.repo, name), filepath.Join(root, name)
		info, err := os.Stat(from)
		if err != nil {
			t.Fatal(err)
		}
		write(t, to, read(t, from))
		if err := os.Chmod(to, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(filepath.Join(root, "build/images"), os.DirFS(filepath.Join(w.repo, "build/images"))); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(root, folder)
}
