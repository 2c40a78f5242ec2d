// SPDX-License-Identifier: Apache-2.0

package digest

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMappedFileIsCutOff takes the file away below a window that was mapped:
// what would end the program is an error.
func TestMappedFileIsCutOff(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(Large); err != nil {
		t.Fatal(err)
	}
	window, err := unix.Mmap(int(f.Fd()), 0, Large, unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(window) }()
	if _, err := hashWindow(window, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(Large / 2); err != nil {
		t.Fatal(err)
	}
	if _, err := hashWindow(window, 0); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
}
