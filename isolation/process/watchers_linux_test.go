// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// What watched one step tells nothing of it to the next, nor of what comes later
// in the same place.
func TestWatchersForget(t *testing.T) {
	var w watchers
	defer w.close()
	fd, err := w.take()
	if errors.Is(err, unix.EPERM) && os.Getenv("ATTEST_REQUIRE_BUILDKIT") == "" {
		t.Skip("only root may watch:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	// A mount of the test's own: nobody else opens anything in it.
	dir := t.TempDir()
	if err := unix.Mount("attest-test", dir, "tmpfs", 0, "size=64k"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	name := filepath.Join(dir, "file")
	open := func() {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pending := func(fd int) bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return err == nil && n > 0
	}
	for _, which := range []uint{unix.FAN_MARK_MOUNT, unix.FAN_MARK_FILESYSTEM} {
		if err := unix.FanotifyMark(fd, unix.FAN_MARK_ADD|which, unix.FAN_OPEN, unix.AT_FDCWD, dir); err != nil {
			t.Fatal(err)
		}
		open()
		if !pending(fd) {
			t.Fatal("the test sees nothing at all")
		}
		w.give(fd)
		again, err := w.take()
		if err != nil || again != fd {
			t.Fatalf("got %d, %v: not the one that was given back, %d", again, err, fd)
		}
		if pending(again) {
			t.Error("it still tells of the last step")
		}
		if open(); pending(again) {
			t.Error("it still watches what the last step had")
		}
	}
	w.give(fd)
}
