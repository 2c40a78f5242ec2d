// SPDX-License-Identifier: Apache-2.0

package buildkitd

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
)

const cgroupMount = "/sys/fs/cgroup"

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
			_ = os.Remove(dir) // one that is in use stays
		}
	}
}
