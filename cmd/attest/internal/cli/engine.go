// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
)

type engineCmd struct {
	Status engineStatusCmd `cmd:"" help:"Say whether the embedded engine runs, and how."`
	Start  engineStartCmd  `cmd:"" help:"Start the embedded engine, if it does not run."`
	Stop   engineStopCmd   `cmd:"" help:"Stop the embedded engine and everything that it runs."`
}

// Help says what the engine is.
func (engineCmd) Help() string {
	return `The embedded engine runs container steps. attest run starts it when a step needs it, and it ends by itself when nobody used it for ten minutes; these commands are for curiosity and for trouble.`
}

func daemon(env *Env) launch.Daemon { return launch.Daemon{Environ: env.Environ} }

type engineStatusCmd struct{ jsonFlag }

// Help shows how.
func (engineStatusCmd) Help() string {
	return `Examples:

    attest engine status
    attest engine status --json`
}

// Run prints what the engine answers.
func (engineStatusCmd) Run(ctx context.Context, env *Env) error {
	s, err := daemon(env).Status(ctx)
	if err != nil {
		return err
	}
	return showEngine(env, s)
}

type engineStartCmd struct{ jsonFlag }

// Run starts the engine and prints what it answers.
func (engineStartCmd) Run(ctx context.Context, env *Env) error {
	s, err := daemon(env).Ensure(ctx, func(doing string) { env.note("%s", doing) })
	if err != nil {
		return err
	}
	return showEngine(env, s)
}

type engineStopCmd struct{ jsonFlag }

// Run ends the engine.
func (engineStopCmd) Run(ctx context.Context, env *Env) error {
	d := daemon(env)
	if err := d.Stop(ctx); err != nil {
		return err
	}
	s, err := d.Status(ctx)
	if err != nil {
		return err
	}
	return showEngine(env, s)
}

func showEngine(env *Env, s launch.Status) error {
	if env.json {
		env.result = s
		return nil
	}
	if !s.Running {
		return env.print("not running\n  state: %s", s.StateDir)
	}
	w := tabwriter.NewWriter(env.Stdout, 0, 0, 1, ' ', 0)
	fmt.Fprintf(w, "running since %s (pid %d)\n", s.Since.Local().Format(time.DateTime), s.PID)
	idle := "never"
	if s.IdleSecs > 0 {
		idle = fmt.Sprintf("after %s without a client", time.Duration(s.IdleSecs)*time.Second)
	}
	for _, row := range [][2]string{
		{"address", s.Address}, {"state", s.StateDir}, {"attest", s.Version}, {"buildkit", s.BuildKit},
		{"runtime", s.Runtime}, {"snapshotter", s.Snapshotter}, {"network", s.Network}, {"ends", idle},
		{"clients", fmt.Sprintf("%d, running %d solves", s.Connections, s.Solves)},
	} {
		if row[1] != "" {
			fmt.Fprintf(w, "  %s:\t%s\n", row[0], row[1])
		}
	}
	return w.Flush()
}
