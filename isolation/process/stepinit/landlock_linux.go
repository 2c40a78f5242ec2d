// SPDX-License-Identifier: Apache-2.0

package stepinit

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Landlock is a second fence, of the kernel's since Linux 5.13: landlock(7). It is
// for one thread and for what that starts, so that it takes no library that
// reaches all threads of a program. Not in force where the kernel is too old.

// The rights of landlock(7) that are needed here.
const (
	writeFile uint64 = 1 << 1
	// removing and making, of everything
	changeFolder uint64 = 1<<13 - 1<<4
	refer        uint64 = 1 << 13 // from ABI 2 on
	truncate     uint64 = 1 << 14 // from ABI 3 on

	scopeSockets uint64 = 1 << 0 // abstract ones; both from ABI 6 on
	scopeSignals uint64 = 1 << 1
)

// landlockRuleset is struct landlock_ruleset_attr.
type landlockRuleset struct{ files, network, scoped uint64 }

// landlockBeneath is struct landlock_path_beneath_attr, which ends after parent.
type landlockBeneath struct {
	allowed uint64
	parent  int32
}

// landlockABI returns the version of the kernel's interface, 0 for none.
func landlockABI() int {
	const version = 1
	abi, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, version)
	if errno != 0 {
		return 0
	}
	return int(abi)
}

// landlock fences this thread in. A step with a view may not reach sockets that
// have no place in the file system, nor signal processes, outside of it; rules for
// files would take from it what the view's mounts protect anyway, and with them
// the mounts that it makes in namespaces of its own. Without a view it may in
// addition write to o.Writable alone. The controls are what is in force.
func (o *Order) landlock() (controls []string, err error) {
	abi := landlockABI()
	files, scoped := landlockHandled(abi, o.View.Dir == "" && len(o.Writable) > 0)
	if files == 0 && scoped == 0 {
		return nil, nil
	}
	rules := landlockRuleset{files: files, scoped: scoped}
	size := unsafe.Sizeof(rules)
	if scoped == 0 {
		size = unsafe.Sizeof(rules.files) // older kernels know no more
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&rules)), size, 0)
	if errno != 0 {
		return nil, fmt.Errorf("making a Landlock ruleset: %w", errno)
	}
	defer unix.Close(int(fd))
	if files != 0 {
		for _, path := range o.Writable {
			if err := allowBeneath(int(fd), path, files); err != nil {
				return nil, fmt.Errorf("opening %s to writing: %w", path, err)
			}
		}
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return nil, fmt.Errorf("enforcing a Landlock ruleset: %w", errno)
	}
	if files != 0 {
		controls = append(controls, fmt.Sprintf("%s%d", ControlLandlockFiles, abi))
	}
	if scoped != 0 {
		controls = append(controls, fmt.Sprintf("%s%d", ControlLandlockScope, abi))
	}
	return controls, nil
}

// landlockHandled are the rights that a version can take away. The first one
// would forbid moving files between folders as well.
func landlockHandled(abi int, write bool) (files, scoped uint64) {
	const withRefer, withTruncate, withScopes = 2, 3, 6
	if write && abi >= withRefer {
		files = writeFile | changeFolder | refer
		if abi >= withTruncate {
			files |= truncate
		}
	}
	if abi >= withScopes {
		scoped = scopeSockets | scopeSignals
	}
	return files, scoped
}

func allowBeneath(rules int, path string, rights uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EACCES) {
		return nil // there is nothing to write to
	}
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	rule := landlockBeneath{allowed: rights, parent: int32(fd)}
	const beneath = 1
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(rules), beneath, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
