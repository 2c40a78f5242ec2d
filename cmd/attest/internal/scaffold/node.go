// SPDX-License-Identifier: Apache-2.0

package scaffold

import (
	"encoding/json"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
)

// packageJSON is what matters of a package.json.
type packageJSON struct {
	Name            string            `json:"name"`
	Main            string            `json:"main"`
	Scripts         map[string]string `json:"scripts"`
	Dependencies    map[string]any    `json:"dependencies"`
	DevDependencies map[string]any    `json:"devDependencies"`
}

// nodeProject runs the scripts that the package has, after installing what it
// depends on.
func nodeProject(project fs.FS, folder string) draft {
	var p packageJSON
	_ = json.Unmarshal(read(project, "package.json"), &p) // a broken one has no scripts
	d := draft{
		name: projectName(path.Base(p.Name), folder), image: "node:22-alpine", ignored: []string{"node_modules/"},
	}
	manager, install := nodeManager(project)
	var before []string
	if len(p.Dependencies)+len(p.DevDependencies) > 0 {
		d.steps = append(d.steps, step{name: "install", run: install})
		before = []string{"install"}
	}
	var checks []string
	for _, name := range []string{"lint", "typecheck", "test"} {
		if script := p.Scripts[name]; script != "" && !strings.Contains(script, "no test specified") {
			d.steps = append(d.steps, step{name: name, run: manager + " run " + name, needs: before})
			checks = append(checks, name)
		}
	}
	if script := p.Scripts["build"]; script != "" {
		needs := checks
		if len(checks) == 0 {
			needs = before
		}
		d.steps = append(d.steps, step{
			name: "build", run: manager + " run build", outputs: nodeOutputs(script, p.Main), needs: needs,
		})
	}
	if len(d.steps) == len(before) {
		d.steps = append(d.steps, step{name: "check", run: nodeCheck(project, p.Main), needs: before})
	}
	return d
}

// nodeManager returns the package manager whose lock file is there, and its
// command to install exactly what that file says.
func nodeManager(project fs.FS) (manager, install string) {
	switch {
	case isFile(project, "pnpm-lock.yaml"):
		return "pnpm", "pnpm install --frozen-lockfile"
	case isFile(project, "yarn.lock"):
		return "yarn", "yarn install --frozen-lockfile"
	case isFile(project, "package-lock.json"):
		return "npm", "npm ci"
	}
	return "npm", "npm install"
}

// nodeOutputs guesses what the build script writes. Guesses are optional
// outputs: their absence is no failure.
func nodeOutputs(script, main string) []string {
	top, _, nested := strings.Cut(strings.TrimPrefix(main, "./"), "/")
	switch {
	case strings.Contains(script, "next build"):
		return []string{".next/?"}
	case strings.Contains(script, "react-scripts"):
		return []string{"build/?"}
	case nested && slices.Contains([]string{"dist", "build", "lib", "out"}, top):
		return []string{top + "/?"}
	}
	if m := regexp.MustCompile(`(?:-o|--out-?[dD]ir|--dist-dir)[ =](?:\./)?([a-z]+)/?(?:\s|$)`).FindStringSubmatch(script); m != nil {
		return []string{m[1] + "/?"}
	}
	return []string{"dist/?"}
}

// nodeCheck is what can be said of a package without scripts: that its program
// parses.
func nodeCheck(project fs.FS, main string) string {
	for _, name := range []string{path.Clean(main), "index.js", "main.js", "index.mjs", "src/index.js"} {
		if isFile(project, name) {
			return "node --check " + shellWord(name)
		}
	}
	return "node --version"
}
