// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// keeperAttributes are those of a process in new namespaces in which every user
// and group is called what it is called outside.
func keeperAttributes(spaces uintptr) *syscall.SysProcAttr {
	sys := &syscall.SysProcAttr{Setsid: true, Cloneflags: spaces}
	if spaces&unix.CLONE_NEWUSER == 0 {
		return sys
	}
	mapUsers(sys)
	if os.Geteuid() != 0 {
		// Root keeps its capabilities when it executes a program; another
		// user's are lost unless they are ambient. An init needs one to mount,
		// one to make a network, and others because an overlay works with the
		// capabilities of who mounted it.
		sys.AmbientCaps = []uintptr{
			unix.CAP_SYS_ADMIN, unix.CAP_NET_ADMIN,
			unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_DAC_READ_SEARCH, unix.CAP_FOWNER,
		}
	}
	return sys
}

// mapUsers maps users and groups to themselves: all that are known here for
// root, else only the one that a user may map.
func mapUsers(sys *syscall.SysProcAttr) {
	sys.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
	sys.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
	if os.Geteuid() != 0 {
		return
	}
	users, errUsers := knownIDs("/proc/self/uid_map")
	groups, errGroups := knownIDs("/proc/self/gid_map")
	if errUsers == nil && errGroups == nil {
		sys.UidMappings, sys.GidMappings = users, groups
		// What is denied to this process cannot be allowed to its children.
		allowed, err := os.ReadFile("/proc/self/setgroups")
		sys.GidMappingsEnableSetgroups = err == nil && strings.TrimSpace(string(allowed)) == "allow"
	}
}

func knownIDs(file string) ([]syscall.SysProcIDMap, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var ids []syscall.SysProcIDMap
	lines := strings.NewReader(string(text))
	for {
		var here, outside, size int
		if _, err := fmt.Fscanln(lines, &here, &outside, &size); errors.Is(err, io.EOF) {
			return ids, nil
		} else if err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		ids = append(ids, syscall.SysProcIDMap{ContainerID: here, HostID: here, Size: size})
	}
}
