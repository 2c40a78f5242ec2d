// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/attest-pipeline/attest/frontend/source"
)

// MaxSize is the size in bytes of the largest attest.yaml that is read.
const MaxSize = 16 << 20

// Load reads the attest.yaml at path. display is the name that errors and
// places give it; path itself when empty.
//
// A file that is not there or cannot be opened is an error of the file system
// ([errors.Is] with [io/fs.ErrNotExist] works). Everything else, a folder or a
// FIFO in the file's place included, is as in [Parse].
func Load(path, display string) (*Pipeline, error) {
	if display == "" {
		display = path
	}
	f, err := os.OpenFile(path, os.O_RDONLY|nonBlocking, 0)
	if err != nil {
		return nil, notOpened(path, display, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", display, err)
	}
	if what := irregular(info.Mode()); what != "" {
		return nil, whole(display, "this is "+what+", not a file")
	}
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", display, err)
	}
	return Parse(&source.File{Name: display, Data: data})
}

// notOpened turns the error of opening a socket, which says "no such device",
// into one that says what stands there.
func notOpened(path, display string, err error) error {
	if info, serr := os.Stat(path); serr == nil {
		if what := irregular(info.Mode()); what != "" {
			return whole(display, "this is "+what+", not a file")
		}
	}
	return fmt.Errorf("reading %s: %w", display, err)
}

func irregular(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return ""
	case mode.IsDir():
		return "a folder"
	case mode&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	default:
		return "a device"
	}
}

// whole is an error about the file as such.
func whole(name, msg string) *source.Error {
	return &source.Error{Pos: source.Pos{File: name}, Msg: msg, Err: ErrInvalid}
}
