// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os"
	"os/user"
	"slices"
	"strings"

	"github.com/attest-pipeline/attest/frontend/pipeline"
)

// environment returns the whole environment of a command: the base, with what
// the step declares over it, ordered by name.
func (e *Executor) environment(declared []pipeline.Var) []string {
	vars := map[string]string{
		"HOME": e.caller("HOME"),
		"LANG": "C.UTF-8",
		"PATH": e.caller("PATH"),
		"TERM": "dumb",
		"USER": e.caller("USER"),
	}
	for _, v := range declared {
		vars[v.Name] = v.Value
	}
	list := make([]string, 0, len(vars))
	for name, value := range vars {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}

// caller returns a variable of the caller's environment, or what the system
// says where the caller has none.
func (e *Executor) caller(name string) string {
	for _, entry := range slices.Backward(e.options.Environ) {
		if value, ok := strings.CutPrefix(entry, name+"="); ok && value != "" {
			return value
		}
	}
	if name == "PATH" {
		return defaultPath
	}
	// A user that the system does not know has neither name nor home.
	known, err := user.Current()
	switch {
	case err == nil && name == "USER":
		return known.Username
	case err == nil && known.HomeDir != "":
		return known.HomeDir
	case name == "USER" && os.Getuid() == 0:
		return "root"
	case name == "USER":
		return "nobody"
	default:
		return "/"
	}
}
