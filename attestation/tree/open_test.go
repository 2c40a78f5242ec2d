// SPDX-License-Identifier: Apache-2.0

package tree_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/attest-pipeline/attest/attestation/tree"
)

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	write := func(name string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("file")
	for name, make := range map[string]func(path string) error{
		"link":   func(p string) error { return os.Symlink("file", p) },
		"folder": func(p string) error { return os.Mkdir(p, 0o700) },
		"fifo":   func(p string) error { return syscall.Mkfifo(p, 0o600) },
	} {
		if err := make(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()

	f, err := tree.Open(root, "file")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	// A link that stays inside the root is where os.Root alone would follow.
	for _, name := range []string{"link", "folder", "fifo", "nothing"} {
		if f, err := tree.Open(root, name); err == nil {
			f.Close()
			t.Errorf("%s was opened as a file", name)
		}
	}
	var special *tree.SpecialFileError
	if _, err := tree.Open(root, "fifo"); !errors.As(err, &special) || special.Path != "fifo" {
		t.Errorf("a FIFO: %v", err)
	}
}
