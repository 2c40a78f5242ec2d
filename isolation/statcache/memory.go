// SPDX-License-Identifier: Apache-2.0

package statcache

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/attest-pipeline/attest/attestation/tree"
)

// What follows is for other memories of what files looked like, which are kept
// beside the digests and have to be as careful.

// FileName names the file of a project's other memory, of which kind says what
// it is: for one project and kind always the same, in the folder of the digests.
func FileName(project, kind string) string {
	return strings.TrimSuffix(fileName(project), suffix) + "." + kind
}

// ReadOwn reads a file that nobody but this user, or root, can have written,
// and that is no larger than a memory may be. It follows no link.
func ReadOwn(path string) ([]byte, error) {
	data, _, err := readOwn(path)
	return data, err
}

// Replace puts data in place of the file at once, and makes its folder when it
// is not there.
func Replace(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return replace(path, data)
}

// Clock is a moment by a file system's own clock. The zero Clock is before
// everything.
type Clock struct{ clock clock }

// ReadClock reads the clock of the file system that the folder dir is on, which
// is made when it is not there.
func ReadClock(dir string) (Clock, error) {
	c, err := readClock(dir)
	return Clock{c}, err
}

// IsZero reports whether c is of no use.
func (c Clock) IsZero() bool { return c.clock == clock{} }

// After reports whether a file that looks like s was last changed before the
// clock was read, beyond doubt: whoever looked at the file between the reading
// of the clock and the making of s has seen it as it was when s was made.
func (c Clock) After(s tree.Stat) bool { return c.clock.after(s) }
