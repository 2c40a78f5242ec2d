// SPDX-License-Identifier: Apache-2.0

package process

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

// mount arranges the file system of a step, in a mount namespace that is the
// init's own. Nothing of it is seen outside, and nothing has to be undone.
func (o order) mount() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	table, err := readMounts()
	if err != nil {
		return err
	}
	paths := slices.Concat(o.Hide, doors(os.Getuid()))
	for _, path := range paths[:len(paths):len(paths)] {
		paths = append(paths, table.aliases(path)...)
	}
	if err := hide(paths); err != nil {
		return err
	}
	if o.Spaces&unix.CLONE_NEWPID != 0 {
		const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
		if err := unix.Mount("proc", "/proc", "proc", flags, ""); err != nil {
			return fmt.Errorf("mounting /proc: %w", err)
		}
	}
	if os.Getuid() != 0 {
		return nil // permissions keep others from the rest
	}
	if err := freezeKernel(); err != nil {
		return err
	}
	return mountDev()
}

// doors are the sockets of programs that start other programs, or show files,
// to whoever may connect: outside of the step, where nothing is hidden.
func doors(uid int) []string {
	user := fmt.Sprintf("/run/user/%d/", uid)
	return []string{
		"/run/buildkit/buildkitd.sock",
		"/run/containerd/containerd.sock",
		"/run/crio/crio.sock",
		"/run/dbus/system_bus_socket",
		"/run/docker.sock",
		"/run/incus",
		"/run/libvirt",
		"/run/lxd.socket",
		"/run/podman/podman.sock",
		"/run/systemd/private",
		"/var/lib/incus/unix.socket",
		"/var/lib/lxd/unix.socket",
		"/var/snap/lxd/common/lxd/unix.socket",
		user + "bus",
		user + "docker.sock",
		user + "podman",
		user + "systemd",
	}
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

// freezeKernel makes what changes the kernel's behaviour read-only: through
// core_pattern, for one, the kernel starts a program outside of every namespace.
func freezeKernel() error {
	readOnly := &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY}
	for _, path := range []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", "/sys"} {
		err := unix.Mount(path, path, "", unix.MS_BIND|unix.MS_REC, "")
		if errors.Is(err, unix.ENOENT) {
			continue
		}
		if err == nil {
			err = unix.MountSetattr(unix.AT_FDCWD, path, unix.AT_RECURSIVE, readOnly)
		}
		if err != nil {
			return fmt.Errorf("making %s read-only: %w", path, err)
		}
	}
	return nil
}

// mountDev puts a /dev in place that has the devices a program may count on and
// some that builds use, and no disk: root reads keys off a disk.
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
	return finishDev()
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

func finishDev() error {
	for name, target := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
		"ptmx": "pts/ptmx",
	} {
		if err := os.Symlink(target, "/dev/"+name); err != nil {
			return err
		}
	}
	for _, m := range []struct{ path, kind, data string }{
		{"/dev/shm", "tmpfs", "mode=1777"},
		{"/dev/pts", "devpts", "newinstance,ptmxmode=0666,mode=0620"},
	} {
		if err := os.Mkdir(m.path, 0o755); err != nil {
			return err
		}
		if err := unix.Mount("attest-dev", m.path, m.kind, unix.MS_NOSUID|unix.MS_NOEXEC, m.data); err != nil {
			return fmt.Errorf("mounting %s: %w", m.path, err)
		}
	}
	return nil
}
