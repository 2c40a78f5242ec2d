// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/attest-pipeline/attest/cmd/attest/internal/config"
	"github.com/attest-pipeline/attest/frontend/source"
)

type helpCmd struct {
	Subject []string `arg:"" optional:"" help:"A command, or a topic: exit-codes, settings."`
}

// Help lists the topics.
func (helpCmd) Help() string {
	return `Topics:

    attest help exit-codes    what the exit codes mean
    attest help settings      what can be set, and where`
}

// Run explains a topic, or what --help explains.
func (c *helpCmd) Run(env *Env) error {
	if len(c.Subject) == 1 {
		if text := topic(c.Subject[0]); text != "" {
			return env.print("%s", strings.TrimSuffix(text, "\n"))
		}
	}
	_, err := parse(&grammar{}, env, append(slices.Clone(c.Subject), "--help"))
	if u := (*usageError)(nil); len(c.Subject) == 1 && errors.As(err, &u) {
		u.err = fmt.Errorf("no command or topic %q", c.Subject[0])
		if near, ok := source.Closest(c.Subject[0], []string{"exit-codes", "settings"}); ok {
			u.hints = []string{"did you mean attest help " + near + "?"}
		}
	}
	return err
}

// topic returns the text of a topic, empty where there is none.
func topic(name string) string {
	var b strings.Builder
	switch name {
	case "exit-codes":
		b.WriteString("The exit code says what came of a command. A code never changes its meaning.\n\n")
		for _, c := range exitCodes {
			fmt.Fprintf(&b, "  %3d  %s\n", c.code, c.meaning)
		}
	case "settings":
		b.WriteString("A setting is the flag's value, else the environment variable's, else that of\n" +
			config.File + " (attest config set KEY VALUE), else the default.\n")
		for _, k := range config.Keys() {
			fmt.Fprintf(&b, "\n  %s (%s): %s\n      values: %s; default: %s\n", k.Name, k.Env, k.Help, k.Values, k.Default)
		}
	}
	return b.String()
}
