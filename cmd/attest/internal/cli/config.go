// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"text/tabwriter"

	"github.com/attest-pipeline/attest/cmd/attest/internal/config"
	"github.com/attest-pipeline/attest/isolation/engine"
)

type configCmd struct {
	Set  configSetCmd  `cmd:"" help:"Set a setting in .attest/config.yaml."`
	Get  configGetCmd  `cmd:"" help:"Print what a setting is."`
	List configListCmd `cmd:"" help:"Print every setting, and where its value comes from."`
}

// Help says what beats what.
func (configCmd) Help() string {
	return `A flag beats the environment, which beats .attest/config.yaml, which beats the default. attest help settings lists the keys.`
}

type configSetCmd struct {
	Key   string `arg:"" help:"Name of the setting."`
	Value string `arg:"" help:"What it shall be."`
	jsonFlag
}

// Help shows how.
func (configSetCmd) Help() string {
	return `Examples:

    attest config set jobs 4
    attest config set progress plain
    attest config set sign true`
}

// Run writes the setting into the file of the project.
func (c *configSetCmd) Run(env *Env) error {
	key, err := config.Lookup(c.Key)
	if err == nil {
		err = key.Check(c.Value)
	}
	if err != nil {
		return &usageError{err: err, hints: []string{"attest help settings lists the settings, and what each accepts"}}
	}
	if err := engine.MakeStateDir(env.Dir); err != nil {
		return err
	}
	if err := config.Store(env.Dir, c.Key, c.Value); err != nil {
		return err
	}
	env.result = config.Value{Key: c.Key, Value: c.Value, Source: config.FromFile}
	return nil
}

type configGetCmd struct {
	Key string `arg:"" help:"Name of the setting."`
	jsonFlag
}

// Help shows how.
func (configGetCmd) Help() string {
	return `Examples:

    attest config get jobs
    attest config get progress --json`
}

// Run prints the value in force.
func (c *configGetCmd) Run(env *Env) error {
	if _, err := config.Lookup(c.Key); err != nil {
		return &usageError{err: err, hints: []string{"attest help settings lists the settings"}}
	}
	set, err := config.Load(env.Dir, env.Getenv)
	if err != nil {
		return err
	}
	if env.json {
		env.result = set.Get(c.Key)
		return nil
	}
	return env.print("%s", set.Get(c.Key).Value)
}

type configListCmd struct{ jsonFlag }

// Help shows how.
func (configListCmd) Help() string {
	return `Examples:

    attest config list
    ATTEST_JOBS=2 attest config list --json`
}

// Run prints every setting.
func (c *configListCmd) Run(env *Env) error {
	set, err := config.Load(env.Dir, env.Getenv)
	if err != nil {
		return err
	}
	if env.json {
		env.result = struct {
			Settings []config.Value `json:"settings"`
		}{set.All()}
		return nil
	}
	w := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
	for _, v := range set.All() {
		fmt.Fprintf(w, "%s\t%s\t%s\n", v.Key, v.Value, v.Source)
	}
	return w.Flush()
}
