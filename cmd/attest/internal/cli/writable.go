// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"syscall"
)

// writableHint says why something could not be written, where it is the project that
// nobody, or not this user, can write to; empty where it is not.
func (e *Env) writableHint(err error) string {
	if !errors.Is(err, syscall.EROFS) && !errors.Is(err, fs.ErrPermission) {
		return ""
	}
	for _, dir := range []string{e.project, filepath.Join(e.project, stateDir)} {
		switch cause := writable(dir); {
		case errors.Is(cause, syscall.EROFS):
			return fmt.Sprintf("%s is mounted read-only, and attest keeps receipts, keys and results in the project's %s: "+
				"work in a copy of the project", dir, stateDir)
		case errors.Is(cause, fs.ErrPermission):
			return fmt.Sprintf("you may not write to %s, and attest keeps receipts, keys and results in the project's %s: "+
				"ask its owner, or work in a copy of the project", dir, stateDir)
		}
	}
	return ""
}
