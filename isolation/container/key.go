// SPDX-License-Identifier: Apache-2.0

package container

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const keySize = 32

// loadKey returns the key in the file at path, which it makes where there is
// none, or a new key where path is empty. A file that is no key is replaced: the
// key protects nothing that was made before it.
func loadKey(path string) ([]byte, error) {
	if path == "" {
		return newKey(), nil
	}
	key, err := os.ReadFile(path)
	if err == nil && len(key) == keySize {
		return key, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading the key of file times: %w", err)
	}
	key = newKey()
	if err := writeKey(path, key); err != nil {
		return nil, fmt.Errorf("writing the key of file times: %w", err)
	}
	return key, nil
}

func newKey() []byte {
	key := make([]byte, keySize)
	_, _ = rand.Read(key) // never fails
	return key
}

// writeKey puts the file in place whole. Of two processes that do it at once
// one wins, and the other's key serves its own run.
func writeKey(path string, key []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(key); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
