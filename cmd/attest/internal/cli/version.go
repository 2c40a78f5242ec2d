// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/alecthomas/kong"

	"github.com/attest-pipeline/attest/cmd/internal/version"
)

// versionFlag is --version.
type versionFlag bool

// BeforeReset prints the version before anything else is looked at.
func (versionFlag) BeforeReset(app *kong.Kong) error {
	_, err := fmt.Fprintln(app.Stdout, "attest", version.Version)
	app.Exit(exitDone)
	return err
}

type versionCmd struct{ jsonFlag }

type versionResult struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"` // built from files that differ from the commit
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Run prints what the program was built from.
func (versionCmd) Run(env *Env) error {
	v := versionResult{Version: version.Version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				v.Commit = s.Value
			case "vcs.modified":
				v.Modified = s.Value == "true"
			}
		}
	}
	if env.json {
		env.result = v
		return nil
	}
	commit := ""
	if v.Commit != "" {
		commit = ", commit " + v.Commit
	}
	if v.Modified {
		commit += " with changes"
	}
	return env.print("attest %s (%s, %s%s)", v.Version, v.Go, v.Platform, commit)
}
