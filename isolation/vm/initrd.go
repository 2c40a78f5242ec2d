// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"bufio"
	"fmt"
	"io"
	"os"

	"github.com/attest-pipeline/attest/isolation/vm/guest"
)

// writeInitrd writes the initial RAM disk: attest-guest as the first process,
// and the modules in the order in which it is to load them. It is the same,
// byte for byte, for the same parts. It is not compressed: undoing that costs an
// emulated processor more than reading the bytes.
func writeInitrd(w io.Writer, guestPath string, modules []module) error {
	program, err := os.ReadFile(guestPath)
	if err != nil {
		return fmt.Errorf("reading %s: %w", guestProgram, err)
	}
	buffered := bufio.NewWriter(w)
	a := &archive{w: buffered}
	a.folder("dev")
	a.device("dev/console", 5, 1) // the kernel gives it to the first process
	a.file("init", 0o700, program)
	folder := guest.Modules[1:]
	a.folder(folder)
	for i, m := range modules {
		a.file(fmt.Sprintf("%s/%03d-%s.ko", folder, i, m.name), 0o600, m.text)
	}
	a.end()
	if a.err != nil {
		return fmt.Errorf("writing the initial RAM disk: %w", a.err)
	}
	return buffered.Flush()
}

// archive writes a cpio archive in the form that the kernel unpacks ("newc", by
// Linux' Documentation/driver-api/early-userspace/buffer-format.rst). The first
// error stops it.
type archive struct {
	w     io.Writer
	inode int
	err   error
}

const (
	modeFile   = 0o100000
	modeFolder = 0o040000
	modeDevice = 0o020000
)

func (a *archive) folder(name string) { a.entry(name, modeFolder|0o700, 0, 0, nil) }
func (a *archive) file(name string, mode uint32, data []byte) {
	a.entry(name, modeFile|mode, 0, 0, data)
}
func (a *archive) device(name string, major, minor int) {
	a.entry(name, modeDevice|0o600, major, minor, nil)
}

func (a *archive) end() {
	a.inode = -1 // so that the trailer has number 0
	a.entry("TRAILER!!!", 0, 0, 0, nil)
}

func (a *archive) entry(name string, mode uint32, major, minor int, data []byte) {
	a.inode++
	head := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		a.inode, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(name)+1, 0)
	a.write([]byte(head + name + "\x00"))
	a.pad(len(head) + len(name) + 1)
	a.write(data)
	a.pad(len(data))
}

// pad goes on to the next multiple of four bytes.
func (a *archive) pad(n int) { a.write(make([]byte, -n&3)) }

func (a *archive) write(p []byte) {
	if a.err == nil {
		_, a.err = a.w.Write(p)
	}
}
