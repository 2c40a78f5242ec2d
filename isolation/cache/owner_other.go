// SPDX-License-Identifier: Apache-2.0

//go:build !unix

package cache

import (
	"errors"
	"io/fs"
	"os"
)

// owner knows nothing here.
func owner(fs.FileInfo) (uid int, known bool) { return 0, false }

// tryLock does nothing here: one process at a time may use a cache.
func tryLock(*os.File, lockMode) (bool, error) { return true, nil }

// lasting reports whether err is a reason for which everything else that is
// written would fail too.
func lasting(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, ErrUnsafe)
}

// readOnly reports whether err says that nobody here may write.
func readOnly(err error) bool { return errors.Is(err, fs.ErrPermission) }
