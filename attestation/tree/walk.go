// SPDX-License-Identifier: Apache-2.0

package tree

import (
	"context"
	"fmt"
	"io/fs"
	"os"
)

// SpecialFileError says that a path holds what no Tree can: a device, a FIFO
// or a socket.
type SpecialFileError struct {
	Path string
	Type fs.FileMode
}

// Error names the path and what stands there.
func (e *SpecialFileError) Error() string {
	what := "a special file"
	switch {
	case e.Type&fs.ModeNamedPipe != 0:
		what = "a FIFO"
	case e.Type&fs.ModeSocket != 0:
		what = "a socket"
	case e.Type&fs.ModeDevice != 0:
		what = "a device"
	}
	return fmt.Sprintf("%q is %s, not a file, folder or symbolic link", e.Path, what)
}

// Walk returns one entry for every file, symbolic link and empty folder below
// the folder dir of root, without digests: paths are relative to dir, ordered.
// dir is slash-separated and relative; empty or "." is root itself. Symbolic
// links below dir are listed, not followed, and nothing outside root is reached
// by any path. A special file is a [SpecialFileError].
//
// skip, when not nil, is asked for every path (relative to dir) before it is
// looked at, by several goroutines at once; what it answers true for is left
// out, a folder with all below it. A folder of which all was left out is listed
// as empty.
func Walk(ctx context.Context, root *os.Root, dir string, skip func(p string, isDir bool) bool) ([]Entry, error) {
	w := Walker[struct{}]{
		Root: root, Base: dir, Hollow: true,
		Child: func(p string, isDir bool, at struct{}) (struct{}, Verdict) {
			take := skip == nil || !skip(p, isDir)
			return at, Verdict{Take: take, Descend: take && isDir}
		},
	}
	found, err := w.Walk(ctx, "", struct{}{}, Verdict{})
	return found.Entries, err
}

// EntryOf describes what info says stands at p, without a digest. A symbolic
// link's target is left for [Hasher.Sum] to read.
func EntryOf(p string, info fs.FileInfo) (Entry, error) {
	e := Entry{Path: p, Perm: uint32(info.Mode().Perm())}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		e.Kind, e.Size = File, info.Size()
	case mode&fs.ModeSymlink != 0:
		e.Kind, e.Perm = Symlink, 0o777
	case mode.IsDir():
		e.Kind = Dir
	default:
		return Entry{}, &SpecialFileError{Path: p, Type: mode.Type()}
	}
	return e, nil
}
