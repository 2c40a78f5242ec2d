// SPDX-License-Identifier: Apache-2.0

package stepinit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// MostBeside is how many files and folders may stand in a folder that a step's
// file is put into, where that folder is not the step's own.
const MostBeside = 128

// placeFiles mounts the step's files where they are to be. They lie in a file
// system in memory that is never swapped out, which nothing has but the mounts
// of this step: it goes with them.
func (o *Order) placeFiles() error {
	if len(o.Files) == 0 {
		return nil
	}
	if o.View.Dir == "" {
		return errors.New("files cannot be given to a step that has no view of its own")
	}
	trees, err := filesInMemory(o.Files)
	defer func() {
		for _, fd := range trees {
			_ = unix.Close(fd)
		}
	}()
	if err != nil {
		return err
	}
	for i, f := range o.Files {
		beside, err := o.placeFile(f.Path, trees[i])
		if err != nil {
			return fmt.Errorf("mounting a file at %s: %w", f.Path, err)
		}
		if len(o.Watch) > 0 {
			o.Watch = append(o.Watch, beside...)
		}
	}
	return nil
}

// filesInMemory makes the files and returns a mount of each that stands nowhere
// yet.
func filesInMemory(files []File) (trees []int, err error) {
	// Under this name nobody sees them: it is taken away before the step begins.
	const at = "/tmp"
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	err = unix.Mount("attest-files", at, "ramfs", flags, "mode=0700")
	if errors.Is(err, unix.ENODEV) { // a kernel without it
		err = unix.Mount("attest-files", at, "tmpfs", flags, "mode=0700")
	}
	if err != nil {
		return nil, fmt.Errorf("making a file system in memory: %w", err)
	}
	defer func() { err = errors.Join(err, unix.Unmount(at, unix.MNT_DETACH)) }()
	for i, f := range files {
		name := fmt.Sprintf("%s/%d", at, i)
		var mode fs.FileMode = 0o400
		if f.Public {
			mode = 0o444
		}
		if err := os.WriteFile(name, f.Content, mode); err != nil {
			return trees, fmt.Errorf("writing a file in memory: %w", err)
		}
		tree, err := unix.OpenTree(unix.AT_FDCWD, name, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
		if err != nil {
			return trees, fmt.Errorf("making a mount of a file in memory: %w", err)
		}
		trees = append(trees, tree)
		if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}); err != nil {
			return trees, fmt.Errorf("making a file in memory read-only: %w", err)
		}
	}
	return trees, nil
}

// placeFile puts a mount of a file at a path. Where nothing stands there, it
// makes a place for it in the step's own folders, or in one that looks like the
// machine's; beside are the folders in that, which are mounts then.
func (o *Order) placeFile(path string, tree int) (beside []string, err error) {
	parent := ""
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if !o.View.own(path) || o.hides(path) {
			parent = nearest(path)
			if beside, err = standIn(parent); err != nil {
				return nil, err
			}
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return nil, err
		}
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return nil, &fs.PathError{Op: "mount", Path: path, Err: err}
	}
	if parent == "" {
		return nil, nil
	}
	return beside, setReadOnly(parent, 0)
}

// hides reports whether a path lies in a folder that is hidden, in whose place
// nothing can be made.
func (o *Order) hides(path string) bool {
	return slices.ContainsFunc(o.Hide, func(dir string) bool { return strings.HasPrefix(path, dir+"/") })
}

// own reports whether what is made at a path goes away with the step.
func (v View) own(path string) bool {
	for _, dir := range []string{"/tmp", "/var/tmp", v.Home} {
		if dir != "" && strings.HasPrefix(path, dir+"/") {
			return true
		}
	}
	return false
}

// nearest returns the folder at or above a path that is there.
func nearest(path string) string {
	for path = filepath.Dir(path); path != "/"; path = filepath.Dir(path) {
		if _, err := os.Stat(path); err == nil {
			break
		}
	}
	return path
}

// standIn puts a folder in memory in the place of one, with all that stands in
// that one, each as a mount: overlays show no sockets. It returns the folders.
func standIn(dir string) (folders []string, err error) {
	if dir == "/" {
		return nil, errors.New("nothing can be put into /")
	}
	var info unix.Stat_t
	if err := unix.Stat(dir, &info); err != nil {
		return nil, &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	items, err := openAll(dir)
	defer func() {
		for _, item := range items {
			_ = unix.Close(item.fd)
		}
	}()
	if err != nil {
		return nil, err
	}
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("attest-files", dir, "tmpfs", flags, fmt.Sprintf("mode=%o,size=1m", info.Mode&0o7777)); err != nil {
		return nil, &fs.PathError{Op: "mount", Path: dir, Err: err}
	}
	_ = os.Chown(dir, int(info.Uid), int(info.Gid)) // as far as this user may
	for _, item := range items {
		if err := item.place(); err != nil {
			return nil, err
		}
		if item.mode.IsDir() {
			folders = append(folders, item.path)
		}
	}
	return folders, nil
}

// openItem is something in a folder, held while the folder is replaced.
type openItem struct {
	path   string
	mode   fs.FileMode
	target string // of a link
	fd     int
}

func openAll(dir string) ([]openItem, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(entries) > MostBeside {
		return nil, fmt.Errorf("more than %d files stand in %s", MostBeside, dir)
	}
	var items []openItem
	for _, e := range entries {
		item := openItem{path: filepath.Join(dir, e.Name()), mode: e.Type()}
		if item.fd, err = unix.Open(item.path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0); err != nil {
			if errors.Is(err, unix.ENOENT) {
				continue // gone meanwhile
			}
			return items, &fs.PathError{Op: "open", Path: item.path, Err: err}
		}
		items = append(items, item)
		if item.mode&fs.ModeSymlink != 0 {
			if items[len(items)-1].target, err = os.Readlink(item.path); err != nil {
				return items, err
			}
		}
	}
	return items, nil
}

func (i openItem) place() error {
	if i.mode&fs.ModeSymlink != 0 {
		return os.Symlink(i.target, i.path)
	}
	var err error
	if i.mode.IsDir() {
		err = os.Mkdir(i.path, 0o755)
	} else {
		err = os.WriteFile(i.path, nil, 0o600)
	}
	if err != nil {
		return err
	}
	if err := bind(fdPath(i.fd), i.path, asIs); err != nil {
		return &fs.PathError{Op: "mount", Path: i.path, Err: err}
	}
	if i.mode.IsDir() {
		return nil
	}
	// Nobody watches it for being executed.
	return unix.MountSetattr(unix.AT_FDCWD, i.path, 0, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_NOEXEC})
}
