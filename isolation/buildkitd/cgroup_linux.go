// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
)

const cgroupMount = "/sys/fs/cgroup"

// exitTime is how long the kernel may go on counting a killed process in its
// cgroup: on a busy machine that is longer than it shows in /proc.
const exitTime = time.Second

// cgroupParent is what every container of this engine has its cgroup below,
// so that those of a killed engine can be told from other programs'.
func cgroupParent(files launch.Files) string { return "attest-" + files.Name() }

// removeCgroups removes the cgroups of an engine that runs nothing, or that
// was killed, when its processes died with it.
func removeCgroups(files launch.Files) {
	roots := []string{filepath.Join(cgroupMount, cgroupParent(files))} // version 2
	v1, _ := filepath.Glob(filepath.Join(cgroupMount, "*", cgroupParent(files)))
	for _, root := range append(roots, v1...) {
		var dirs []string
		_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				dirs = append(dirs, path)
			}
			return nil
		})
		for _, dir := range slices.Backward(dirs) {
			removeIdle(dir)
		}
	}
}

// removeIdle removes a cgroup as soon as its last process has left it. One that
// stays in use stays.
func removeIdle(dir string) {
	for end := time.Now().Add(exitTime); ; time.Sleep(10 * time.Millisecond) {
		if err := os.Remove(dir); !errors.Is(err, syscall.EBUSY) || time.Now().After(end) {
			return
		}
	}
}
