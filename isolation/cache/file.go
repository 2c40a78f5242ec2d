// SPDX-License-Identifier: Apache-2.0

package cache

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"github.com/attest-pipeline/attest/attestation/cas"
	"github.com/attest-pipeline/attest/attestation/digest"
)

// tempPrefix begins the names of files that are being written.
const tempPrefix = "tmp-"

// nameOf is where the file of a key stands in its folder.
func nameOf(key digest.Digest) string {
	hex := key.Hex()
	return hex[:2] + "/" + hex[2:]
}

// keyOf is the reverse of nameOf.
func keyOf(dir, rest string) (digest.Digest, bool) {
	d, err := digest.Parse("blake3:" + dir + rest)
	return d, err == nil && len(dir) == 2
}

// writeFile puts a file in place at once or not at all, and returns what it
// takes of the disk, with the folder that was made for it, if any. Zero for used
// leaves the time of last use to the file system.
func writeFile(root *os.Root, name string, data []byte, used time.Time) (size int64, err error) {
	for range 3 {
		size, err = tryWriteFile(root, name, data, used)
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		// What is written without the lock can be cleared away meanwhile.
	}
	return size, err
}

func tryWriteFile(root *os.Root, name string, data []byte, used time.Time) (size int64, err error) {
	temp := tempPrefix + rand.Text()
	f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			_ = root.Remove(temp)
		}
	}()
	_, err = f.Write(data)
	if err := errors.Join(err, f.Close()); err != nil {
		return 0, err
	}
	if !used.IsZero() {
		if err := root.Chtimes(temp, used, used); err != nil {
			return 0, err
		}
	}
	size = onDisk(int64(len(data)))
	err = root.Rename(temp, name)
	if dir := path.Dir(name); dir != "." && errors.Is(err, fs.ErrNotExist) {
		switch err := root.Mkdir(dir, 0o700); {
		case err == nil:
			size += blockSize
		case !errors.Is(err, fs.ErrExist):
			return 0, err
		}
		err = root.Rename(temp, name)
	}
	return size, err
}

// readFile reads a file of at most the given length. What is no file, or longer,
// matches cas.ErrDamaged.
func readFile(root *os.Root, name string, most int64) ([]byte, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		if errors.Is(err, syscall.ENXIO) { // a socket
			err = fmt.Errorf("%w: %w", cas.ErrDamaged, err)
		}
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return nil, fmt.Errorf("%w: it is not a file of at most %d bytes", cas.ErrDamaged, most)
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return nil, fmt.Errorf("%w: %w", cas.ErrDamaged, err)
	}
	return data, nil
}

// namesIn lists a folder, in no order.
func namesIn(root *os.Root, dir string) ([]string, error) {
	f, err := root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// blockSize is what disks are counted in: a file takes whole blocks.
const blockSize = 4 << 10

// onDisk is what a file of so many bytes takes of the disk.
func onDisk(size int64) int64 { return (size + blockSize - 1) / blockSize * blockSize }
