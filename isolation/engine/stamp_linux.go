// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"io/fs"
	"syscall"
	"time"
)

// stamp is what tells one state of a file from another without reading it. The
// zero stamp tells nothing.
type stamp struct {
	dev, inode   uint64
	size         int64
	mode         uint32
	mtime, ctime syscall.Timespec
}

func stampOf(info fs.FileInfo) stamp {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.Mode().IsRegular() {
		return stamp{}
	}
	return stamp{st.Dev, st.Ino, st.Size, st.Mode, st.Mtim, st.Ctim}
}

func (s stamp) isZero() bool { return s == stamp{} }

// before reports whether the file was last changed before t.
func (s stamp) before(t time.Time) bool {
	return time.Unix(s.ctime.Unix()).Before(t) && time.Unix(s.mtime.Unix()).Before(t)
}

// lastChange returns the time of the last change as the file system has it.
func lastChange(info fs.FileInfo) time.Time {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(st.Ctim.Unix())
	}
	return info.ModTime()
}
