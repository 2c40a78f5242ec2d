// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// peers are the paths of programs to compare with, by name.
type peers map[string]string

// peerNames are all that are asked for. npm is there for turbo, which has it do
// the work that is then cached.
func peerNames() []string { return []string{"turbo", "npm", "task", "make", "git", "b3sum", "bwrap"} }

// findPeers looks into the folder of hack/peers.sh, then along PATH.
func findPeers(folder string) peers {
	found := peers{}
	for _, name := range peerNames() {
		places := []string{filepath.Join(folder, "bin", name)}
		native, _ := filepath.Glob(filepath.Join(folder, "node_modules/@turbo/*/bin", name)) // the pattern is well formed
		places = append(places, native...)
		if path, err := exec.LookPath(name); err == nil {
			places = append(places, path)
		}
		for _, p := range places {
			// The turbo of npm's is a script that starts the real one.
			if executable(p) && (name != "turbo" || !isScript(p)) {
				found[name] = p
				break
			}
		}
	}
	if found["npm"] == "" {
		delete(found, "turbo")
	}
	return found
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

func isScript(path string) bool {
	data, err := os.ReadFile(path)
	return err != nil || bytes.HasPrefix(data, []byte("#!"))
}

// String says what is missing.
func (p peers) String() string {
	var missing []string
	for _, name := range peerNames() {
		if p[name] == "" {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return "all programs to compare with are there"
	}
	return "missing, and not compared with: " + strings.Join(missing, ", ") + " (make bench-peers gets what can be had)"
}
