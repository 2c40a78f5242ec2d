// SPDX-License-Identifier: Apache-2.0

//go:build !linux

package process

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/attest-pipeline/attest/attestation/tree"
)

// move moves the entries from one folder to another. Unlike on Linux, it
// trusts that nothing else changes the folders meanwhile.
func move(ctx context.Context, from, to string, entries []tree.Entry, untie untie) error {
	for _, e := range entries {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		source, target := filepath.Join(from, filepath.FromSlash(e.Path)), filepath.Join(to, filepath.FromSlash(e.Path))
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		info, err := os.Lstat(source)
		if err == nil && e.Kind == tree.Dir {
			err = os.MkdirAll(target, info.Mode().Perm())
			if err == nil {
				err = os.Remove(source)
			}
		} else if err == nil {
			err = os.Rename(source, target)
		}
		if err == nil && untie && info.Mode()&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0 {
			err = os.Chmod(target, info.Mode().Perm())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func notEmpty(err error) bool { return errors.Is(err, fs.ErrExist) }

func writeExecutable(name, text string) error {
	return os.WriteFile(name, []byte(text), scriptFile)
}
