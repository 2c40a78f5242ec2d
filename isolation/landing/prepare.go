// SPDX-License-Identifier: Apache-2.0

package landing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/attest-pipeline/attest/attestation/tree"
)

// Prepare makes a staging folder fit to be hashed and landed, and returns how
// many files and symbolic links are in it: a file that has
// other names elsewhere (a hard link) becomes a copy of its own, so that nothing
// outside shares it; setuid, setgid and sticky bits go. A device, FIFO or
// socket is a [tree.SpecialFileError]. Symbolic links are left alone.
func Prepare(ctx context.Context, staging *os.Root) (int, error) {
	return prepareFolder(ctx, staging, ".")
}

func prepareFolder(ctx context.Context, root *os.Root, dir string) (int, error) {
	if err := context.Cause(ctx); err != nil {
		return 0, err
	}
	f, err := root.Open(filepath.FromSlash(dir))
	if err != nil {
		return 0, err
	}
	items, err := f.ReadDir(-1)
	_ = f.Close()
	if err != nil {
		return 0, err
	}
	var count int
	for _, item := range items {
		p := path.Join(dir, item.Name())
		info, err := root.Lstat(filepath.FromSlash(p))
		if err != nil {
			return 0, err
		}
		if err := prepareOne(root, p, info); err != nil {
			return 0, err
		}
		below := 1
		if info.IsDir() {
			if below, err = prepareFolder(ctx, root, p); err != nil {
				return 0, err
			}
		}
		count += below
	}
	return count, nil
}

func prepareOne(root *os.Root, p string, info fs.FileInfo) error {
	if _, err := tree.EntryOf(p, info); err != nil {
		return err
	}
	mode := info.Mode()
	if mode&fs.ModeSymlink != 0 {
		return nil
	}
	if mode.IsRegular() && links(info) > 1 {
		return ownCopy(root, p, info)
	}
	if mode&(fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0 {
		return root.Chmod(filepath.FromSlash(p), mode.Perm())
	}
	return nil
}

// ownCopy replaces the file at p by a copy that has no other name.
func ownCopy(root *os.Root, p string, info fs.FileInfo) (err error) {
	name := filepath.FromSlash(p)
	src, err := root.Open(name)
	if err != nil {
		return err
	}
	defer src.Close()
	spare, dst, err := createSpare(root, path.Dir(p))
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = root.Remove(spare)
		}
	}()
	if _, err := io.Copy(dst, src); err != nil {
		_ = dst.Close()
		return fmt.Errorf("copying %q: %w", p, err)
	}
	if err := errors.Join(dst.Chmod(info.Mode().Perm()), dst.Close()); err != nil {
		return err
	}
	if err := root.Chtimes(spare, info.ModTime(), info.ModTime()); err != nil {
		return err
	}
	return root.Rename(spare, name)
}

// createSpare makes a file under a name that is free in dir.
func createSpare(root *os.Root, dir string) (string, *os.File, error) {
	for n := 0; ; n++ {
		name := filepath.FromSlash(path.Join(dir, fmt.Sprintf(".attest-copy-%d", n)))
		f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if !errors.Is(err, fs.ErrExist) {
			return name, f, err
		}
	}
}

// RemoveAll removes what stands at p in root with all that is below it, folders
// that nobody may write included. Nothing at p is no error.
func RemoveAll(root *os.Root, p string) error {
	err := root.RemoveAll(filepath.FromSlash(p))
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	if err := openFolders(root, p); err != nil {
		return err
	}
	return root.RemoveAll(filepath.FromSlash(p))
}

// openFolders lets the owner into every folder from p on.
func openFolders(root *os.Root, p string) error {
	name := filepath.FromSlash(p)
	info, err := root.Lstat(name)
	if err != nil || !info.IsDir() {
		return err
	}
	if err := root.Chmod(name, info.Mode().Perm()|0o700); err != nil {
		return err
	}
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	items, err := f.ReadDir(-1)
	_ = f.Close()
	if err != nil {
		return err
	}
	for _, item := range items {
		if item.IsDir() {
			if err := openFolders(root, path.Join(p, item.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
