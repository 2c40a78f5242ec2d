// SPDX-License-Identifier: Apache-2.0

package stepinit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/dirorder"
)

// A view is put together from what the machine has. Everything that goes into
// it is opened first, since each mount may cover what another one needs, and is
// named by its descriptor from then on: no mount option holds a path that would
// have to be escaped.

// mount puts the view in place, in a mount namespace that is the init's own, and
// returns what is in force.
func (v View) mount() (controls []string, err error) {
	o := opened{}
	defer o.close()
	// The keeper closed all that the machine has to writing.
	if err := bind(v.Dir, v.Dir, writable); err != nil {
		return nil, fmt.Errorf("opening %s to writing: %w", v.Dir, err)
	}
	if err := o.open(v); err != nil {
		return nil, err
	}
	layers, err := v.homeLayers(o)
	if err != nil {
		return nil, fmt.Errorf("preparing a home: %w", err)
	}
	defer layers.close()
	o.order = v.arrange(o)
	if err := v.mountTmp(o); err != nil {
		return nil, err
	}
	controls = []string{ControlHostLocked, ControlProject, ControlTmpPrivate}
	if o.home >= 0 {
		// Where no overlay of it is to be had, it is read-only like the rest.
		if err := v.mountHome(o, layers); err == nil {
			controls = append(controls, ControlHomePrivate)
		} else if v.HomeEmpty {
			return nil, fmt.Errorf("mounting %s: %w", v.Home, err)
		}
	}
	for i, path := range v.Writable {
		if o.writable[i] < 0 {
			continue
		}
		if err := makeFolder(path); err != nil {
			return nil, err
		}
		// It may lie on a file system that is read-only for this user.
		if err := bind(fdPath(o.writable[i]), path, writable); err != nil && !errors.Is(err, unix.EPERM) {
			return nil, fmt.Errorf("opening %s to writing: %w", path, err)
		}
	}
	did, err := v.mountProject(o)
	return append(controls, did...), err
}

// opened are the parts of a view; -1 where there is none.
type opened struct {
	project, upper, work, tmp, home int
	order                           int // 0 for none
	writable                        []int
}

func (o *opened) open(v View) error {
	for _, part := range []struct {
		fd     *int
		path   string
		needed bool
	}{
		{&o.project, v.Project, true}, {&o.upper, v.Dir + "/" + Upper, true}, {&o.work, v.Dir + "/" + Work, true},
		{&o.tmp, v.Dir + "/" + Tmp, true}, {&o.home, v.Home, false},
	} {
		*part.fd = -1
		if part.path == "" {
			continue
		}
		fd, err := openFolder(part.path)
		if err != nil && part.needed {
			return fmt.Errorf("opening %s: %w", part.path, err)
		}
		*part.fd = fd
	}
	for _, path := range v.Writable {
		fd, _ := openFolder(path) // -1 where it is not there
		o.writable = append(o.writable, fd)
	}
	return nil
}

func openFolder(path string) (int, error) {
	return unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

func (o *opened) close() {
	for _, fd := range append(o.writable, o.project, o.upper, o.work, o.tmp, o.home, o.order) {
		if fd > 2 {
			_ = unix.Close(fd)
		}
	}
}

func fdPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// access says how a mount is to be accessed.
type access uint64

const (
	asIs     access = 0
	writable access = unix.MOUNT_ATTR_RDONLY // to be cleared
)

// bind mounts at a path what stands at another, with what is mounted below it.
func bind(from, to string, how access) error {
	if err := unix.Mount(from, to, "", unix.MS_BIND|unix.MS_REC, ""); err != nil || how == asIs {
		return err
	}
	return unix.MountSetattr(unix.AT_FDCWD, to, 0, &unix.MountAttr{Attr_clr: uint64(how)})
}

// mountTmp gives the step temporary files of its own.
func (v View) mountTmp(o opened) error {
	for _, path := range []string{"/tmp", "/var/tmp"} {
		// Either may be a link to the other, or not there.
		if info, err := os.Lstat(path); err != nil || !info.IsDir() {
			continue
		}
		if err := bind(fdPath(o.tmp), path, asIs); err != nil {
			return fmt.Errorf("mounting %s: %w", path, err)
		}
	}
	return nil
}

// layers are the two folders of an overlay that are written to.
type layers struct{ upper, work int }

func (l layers) close() {
	for _, fd := range []int{l.upper, l.work} {
		if fd > 2 {
			_ = unix.Close(fd)
		}
	}
}

// homeFlags are those of what is mounted for a home.
const homeFlags = unix.MS_NOSUID | unix.MS_NODEV

// homeLayers makes folders in memory for what the step writes to its home.
func (v View) homeLayers(o opened) (l layers, err error) {
	if o.home < 0 || v.HomeEmpty {
		return layers{}, nil
	}
	var info unix.Stat_t
	if err := unix.Fstat(o.home, &info); err != nil {
		return layers{}, err
	}
	// Nobody sees this one: it covers a folder that is going to be hidden.
	if err := unix.Mount("attest-home", v.Dir, "tmpfs", homeFlags, "mode=0700"); err != nil {
		return layers{}, err
	}
	upper, work := v.Dir+"/"+Upper, v.Dir+"/"+Work
	for _, dir := range []string{upper, work} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return layers{}, err
		}
	}
	// Where this user may not give files away, the folder is this user's.
	_ = os.Chown(upper, int(info.Uid), int(info.Gid))
	if err := unix.Chmod(upper, info.Mode&0o7777); err != nil {
		return layers{}, err
	}
	if l.upper, err = openFolder(upper); err == nil {
		l.work, err = openFolder(work)
	}
	return l, err
}

// mountHome lets the step write to its home, to no effect.
func (v View) mountHome(o opened, l layers) error {
	if err := makeFolder(v.Home); err != nil {
		return err
	}
	if v.HomeEmpty {
		return unix.Mount("attest-home", v.Home, "tmpfs", homeFlags, "mode=0755")
	}
	return overlay(v.Home, fdPath(o.home), fdPath(l.upper), fdPath(l.work))
}

// mountProject puts the overlay in the project's place, and the project where it
// is to be found besides. It returns what of a world it saw to.
func (v View) mountProject(o opened) (did []string, err error) {
	if err := makeFolder(v.Project); err != nil {
		return nil, err
	}
	upper, work := fdPath(o.upper), fdPath(o.work)
	// A world that is not to be had is no reason not to run.
	if o.order > 0 && overlay(v.Project, fdPath(o.project)+":"+fdPath(o.order), upper, work) == nil {
		did = append(did, DidOrder)
	} else if err := overlay(v.Project, fdPath(o.project), upper, work); err != nil {
		return nil, fmt.Errorf("mounting an overlay of %s: %w", v.Project, err)
	}
	if v.Alias != "" && makeFolder(v.Alias) == nil && bind(v.Project, v.Alias, asIs) == nil {
		did = append(did, DidAlias)
	}
	return did, nil
}

// arrange makes a folder in memory with the names of all that is in the project,
// in the order that is asked for, and returns it opened; 0 where it cannot.
func (v View) arrange(o opened) int {
	how := dirorder.Sorted
	switch v.Order {
	case "":
		return 0
	case OrderReversed:
		how = dirorder.Reversed
	}
	// Nobody sees it: see homeLayers.
	if unix.Mount("attest-order", v.Dir, "tmpfs", homeFlags, "mode=0755") != nil {
		return 0
	}
	arranged, err := dirorder.Skeleton(v.Dir, []string{fdPath(o.upper), fdPath(o.project)}, how, ".attest", ".git")
	if err != nil || !arranged {
		return 0
	}
	fd, err := openFolder(v.Dir)
	if err != nil {
		return 0
	}
	return fd
}

// overlay mounts an overlay of which nothing has to reach the disk.
func overlay(at, lower, upper, work string) error {
	data := "lowerdir=" + lower + ",upperdir=" + upper + ",workdir=" + work + ",userxattr,volatile"
	return unix.Mount("attest", at, "overlay", unix.MS_NOSUID|unix.MS_NODEV, data)
}

// makeFolder makes a place for a mount where another mount took it away.
func makeFolder(path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.Mkdir(path, 0o755)
}
