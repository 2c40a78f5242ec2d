// SPDX-License-Identifier: Apache-2.0

package diskspace_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/diskspace"
)

// TestDiskReserve fills a small file system of its own while a step would run.
func TestDiskReserve(t *testing.T) {
	if testing.Short() {
		t.Skip("mounts")
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID, "size=16m"); err != nil {
		if os.Getuid() == 0 {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	ctx, stop := diskspace.Guard(t.Context(), dir)
	defer stop()
	time.Sleep(2 * diskspace.Interval)
	if err := context.Cause(ctx); err != nil {
		t.Fatalf("stopped with 16 MB free: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "large"), make([]byte, 12<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("less than half of what was free is left, and nobody noticed")
	}
	var full *diskspace.FullError
	if !errors.As(context.Cause(ctx), &full) || full.Free >= 8<<20 {
		t.Errorf("stopped because of %v", context.Cause(ctx))
	}
}
