// SPDX-License-Identifier: Apache-2.0

package statcache

import (
	"os"
	"path/filepath"
	"strings"
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
