// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"

	"github.com/attest-pipeline/attest/frontend/pipeline"
)

// SearchPath returns the folders in which a step finds programs, in order: those of
// its PATH that are absolute. environ is [Options.Environ], declared are the
// variables of the job.
func SearchPath(environ []string, declared []pipeline.Var) []string {
	list := caller(environ, "PATH")
	for _, v := range declared {
		if v.Name == "PATH" {
			list = v.Value
		}
	}
	return slices.DeleteFunc(filepath.SplitList(list), func(dir string) bool { return !filepath.IsAbs(dir) })
}

// environment returns the whole environment of a command: the base, with what
// the step declares over it, ordered by name.
func (e *Executor) environment(declared []pipeline.Var) []string {
	vars := map[string]string{
		"HOME": caller(e.options.Environ, "HOME"),
		"LANG": "C.UTF-8",
		"PATH": caller(e.options.Environ, "PATH"),
		"TERM": "dumb",
		"USER": caller(e.options.Environ, "USER"),
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
func caller(environ []string, name string) string {
	for _, entry := range slices.Backward(environ) {
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
