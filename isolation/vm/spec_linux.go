// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/containerd/containerd/v2/pkg/cap"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/attest-pipeline/attest/isolation/vm/guest"
)

// order translates what an OCI runtime would be told into what the guest is
// told. hostMounts is the rest: mounts that need this host's files. A file that lies
// in this host's memory, such as a secret, is part of the order: it reaches the
// machine without ever lying in the shared tree.
func order(spec *specs.Spec, settings Settings) (o guest.Order, hostMounts []specs.Mount, err error) {
	p := spec.Process
	if p == nil || spec.Root == nil {
		return o, nil, errors.New("describing the machine: there is no process or no root")
	}
	o = guest.Order{
		Args: p.Args, Env: p.Env, Dir: p.Cwd, Hostname: spec.Hostname,
		Memory: settings.Memory, PIDs: settings.PIDs,
	}
	if o.Rights, err = rights(p, settings); err != nil {
		return o, nil, err
	}
	if spec.Linux != nil {
		o.Masked, o.ReadonlyPaths = spec.Linux.MaskedPaths, spec.Linux.ReadonlyPaths
	}
	files, mounts, err := takeFiles(spec.Mounts)
	if err != nil {
		return o, nil, err
	}
	o.Files = files
	o.Mounts, hostMounts, err = splitMounts(mounts)
	return o, hostMounts, err
}

// maxFile is more than a secret or a bundle of certificates is long.
const maxFile = 16 << 20

// takeFiles reads the read-only files among the mounts that lie in memory on this
// host, and returns the other mounts.
func takeFiles(all []specs.Mount) (files []guest.File, rest []specs.Mount, err error) {
	for _, m := range all {
		var in unix.Statfs_t
		if m.Type != "bind" || !slices.Contains(m.Options, "ro") || unix.Statfs(m.Source, &in) != nil ||
			in.Type != unix.TMPFS_MAGIC && in.Type != unix.RAMFS_MAGIC {
			rest = append(rest, m)
			continue
		}
		info, err := os.Stat(m.Source)
		if err != nil {
			return nil, nil, err
		}
		if !info.Mode().IsRegular() {
			rest = append(rest, m)
			continue
		}
		f := guest.File{Path: path.Clean("/" + m.Destination), Mode: uint32(info.Mode().Perm())}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok {
			f.UID, f.GID = int(stat.Uid), int(stat.Gid)
		}
		if info.Size() > maxFile {
			return nil, nil, fmt.Errorf("handing over %s: it is longer than %d bytes", f.Path, maxFile)
		}
		if f.Content, err = os.ReadFile(m.Source); err != nil {
			return nil, nil, err
		}
		files = append(files, f)
	}
	return files, rest, nil
}

// splitMounts tells mounts of the guest's own from those of this host's files.
func splitMounts(all []specs.Mount) (inside []guest.Mount, outside []specs.Mount, err error) {
	for _, m := range all {
		target := path.Clean("/" + m.Destination)
		switch m.Type {
		case "proc", "sysfs", "tmpfs", "devpts", "mqueue":
			one := guest.Mount{Type: m.Type, Source: m.Source, Target: target}
			if one.Flags, one.Data, err = mountOptions(m.Options); err != nil {
				return nil, nil, fmt.Errorf("mounting %s at %s: %w", m.Type, target, err)
			}
			if m.Type != "devpts" { // terminals are the devices that a step makes
				one.Flags |= unix.MS_NODEV
			}
			inside = append(inside, one)
		case "cgroup": // the machine's processors and memory are the limits
		default:
			for _, above := range inside {
				if target == above.Target || strings.HasPrefix(target, above.Target+"/") {
					return nil, nil, fmt.Errorf("mounting %s: it would lie in %s, which is a file system of the machine's own", target, above.Target)
				}
			}
			outside = append(outside, m)
		}
	}
	return inside, outside, nil
}

// mountOptions turns the options of an OCI mount into those of the system call.
func mountOptions(options []string) (flags uintptr, data string, err error) {
	known := map[string]uintptr{
		"ro": unix.MS_RDONLY, "nosuid": unix.MS_NOSUID, "nodev": unix.MS_NODEV, "noexec": unix.MS_NOEXEC,
		"noatime": unix.MS_NOATIME, "nodiratime": unix.MS_NODIRATIME, "relatime": unix.MS_RELATIME,
		"strictatime": unix.MS_STRICTATIME, "rw": 0, "suid": 0, "dev": 0, "exec": 0, "defaults": 0, "private": 0, "rprivate": 0,
	}
	var rest []string
	for _, o := range options {
		if flag, ok := known[o]; ok {
			flags |= flag
			continue
		}
		if strings.ContainsAny(o, ",\x00") {
			return 0, "", fmt.Errorf("option %q is not understood", o)
		}
		rest = append(rest, o)
	}
	return flags, strings.Join(rest, ","), nil
}

// rights are whose the process is, and what it may.
func rights(p *specs.Process, settings Settings) (r guest.Rights, err error) {
	r = guest.Rights{UID: int(p.User.UID), GID: int(p.User.GID), Umask: 0o022, NoNewPrivileges: p.NoNewPrivileges}
	if p.User.Umask != nil {
		r.Umask = int(*p.User.Umask)
	}
	for _, g := range p.User.AdditionalGids {
		r.Groups = append(r.Groups, int(g))
	}
	if err := setCapabilities(&r, p.Capabilities); err != nil {
		return r, err
	}
	if r.Rlimits, err = rlimits(p.Rlimits); err != nil {
		return r, err
	}
	if settings.FileSize > 0 {
		size := uint64(settings.FileSize)
		r.Rlimits = append(r.Rlimits, guest.Rlimit{Kind: unix.RLIMIT_FSIZE, Soft: size, Hard: size})
	}
	return r, nil
}

// setCapabilities fills in the sets; without any the process has none.
func setCapabilities(r *guest.Rights, sets *specs.LinuxCapabilities) error {
	if sets == nil {
		return nil
	}
	known := cap.Known()
	for _, set := range []struct {
		names []string
		bits  *uint64
	}{
		{sets.Bounding, &r.Bounding},
		{sets.Effective, &r.Effective},
		{sets.Permitted, &r.Permitted},
		{sets.Inheritable, &r.Inheritable},
		{sets.Ambient, &r.Ambient},
	} {
		for _, name := range set.names {
			number := slices.Index(known, name)
			if number < 0 {
				return fmt.Errorf("describing the machine: unknown capability %q", name)
			}
			*set.bits |= 1 << number
		}
	}
	return nil
}

func rlimits(limits []specs.POSIXRlimit) ([]guest.Rlimit, error) {
	kinds := map[string]int{
		"RLIMIT_AS": unix.RLIMIT_AS, "RLIMIT_CORE": unix.RLIMIT_CORE, "RLIMIT_CPU": unix.RLIMIT_CPU,
		"RLIMIT_DATA": unix.RLIMIT_DATA, "RLIMIT_FSIZE": unix.RLIMIT_FSIZE, "RLIMIT_LOCKS": unix.RLIMIT_LOCKS,
		"RLIMIT_MEMLOCK": unix.RLIMIT_MEMLOCK, "RLIMIT_MSGQUEUE": unix.RLIMIT_MSGQUEUE, "RLIMIT_NICE": unix.RLIMIT_NICE,
		"RLIMIT_NOFILE": unix.RLIMIT_NOFILE, "RLIMIT_NPROC": unix.RLIMIT_NPROC, "RLIMIT_RSS": unix.RLIMIT_RSS,
		"RLIMIT_RTPRIO": unix.RLIMIT_RTPRIO, "RLIMIT_RTTIME": unix.RLIMIT_RTTIME,
		"RLIMIT_SIGPENDING": unix.RLIMIT_SIGPENDING, "RLIMIT_STACK": unix.RLIMIT_STACK,
	}
	var list []guest.Rlimit
	for _, l := range limits {
		kind, ok := kinds[l.Type]
		if !ok {
			return nil, fmt.Errorf("describing the machine: unknown limit %q, not one of %q", l.Type, slices.Sorted(maps.Keys(kinds)))
		}
		list = append(list, guest.Rlimit{Kind: kind, Soft: l.Soft, Hard: l.Hard})
	}
	return list, nil
}
