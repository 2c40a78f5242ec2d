// SPDX-License-Identifier: Apache-2.0

//go:build unix

package cache

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// owner returns who a file belongs to.
func owner(info fs.FileInfo) (uid int, known bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(st.Uid), true
}

// tryLock takes a lock on f unless another open file has one that is in its
// way. The lock ends with f, also when its process is killed.
func tryLock(f *os.File, mode lockMode) (bool, error) {
	how := unix.LOCK_SH
	if mode == exclusive {
		how = unix.LOCK_EX
	}
	for {
		err := unix.Flock(int(f.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, unix.EINTR):
			return false, err
		}
	}
}

// lasting reports whether err is a reason for which everything else that is
// written would fail too.
func lasting(err error) bool {
	for _, no := range []error{
		unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EACCES, unix.EPERM, unix.ENOLCK, unix.EIO, unix.ENOTDIR, ErrUnsafe,
	} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// readOnly reports whether err says that nobody here may write.
func readOnly(err error) bool {
	return errors.Is(err, unix.EROFS) || errors.Is(err, fs.ErrPermission)
}
