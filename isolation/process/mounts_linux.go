// SPDX-License-Identifier: Apache-2.0

package process

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// mounts is a mount table, in the order in which things were mounted.
type mounts []mountPoint

// mountPoint is one line of mountinfo.
type mountPoint struct {
	device string // major:minor
	root   string // what of that file system is shown
	path   string // where
}

func readMounts(mountinfo io.Reader) (mounts, error) {
	text, err := io.ReadAll(mountinfo)
	if err != nil {
		return nil, fmt.Errorf("reading the mount table: %w", err)
	}
	var table mounts
	// Blanks and backslashes in paths stand there as octal escapes.
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			return nil, fmt.Errorf("reading the mount table: %q has too few fields", line)
		}
		table = append(table, mountPoint{fields[2], unescape.Replace(fields[3]), unescape.Replace(fields[4])})
	}
	return table, nil
}

// reach returns the paths, and every other at which what they name can be
// reached.
func (m mounts) reach(paths []string) []string {
	all := slices.Clone(paths)
	for _, path := range paths {
		all = append(all, m.aliases(path)...)
	}
	return all
}

// aliases returns the other paths at which what stands at path, or something
// below it, can be reached: the same file system may be mounted in several
// places, from different folders on.
func (m mounts) aliases(path string) []string {
	home := mountPoint{}
	for _, p := range m {
		// The longest wins, and of equals the last, which covers the others.
		if _, ok := below(path, p.path); ok && len(p.path) >= len(home.path) {
			home = p
		}
	}
	rest, _ := below(path, home.path)
	inside := join(home.root, rest) // where it lies in its file system
	var found []string
	for _, p := range m {
		if p.device != home.device {
			continue
		}
		if rest, ok := below(inside, p.root); ok && join(p.path, rest) != path {
			found = append(found, join(p.path, rest))
		} else if _, ok := below(p.root, inside); ok && p.path != path {
			found = append(found, p.path)
		}
	}
	return found
}

func join(dir, rest string) string {
	if dir == "/" {
		dir = ""
	}
	if dir+rest == "" || rest == "/" && dir == "" {
		return "/"
	}
	return dir + strings.TrimSuffix(rest, "/")
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
