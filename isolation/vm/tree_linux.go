// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/continuity/fs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/vm/guest"
)

// tree is the one folder that a machine shares: the step's root file system
// with all mounts where the step will see them. What is read-only is so on this
// host, whatever happens in the machine. No process of a step runs while it is
// made, so no path changes meanwhile, and no symbolic link leads out of it.
type tree struct {
	dir    string
	mounts []string
}

// compose makes a tree in the folder dir. The mounts of the guest's own get
// folders to be mounted on, its files empty ones.
func compose(dir string, root *specs.Root, o guest.Order, outside []specs.Mount) (t *tree, err error) {
	dir, err = os.MkdirTemp(dir, "tree-")
	if err != nil {
		return nil, err
	}
	t = &tree{dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
		}
	}()
	if err := t.mount(mount.Mount{Type: "bind", Source: root.Path, Options: []string{"bind"}}, dir); err != nil {
		return nil, err
	}
	for i, m := range o.Mounts {
		if within(m.Target, o.Mounts[:i]) {
			continue // the guest makes it
		}
		if _, err := t.point(m.Target, true); err != nil {
			return nil, err
		}
	}
	for _, m := range outside {
		info, err := os.Stat(m.Source)
		target, err := t.point(m.Destination, m.Type != "bind" || err != nil || info.IsDir())
		if err != nil {
			return nil, err
		}
		if err := t.mount(mount.Mount{Type: m.Type, Source: m.Source, Options: m.Options}, target); err != nil {
			return nil, err
		}
	}
	for _, f := range o.Files {
		if within(f.Path, o.Mounts) {
			continue
		}
		if _, err := t.point(f.Path, false); err != nil {
			return nil, err
		}
	}
	if root.Readonly {
		if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
			return nil, fmt.Errorf("making the root file system read-only: %w", err)
		}
	}
	return t, nil
}

// within reports whether a path lies in a file system of the guest's own.
func within(path string, inside []guest.Mount) bool {
	return slices.ContainsFunc(inside, func(m guest.Mount) bool { return strings.HasPrefix(path, m.Target+"/") })
}

// below returns where in the tree there are other file systems of this host, as
// paths that begin at its root and hold no symbolic link.
func (t *tree) below() []string {
	paths := make([]string, 0, len(t.mounts))
	for _, target := range t.mounts {
		if p := strings.TrimPrefix(target, t.dir); p != "" {
			paths = append(paths, p)
		}
	}
	return paths
}

func (t *tree) mount(m mount.Mount, target string) error {
	if err := m.Mount(target); err != nil {
		return fmt.Errorf("mounting %s: %w", strings.TrimPrefix(target, t.dir), err)
	}
	t.mounts = append(t.mounts, target)
	return nil
}

// point makes the folder or file that is mounted over, if it is missing.
func (t *tree) point(path string, folder bool) (string, error) {
	target, err := fs.RootPath(t.dir, path)
	if err != nil {
		return "", fmt.Errorf("finding %s: %w", path, err)
	}
	if _, err := os.Stat(target); err == nil {
		return target, nil
	}
	if folder {
		return target, os.MkdirAll(target, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return "", err
	}
	return target, os.WriteFile(target, nil, 0o644)
}

// close undoes the mounts. The folder goes when all of them could be undone.
func (t *tree) close() error {
	for _, target := range slices.Backward(t.mounts) {
		if err := mount.Unmount(target, 0); err != nil {
			return fmt.Errorf("unmounting %s: %w", target, err)
		}
	}
	return os.Remove(t.dir)
}
