// SPDX-License-Identifier: Apache-2.0

package stepinit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mount finishes the file system of a step, in a mount namespace that is the
// init's own. Nothing of it is seen outside, and nothing has to be undone.
func (o *Order) mount() (controls []string, err error) {
	if o.View.Dir != "" {
		if controls, err = o.View.mount(); err != nil {
			return nil, err
		}
	}
	if err := hide(o.Hide); err != nil {
		return nil, err
	}
	if o.Spaces&unix.CLONE_NEWPID != 0 {
		const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
		if err := unix.Mount("proc", "/proc", "proc", flags, ""); err != nil {
			return nil, fmt.Errorf("mounting /proc: %w", err)
		}
		if o.World.LastPID != 0 { // before the kernel's settings are closed
			o.openLastPID()
		}
	}
	if os.Getuid() == 0 { // permissions keep others from this
		// Through core_pattern, for one, the kernel starts a program outside of
		// every namespace.
		if err := freeze("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"); err != nil {
			return nil, err
		}
	} else if o.View.Dir == "" {
		return controls, nil
	}
	return controls, finishDev()
}

// openLastPID opens what the numbers of processes begin after, where this may be
// written to.
func (o *Order) openLastPID() {
	fd, err := unix.Open("/proc/sys/kernel/ns_last_pid", unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	if o.lastPID = fd; o.setLastPID() != nil {
		_ = unix.Close(fd)
		o.lastPID = 0
	}
}

func (o *Order) setLastPID() error {
	_, err := unix.Write(o.lastPID, []byte(strconv.FormatUint(o.World.LastPID, 10)))
	return err
}

// hide puts an empty folder over each folder, and over everything else
// /dev/null, which takes no connection. Paths that are not there are left out.
func hide(paths []string) error {
	slices.Sort(paths)
	var covered string
	for _, path := range slices.Compact(paths) {
		if covered != "" && strings.HasPrefix(path, covered+"/") {
			continue // went with the folder above it
		}
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, fs.ErrPermission) {
			continue
		}
		switch {
		case err != nil:
		case info.IsDir():
			covered = path
			const flags = unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
			err = unix.Mount("attest-hidden", path, "tmpfs", flags, "mode=0555,size=4k")
		default:
			err = unix.Mount("/dev/null", path, "", unix.MS_BIND, "")
		}
		if err != nil {
			return fmt.Errorf("hiding %s: %w", path, err)
		}
	}
	return nil
}

// freeze makes folders read-only, with all that is mounted below them.
func freeze(paths ...string) error {
	for _, path := range paths {
		err := unix.Mount(path, path, "", unix.MS_BIND|unix.MS_REC, "")
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err == nil {
			err = setReadOnly(path, unix.AT_RECURSIVE)
		}
		if err != nil {
			return fmt.Errorf("making %s read-only: %w", path, err)
		}
	}
	return nil
}

func setReadOnly(path string, flags uint) error {
	return unix.MountSetattr(unix.AT_FDCWD, path, flags, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY})
}
