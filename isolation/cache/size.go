// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// The size file holds what the cache takes of the disk, so that nobody has to
// count before storing. What is going to be stored is added first: a kill
// leaves a number that is too large, until the next GC counts anew.

// addSize adds n unless the sum exceeds most, where that is not 0. known is
// false where the file does not say what is there; then nothing is added.
func addSize(ctx context.Context, root *os.Root, n, most int64) (added, known bool, err error) {
	err = withSize(ctx, root, func(size int64, ok bool) (int64, bool) {
		known = ok
		added = ok && (most == 0 || size+n <= most)
		return max(0, size+n), added
	})
	return added, known, err
}

// unknownSize is for setSize: a number that nobody can read, so that all is counted
// anew.
const unknownSize = -1

// setSize sets the number.
func setSize(ctx context.Context, root *os.Root, n int64) error {
	return withSize(ctx, root, func(int64, bool) (int64, bool) { return n, true })
}

// readSize returns the number; known is false where there is none.
func readSize(root *os.Root) (n int64, known bool) {
	text, err := readFile(root, sizeFile, 32)
	if err != nil {
		return 0, false
	}
	return parseSize(text)
}

// sizeText is the one spelling of a number: always as long, so that it is
// replaced in one write.
const sizeText = "%020d\n"

func parseSize(text []byte) (int64, bool) {
	n, err := strconv.ParseInt(strings.TrimSuffix(string(text), "\n"), 10, 64)
	return n, err == nil && n >= 0 && fmt.Sprintf(sizeText, n) == string(text)
}

// withSize changes the number while nobody else does.
func withSize(ctx context.Context, root *os.Root, change func(size int64, known bool) (next int64, write bool)) (err error) {
	f, err := root.OpenFile(sizeFile, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := wait(ctx, f, exclusive, nil); err != nil {
		return err
	}
	buf := make([]byte, 32)
	n, err := f.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	size, known := parseSize(buf[:n])
	next, write := change(size, known)
	if !write {
		return nil
	}
	text := fmt.Appendf(nil, sizeText, next)
	if n > len(text) { // nothing of ours
		if err := f.Truncate(0); err != nil {
			return err
		}
	}
	_, err = f.WriteAt(text, 0)
	return err
}
