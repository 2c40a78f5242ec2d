// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	root        = "/root"
	connections = "/sys/fs/fuse/connections"
	// unmountWait is how long programs that have ended may keep the tree busy.
	unmountWait = 5 * time.Second
)

// mountTree mounts the shared tree. What the host has mounted in it becomes file
// systems of their own here, when they are first entered: they are entered now, so
// that they are not only the step's. The kernel (6.1) stumbles over one that goes
// with its last process while files of it are still being closed.
func (o Order) mountTree() error {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return err
	}
	if err := unix.Mount(RootTag, root, "virtiofs", unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("mounting the step's file system: %w", err)
	}
	if err := unix.Mount("fusectl", connections, "fusectl", unix.MS_NOSUID|unix.MS_NOEXEC|unix.MS_NODEV, ""); err != nil {
		return fmt.Errorf("mounting what is known of the step's file system: %w", err)
	}
	for _, p := range o.Shared {
		fd, err := unix.Open(root+p, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if errors.Is(err, unix.ENOTDIR) {
			continue // only folders are
		}
		if err != nil {
			return fmt.Errorf("entering %s: %w", p, err)
		}
		_ = unix.Close(fd)
	}
	return nil
}

// unmountTree has the kernel write back all that it holds of the shared tree, once
// the host has answered what it was asked last: files are closed a moment after
// the processes that had them.
func unmountTree() error {
	end := time.Now().Add(unmountWait)
	for waiting() && time.Now().Before(end) {
		time.Sleep(time.Millisecond)
	}
	paths, err := mountedBelow(root)
	if err != nil {
		return err
	}
	for _, p := range paths {
		for {
			if err = unix.Unmount(p, 0); !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		if err != nil {
			return fmt.Errorf("unmounting the step's file system: %w", &os.PathError{Op: "unmount", Path: p, Err: err})
		}
	}
	return nil
}

// waiting reports whether the host has yet to answer (fuse.rst in Linux).
func waiting() bool {
	files, _ := filepath.Glob(connections + "/*/waiting")
	return slices.ContainsFunc(files, func(name string) bool {
		text, err := os.ReadFile(name)
		return err == nil && strings.TrimSpace(string(text)) != "0"
	})
}

// mountedBelow returns the mounts at and below a folder, those below others first
// (proc_pid_mountinfo(5)).
func mountedBelow(dir string) ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var paths []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		const place = 4
		fields := strings.Fields(lines.Text())
		if len(fields) <= place {
			continue
		}
		if p := unescape.Replace(fields[place]); p == dir || strings.HasPrefix(p, dir+"/") {
			paths = append(paths, p)
		}
	}
	// A later one may lie on an earlier one.
	slices.Reverse(paths)
	return paths, lines.Err()
}
