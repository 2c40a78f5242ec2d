// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// filesDir is where files in memory are made, before the root is entered.
const filesDir = "/files"

// devices are the device nodes of a step, as any container has them, and which of
// the machine's they are.
func (o Order) devices() map[string]string {
	all := map[string]string{}
	for _, name := range []string{"null", "zero", "full", "random", "urandom", "tty"} {
		all["/dev/"+name] = name
	}
	if o.Seed != "" {
		all["/dev/random"], all["/dev/urandom"], all[uuidFile] = randomDevice, randomDevice, uuidDevice
	}
	return all
}

// makeContainer makes the shared tree the root, with the order's mounts in it.
func (o Order) makeContainer() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("keeping mounts apart: %w", err)
	}
	nodes, err := takeDevices(o.devices())
	if err != nil {
		return err
	}
	files, err := o.makeFiles()
	if err != nil {
		return err
	}
	if err := enterRoot(); err != nil {
		return err
	}
	for _, m := range o.Mounts {
		if err := m.mount(); err != nil {
			return err
		}
		if err := nodes.place(m.Target); err != nil {
			return err
		}
	}
	for path, tree := range files {
		if err := placeFile(tree, path); err != nil {
			return err
		}
	}
	for _, path := range o.ReadonlyPaths {
		if err := makeReadonly(path); err != nil {
			return err
		}
	}
	for _, path := range o.Masked {
		if err := mask(path); err != nil {
			return err
		}
	}
	return nil
}

// enterRoot changes the root to the shared tree. The RAM disk cannot be left
// behind by pivot_root; it is covered instead, and what is covered at the root
// of a namespace cannot be reached by any path.
func enterRoot() error {
	if err := os.Chdir(root); err != nil {
		return err
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("moving the step's file system to the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("changing the root: %w", err)
	}
	return os.Chdir("/")
}

func (m Mount) mount() error {
	if err := os.MkdirAll(m.Target, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(m.Source, m.Target, m.Type, m.Flags, m.Data); err != nil {
		return fmt.Errorf("mounting %s at %s: %w", m.Type, m.Target, err)
	}
	return nil
}

// nodes are files by where they are put, device nodes above all, detached from where
// they were. The file system that
// they are put in shows no other devices: it is mounted so that the ones that a
// step makes there do not work.
type nodes map[string]int

func takeDevices(devices map[string]string) (nodes, error) {
	n := nodes{}
	for path, name := range devices {
		tree, err := unix.OpenTree(unix.AT_FDCWD, "/dev/"+name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			return nil, fmt.Errorf("taking /dev/%s: %w", name, err)
		}
		n[path] = tree
	}
	return n, nil
}

// place puts those in their places that lie in what was just mounted.
func (n nodes) place(mounted string) error {
	for path, tree := range n {
		if !strings.HasPrefix(path, mounted+"/") {
			continue
		}
		if mounted == "/dev" {
			if err := os.WriteFile(path, nil, 0o666); err != nil {
				return err
			}
		}
		if err := unix.MoveMount(tree, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
			return fmt.Errorf("placing %s: %w", path, err)
		}
		unix.Close(tree)
	}
	if mounted != "/dev" {
		return nil
	}
	for _, link := range [][2]string{
		{"/proc/self/fd", "/dev/fd"},
		{"/proc/self/fd/0", "/dev/stdin"},
		{"/proc/self/fd/1", "/dev/stdout"},
		{"/proc/self/fd/2", "/dev/stderr"},
		{"pts/ptmx", "/dev/ptmx"},
	} {
		if err := os.Symlink(link[0], link[1]); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// makeFiles writes the files that the order brings into a file system in memory,
// and returns them by their paths, detached from it: it is to be seen nowhere.
func (o Order) makeFiles() (nodes, error) {
	if o.Seed != "" {
		o.Files = append(o.Files, File{Path: bootIDFile, Content: newStream(o.Seed, "boot").uuid(), Mode: 0o444})
	}
	if len(o.Files) == 0 {
		return nil, nil
	}
	if err := os.MkdirAll(filesDir, 0o700); err != nil {
		return nil, err
	}
	if err := unix.Mount("tmpfs", filesDir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "mode=0700"); err != nil {
		return nil, fmt.Errorf("making a place for files in memory: %w", err)
	}
	n := nodes{}
	for i, f := range o.Files {
		path := filepath.Join(filesDir, strconv.Itoa(i))
		err := os.WriteFile(path, f.Content, 0o600)
		if err == nil {
			err = os.Chown(path, f.UID, f.GID)
		}
		if err == nil {
			err = unix.Chmod(path, f.Mode)
		}
		if err == nil {
			n[f.Path], err = unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		}
		if err != nil {
			return nil, fmt.Errorf("making %s: %w", f.Path, err)
		}
	}
	return n, unix.Unmount(filesDir, unix.MNT_DETACH)
}

// placeFile mounts a file, read-only. What it is mounted on may have been made by
// the host already.
func placeFile(tree int, path string) error {
	defer unix.Close(tree)
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			return err
		}
	}
	err := unix.MoveMount(tree, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH)
	if err == nil {
		err = unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	}
	if err != nil {
		return fmt.Errorf("placing %s: %w", path, err)
	}
	return nil
}

// makeReadonly makes a path read-only that may be absent.
func makeReadonly(path string) error {
	err := unix.Mount(path, path, "", unix.MS_BIND|unix.MS_REC, "")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = unix.Mount("", path, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	}
	if err != nil {
		return fmt.Errorf("making %s read-only: %w", path, err)
	}
	return nil
}

// mask covers a path that may be absent.
func mask(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.IsDir() {
		err = unix.Mount("tmpfs", path, "tmpfs", unix.MS_RDONLY, "size=0")
	} else {
		err = unix.Mount(os.DevNull, path, "", unix.MS_BIND, "")
	}
	if err != nil {
		return fmt.Errorf("covering %s: %w", path, err)
	}
	return nil
}

// setgroups sets the groups of this thread alone.
func setgroups(groups []uint32) error {
	var first unsafe.Pointer
	if len(groups) > 0 {
		first = unsafe.Pointer(&groups[0])
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(first), 0); errno != 0 {
		return errno
	}
	return nil
}
