// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/buildkit/executor"
	"github.com/moby/buildkit/solver/pb"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// hostname is every step's, whatever this host is called.
const hostname = "attest"

// limit is a resource limit under its two names.
type limit struct {
	kind       int
	name       string
	soft, hard uint64
}

// limits are every step's resource limits, so that those of the shell in which
// the engine was started do not reach it. They are what systemd gives. Two that the
// kernel makes of a machine's memory stay as they are: how many processes a user may
// have, and signals that wait.
func limits() []limit {
	const none = unix.RLIM_INFINITY
	return []limit{
		{unix.RLIMIT_AS, "RLIMIT_AS", none, none},
		{unix.RLIMIT_CORE, "RLIMIT_CORE", 0, 0},
		{unix.RLIMIT_CPU, "RLIMIT_CPU", none, none},
		{unix.RLIMIT_DATA, "RLIMIT_DATA", none, none},
		{unix.RLIMIT_FSIZE, "RLIMIT_FSIZE", none, none},
		{unix.RLIMIT_LOCKS, "RLIMIT_LOCKS", none, none},
		{unix.RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK", 8 << 20, 8 << 20},
		{unix.RLIMIT_MSGQUEUE, "RLIMIT_MSGQUEUE", 800 << 10, 800 << 10},
		{unix.RLIMIT_NICE, "RLIMIT_NICE", 0, 0},
		{unix.RLIMIT_NOFILE, "RLIMIT_NOFILE", 1 << 10, 1 << 19},
		{unix.RLIMIT_RSS, "RLIMIT_RSS", none, none},
		{unix.RLIMIT_RTPRIO, "RLIMIT_RTPRIO", 0, 0},
		{unix.RLIMIT_RTTIME, "RLIMIT_RTTIME", none, none},
		{unix.RLIMIT_STACK, "RLIMIT_STACK", 8 << 20, none},
	}
}

// raiseLimits lets this process go as far as its steps may, for the runtime
// cannot give more than it has, and a shell's limits would be those of all later
// work of the engine. Where the host does not allow it, steps get what there is.
func raiseLimits() {
	for _, l := range limits() {
		var now unix.Rlimit
		if unix.Getrlimit(l.kind, &now) != nil {
			continue
		}
		soft := max(now.Cur, l.soft)
		if unix.Setrlimit(l.kind, &unix.Rlimit{Cur: soft, Max: max(now.Max, l.hard)}) != nil {
			_ = unix.Setrlimit(l.kind, &unix.Rlimit{Cur: min(soft, now.Max), Max: now.Max})
		}
	}
}

// stepLimits are the limits as the runtime is told: those that the step asks
// for, and the others that every step has. "nproc" is none of them, see
// [bounds.apply].
func stepLimits(asked []*pb.Ulimit) []specs.POSIXRlimit {
	var list []specs.POSIXRlimit
	named := map[string]bool{}
	for _, a := range asked {
		if a.Name == "nproc" {
			continue
		}
		name := "RLIMIT_" + strings.ToUpper(a.Name)
		named[name] = true
		list = append(list, specs.POSIXRlimit{Type: name, Soft: uint64(a.Soft), Hard: uint64(a.Hard)})
	}
	for _, l := range limits() {
		var now unix.Rlimit
		if !named[l.name] && unix.Getrlimit(l.kind, &now) == nil {
			hard := min(l.hard, now.Max)
			list = append(list, specs.POSIXRlimit{Type: l.name, Soft: min(l.soft, hard), Hard: hard})
		}
	}
	return list
}

// networkFiles are what a container's /etc has about networks, by path.
type networkFiles struct{ hosts, resolvConf string }

// writeNetworkFiles writes them into the bundle. A step without a network
// learns nothing of this host's name servers.
func writeNetworkFiles(bundle string, meta executor.Meta) (networkFiles, error) {
	files := networkFiles{hosts: filepath.Join(bundle, "hosts"), resolvConf: filepath.Join(bundle, "resolv.conf")}
	var hosts strings.Builder
	fmt.Fprintf(&hosts, "127.0.0.1\tlocalhost %s\n::1\tlocalhost ip6-localhost ip6-loopback\n", meta.Hostname)
	for _, h := range meta.ExtraHosts {
		fmt.Fprintf(&hosts, "%s\t%s\n", h.IP, h.Host)
	}
	var servers []byte
	if meta.NetMode != pb.NetMode_NONE && meta.Proxy == nil {
		var err error
		// The step is in the network of this host, so what this host asks will
		// answer the step as well.
		servers, err = os.ReadFile("/etc/resolv.conf")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return files, fmt.Errorf("reading the name servers: %w", err)
		}
	}
	err := errors.Join(
		os.WriteFile(files.hosts, []byte(hosts.String()), 0o644),
		os.WriteFile(files.resolvConf, servers, 0o644))
	return files, err
}

// capabilities are what root in a container may do beyond what everybody may,
// the least with which builds run that were tried: unpacking archives with
// their owners, installing, package managers, tests that give up root and end
// what they started as another user. Not among them, of what Docker grants: raw
// packets, ports below 1024, devices, file capabilities, chroot, the audit log.
func capabilities() []string {
	return []string{
		"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID",
		"CAP_KILL", "CAP_SETGID", "CAP_SETUID",
	}
}

// harden takes from a container what builds do not need, what would tell it
// about this host, and what costs time and serves nobody.
func harden(spec *specs.Spec) {
	spec.Process.NoNewPrivileges = true
	spec.Linux.MaskedPaths = append(spec.Linux.MaskedPaths, ofRoot()...)
	if !hasNamespace(spec, specs.CgroupNamespace) {
		// With cgroup v1 the mount would show the host's hierarchy, and a
		// namespace hides the container's name.
		spec.Mounts = slices.DeleteFunc(spec.Mounts, func(m specs.Mount) bool { return m.Type == "cgroup" })
		if _, err := os.Stat("/proc/self/ns/cgroup"); err == nil {
			spec.Linux.Namespaces = append(spec.Linux.Namespaces, specs.LinuxNamespace{Type: specs.CgroupNamespace})
		}
	}
	if spec.Linux.Seccomp != nil {
		// No distribution's kernel runs x32 programs, and preparing a filter
		// for them takes milliseconds a step.
		spec.Linux.Seccomp.Architectures = slices.DeleteFunc(spec.Linux.Seccomp.Architectures,
			func(a specs.Arch) bool { return a == specs.ArchX32 })
	}
}

// ofRoot are the files in which the kernel tells root, with or without capabilities,
// about the memory of the whole machine: no namespace has any of its own.
func ofRoot() []string {
	return []string{
		"/proc/kpagecgroup", "/proc/kpagecount", "/proc/kpageflags", "/proc/pagetypeinfo", "/proc/slabinfo", "/proc/vmallocinfo",
	}
}

func hasNamespace(spec *specs.Spec, kind specs.LinuxNamespaceType) bool {
	return slices.ContainsFunc(spec.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind })
}
