// SPDX-License-Identifier: Apache-2.0

//go:build unix

package statcache

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// openOwn follows no link and waits for no writer.
func openOwn(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
}

// own makes sure that others cannot have planted a digest.
func own(info fs.FileInfo) error {
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular():
		return errors.New("it is no regular file")
	case !ok || st.Uid != uint32(os.Geteuid()) && st.Uid != 0:
		return errors.New("it belongs to another user")
	case info.Mode().Perm()&0o022 != 0:
		return errors.New("others may write to it")
	}
	return nil
}
