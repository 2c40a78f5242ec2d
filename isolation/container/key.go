// SPDX-License-Identifier: Apache-2.0

package container

import (
	"crypto/rand"
	"os"
	"path/filepath"
)

const keySize = 32

// loadKey returns the key in the file at path, which it makes where there is
// none that can be read. Where path is empty or cannot be written to, the key is
// good for this process alone, which costs time and nothing else.
func loadKey(path string) []byte {
	if path == "" {
		return newKey()
	}
	if key, err := os.ReadFile(path); err == nil && len(key) == keySize {
		return key
	}
	key := newKey()
	_ = writeKey(path, key)
	return key
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
