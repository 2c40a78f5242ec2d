// SPDX-License-Identifier: Apache-2.0

package digest

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// ofMapped hashes a file where it lies, in the system's cache: copying it from
// there takes half as long as hashing it. ok is false where that cannot be
// done, as on some file systems in user space.
func ofMapped(ctx context.Context, f *os.File, size int64) (d Digest, ok bool, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return Digest{}, false, nil
	}
	// Reading ahead twice as far is worth some time where the disk is asked.
	_ = conn.Control(func(fd uintptr) { _ = unix.Fadvise(int(fd), 0, 0, unix.FADV_SEQUENTIAL) })
	ok = true
	d, err = large(ctx, size, func(at int64, n int) (window []byte, done func() error, err error) {
		if short(f, at+int64(n)) {
			return nil, nil, io.ErrUnexpectedEOF
		}
		failed := conn.Control(func(fd uintptr) {
			window, err = unix.Mmap(int(fd), at, n, unix.PROT_READ, unix.MAP_SHARED)
		})
		if err = errors.Join(failed, err); err != nil {
			ok = false
			return nil, nil, err
		}
		return window, func() error { return unix.Munmap(window) }, nil
	})
	return d, ok, err
}

// short reports whether f is known to end before size.
func short(f *os.File, size int64) bool {
	info, err := f.Stat()
	return err == nil && info.Size() < size
}

// errorOfFault turns the fault that touching a mapped file raises when it was
// cut off, or cannot be read, into an error. What it returns is to be deferred.
func errorOfFault(err *error) func() {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		switch fault := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }: // as package debug documents it
			*err = io.ErrUnexpectedEOF
		default:
			panic(fault)
		}
	}
}
