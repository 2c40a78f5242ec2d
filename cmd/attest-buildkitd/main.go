// SPDX-License-Identifier: Apache-2.0

//go:build linux

// Command attest-buildkitd is the embedded engine, which attest starts when a
// step needs a container. Package isolation/buildkitd is its body.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/attest-pipeline/attest/cmd/internal/version"
	"github.com/attest-pipeline/attest/isolation/buildkitd"
	"github.com/attest-pipeline/attest/isolation/buildkitd/launch"
	"github.com/attest-pipeline/attest/isolation/executor"
)

func main() { os.Exit(run(os.Args[1:], os.Environ(), os.Stdout, os.Stderr)) }

func run(args, environ []string, stdout, stderr io.Writer) int {
	o := buildkitd.Options{Environ: environ, Version: version.Version, Log: slog.New(slog.NewTextHandler(stderr, nil))}
	flags := flag.NewFlagSet("attest-buildkitd", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&o.StateDir, "state-dir", "", "the engine's `folder` (default as attest has it)")
	flags.DurationVar(&o.IdleTimeout, "idle-timeout", launch.DefaultIdleTimeout, "end after so long without a client; negative: never")
	showVersion := flags.Bool("version", false, "print the version and end")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return 0
	} else if err != nil {
		return 2
	}
	if *showVersion {
		fmt.Fprintf(stdout, "attest-buildkitd %s (buildkit %s)\n", version.Version, buildkitd.BuildKitVersion())
		return 0
	}
	code, err := serve(o)
	if err != nil {
		fmt.Fprintf(stderr, "attest-buildkitd: error: %v\n", err)
		var hinted *executor.HintedError
		if errors.As(err, &hinted) {
			for _, hint := range hinted.Hints {
				fmt.Fprintf(stderr, "attest-buildkitd: hint: %s\n", hint)
			}
		}
		return max(code, 1)
	}
	return code
}

// serve runs the engine in namespaces of its own, which it makes first unless
// attest has.
func serve(o buildkitd.Options) (int, error) {
	if o.StateDir == "" {
		dir, err := launch.DefaultStateDir(o.Environ)
		if err != nil {
			return 1, err
		}
		o.StateDir = dir
	}
	if err := launch.CheckHost(o.Environ); err != nil {
		return 1, err
	}
	if !buildkitd.Contained() {
		return buildkitd.Contain()
	}
	pid, err := buildkitd.Settle()
	if err != nil {
		return 1, err
	}
	o.HostPID = pid
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return 0, buildkitd.Run(ctx, o)
}
