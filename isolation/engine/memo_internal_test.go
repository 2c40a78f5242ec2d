// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/attest-pipeline/attest/attestation/digest"
	"github.com/attest-pipeline/attest/attestation/tree"
)

// TestMemoTrustsOnlyWhatHasSettled shows both sides of the rule. Whether a file
// can be written twice within one tick depends on kernel and file system, so
// what is remembered is looked at instead.
func TestMemoTrustsOnlyWhatHasSettled(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("nothing is remembered elsewhere")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), []byte("1"), 0o644); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	info, err := root.Lstat("f")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name  string
		after time.Duration // of the reading, after the file's last change
		want  bool
	}{{"at once", 0, false}, {"soon", settled - time.Second, false}, {"later", settled + time.Second, true}, {"before", -time.Hour, false}} {
		m := newMemo()
		entries := []tree.Entry{{Path: "f", Kind: tree.File, Perm: 0o644}}
		if err := m.sum(context.Background(), root, entries, lastChange(info).Add(tt.after)); err != nil {
			t.Fatal(err)
		}
		if entries[0].Digest != digest.Of([]byte("1")) || entries[0].Size != 1 {
			t.Errorf("%s: entry is %+v", tt.name, entries[0])
		}
		if _, got := m.known["f"]; got != tt.want {
			t.Errorf("read %s after its last change, the file is remembered: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestMemoForgetsNothingThatTells changes one thing at a time that a stamp has.
func TestMemoForgetsNothingThatTells(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("nothing is remembered elsewhere")
	}
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	name := filepath.Join(dir, "f")
	old := time.Now().Add(-time.Hour)
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(name, old, old); err != nil {
			t.Fatal(err)
		}
	}
	write("one")
	m := newMemo()
	sum := func() tree.Entry {
		t.Helper()
		info, err := os.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		e, err := tree.EntryOf("f", info)
		if err != nil {
			t.Fatal(err)
		}
		entries := []tree.Entry{e}
		if err := m.sum(context.Background(), root, entries, time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		return entries[0]
	}
	sum()
	for _, c := range []struct {
		name   string
		change func()
		want   string
	}{
		{"same size, same mtime", func() { write("two") }, "two"},
		{"another file of the same size and mtime", func() {
			if err := os.Rename(name, name+".old"); err != nil {
				t.Fatal(err)
			}
			write("owt")
		}, "owt"},
		{"the first file again", func() {
			if err := os.Rename(name+".old", name); err != nil {
				t.Fatal(err)
			}
		}, "two"},
		{"mode", func() {
			if err := os.Chmod(name, 0o755); err != nil {
				t.Fatal(err)
			}
		}, "two"},
	} {
		c.change()
		if e := sum(); e.Digest != digest.Of([]byte(c.want)) || (c.name == "mode") != (e.Mode() == 0o755) {
			t.Errorf("%s: got %+v, want the digest of %q", c.name, e, c.want)
		}
	}
}
