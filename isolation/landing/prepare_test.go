// SPDX-License-Identifier: Apache-2.0

package landing_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/attest-pipeline/attest/attestation/tree"
	"github.com/attest-pipeline/attest/isolation/landing"
)

func open(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = root.Close() })
	return root
}

func TestPrepareUntiesHardLinks(t *testing.T) {
	dir, theirs := t.TempDir(), filepath.Join(t.TempDir(), "theirs")
	if err := os.WriteFile(theirs, []byte("content"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(theirs, 0o640|os.ModeSetuid); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"a", "d/b"} {
		if err := os.Link(theirs, filepath.Join(dir, p)); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := landing.Prepare(context.Background(), open(t, dir)); err != nil || n != 2 {
		t.Fatalf("Prepare returned %d, %v; want 2 files", n, err)
	}
	their, err := os.Stat(theirs)
	if err != nil {
		t.Fatal(err)
	}
	if their.Mode() != 0o640|os.ModeSetuid {
		t.Errorf("a file outside the staging folder has mode %v now", their.Mode())
	}
	for _, p := range []string{"a", "d/b"} {
		p = filepath.Join(dir, p)
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if os.SameFile(info, their) {
			t.Errorf("%s is still the same file as one outside", p)
		}
		if info.Mode() != 0o640 || !info.ModTime().Equal(their.ModTime()) {
			t.Errorf("%s has mode %v and time %v", p, info.Mode(), info.ModTime())
		}
		if data, err := os.ReadFile(p); err != nil || string(data) != "content" {
			t.Errorf("%s holds %q, %v", p, data, err)
		}
	}
	if names, _ := os.ReadDir(dir); len(names) != 2 {
		t.Errorf("something was left behind: %v", names)
	}
}

func TestPrepareDropsSpecialBits(t *testing.T) {
	dir := t.TempDir()
	bits := map[string]os.FileMode{"uid": os.ModeSetuid, "gid": os.ModeSetgid, "sticky": os.ModeSticky}
	for name, bit := range bits {
		if err := errors.Join(
			os.WriteFile(filepath.Join(dir, name), nil, 0o755), os.Chmod(filepath.Join(dir, name), 0o751|bit),
			os.Mkdir(filepath.Join(dir, name+".d"), 0o755), os.Chmod(filepath.Join(dir, name+".d"), 0o751|bit),
		); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := landing.Prepare(context.Background(), open(t, dir)); err != nil {
		t.Fatal(err)
	}
	for name := range bits {
		for p, want := range map[string]os.FileMode{name: 0o751, name + ".d": 0o751 | os.ModeDir} {
			if info, err := os.Stat(filepath.Join(dir, p)); err != nil || info.Mode() != want {
				t.Errorf("%s has mode %v, %v; want %v", p, info.Mode(), err, want)
			}
		}
	}
}

func TestPrepareCountsAndLeavesLinksAlone(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(outside, 0o600|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(
		os.Symlink(outside, filepath.Join(dir, "l")),
		os.MkdirAll(filepath.Join(dir, "d/e/f"), 0o755),
		os.WriteFile(filepath.Join(dir, "d/x"), nil, 0o644),
	); err != nil {
		t.Fatal(err)
	}
	if n, err := landing.Prepare(context.Background(), open(t, dir)); err != nil || n != 2 {
		t.Errorf("Prepare returned %d, %v; want 2: a link and a file", n, err)
	}
	if info, err := os.Stat(outside); err != nil || info.Mode()&os.ModeSticky == 0 {
		t.Errorf("the target of a link was touched: %v, %v", info.Mode(), err)
	}
}

func TestPrepareRefusesSpecialFiles(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "d/pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := landing.Prepare(context.Background(), open(t, dir))
	var special *tree.SpecialFileError
	if !errors.As(err, &special) || special.Path != "d/pipe" {
		t.Errorf("error is %v, want one that names d/pipe", err)
	}
}
