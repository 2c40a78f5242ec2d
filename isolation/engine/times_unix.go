// SPDX-License-Identifier: Apache-2.0

//go:build unix

package engine

import (
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// setTime sets the times of a file, or of a link and not of what it leads to.
func setTime(path string, t time.Time) error {
	at := unix.NsecToTimespec(t.UnixNano())
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "utimensat", Path: path, Err: err}
	}
	return nil
}
