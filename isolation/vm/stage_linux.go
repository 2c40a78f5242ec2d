// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// stage is the root folder that qemu gets: programs and libraries, read-only,
// the kernel, and the initial RAM disk. Nothing else of the host is in it.
type stage struct {
	dir     string
	parts   Parts
	version string // of qemu, "7.2.22"
	devices bool   // the kernel can have programs stand for devices
	mounts  []string
}

// Where things are on the stage.
const (
	stageKernel = "/boot/kernel"
	stageInitrd = "/boot/initrd"
	kvmDevice   = "/dev/kvm"
)

// newStage makes a stage in dir, which must not exist. The mounts are private
// to this process's mount namespace only if that is its own; see buildkitd.
func newStage(dir string, parts Parts) (s *stage, err error) {
	s = &stage{dir: dir, parts: parts}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if err := os.MkdirAll(s.path("boot"), 0o755); err != nil {
		return s, err
	}
	if s.version, err = qemuVersion(parts.QEMU); err != nil {
		return s, err
	}
	if err := s.writeInitrd(); err != nil {
		return s, err
	}
	if err := s.bindFile(parts.Kernel.Path, stageKernel); err != nil {
		return s, err
	}
	// Whoever may use KVM may use it here; the group is handed on, see qemu.
	if _, err := os.Stat(kvmDevice); err == nil {
		if err := s.bindFile(kvmDevice, kvmDevice); err != nil {
			return s, err
		}
	}
	return s, s.placePrograms()
}

// qemuVersion asks qemu.
func qemuVersion(path string) (string, error) {
	cmd := exec.Command(path, "--version")
	cmd.Env = []string{}
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("asking %s for its version: %w", path, err)
	}
	_, rest, _ := strings.Cut(string(out), "version ")
	version, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	return strings.TrimSpace(version), nil
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

func (s *stage) writeInitrd() error {
	shelf, err := openShelf(s.parts.Kernel)
	if err != nil {
		return err
	}
	names := slices.Concat(needed(), network())
	if s.devices = shelf.has(cuse); s.devices {
		names = append(names, cuse)
	}
	modules, err := shelf.take(names)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(s.path(stageInitrd), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	return errors.Join(writeInitrd(f, s.parts.Guest, modules), f.Close())
}

// placePrograms shows qemu the folder that it was installed in, such as /usr,
// and the libraries that may lie outside of it.
func (s *stage) placePrograms() error {
	program, err := filepath.EvalSymlinks(s.parts.QEMU)
	if err != nil {
		return err
	}
	s.parts.QEMU = program
	first, _, ok := strings.Cut(strings.TrimPrefix(program, "/"), "/")
	if !ok {
		return fmt.Errorf("finding what belongs to %s: it lies in no folder", program)
	}
	for _, name := range []string{first, "lib", "lib64"} {
		info, err := os.Lstat("/" + name)
		if errors.Is(err, os.ErrNotExist) || slices.Contains(s.mounts, s.path(name)) {
			continue
		}
		if err != nil {
			return err
		}
		if info.Mode()&os.ModeSymlink != 0 {
			target, err := os.Readlink("/" + name)
			if err == nil {
				err = os.Symlink(target, s.path(name))
			}
			if err != nil {
				return err
			}
			continue
		}
		if err := os.MkdirAll(s.path(name), 0o755); err != nil {
			return err
		}
		if err := s.bind("/"+name, name); err != nil {
			return err
		}
	}
	return nil
}

// nameServers is where qemu reads which servers [guest.NameServer] stands for.
const nameServers = "/etc/resolv.conf"

// showNameServers gives qemu this host's name servers, as they are now. It is not a
// mount: what manages the file puts another in its place.
func (s *stage) showNameServers() error {
	text, err := os.ReadFile(nameServers)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the name servers: %w", err)
	}
	target := s.path(nameServers)
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(target), "new-")
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), target)
}

func (s *stage) bindFile(source, name string) error {
	if err := os.MkdirAll(filepath.Dir(s.path(name)), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(s.path(name), nil, 0o644); err != nil {
		return err
	}
	return s.bind(source, name)
}

// bind shows source read-only, without what is mounted below it.
func (s *stage) bind(source, name string) error {
	target := s.path(name)
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("showing %s to qemu: %w", source, err)
	}
	s.mounts = append(s.mounts, target)
	flags := uintptr(unix.MS_REMOUNT | unix.MS_BIND | unix.MS_RDONLY | unix.MS_NOSUID)
	if source != kvmDevice {
		flags |= unix.MS_NODEV
	}
	if err := unix.Mount("", target, "", flags, ""); err != nil {
		return fmt.Errorf("showing %s to qemu read-only: %w", source, err)
	}
	return nil
}

// close undoes the mounts and removes the folder.
func (s *stage) close() error {
	for _, target := range slices.Backward(s.mounts) {
		if err := unix.Unmount(target, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmounting %s: %w", target, err)
		}
	}
	return os.RemoveAll(s.dir)
}
