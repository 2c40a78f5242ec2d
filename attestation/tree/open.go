// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"io/fs"
	"os"
)

// Open opens a file below root for reading. It does not follow a symbolic link
// at the end of name and does not wait for the writer of a FIFO: what is no
// regular file is an error, a [SpecialFileError] where it is none of a Tree's
// kinds.
func Open(root *os.Root, name string) (*os.File, error) { return openRegular(root, name) }

// regular returns f when it is the regular file at name, else closes it. An
// os.Root follows a symbolic link that stays inside it, whatever the flags say;
// what stands at the name itself tells.
func regular(root *os.Root, name string, f *os.File) (*os.File, error) {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &SpecialFileError{Path: name, Type: info.Mode().Type()}
	}
	if err == nil {
		var here fs.FileInfo
		if here, err = root.Lstat(name); err == nil && !os.SameFile(info, here) {
			err = &fs.PathError{Op: "open", Path: name, Err: errReplaced}
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
