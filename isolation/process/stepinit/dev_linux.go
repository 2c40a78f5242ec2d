// SPDX-License-Identifier: Apache-2.0

package stepinit

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// prepare arranges what is the same for all steps, in a mount namespace that is
// the keeper's own and of which every init gets a copy.
func prepare(closed bool) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if os.Getuid() == 0 { // permissions keep others from this
		if err := freeze("/sys"); err != nil {
			return err
		}
		if err := mountDev(); err != nil {
			return err
		}
	}
	if !closed {
		return nil
	}
	if err := setReadOnly("/", unix.AT_RECURSIVE); err != nil {
		return fmt.Errorf("making everything read-only: %w", err)
	}
	// Processes write to what /proc has of themselves.
	if err := unix.MountSetattr(unix.AT_FDCWD, "/proc", 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}); err != nil {
		return fmt.Errorf("opening /proc to writing: %w", err)
	}
	return nil
}

// mountDev puts a /dev in place that has the devices a program may count on and
// some that builds use, and no disk: root reads keys off a disk. It is
// read-only, because steps have it in common.
func mountDev() error {
	patterns := []string{"null", "zero", "full", "random", "urandom", "tty", "kvm", "fuse", "net/tun", "dri", "kfd", "nvidia*"}
	var devices []device
	defer func() {
		for _, d := range devices {
			_ = unix.Close(d.fd)
		}
	}()
	for _, pattern := range patterns {
		paths, err := filepath.Glob("/dev/" + pattern)
		if err != nil {
			return err
		}
		for _, path := range paths {
			info, err := os.Stat(path)
			if err != nil {
				continue // gone meanwhile
			}
			fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
			if err != nil {
				continue
			}
			devices = append(devices, device{path, fd, info.IsDir()})
		}
	}
	if err := unix.Mount("attest-dev", "/dev", "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=0755,size=64k"); err != nil {
		return fmt.Errorf("mounting /dev: %w", err)
	}
	for _, d := range devices {
		if err := d.place(); err != nil {
			return fmt.Errorf("placing %s: %w", d.path, err)
		}
	}
	for name, target := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
		"ptmx": "pts/ptmx",
	} {
		if err := os.Symlink(target, "/dev/"+name); err != nil {
			return err
		}
	}
	for _, name := range []string{"/dev/shm", "/dev/pts"} {
		if err := os.Mkdir(name, 0o755); err != nil {
			return err
		}
	}
	if err := setReadOnly("/dev", 0); err != nil {
		return fmt.Errorf("making /dev read-only: %w", err)
	}
	return nil
}

// device is one that was there before, held while /dev is replaced.
type device struct {
	path   string
	fd     int
	folder bool
}

func (d device) place() error {
	if err := os.MkdirAll(filepath.Dir(d.path), 0o755); err != nil {
		return err
	}
	var err error
	if d.folder {
		err = os.Mkdir(d.path, 0o755)
	} else {
		err = os.WriteFile(d.path, nil, 0o644)
	}
	if err != nil {
		return err
	}
	return unix.Mount(fmt.Sprintf("/proc/self/fd/%d", d.fd), d.path, "", unix.MS_BIND, "")
}

// finishDev mounts what in /dev is a step's own. A user other than root has
// the machine's terminals, as far as permissions go.
func finishDev() error {
	for _, m := range []struct{ path, kind, data string }{
		{"/dev/shm", "tmpfs", "mode=1777"},
		{"/dev/pts", "devpts", "newinstance,ptmxmode=0666,mode=0620"},
	} {
		if _, err := os.Stat(m.path); os.Getuid() != 0 && (err != nil || m.kind == "devpts") {
			continue
		}
		if err := unix.Mount("attest-dev", m.path, m.kind, unix.MS_NOSUID|unix.MS_NOEXEC, m.data); err != nil {
			return fmt.Errorf("mounting %s: %w", m.path, err)
		}
	}
	return nil
}
