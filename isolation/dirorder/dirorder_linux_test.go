// SPDX-License-Identifier: Apache-2.0

package dirorder_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/dirorder"
)

// inMemory makes a folder on a tmpfs: the one that every Linux has.
func inMemory(t *testing.T) string {
	t.Helper()
	var info unix.Statfs_t
	if err := unix.Statfs("/dev/shm", &info); err != nil || info.Type != unix.TMPFS_MAGIC {
		t.Skip("no /dev/shm in memory")
	}
	dir, err := os.MkdirTemp("/dev/shm", "attest-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func write(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func listed(t *testing.T, dir string) []string {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// TestOrders looks at two layers, with a folder in both and a file in the place
// of a folder.
func TestOrders(t *testing.T) {
	upper, lower := t.TempDir(), t.TempDir()
	write(t, upper, "b", "d/2", "d/1", "x", "é", "a\n")
	write(t, lower, "c", "d/3", "d/0", "x/hidden", "e/f/g", "b")
	layers := []string{upper, lower}
	for name, tt := range map[string]struct {
		arrange dirorder.Arrange
		want    func(names []string)
	}{"sorted": {dirorder.Sorted, dirorder.Sorted}, "reversed": {dirorder.Reversed, dirorder.Reversed}} {
		t.Run(name, func(t *testing.T) {
			dir := inMemory(t)
			if arranged, err := dirorder.Skeleton(dir, layers, tt.arrange); err != nil || !arranged {
				t.Fatal(arranged, err)
			}
			for _, folder := range []string{".", "d"} {
				var want []string
				for _, l := range layers {
					for _, n := range listed(t, filepath.Join(l, folder)) {
						if !slices.Contains(want, n) {
							want = append(want, n)
						}
					}
				}
				tt.want(want)
				if got := listed(t, filepath.Join(dir, folder)); !slices.Equal(got, want) {
					t.Errorf("%s lists %q, want %q", folder, got, want)
				}
			}
			if info, err := os.Lstat(filepath.Join(dir, "x")); err != nil || info.IsDir() {
				t.Errorf("x: %v, %v; the uppermost layer has a file", info, err)
			}
			if info, err := os.Lstat(filepath.Join(dir, "e/f/g")); err != nil || !info.Mode().IsRegular() {
				t.Errorf("e/f/g: %v, %v", info, err)
			}
		})
	}
}

func TestNothingToArrange(t *testing.T) {
	layer := t.TempDir()
	write(t, layer, "a/b")
	if arranged, err := dirorder.Skeleton(inMemory(t), []string{layer}, dirorder.Sorted); err != nil || arranged {
		t.Errorf("got %v, %v", arranged, err)
	}
	if _, err := dirorder.Skeleton(inMemory(t), []string{filepath.Join(layer, "absent")}, dirorder.Sorted); err == nil {
		t.Error("a layer that is not there is no error")
	}
}
