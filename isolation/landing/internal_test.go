// SPDX-License-Identifier: Apache-2.0

package landing

import (
	"os"
	"path/filepath"
	"testing"
)

// TestSwapByThree is for file systems that cannot exchange, of which there is
// none to be had on every machine.
func TestSwapByThree(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	for p, content := range map[string]string{"out/d": "new", "d/x": "old"} {
		name := filepath.Join(dir, p)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	l := &Landed{project: root, staging: "out"}
	for _, want := range []struct{ file, content string }{{"d", "new"}, {"d/x", "old"}} {
		if err := l.swapByThree("out/d", "d"); err != nil {
			t.Fatal(err)
		}
		if data, err := root.ReadFile(want.file); err != nil || string(data) != want.content {
			t.Errorf("%s holds %q, %v; want %q", want.file, data, err, want.content)
		}
	}
	// Nothing at from: what stood at to must come back.
	if err := l.swapByThree("out/nothing", "d"); err == nil {
		t.Error("a swap with nothing was done")
	}
	if data, err := root.ReadFile("d/x"); err != nil || string(data) != "old" {
		t.Errorf("after a swap that was not to be, d/x holds %q, %v", data, err)
	}
}
