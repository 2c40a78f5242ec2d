// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestInitrd unpacks an initial RAM disk with a program that is not ours.
func TestInitrd(t *testing.T) {
	guest := filepath.Join(t.TempDir(), "guest")
	if err := os.WriteFile(guest, []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	modules := []module{{"b", []byte("second letter")}, {"a", []byte("1")}}
	var first, second bytes.Buffer
	for _, b := range []*bytes.Buffer{&first, &second} {
		if err := writeInitrd(b, guest, modules); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), second.Bytes()) {
		t.Error("the same parts gave two RAM disks")
	}
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		if os.Getenv("ATTEST_REQUIRE_TOOLS") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	cmd := exec.Command(busybox, "cpio", "-idm")
	cmd.Dir, cmd.Stdin = t.TempDir(), bytes.NewReader(first.Bytes())
	out, err := cmd.CombinedOutput()
	if err != nil && !strings.Contains(string(out), "dev/console") { // only root makes a device
		t.Fatalf("unpacking: %v\n%s", err, out)
	}
	for name, want := range map[string]string{
		"init": "program", "modules/000-b.ko": "second letter", "modules/001-a.ko": "1",
	} {
		got, err := os.ReadFile(filepath.Join(cmd.Dir, name))
		if err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
	if info, err := os.Stat(filepath.Join(cmd.Dir, "init")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("init: %v, %v", info, err)
	}
}
