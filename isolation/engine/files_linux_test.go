// SPDX-License-Identifier: Apache-2.0

package engine_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestNoSpace has a file system that is full when the log and the outputs come.
func TestNoSpace(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounting needs root")
	}
	big := strings.Repeat("0123456789abcdef", 64<<10) // 1 MB
	tests := map[string]func(context.Context, job) (int, error){
		"log":    func(_ context.Context, j job) (int, error) { return 0, errors.Join(leaveAll(j), say(j.Stdout, big)) },
		"output": func(_ context.Context, j job) (int, error) { return 0, j.put("dist/file", big) },
	}
	for name, step := range tests {
		t.Run(name, func(t *testing.T) {
			p := newProject(t, "steps: {s: {run: x, inputs: [], outputs: [dist/]}}\n", nil, inMemory{"s": step})
			if err := syscall.Mount("tmpfs", p.dir, "tmpfs", 0, "size=512k"); err != nil {
				t.Skip("mounting is not to be had here:", err)
			}
			t.Cleanup(func() { _ = syscall.Unmount(p.dir, syscall.MNT_DETACH) })
			p.write("attest.yaml", "")
			p.write("dist/old", "old")
			rec, err := p.fail()
			if !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("error is %v, want one about space", err)
			}
			if got := statuses(rec); got != "s:failed failed" {
				t.Error(got)
			}
			if got := p.read("dist/old"); got != "old" {
				t.Errorf("an earlier output holds %q", got)
			}
		})
	}
}
