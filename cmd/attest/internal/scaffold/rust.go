// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"io/fs"
	"regexp"
	"strings"
)

// rustProject tests and builds a package or workspace with cargo.
func rustProject(project fs.FS, folder string) draft {
	name := cargoName(read(project, "Cargo.toml"))
	build := step{name: "build", run: "cargo build --release", needs: []string{"test"}}
	if name != "" && isFile(project, "src/main.rs") {
		build.outputs = []string{"target/release/" + name}
	}
	return draft{
		name: projectName(name, folder), image: "rust:1", ignored: []string{"target/"},
		steps: []step{{name: "test", run: "cargo test"}, build},
	}
}

// cargoName returns the name in the [package] section, empty where there is
// none.
func cargoName(toml []byte) string {
	tomlName := regexp.MustCompile(`^name\s*=\s*["']([A-Za-z0-9_-]+)["']`)
	section := ""
	for line := range strings.Lines(string(toml)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
		}
		if m := tomlName.FindStringSubmatch(line); m != nil && section == "[package]" {
			return m[1]
		}
	}
	return ""
}
