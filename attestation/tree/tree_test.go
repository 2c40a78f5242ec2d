// SPDX-License-Identifier: Apache-2.0

package tree_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
)

func pathsOf(t tree.Tree) []string {
	var paths []string
	for _, e := range t.Entries() {
		paths = append(paths, e.Path)
	}
	return paths
}

func TestNewRefuses(t *testing.T) {
	tests := []struct {
		name    string
		entries []tree.Entry
	}{
		{"no path", []tree.Entry{file("", "")}},
		{"a dot", []tree.Entry{file(".", "")}},
		{"two dots", []tree.Entry{file("..", "")}},
		{"outside", []tree.Entry{file("../a", "")}},
		{"a detour", []tree.Entry{file("a/../b", "")}},
		{"absolute", []tree.Entry{file("/a", "")}},
		{"a slash at the end", []tree.Entry{dir("a/")}},
		{"two slashes", []tree.Entry{file("a//b", "")}},
		{"NUL", []tree.Entry{file("a\x00", "")}},
		{"no kind", []tree.Entry{{Path: "a"}}},
		{"an unknown kind", []tree.Entry{{Path: "a", Kind: 9}}},
		{"twice", []tree.Entry{file("a", ""), file("a", "")}},
		{"below a file", []tree.Entry{file("a", ""), file("a/b", "")}},
		{"far below a file", []tree.Entry{file("a", ""), file("a-", ""), file("a/b/c/d", "")}},
		{"below a link", []tree.Entry{link("a", "b"), file("a/b", "")}},
		{"below an empty folder", []tree.Entry{dir("a"), file("a/b", "")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := tree.New(tt.entries); !errors.Is(err, tree.ErrInvalid) || got.Len() != 0 {
				t.Errorf("got %d entries, %v", got.Len(), err)
			}
		})
	}
}

func TestFindAndBelow(t *testing.T) {
	all := newTree(t, file("a/b", ""), file("a-b", ""), file("a/c/d", ""), file("a0", ""), file("ab", ""), dir("e"))
	if d := cmp.Diff([]string{"a-b", "a/b", "a/c/d", "a0", "ab", "e"}, pathsOf(all)); d != "" {
		t.Errorf("order: %s", d)
	}
	for _, name := range []string{"a", "a/"} {
		if d := cmp.Diff([]string{"b", "c/d"}, pathsOf(all.Below(name))); d != "" {
			t.Errorf("below %s: %s", name, d)
		}
	}
	if all.Below("").Len() != 6 || all.Below("e").Len() != 0 || all.Below("none").Len() != 0 || all.Below("zzz").Len() != 0 {
		t.Error("Below")
	}
	if e, ok := all.Find("a/b"); !ok || e.Path != "a/b" {
		t.Errorf("got %v, %v", e, ok)
	}
	if _, ok := all.Find("a"); ok {
		t.Error("found a folder that is no entry")
	}
}

// project makes a folder with everything that a Tree can hold.
func project(t *testing.T) (string, *os.Root) {
	t.Helper()
	path := t.TempDir()
	write := func(name, content string, mode os.FileMode) {
		full := filepath.Join(path, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(content), mode), os.Chmod(full, mode)); err != nil {
			t.Fatal(err)
		}
	}
	write("a.txt", "alpha\n", 0o644)
	write("bin/run", "#!/bin/sh\n", 0o755)
	write("deep/er/bad\xff\n", "", 0o600)
	if err := errors.Join(
		os.MkdirAll(filepath.Join(path, "empty"), 0o755),
		os.Symlink("../../outside", filepath.Join(path, "out")),
		os.Symlink("bin", filepath.Join(path, "to-bin")),
	); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return path, root
}

func TestScan(t *testing.T) {
	_, root := project(t)
	got, err := (tree.Hasher{SHA256: true}).Scan(t.Context(), root, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	both := func(e tree.Entry, perm uint32, content string) tree.Entry {
		e.Perm, e.SHA256 = perm, digest.OfSHA256([]byte(content))
		return e
	}
	want := newTree(t,
		both(file("a.txt", "alpha\n"), 0o644, "alpha\n"),
		both(file("bin/run", "#!/bin/sh\n"), 0o755, "#!/bin/sh\n"),
		both(file("deep/er/bad\xff\n", ""), 0o600, ""),
		dir("empty"),
		both(link("out", "../../outside"), 0o777, "../../outside"),
		both(link("to-bin", "bin"), 0o777, "bin"),
	)
	if d := cmp.Diff(want.Entries(), got.Entries(), sameDigest); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	below, err := tree.Hasher{}.Scan(t.Context(), root, "deep", nil)
	if err != nil || !cmp.Equal(pathsOf(below), []string{"er/bad\xff\n"}) || !below.Entries()[0].SHA256.IsZero() {
		t.Errorf("deep: %v, %v", below.Entries(), err)
	}
}

func TestWalkSkips(t *testing.T) {
	_, root := project(t)
	entries, err := tree.Walk(t.Context(), root, ".", func(p string, isDir bool) bool {
		if isDir != (p == "bin" || p == "deep" || p == "deep/er" || p == "empty") {
			t.Errorf("%q: isDir is %v", p, isDir)
		}
		return p == "bin" || p == "deep/er" || strings.HasPrefix(p, "out")
	})
	if err != nil {
		t.Fatal(err)
	}
	// A folder of which everything was skipped is listed as empty.
	if d := cmp.Diff([]string{"a.txt", "deep", "empty", "to-bin"}, pathsOf(newTree(t, entries...))); d != "" {
		t.Error(d)
	}
}

func TestSpecialFiles(t *testing.T) {
	path, root := project(t)
	if err := syscall.Mkfifo(filepath.Join(path, "bin", "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := tree.Hasher{}.Scan(t.Context(), root, "", nil)
	special := (*tree.SpecialFileError)(nil)
	if !errors.As(err, &special) || special.Path != "bin/pipe" || err.Error() != `"bin/pipe" is a FIFO, not a file, folder or symbolic link` {
		t.Errorf("got %v", err)
	}
}

// What was a file when it was listed is not read as something else, and nobody
// waits for a FIFO's writer.
func TestSumSeesWhatItOpens(t *testing.T) {
	for _, tt := range []struct {
		name    string
		replace func(path string) error
	}{
		{"a FIFO", func(path string) error { return syscall.Mkfifo(path, 0o600) }},
		{"a link", func(path string) error { return os.Symlink("bin/run", path) }},
		{"a link to outside", func(path string) error { return os.Symlink("/etc/hosts", path) }},
		{"a folder", func(path string) error { return os.Mkdir(path, 0o755) }},
		{"nothing", func(string) error { return nil }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path, root := project(t)
			a := filepath.Join(path, "a.txt")
			if err := errors.Join(os.Remove(a), tt.replace(a)); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- tree.Hasher{}.Sum(t.Context(), root, "", []tree.Entry{file("a.txt", "")}) }()
			select {
			case err := <-done:
				if err == nil {
					t.Error("hashed")
				}
			case <-time.After(10 * time.Second):
				t.Error("waits")
			}
		})
	}
}

func TestScanEnds(t *testing.T) {
	_, root := project(t)
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := (tree.Hasher{}).Scan(ctx, root, "", nil); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
}

func TestBinary(t *testing.T) {
	want := newTree(t, file("a", "1"), link("b", "a"), dir("c"))
	data, err := want.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	var got tree.Tree
	if err := got.UnmarshalBinary(data); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want.Entries(), got.Entries(), sameDigest); d != "" {
		t.Error(d)
	}
}
